"""The engine with tiny sets: everything once, whatever dies, and nothing that is less is taken for done."""

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nights.crew import Local, Play, Reduce
from nights.engine import Campaign, LessDone, Report, tasks_of
from nights.ledger import Ledger
from nights.sets import ROOT, digest_of
from simulations.work import Finding
from tests.nights import tiny

ENDS_WITHIN_S = 60


@pytest.fixture
def crew() -> Iterator[Local]:
    hired = Local(2)
    yield hired
    hired.close()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def campaign(crew: Local, ledger: Ledger, told: list[str]) -> Callable[[str], Campaign]:
    def of(attribute: str) -> Campaign:
        return Campaign("tiny", f"tests.nights.tiny:{attribute}", crew, ledger, "commit", told.append)

    return of


def play(campaign: Campaign, asked: range = range(40)) -> Report:
    return campaign.play(asked)


def test_every_unit_is_played_once(campaign: Callable[[str], Campaign], ledger: Ledger, told: list[str]) -> None:
    """And what is done is not done again: a second campaign plays what is missing."""
    report = play(campaign("PLAIN"), range(6, 20))
    assert (report.units, report.before, report.counts["runs"], report.missing) == (14, 0, 14, 0)
    report = play(campaign("PLAIN"))
    assert (report.units, report.before, report.missing) == (26, 14, 0)
    assert sorted(tiny.played()) == list(range(40))
    (all_of_it,) = ledger.stretches()
    assert (all_of_it.first, all_of_it.last, all_of_it.counts) == (0, 40, {"runs": 40, "zeros": 0})
    assert told[-1].startswith("tiny: 40/40 units")


def test_findings_are_told_written_and_made_smaller(
    campaign: Callable[[str], Campaign], ledger: Ledger, told: list[str]
) -> None:
    """Each with its replay, and the replay of less."""
    report = play(campaign("FAILS"))
    assert sorted(finding.unit for finding in report.findings) == [5, 21]
    assert [(found.finding.replay, found.smaller) for found in ledger.findings()] == [
        ("replay 5 --all", "replay 5"),
        ("replay 21 --all", "replay 21"),
    ]
    assert "tiny: unit 5 VIOLATED even: 5 is what it is" in told
    assert "tiny: unit 21 again, with less: replay 21" in told
    assert report.units == 40


def test_many_findings_end_it(campaign: Callable[[str], Campaign], ledger: Ledger) -> None:
    """They have one cause: what was begun is finished, no more is."""
    report = play(campaign("ALL_FAIL"))
    assert report.stopped
    assert 10 <= report.units <= 20
    assert sum(bool(found.smaller) for found in ledger.findings()) <= 4


def test_a_worker_that_died_once_is_told_and_its_units_are_played_again(
    campaign: Callable[[str], Campaign], told: list[str]
) -> None:
    """Out of memory, kill -9: no unit is lost."""
    report = play(campaign("DIES_ONCE"))
    assert (report.units, report.findings) == (40, [])
    assert "tiny: a worker died with units 8..11: killed by signal 9" in told
    assert set(tiny.played()) == set(range(40))


def test_units_at_which_workers_die_twice_are_a_finding(
    campaign: Callable[[str], Campaign], ledger: Ledger, told: list[str]
) -> None:
    """The others are done; these are not, and are said to be missing."""
    report = play(campaign("DIES"))
    (finding,) = report.findings
    assert (finding.unit, finding.judge) == (8, "died")
    assert finding.replay == "python -m simulations campaign tiny --units 8..11"
    assert report.missing == 4
    assert ledger.missing("tiny", digest_of("tests.nights.tiny:DIES"), range(40)) == [range(8, 12)]
    assert sum("a worker died with units 8..11" in line for line in told) == 2


def test_a_worker_that_has_lost_its_way_is_killed(ledger: Ledger, told: list[str]) -> None:
    """A job has a bound, and what exceeds it counts as a death."""
    crew = Local(1, seconds_max=1.0)
    try:
        report = Campaign("tiny", "tests.nights.tiny:HANGS", crew, ledger, "commit", told.append).play(range(8, 16))
    finally:
        crew.close()
    assert [finding.judge for finding in report.findings] == ["died"]
    assert report.units == 4
    assert "tiny: a worker died with units 8..11: nothing came of it in 1 s" in told


