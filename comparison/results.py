"""What was measured, turn by turn, and its middle and ends. Pure."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from comparison.calibration import Calibration
from comparison.findings import Section
from comparison.loads import Load, Outage, Report


@dataclass(frozen=True, slots=True)
class Measured:
    """One load."""

    load: Load
    report: Report
    cpu_us: float | None  # CPU of members and generator for one operation, in us; None if the load was too short
    others: float | None  # CPUs that processes of others kept busy meanwhile


@dataclass(slots=True)
class Turn:
    """One system's, with a cluster of its own that began empty."""

    system: str
    calibration: Calibration  # just before it
    curve: list[Measured] = field(default_factory=list)
    rows: dict[str, Measured] = field(default_factory=dict)  # by the names in plan.py
    outage: Outage | None = None
    resident_mb: dict[str, float] = field(default_factory=dict)  # by member, before the kill
    operations: int = 0  # that had been committed and counted by then


@dataclass(slots=True)
class Pair:
    """A turn of every system, neighbours in time."""

    turns: dict[str, Turn] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Described:
    """A system."""

    name: str
    title: str
    flags: str
    members: int


@dataclass(slots=True)
class Results:
    """A whole comparison; the first system is ours."""

    began: str
    command: str
    machine: str
    cores: int
    seconds: float
    curve_seconds: float
    systems: list[Described]
    pairs: list[Pair] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)  # of the studies

    @property
    def title(self) -> str:
        ours, *rest = self.systems
        return f"{ours.name} beside {' and '.join(one.name for one in rest)}" if rest else f"{ours.name} by itself"

    def values(self, system: str, of: Callable[[Turn], float | None]) -> list[float | None]:
        """Pair by pair; None where it was not measured."""
        return [of(pair.turns[system]) if system in pair.turns else None for pair in self.pairs]


class Spread(NamedTuple):
    """Of several values."""

    median: float
    least: float
    most: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """None of nothing."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def ratios(ours: Iterable[float | None], theirs: Iterable[float | None]) -> list[float | None]:
    """Pair by pair: neighbours in time, which a noisy machine treats alike."""
    return [None if one is None or not other else one / other for one, other in zip(ours, theirs, strict=True)]
