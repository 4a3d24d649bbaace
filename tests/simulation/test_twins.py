"""Worlds of a member at two places: their number, the symmetry, slices of them, and bugs that a slice finds."""

import pytest

from simulations.worlds.partitions import exchanged, partitions
from simulations.worlds.twins import SPAN, WAYS, WORLDS, Twins, is_mirrored, ways_of


@pytest.mark.covers("O02")
def test_all_ways_to_part_five_places_are_there() -> None:
    """Bell's numbers: 52 ways, each once, so 52^3 worlds for each of four twins."""
    assert [len(partitions(count)) for count in range(1, 6)] == [1, 2, 5, 15, 52]
    assert len(set(WAYS)) == 52
    assert WORLDS == 4 * 52**3 == 4 * SPAN
    assert ways_of(0) == (0, (0, 0, 0))
    assert ways_of(WORLDS - 1) == (3, (51, 51, 51))


@pytest.mark.covers("O02", "N01", "N11", "V11")
def test_a_slice_of_worlds_is_decided() -> None:
    """No two honest members differ, and what was asked is executed soon after all hear all."""
    done = Twins().play(52 * 52 * 7, 52 * 52 * 7 + 104)
    assert done.units == 104
    assert not done.findings
    assert done.counts["runs"] + done.counts["mirrored"] + done.counts["merged"] == 104
    assert done.counts["runs"] >= 52


def test_a_mirrored_world_has_one_that_is_played() -> None:
    """Exchanging the copies' names makes of each world that is not played one that is."""
    for twin in range(4):
        for way in WAYS:
            if is_mirrored(twin, (way,)):
                assert not is_mirrored(twin, (exchanged(way, twin, 4),))
