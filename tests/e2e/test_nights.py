"""A few units of each set of real nights (theatre/nights/), and faults that each has to find."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from simulations.work import Done
from tests.e2e.cluster import processes_in
from theatre.nights import disks, examination, histories, kills, recording, rotten
from theatre.nights.histories import Histories
from theatre.nights.kills import KILLS
from theatre.nights.night import Night
from theatre.nights.town import MEMBERS, Town

DEADLINE_S = 60.0


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what failed is kept."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path / "bftnode-nights"


def held(done: Done, units: int) -> dict[str, int]:
    """Its counts; as much was done as was stated, and nothing found."""
    assert done.findings == ()
    assert done.units == done.counts["runs"] == units
    return dict(done.counts)


@pytest.mark.covers("D01", "T07", "T11", "T12", "X01", "P10", "P13", "V13")
def test_cycles_of_kill_9_lose_nothing_that_was_acknowledged() -> None:
    """Members are killed at random, while they start too; logs are equal and verify, nobody contradicts himself."""
    counts = held(KILLS.play(0, 2), 2)
    assert counts["kills"] >= 2
    assert counts["acknowledged"] >= 2 * kills.PROGRESS


async def lose_everything(self: Night, town: Town, victims: Sequence[int]) -> None:
    """In place of a kill: all disks as they were before the cycle."""
    await town.troupe.kill(*range(MEMBERS))
    for member in range(MEMBERS):
        town.troupe.put_data_back(member)
        town.troupe.launch(member)


def test_an_acknowledged_operation_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    """All four disks go back to a moment before it; the cluster goes on, and what it told clients is not true."""
    monkeypatch.setattr(kills, "_kill", lose_everything)
    cycle = kills._cycle

    async def with_copies(night: Night, town: Town, load: kills.Load, *rest: object) -> None:
        for member in range(MEMBERS):
            town.troupe.copy_data(member)
        await load.progress(kills.PROGRESS, kills.PROGRESS_S, town)
        await cycle(night, town, load, *rest)

    monkeypatch.setattr(kills, "_cycle", with_copies)
    [finding] = KILLS.play(0, 1).findings
    assert finding.judge == "logs"
    assert "is in the log 0 times" in finding.detail
    assert finding.replay == "python -m theatre kills 0..0"
    [left] = kept.iterdir()
    assert "kill" in (left / "story").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_a_recording_finds_nothing_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    """No daemon and no directory: a campaign's workers are ended as they record."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", "from theatre.nights.rotten import TRUNCATIONS; TRUNCATIONS.play(0, 1)"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        until = time.monotonic() + DEADLINE_S
        while len(processes_in(tmp_path)) < MEMBERS:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(DEADLINE_S) != 0
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def recorded() -> Iterator[recording.Recording]:
    """One run of four daemons, for all that is damaged here."""
    with recording.recording() as made:
        yield made


@pytest.mark.parametrize(
    ("name", "units"),
    [
        pytest.param("bitflips", 20, marks=pytest.mark.covers("D03", "D06", "D16")),
        pytest.param("truncations", 10, marks=pytest.mark.covers("D06")),
        pytest.param("zeroed", 10, marks=pytest.mark.covers("D06", "D14")),
    ],
)
def test_a_damaged_directory_gives_no_wrong_answer(recorded: recording.Recording, name: str, units: int) -> None:
    """Of a real member: repaired, refused in words, or unaffected; and some of each set are found."""
    counts = held(rotten.examine_all(name, recorded, range(units)), units)
    assert sum(counts.get(kind, 0) for kind in examination.GOOD) == units
    assert counts["refused"] > 0


