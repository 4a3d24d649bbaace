"""Tiny sets for the engine's tests: they write down what they play, and fail, die and kill when they are told to.

Units are played in a directory that the environment names, so that a test sees what was played, how often, by whom.
"""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simulations.work import Done, Finding

DIRECTORY = "BFTNODE_TINY"


def directory() -> Path:
    return Path(os.environ[DIRECTORY])


def played() -> list[int]:
    """Units in the order in which they were played to their end."""
    try:
        return [int(line) for line in (directory() / "played").read_text(encoding="ascii").split()]
    except FileNotFoundError:
        return []


def once(what: str) -> bool:
    """True the first time that anybody asks."""
    try:
        (directory() / what).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@dataclass(frozen=True)
class Tiny:
    """Units that are one line in a file each, and what goes wrong in one of them."""

    name: str
    trouble: Callable[[int], None] = lambda unit: None
    fails: tuple[int, ...] = ()
    less: int = 0
    alone: bool = False
    story: str = "a line in a file"
    units: int | None = 40
    full: int = 40
    chunk: int = 4
    sources: tuple[str, ...] = ("tests/nights/tiny.py",)

    def play(self, first: int, last: int) -> Done:
        for unit in range(first, last):
            self.trouble(unit)
            with (directory() / "played").open("a", encoding="ascii") as file:
                file.write(f"{unit}\n")
        findings = [
            Finding(unit, "even", f"{unit} is what it is", f"replay {unit} --all")
            for unit in self.fails
            if first <= unit < last
        ]
        count = last - first - self.less
        return Done(count, {"runs": count, "zeros": 0}, tuple(findings))

    def smaller(self, finding: Finding) -> Finding:
        return Finding(finding.unit, finding.judge, finding.detail, f"replay {finding.unit}")


def _dies_at_nine(unit: int) -> None:
    if unit == 9:
        os.kill(os.getpid(), signal.SIGKILL)


def _dies_once_at_nine(unit: int) -> None:
    if unit == 9 and once("died"):
        os.kill(os.getpid(), signal.SIGKILL)


def _raises_at_nine(unit: int) -> None:
    if unit == 9:
        raise ValueError("nine")


def _kills_the_engine_once_at_nine(unit: int) -> None:
    if unit == 9 and once("killed"):
        (directory() / "worker").write_text(str(os.getpid()), encoding="ascii")
        os.kill(os.getppid(), signal.SIGKILL)
        threading.Event().wait()  # for ever: that the engine is gone has to end it


def _interrupts_the_engine_once_at_nine(unit: int) -> None:
    if unit == 9 and once("interrupted"):
        os.kill(os.getppid(), signal.SIGINT)
        threading.Event().wait()


def _hangs_at_nine(unit: int) -> None:
    if unit == 9:
        threading.Event().wait()


PLAIN = Tiny("plain")
ALONE = Tiny("alone", alone=True)
FAILS = Tiny("fails", fails=(5, 21))
ALL_FAIL = Tiny("all-fail", fails=tuple(range(40)))
LESS = Tiny("less", less=1)
DIES = Tiny("dies", _dies_at_nine)
DIES_ONCE = Tiny("dies-once", _dies_once_at_nine)
RAISES = Tiny("raises", _raises_at_nine)
KILLS = Tiny("kills", _kills_the_engine_once_at_nine)
INTERRUPTS = Tiny("interrupts", _interrupts_the_engine_once_at_nine)
HANGS = Tiny("hangs", _hangs_at_nine)
