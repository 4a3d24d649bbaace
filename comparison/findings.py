"""What a study of one system found: a table of words, beside the table of the turns. Pure.

A study asks what has no counterpart in another system (a lying member, a log of ten million): it has a cluster of its
own, compares neighbouring windows of it, and says of each line what is asked and whether it is reached.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure."""

    words: tuple[str, ...]  # as many as the section has heads
    met: bool | None = None  # whether what is asked is reached; None: nothing is asked


@dataclass(frozen=True, slots=True)
class Section:
    """One study's answer."""

    topic: str  # as in plan.py
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()  # sentences: how it was measured
    measured: bool = True  # or else its line says why not


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a study may take."""

    seconds: float  # of a window
    quick: bool = False  # small data sets: shows that it works, measures little
    operations: int | None = None  # of the large data set, where not the study's own


Study = Callable[[Path, Effort, Tell], Section]
"""`path` is an empty directory for the cluster's data. Raises Failed."""


def verdict(met: bool | None) -> str:
    """The last column: `yes`, `NO`, or nothing where nothing is asked."""
    return "" if met is None else "yes" if met else "NO"


def failed(topic: str, why: str) -> Section:
    """Of a study that could not be made."""
    return Section(topic, ("", "not measured"), (Line(("", why)),), measured=False)


def grid(section: Section) -> tuple[list[str], list[list[str]]]:
    """Heads and rows, with a verdict where anything is asked."""
    asked = any(line.met is not None for line in section.lines)
    heads = [*section.heads, *(["reached"] if asked else [])]
    return heads, [[*line.words, *([verdict(line.met)] if asked else [])] for line in section.lines]