def test_a_wrong_answer_is_found(
    recorded: recording.Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what LOCK notes, a bit of a meta page takes the last commit back; and an error is told, or a finding."""
    examiner = examination.Examiner(recorded, tmp_path)

    def examined(byte: int) -> list[str]:
        kinds = []
        for page in (0, examination.PAGE_BYTES):

            def damage(data: Path, at: int = page + byte) -> None:
                with open(data / examination.DATA, "r+b") as file:
                    file.seek(at)
                    old = file.read(1)[0]
                    file.seek(at)
                    file.write(bytes((old ^ 0x80,)))

            kinds.append(examiner.examine(1, damage, lambda data: True).kind)
        return sorted(kinds)

    newest_id = 16 + 136 - 7  # the second byte of a transaction id
    assert examined(newest_id) == ["refused", "refused"]
    monkeypatch.setattr("bftnode.storage.metas.check", lambda *_: None)
    assert "wrong answer" in examined(newest_id)

    def fall_apart(*_: object) -> None:
        raise KeyError("nobody is told what to do")

    monkeypatch.setattr("bftnode.storage.metas.check", fall_apart)
    assert examined(newest_id) == ["untold", "untold"]


def test_an_examination_that_dies_is_a_finding(recorded: recording.Recording, kept: Path) -> None:
    """Each unit that no process lived to answer for, with the recording that it was found in."""
    done = rotten.examine_all("nonsense", recorded, range(2))
    assert [(finding.unit, finding.judge) for finding in done.findings] == [(0, "died"), (1, "died")]
    assert all("exit code 1" in finding.detail for finding in done.findings)
    assert done.findings[0].replay.startswith(f"BFTNODE_RECORDING={kept / 'nonsense-0'} python -m theatre nonsense 0")


@pytest.mark.covers("D01", "T04", "P42", "X01")
def test_a_history_of_real_clients_is_linearizable() -> None:
    """Members are killed, paused and cut off meanwhile; quick reads keep what they promise."""
    counts = held(Histories(150).play(0, 1), 1)
    assert counts["operations"] == 150
    assert counts["quick reads"] > 5
    assert any(counts.get(trouble, 0) for trouble in ("kills", "pauses", "cuts", "splits"))


async def cut_off(night: Night, town: Town, dice: object) -> None:
    """One member hears nothing any more."""
    town.apart([0])


def test_a_history_that_is_not_linearizable_is_found(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    """One member's word where a linearizable read was asked for, and that member is cut off."""
    monkeypatch.setattr(histories, "LINEARIZABLE", "local")
    monkeypatch.setattr(histories, "_trouble", cut_off)
    [finding] = Histories(150).play(0, 1).findings
    assert finding.judge == "linearizability"
    assert "no order explains what was seen of" in finding.detail
    assert finding.replay == "python -m theatre histories 0..0"


@pytest.mark.parametrize(
    ("work", "outcomes"),
    [
        pytest.param(disks.ROLLBACKS, ("quarantined", "went on"), marks=pytest.mark.covers("D07", "P14", "R13")),
        pytest.param(
            disks.FULL, ("full by limit", "full by fallocate", "full by pwrite"), marks=pytest.mark.covers("D04")
        ),
        pytest.param(disks.FSYNC, ("ended by fsync", "ended by pwrite"), marks=pytest.mark.covers("D05")),
    ],
    ids=["rollbacks", "full", "fsync"],
)
def test_a_disk_that_fails_is_told_and_survived(work: disks.Disks, outcomes: Sequence[str]) -> None:
    """By a living member, in a town that goes on; nobody contradicts what he has said in any life."""
    counts = held(work.play(0, 1), 1)
    assert sum(counts.get(outcome, 0) for outcome in outcomes) == 1


def test_a_member_that_goes_on_although_its_disk_fails_is_found(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    """Here it never hears of the failure, and is as alive as one that has made light of it."""
    monkeypatch.setattr("theatre.troupe.Troupe.unmask", lambda *_: None)
    monkeypatch.setattr(disks, "STATE_S", 0.5)
    [finding] = disks.FSYNC.play(0, 1).findings
    assert finding.judge == "ends and says why"
    assert "goes on although" in finding.detail
