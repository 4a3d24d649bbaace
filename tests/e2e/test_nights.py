"""A few units of each set of real nights (theatre/nights/), and faults that each has to find."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from simulations.work import Done
from theatre.nights import kills
from theatre.nights.kills import Kills
from theatre.nights.town import MEMBERS, Town


def held(done: Done, units: int) -> dict[str, int]:
    """Its counts; as much was done as was stated, and nothing found."""
    assert done.findings == ()
    assert done.units == done.counts["runs"] == units
    return dict(done.counts)


@pytest.mark.covers("D01", "T07", "T11", "T12", "X01", "P10", "P13", "V13")
def test_cycles_of_kill_9_lose_nothing_that_was_acknowledged() -> None:
    """Members are killed at random, while they start too; logs are equal and verify, nobody contradicts himself."""
    counts = held(Kills().play(0, 4), 4)
    assert counts["kills"] >= 4
    assert counts["acknowledged"] >= 4 * kills.PROGRESS


async def lose_everything(self: kills.Night, town: Town, victims: Sequence[int]) -> None:
    """In place of a kill: all disks as they were before the cycle."""
    await town.troupe.kill(*range(MEMBERS))
    for member in range(MEMBERS):
        town.troupe.put_data_back(member)
        town.troupe.launch(member)


def test_an_acknowledged_operation_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All four disks go back to a moment before it; the cluster goes on, and what it told clients is not true."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(kills, "_kill", lose_everything)
    cycle = kills._cycle

    async def with_copies(night: kills.Night, town: Town, load: kills.Load, *rest: object) -> None:
        for member in range(MEMBERS):
            town.troupe.copy_data(member)
        await load.progress(kills.PROGRESS, kills.PROGRESS_S, town)
        await cycle(night, town, load, *rest)

    monkeypatch.setattr(kills, "_cycle", with_copies)
    [finding] = Kills().play(0, 1).findings
    assert finding.judge == "logs"
    assert "is in the log 0 times" in finding.detail
    assert finding.replay == "python -m theatre kills 0..0"
    [kept] = (tmp_path / "bftnode-nights").iterdir()
    assert "kill" in (kept / "story").read_text()
