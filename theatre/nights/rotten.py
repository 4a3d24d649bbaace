"""Damaged disks: ten thousand bits that flip, a thousand files that end early, pages of zeros.

A unit is one data directory of a real run (recording.py), damaged at one drawn place, opened and asked everything
(examination.py). That happens in a process of its own, because LMDB maps its file into memory: what dies there is seen
here, and is a finding. faults.md D03, D06, D14, D16.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO

from simulations.work import Done, Finding
from theatre.nights.examination import CASES, DIED, GOOD, Examiner, Verdict
from theatre.nights.night import keep
from theatre.nights.recording import DIRECTORY_VARIABLE, Recording, recording

CASE_S = 120.0
"""One case takes a tenth of a second. Whoever takes so long hangs."""

ROOM = Path("/dev/shm")  # noqa: S108  # memory, where there is such a place: what is damaged needs no disk


class Rotten:
    """One of the three sets."""

    units = None
    alone = False

    def __init__(self, name: str, story: str, full: int, chunk: int) -> None:
        self.name = name
        self.story = story
        self.full = full
        self.chunk = chunk

    def play(self, first: int, last: int) -> Done:
        with recording() as recorded:
            return examine_all(self.name, recorded, range(first, last))


BITFLIPS = Rotten("bitflips", "one flipped bit in a data directory of a real member", 10_000, 500)
TRUNCATIONS = Rotten("truncations", "one file of a data directory of a real member cut short", 1000, 500)
ZEROED = Rotten("zeroed", "one page of a data directory of a real member turned to zeros", 1000, 500)


def examine_all(name: str, recorded: Recording, units: Sequence[int]) -> Done:
    """Each in turn, in a process that is replaced when it dies."""
    counts = {"runs": 0}
    findings: list[Finding] = []
    kept: Path | None = None
    for unit, (verdict, words) in verdicts(name, recorded, units):
        counts["runs"] += 1
        counts[verdict.kind] = counts.get(verdict.kind, 0) + 1
        if verdict.kind not in GOOD:
            if kept is None:
                kept = keep_recording(recorded, f"{name}-{unit}")
            replay = f"{DIRECTORY_VARIABLE}={kept} python -m theatre {name} {unit}"
            findings.append(Finding(unit, verdict.kind, f"{words}: {verdict.detail}", replay))
    if counts["runs"] != len(units):
        findings.append(Finding(units[0], "less was done", f"{counts['runs']} of {len(units)}", ""))
    return Done(len(units), counts, tuple(findings))


def keep_recording(recorded: Recording, name: str) -> Path:
    """A copy that stays."""
    path = Path(tempfile.mkdtemp(prefix="bftnode-recording-"))
    shutil.copytree(recorded.path, path, dirs_exist_ok=True)
    return keep(path, name, None)


def verdicts(name: str, recorded: Recording, units: Sequence[int]) -> list[tuple[int, tuple[Verdict, str]]]:
    """By unit, what became of it and what was done."""
    found: list[tuple[int, tuple[Verdict, str]]] = []
    left = list(units)
    while left:
        answered, how = _life(name, recorded, left)
        found += zip(left, answered, strict=False)
        left = left[len(answered) :]
        if left:
            found.append((left.pop(0), (Verdict(DIED, how), name)))
    return found


def _life(name: str, recorded: Recording, units: Sequence[int]) -> tuple[list[tuple[Verdict, str]], str]:
    """One process's verdicts, in order, and how it ended."""
    command = [sys.executable, "-m", "theatre.nights.rotten", name, str(recorded.path)]
    answered: list[tuple[Verdict, str]] = []
    with subprocess.Popen(
        [*command, *map(str, units)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None, "a pipe"
        lines: Queue[str] = Queue()
        Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        try:
            while line := lines.get(timeout=CASE_S):
                kind, detail, words = json.loads(line)
                answered.append((Verdict(kind, detail), words))
        except Empty:
            process.kill()
            return answered, f"nothing came of it in {CASE_S:.0f} s"
        finally:
            process.kill()
        return answered, f"exit code {process.wait()}"


def _read(lines: IO[str], into: "Queue[str]") -> None:
    for line in lines:
        into.put(line)
    into.put("")


def main(name: str, path: Path, units: Sequence[int]) -> None:
    """The process: a line for each unit."""
    room = tempfile.mkdtemp(prefix="bftnode-examination-", dir=ROOM if ROOM.is_dir() else None)
    try:
        examiner = Examiner(Recording(path), Path(room))
        for unit in units:
            case = CASES[name](examiner, unit)
            verdict = examiner.examine(case.image, case.damage, case.still_there)
            print(json.dumps([*verdict, case.words]), flush=True)
    finally:
        shutil.rmtree(room)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [int(unit) for unit in sys.argv[3:]])
