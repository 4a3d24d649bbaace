"""What heights over time say of an absence, and how many operations a log holds."""

from pathlib import Path

import pytest

from comparison.absence import Absence, Watch, absence, height_at, level_at
from comparison.catching_up import operations_by_height
from comparison.failures import Failed
from tests.storage.chains import World
from tests.storage.test_store import opened

OPERATIONS = [1000 * height for height in range(201)]


def watched(away_until_s: float = 10.0) -> Watch:
    """Others make ten blocks a second, 20 when it is away; it comes back at 10 s with height 20, makes 100 a second."""
    watch = Watch()
    for tick in range(0, 200):
        at_s = tick / 10
        for name in ("a", "b"):
            watch.read(f'[{at_s}, "{name}", {min(10 * at_s, 190):.0f}]\n')
        if at_s <= 2 or at_s >= away_until_s:
            height = 10 * at_s if at_s <= 2 else min(20 + 100 * (at_s - away_until_s), 10 * at_s, 190)
            watch.read(f'[{at_s}, "late", {height:.0f}]\n')
    return watch


def test_an_absence_is_read_out_of_heights() -> None:
    """It has 20 of 100 blocks at 10 s, makes a hundred a second, and is level when it has as many as another."""
    found = absence(watched().heights, OPERATIONS, "late", (6.0, 9.0), 9.5, 0.5, 20_000.0)
    assert found == Absence(
        missed=80_000,
        seconds=pytest.approx(1.4),
        caught_up_per_s=pytest.approx(89_000 / 0.9),
        before_per_s=pytest.approx(10_000),
        during_per_s=pytest.approx(10_000),
        full_per_s=20_000.0,
        cpu_us=pytest.approx(1e6 * 0.5 / 89_000),
    )
    assert (found.kept, found.kept_of_full) == (pytest.approx(100), pytest.approx(50))


def test_who_is_not_level_has_not_caught_up() -> None:
    """Nor who was never away, whatever its pace."""
    watch = watched(away_until_s=19.9)
    assert level_at(watch.heights, "late", 3.0) is None
    with pytest.raises(Failed, match="late has not caught up"):
        absence(watch.heights, OPERATIONS, "late", (6.0, 9.0), 3.0, None, 1.0)
    with pytest.raises(Failed, match="more must be missed"):
        absence(watch.heights, OPERATIONS, "a", (6.0, 9.0), 9.5, None, 1.0)


def test_blocks_that_are_not_written_yet_are_not_counted() -> None:
    """The log that was read ends below what was executed."""
    found = absence(watched().heights, OPERATIONS[:106], "late", (6.0, 9.0), 9.5, None, 1.0)
    assert found.caught_up_per_s == pytest.approx(85_000 / 0.9)


def test_lines_are_read_as_they_come() -> None:
    """A half one waits for its end; what is none is told."""
    watch = Watch()
    watch.read('[1.0, "a", 1]\n[2.0, "a"')
    assert watch.heights == {"a": [(1.0, 1)]}
    watch.read(", 5]\n")
    assert [height_at(watch.heights["a"], at_s) for at_s in (0.5, 1.0, 1.9, 2.0, 9.0)] == [0, 1, 1, 5, 5]
    with pytest.raises(Failed, match="not a height: Traceback"):
        watch.read("Traceback\n")


def test_operations_are_counted_in_the_log(tmp_path: Path) -> None:
    """Of envelopes with several, of blocks with several envelopes."""
    world = World()
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.notes(2), world.append(world.admin.envelope(b"\x01a", b"\x01b", b"\x01c"))))
    storage.close()
    assert operations_by_height(tmp_path) == [0, 2, 5]
