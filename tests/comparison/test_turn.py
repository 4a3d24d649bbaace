"""A turn of a small system of real processes: what is measured, and that nothing outlives it, however it ends."""

import json
import sys
from pathlib import Path

import pytest

from comparison.calibration import Calibration
from comparison.failures import Failed
from comparison.loads import Load
from comparison.measure import take_turn
from comparison.plan import Plan
from comparison.processes import Members
from comparison.results import Turn
from comparison.systems import Running, System

MEMBER = "import signal; print('a member', flush=True); signal.pause()"
GENERATOR = """
import json, sys, time
duration_s, report = float(sys.argv[1]), json.loads(sys.argv[2])
began = time.monotonic()
while time.monotonic() - began < duration_s:
    pass  # all of a core, which is what it costs
print(json.dumps(report))
"""
REPORT = {
    "operations": 1000,
    "operations_per_s": 1000.0,
    "latency_ms_median": 1.0,
    "latency_ms_p99": 2.0,
    "refused": 0,
    "outcome_unknown": 0,
}


READ_BACK = {"read_back_from": 2, "acknowledged_and_lost": 0}
"""From those whom the kill leaves."""


class RunningToy(Running):
    def __init__(self, path: Path, generator: str, one_more: str | None) -> None:
        self.members = Members(path)
        self.closed = False
        self.asked: list[Load] = []
        self.pids: dict[str, int] = {}
        self._generator = generator
        self._one_more = one_more

    def begin(self) -> None:
        for i in range(3):
            self.members.start(f"toy{i}", [sys.executable, "-c", MEMBER])
        if self._one_more is not None:
            self.members.start("short", [sys.executable, "-c", self._one_more])
        self.pids = dict(self.members.pids)

    def load_command(self, load: Load, duration_s: float) -> list[str]:
        self.asked.append(load)
        report = json.dumps({**REPORT, "duration_s": duration_s})
        return [sys.executable, "-c", self._generator, str(duration_s), report]

    def kill_load_command(self, rate: float, duration_s: float) -> list[str]:
        far = 1e12  # a silence that ends long after any kill
        report = json.dumps({**REPORT, "silences": [[0, far]], "last_acknowledged": far, **READ_BACK})
        return [sys.executable, "-c", self._generator, str(duration_s), report]

    def leader(self) -> str:
        return "toy1"

    def close(self) -> None:
        self.left = list(self.members.pids)
        self.members.close()
        self.closed = True


class Toy(System):
    name, kind, count = "toy", "etcd", 3
    title = flags = "a toy"

    def __init__(self, generator: str = GENERATOR, member: str | None = None) -> None:
        self._generator = generator
        self._member = member  # one more
        self.running: RunningToy | None = None

    @property
    def pids(self) -> dict[str, int]:
        assert self.running is not None, "created"
        return self.running.pids

    def create(self, path: Path) -> Running:
        self.running = RunningToy(path, self._generator, self._member)
        return self.running


def empty() -> Turn:
    return Turn("toy", Calibration(1.0, 1.0, 1.0))


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def check_all_gone(toy: Toy) -> None:
    assert toy.running is not None
    assert toy.running.closed
    assert all(gone(pid) for pid in toy.pids.values())


def plan(topic: str, seconds: float = 0.1) -> Plan:
    return Plan(frozenset({topic}), seconds, seconds, quick=True, kill_after_s=0.1, kill_load_s=0.5)


def test_a_turn_measures_and_ends(tmp_path: Path) -> None:
    """A generator that takes a whole core for 1,000 operations a second costs some 1,000 us of CPU each."""
    toy = Toy()
    turn = empty()
    take_turn(turn, toy, plan("T3", seconds=1.2), tmp_path, [], print)
    check_all_gone(toy)
    measured = turn.rows["T3"]
    assert measured.report.operations == turn.operations == 1000
    assert measured.cpu_us is not None
    assert 0 < measured.cpu_us < 1500
    assert list(turn.resident_mb) == ["toy0", "toy1", "toy2"]
    assert min(turn.resident_mb.values()) > 1


def test_half_of_the_saturation_is_asked_for(tmp_path: Path) -> None:
    """T4 measures the curve and the saturation first."""
    toy = Toy()
    turn = empty()
    take_turn(turn, toy, plan("T4"), tmp_path, [], print)
    check_all_gone(toy)
    assert len(turn.curve) == 3
    assert turn.rows["T4"].load.rate == 500
    assert toy.running is not None
    assert toy.running.asked[-1] == turn.rows["T4"].load


def test_the_leader_is_killed(tmp_path: Path) -> None:
    """It and no other; the others are ended afterwards."""
    toy = Toy()
    seen: list[str] = []
    turn = empty()
    take_turn(turn, toy, plan("T5"), tmp_path, [], seen.append)
    check_all_gone(toy)
    assert turn.outage is not None
    assert turn.outage.seconds > 1
    assert toy.running is not None
    assert toy.running.left == ["toy0", "toy2"]
    assert seen[-2].startswith("kill -9 of the leader")
    assert (turn.outage.acknowledged, turn.outage.missing) == (1000, 0)


def test_a_generator_that_fails_ends_the_turn(tmp_path: Path) -> None:
    """With what it said."""
    toy = Toy("import sys; sys.exit('the cluster refuses')")
    with pytest.raises(Failed, match=r"code 1:\n  the cluster refuses"):
        take_turn(empty(), toy, plan("T3"), tmp_path, [], print)
    check_all_gone(toy)


def test_a_member_that_ends_by_itself_ends_the_turn(tmp_path: Path) -> None:
    """A cluster of two would be measured as if it were three."""
    toy = Toy(member="print('cannot go on')")
    with pytest.raises(Failed, match="short has ended with code 0"):
        take_turn(empty(), toy, plan("T3"), tmp_path, [], print)
    check_all_gone(toy)


def interrupting(_text: str) -> None:
    raise KeyboardInterrupt


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a turn: members and generator are gone."""
    toy = Toy()
    with pytest.raises(KeyboardInterrupt):
        take_turn(empty(), toy, plan("T3"), tmp_path, [], interrupting)
    check_all_gone(toy)


def test_members_that_never_are_ready_are_given_up(tmp_path: Path) -> None:
    """With their last words; and one that ends before is no reason to wait."""
    members = Members(tmp_path)
    try:
        members.start("slow", [sys.executable, "-c", MEMBER])
        with pytest.raises(Failed, match="slow are not up after 0 s"):
            members.until(lambda: False, 0.0)
        members.until(lambda: True, 0.0)
    finally:
        members.close()
