"""The inputs that are kept: what reaches code that no other one reaches, and what once broke something."""

import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

from nights.fuzz.oracle import Examiner

CHECKOUT = Path(__file__).parent.parent.parent
CORPUS = CHECKOUT / "tests" / "fuzz" / "corpus"
FOUND = CHECKOUT / "tests" / "fuzz" / "found"


def kept(folder: Path, name: str) -> list[Path]:
    """The files of one target, in order of their names."""
    return sorted(path for path in (folder / name).glob("*") if path.is_file())


def inputs_of(target: Any) -> list[bytes]:
    """Seeds, corpus and what was found, each once, in this order."""
    files = [path.read_bytes() for folder in (CORPUS, FOUND) for path in kept(folder, target.name)]
    return list(dict.fromkeys([*target.seeds(), *files]))


Arc = tuple[str, int, int]
"""From one line of a file of bftnode to another; a line below zero is where a function begins or ends."""


def arcs_of(check: Callable[[bytes], object], data: bytes) -> set[Arc]:
    """What `check` walks through with this input."""
    found: set[Arc] = set()
    house = str(CHECKOUT / "bftnode")

    def entered(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if not file.startswith(house):
            return None
        last = -frame.f_code.co_firstlineno

        def walked(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
            nonlocal last
            if event == "line":
                found.add((file, last, frame.f_lineno))
                last = frame.f_lineno
            elif event == "return":
                found.add((file, last, -frame.f_code.co_firstlineno))
            return walked

        return walked

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        check(data)
    finally:
        sys.settrace(before)
    return found


def grow(target: Any, candidates: list[bytes]) -> int:
    """Keep those of the candidates, smaller ones first, that walk where no kept input has been; how many."""
    examiner = Examiner(target)
    known: set[Arc] = set()
    for data in inputs_of(target):
        known |= arcs_of(examiner.examine, data)
    folder, count = CORPUS / target.name, 0
    folder.mkdir(parents=True, exist_ok=True)
    for data in sorted(candidates, key=lambda one: (len(one), one)):
        fresh = arcs_of(examiner.examine, data) - known
        if fresh:
            known |= fresh
            (folder / sha256(data).hexdigest()[:16]).write_bytes(data)
            count += 1
    return count
