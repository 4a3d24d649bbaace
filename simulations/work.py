"""Work that can be cut, put off and spread: a set of numbered units, each the same whenever and wherever it is played.

Exhaustive sets have so many units; others (seeds) go on for ever, and a full set is what was asked of them. Whoever
plays a slice gets back what was done in it, in numbers, and what was found: a slice that did less than it stands for
is a finding itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

DETAIL_CHARACTERS_MAX = 400
"""A finding's words beyond that are cut: its replay tells the rest."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A property that did not hold in a unit, and the command that shows it again."""

    unit: int
    judge: str  # the property's name
    detail: str
    replay: str  # one line, for a shell in the checkout

    def __post_init__(self) -> None:
        assert "\n" not in self.replay, "one line"
        object.__setattr__(self, "detail", self.detail[:DETAIL_CHARACTERS_MAX])


@dataclass(frozen=True, slots=True)
class Done:
    """What a slice did. `counts` always has "runs", and whatever else the set counts, by names that can be added up."""

    units: int
    counts: Mapping[str, int]
    findings: tuple[Finding, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)  # what is no number; of two slices the later one's counts

    def __post_init__(self) -> None:
        assert "runs" in self.counts, "a slice says how many runs it was"


class Work(Protocol):
    """One set. Instances hold no state: `play` of a unit range gives the same in any process, on any machine."""

    @property
    def name(self) -> str:
        """One word, for the command line and the table."""

    @property
    def story(self) -> str:
        """A line for the help and the table: what a unit is."""

    @property
    def units(self) -> int | None:
        """How many there are; None where they go on for ever."""

    @property
    def full(self) -> int:
        """How many units a full set has."""

    @property
    def chunk(self) -> int:
        """How many units make a task of a minute or less."""

    def play(self, first: int, last: int) -> Done:
        """Units first <= unit < last, all of them. Violations are findings; whatever is raised ends the campaign."""


@runtime_checkable
class Alone(Protocol):
    """A set whose units need the whole machine (real processes, real time): one task at a time, nothing beside it."""

    @property
    def alone(self) -> bool:
        """Whether it is so."""


@runtime_checkable
class Reducer(Protocol):
    """A set that knows how to make what it found smaller."""

    def smaller(self, finding: Finding) -> Finding:
        """The same property of the same unit, violated by less; its replay says what was taken away. As it was where
        nothing can be taken away. Takes minutes at most."""


@runtime_checkable
class Sourced(Protocol):
    """A set that is made of other files than the house and its own room."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Patterns (pathlib's glob, from the checkout) of what its units depend on beside bftnode/."""


def parts(first: int, last: int, sizes: Iterable[int]) -> Iterator[tuple[int, range, int]]:
    """Of a set that is made of parts of these sizes, those that units first <= unit < last touch: the part's number,
    which of these units are in it, and its first unit."""
    begins = 0
    for number, size in enumerate(sizes):
        inside = range(max(first, begins), min(last, begins + size))
        if inside:
            yield number, inside, begins
        begins += size


def is_alone(work: Work) -> bool:
    """Whether nothing may run beside a task of this set; False where it does not say."""
    return isinstance(work, Alone) and work.alone
