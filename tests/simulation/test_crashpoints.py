"""Crash points: what there is to be crashed, a slice of it, and that the mistakes they are for are found there.

`python -m simulations crashpoints` plays the whole set, most of an hour of one core.
"""

import pytest

from simulations.crashpoints import CrashPoints, enumeration
from simulations.crashpoints.mortal import Mode
from simulations.crashpoints.worlds import WORLDS

POINTS_LEAST = 500
UNITS_LEAST = 3000
"""Fewer persist points and first crashes are not what this set stands for."""

SLICE_RUNS_LEAST = 100
"""One first crash in each world, each of another mode, is so many runs with its second ones."""

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
    """One first crash in each world, each of another mode, with all second ones: nothing is violated."""
    work, there = CrashPoints(), enumeration().units
    runs = 0
    for world, mode in zip(WORLDS, Mode, strict=True):
        those = [number for number, unit in enumerate(there) if unit.world is world and unit.blow.mode is mode]
        chosen = those[len(those) // 2]
        done = work.play(chosen, chosen + 1)
        assert not done.findings, done.findings
        assert done.units == done.counts[mode] == 1
        assert done.counts["crashes"] == 2 * done.counts["runs"] - 1, "the first crash alone, then two in each run"
        runs += done.counts["runs"]
    assert runs >= SLICE_RUNS_LEAST
