"""What of the catalogue (docs/faults.md) was executed, by which tests and scenarios: `python -m simulations coverage`.

Claims count for nothing here. The test suite (tests/conftest.py) and `run` write down what has run to its end
and held, with a fingerprint of all source files; what ran on other code than this is not counted. An id without a
test is answered in the register at the end of docs/faults.md, in a sentence: it cannot occur, or it belongs to what is
not built yet, and then the sentence says why it cannot occur today, or what of it can.
"""

import fcntl
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
CATALOGUE = ROOT / "docs" / "faults.md"
EXECUTED = ROOT / ".executed.json"
"""Not kept in the repository: it says what ran here."""

REGISTER = "# Answers without a test"
CANNOT, LATER = "cannot occur", "later"
BAD = ("OPEN", "ANSWERED TWICE")
"""States that --strict does not let pass."""

_ROW = re.compile(r"^\| \**([A-Z]\d{1,2})\** \| (.+?) \|")
_SOURCES = (
    *("bftnode/**/*.py", "simulations/**/*.py", "simulations/**/*.toml", "theatre/**/*.py", "nights/**/*.py"),
    "tests/**/*.py",
)
_WORDS_MIN = 5
"""Of an answer: fewer are no sentence."""

Claim = tuple[str, str]
"""(id, who executed it)."""


class Answer(NamedTuple):
    """Why an id has no test: `kind` is CANNOT or LATER."""

    kind: str
    because: str


class Row(NamedTuple):
    """One id of the catalogue."""

    fault: str
    by: tuple[str, ...]
    answer: Answer | None

    @property
    def state(self) -> str:
        """An answer beside a test that executes the id is an answer to nothing."""
        if self.by:
            return "executed" if self.answer is None else BAD[1]
        return BAD[0] if self.answer is None else self.answer.kind


class BadCatalogue(Exception):
    """docs/faults.md is not there, or its register says what cannot be read."""


def fingerprint() -> str:
    """Of every source file that a run depends on."""
    hasher = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in ROOT.glob(pattern)):
        content = path.read_bytes()
        hasher.update(b"%s\0%d\0" % (str(path.relative_to(ROOT)).encode(), len(content)) + content)
    return hasher.hexdigest()


def record(claims: Iterable[Claim]) -> None:
    """Write down what has run on this code and held, beside what is written down. Outside a checkout: nothing."""
    if not CATALOGUE.is_file():
        return
    mark = fingerprint()
    with EXECUTED.with_suffix(".json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parts of the tests run at once, and may end at once
        known = {fault: dict.fromkeys(by) for fault, by in executed(mark).items()}
        for fault, by in claims:
            known.setdefault(fault, {})[by] = None
        text = json.dumps(
            {"fingerprint": mark, "executed": {key: sorted(by) for key, by in sorted(known.items())}}, indent=1
        )
        temporary = EXECUTED.with_suffix(f".{os.getpid()}")  # whole or not at all
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(EXECUTED)


def executed(mark: str) -> dict[str, list[str]]:
    """What is written down of the code with this fingerprint: id -> who executed it."""
    try:
        written = json.loads(EXECUTED.read_text(encoding="utf-8"))
        if written["fingerprint"] != mark:
            return {}
        return {str(fault): [str(by) for by in all_by] for fault, all_by in written["executed"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # nothing, or what an interrupted or older version left


def catalogue(text: str) -> tuple[list[str], dict[str, Answer]]:
    """(ids in their order, answers by id). Raises BadCatalogue."""
    body, _, register = text.partition(REGISTER)
    faults = dict.fromkeys(match[1] for line in body.splitlines() if (match := _ROW.match(line)))
    answers: dict[str, Answer] = {}
    for line in register.splitlines():
        match = _ROW.match(line)
        if match is None:
            continue
        kind, _, because = match[2].partition(": ")
        if match[1] not in faults or match[1] in answers or kind not in (CANNOT, LATER):
            raise BadCatalogue(f"register of docs/faults.md: {line}")
        if len(because.split()) < _WORDS_MIN:
            raise BadCatalogue(f"register of docs/faults.md: {line}: an answer is a sentence")
        answers[match[1]] = Answer(kind, because)
    if not faults:
        raise BadCatalogue("docs/faults.md has no ids")
    return list(faults), answers


def rows(done: Mapping[str, Iterable[str]]) -> list[Row]:
    """The matrix. Raises BadCatalogue."""
    if not CATALOGUE.is_file():
        raise BadCatalogue(f"{CATALOGUE} is not there: run this in a checkout")
    faults, answers = catalogue(CATALOGUE.read_text(encoding="utf-8"))
    return [Row(fault, tuple(done.get(fault, ())), answers.get(fault)) for fault in faults]


def table(matrix: Iterable[Row]) -> str:
    """The matrix in Markdown."""
    lines = [
        "# What was executed",
        "",
        "Ids of [faults.md](faults.md) against the tests and scenarios that ran to their end and held, on this code.",
        "Written by `python -m simulations coverage --write docs/coverage.md` after the test suite.",
        "",
        "| id | state | by |",
        "|---|---|---|",
    ]
    for row in matrix:
        by = row.by or (() if row.answer is None else (row.answer.because,))
        lines.append(f"| {row.fault} | {row.state} | {'; '.join(by)} |")
    return "\n".join(lines) + "\n"


def summary(matrix: Iterable[Row]) -> str:
    """In one line, and the open ones in another."""
    states: dict[str, list[str]] = {state: [] for state in ("executed", CANNOT, LATER, *BAD)}
    for row in matrix:
        states[row.state].append(row.fault)
    total = sum(len(faults) for faults in states.values())
    told = ", ".join(f"{len(faults)} {state}" for state, faults in states.items())
    bad = [f"\n{state.lower()}: {' '.join(states[state])}" for state in BAD if states[state]]
    return f"{total} ids: {told}{''.join(bad)}"


def run(write: Path | None, *, strict: bool) -> int:
    """The command: exit code 1 with `strict` while an id is open or answered twice, 2 where there is no catalogue."""
    try:
        matrix = rows(executed(fingerprint()))
    except BadCatalogue as bad:
        print(f"error: {bad}", file=sys.stderr)
        return 2
    if write is None:
        print(table(matrix), end="")
    else:
        write.write_text(table(matrix), encoding="utf-8")
    print(summary(matrix), file=sys.stderr)
    return 1 if strict and any(row.state in BAD for row in matrix) else 0
