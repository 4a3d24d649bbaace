"""Crash points: what there is to be crashed, a slice of it, and that the mistakes they are for are found there.

`python -m simulations crashpoints` plays the whole set, most of an hour of one core.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from unittest.mock import patch

import pytest

from bftnode.protocol.codec import Wire
from bftnode.protocol.messages import ViewChange
from bftnode.replica.agreement import Agreement
from bftnode.replica.view_change import ViewChanges
from bftnode.replica.voice import Voice
from simulations.crashpoints import CrashPoints, enumeration, runs_of
from simulations.crashpoints.mortal import Mode
from simulations.crashpoints.worlds import WORLDS

POINTS_LEAST = 500
UNITS_LEAST = 3000
"""Fewer persist points and first crashes are not what this set stands for."""

SLICE_RUNS_LEAST = 100
"""One first crash in each world, the modes in turn, is so many runs with its second ones."""

RECORDS = {
    *("boot", "seen", "prepare", "commit", "highest", "view", "view_change", "new_view", "new_view.*", "quarantine"),
    *("closed", "cosigned", "evidence.*", "store", "drop", "append", "checkpoint"),
}
"""All that a replica persists, but for the proof of a fork, which more than f must have brought about."""


def test_every_kind_of_record_is_written_in_the_worlds() -> None:
    """The persist points are counted, and none of what is persisted is left out."""
    there = enumeration()
    assert set(there.records) == RECORDS
    assert there.points >= POINTS_LEAST
    assert len(there.units) >= UNITS_LEAST
    assert sum(there.modes.values()) == len(there.units)
    assert there.modes[Mode.BEFORE] == there.modes[Mode.AFTER] == there.modes[Mode.BLACKOUT] == there.points
    assert all(there.modes[mode] for mode in Mode)


@pytest.mark.covers("D01", "D02", "D14", "P13", "P26", "T07", "T12")
def test_a_slice_of_the_crash_points() -> None:
    """One first crash in each world, the modes in turn, with all second ones: nothing is violated."""
    work, there = CrashPoints(), enumeration().units
    runs = 0
    for world, mode in zip(WORLDS, cycle(Mode), strict=False):
        those = [number for number, unit in enumerate(there) if unit.world is world and unit.blow.mode is mode]
        chosen = those[len(those) // 2]
        done = work.play(chosen, chosen + 1)
        assert not done.findings, done.findings
        assert done.units == done.counts[mode] == 1
        assert done.counts["crashes"] == 2 * done.counts["runs"] - 1, "the first crash alone, then two in each run"
        runs += done.counts["runs"]
    assert runs >= SLICE_RUNS_LEAST


def test_a_recovery_that_the_script_begins_is_one() -> None:
    """In `quarantine` the script itself starts the member again, at times while it is down from a blow: a second crash
    falls in that life, too."""
    those = [unit for unit in enumeration().units if (unit.world.name, unit.victim) == ("quarantine", 2)]
    runs = [run for unit in those if unit.blow.mode is Mode.BEFORE for run in islice(runs_of(unit), 2)]
    assert [run.violation for run in runs if run.violation] == []
    assert sum(len(run.blows) == 2 for run in runs) == len(runs) / 2


@contextmanager
def prepare_forgotten_in_a_crash() -> Iterator[None]:
    """Who restarts after a crash votes at heights where it may have voted already."""
    resume = Agreement.resume_view

    def boldly(self: Agreement, certificate: object, *, crashed: bool) -> None:
        resume(self, certificate, crashed=crashed and False)  # type: ignore[arg-type]  # handed on

    with patch.object(Agreement, "resume_view", boldly):
        yield


def _behind(name: str) -> "contextmanager[None]":
    """Record `name` is written behind what is said of it."""
    persist = Voice.persist

    def later(self: Voice, record: str, value: Wire | bytes, *, behind: bool = False) -> None:
        persist(self, record, value, behind=behind or record == name)

    return patch.object(Voice, "persist", later)


@contextmanager
def view_change_that_varies() -> Iterator[None]:
    """Who restarts asks for its view with another certificate than before."""
    resume = ViewChanges.resume

    def otherwise(self: ViewChanges, own: ViewChange | None, new_view: bytes | None, then: Callable[..., None]) -> None:
        resume(self, own and ViewChange(own.epoch, own.view, None), new_view, then)

    with patch.object(ViewChanges, "resume", otherwise):
        yield


PLANTED = {
    "prepare-forgotten-in-a-crash": (prepare_forgotten_in_a_crash, "normal", 0, Mode.BLACKOUT, "said-once"),
    "commit-written-behind": (lambda: _behind("commit"), "normal", 1, Mode.BEFORE, "durable"),
    "view-not-written": (lambda: _behind("view"), "view-over", 0, Mode.BEFORE, "view-monotone"),
    "view-change-that-varies": (view_change_that_varies, "view-change", 1, Mode.HALF_SAID, "said-once"),
}
"""Bugs of tests/exam/bugs.toml that a crash brings to light; the world, who dies, how, and who sees it."""


@pytest.mark.covers("P13", "D01")
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    """By the judge that it offends, in one world and mode; without it the same crashes show nothing."""
    bug, world, victim, mode, judge = PLANTED[name]
    those = [
        unit for unit in enumeration().units if (unit.world.name, unit.victim, unit.blow.mode) == (world, victim, mode)
    ]
    assert those
    assert [run.violation for run in (next(runs_of(unit)) for unit in those) if run.violation] == []
    with bug():
        found = [run.violation.name for run in (next(runs_of(unit)) for unit in those) if run.violation]
    assert judge in found