def test_a_set_that_raises_or_does_less_ends_the_campaign(campaign: Callable[[str], Campaign], ledger: Ledger) -> None:
    """Nothing of it is written down as done."""
    with pytest.raises(LessDone, match=r"units 9\.\.9 raised(.|\n)*ValueError: nine"):
        play(campaign("RAISES"), range(9, 10))
    with pytest.raises(LessDone, match=r"units 0\.\.0 came back as 0 units"):
        play(campaign("LESS"), range(1))
    assert ledger.stretches() == []


def test_a_set_that_needs_the_whole_machine_has_it(campaign: Callable[[str], Campaign]) -> None:
    """One task at a time: its units are in order."""
    assert play(campaign("ALONE")).units == 40
    assert tiny.played() == list(range(40))


def test_when_its_time_is_over_no_task_is_begun(campaign: Callable[[str], Campaign]) -> None:
    """But one is, whatever the time: a night does something of everything."""
    report = campaign("ALONE").play(range(40), until=0.0)
    assert report.units == 4
    assert report.stopped == "its time is over"


def test_other_code_is_not_played(crew: Local) -> None:
    """A worker that sees other sources than the engine says so, and does nothing."""
    for job in (
        Play("tests.nights.tiny:PLAIN", "an older digest", 0, 4),
        Reduce("tests.nights.tiny:PLAIN", "an older digest", Finding(0, "judge", "", "replay")),
    ):
        crew.give(job)
        event = None
        while event is None:
            event = crew.next(ENDS_WITHIN_S)
        assert "an older digest at the engine: nothing is played" in str(event)
    assert tiny.played() == []


def command(attribute: str, place: Path, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    words = ["campaign", f"tests.nights.tiny:{attribute}", "--jobs", "1", "--ledger", str(place / "a.sqlite")]
    return subprocess.run(
        [sys.executable, "-m", "simulations", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=ENDS_WITHIN_S,
    )


def test_kill_9_loses_the_task_under_way_and_nothing_else(place: Path) -> None:
    """The engine is killed in the middle of the third task: two are there, its worker ends, and the rest follows."""
    assert command("KILLS", place).returncode == -9
    with Ledger(place / "a.sqlite") as ledger:
        assert [(one.first, one.last) for one in ledger.stretches()] == [(0, 8)]
    try:
        worker = os.pidfd_open(int((place / "worker").read_text(encoding="ascii")))
    except ProcessLookupError:
        pass  # it has ended already
    else:
        assert select.select([worker], [], [], ENDS_WITHIN_S)[0], "the worker outlives its engine"
        os.close(worker)
    again = command("KILLS", place)
    assert again.returncode == 0, again.stderr
    assert sorted(tiny.played()) == sorted([*range(40), 8])


def test_ctrl_c_ends_it_and_the_same_command_continues(place: Path) -> None:
    """Exit code 130 and what to do next; nothing of it is lost."""
    interrupted = command("INTERRUPTS", place)
    assert interrupted.returncode == 130
    assert "the same command continues" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    again = command("INTERRUPTS", place)
    assert again.returncode == 0, again.stderr
    assert sorted(tiny.played()) == sorted([*range(40), 8])


def test_who_reads_no_more_interrupts_it(place: Path) -> None:
    """`| head`: one line and no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    unread = command("PLAIN", place, writer)
    os.close(writer)
    assert unread.returncode == 130
    assert unread.stderr.startswith("interrupted: ")
    assert unread.stderr.count("\n") == 1


def test_tasks_are_cut_at_multiples_of_the_chunk() -> None:
    """So that gaps of any shape give the same tasks."""
    assert list(tasks_of([range(3, 9), range(12, 13)], 4)) == [(3, 4), (4, 8), (8, 9), (12, 13)]
