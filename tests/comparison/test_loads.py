"""Reports of either generator, and what is read out of them."""

import json

import pytest

from bftnode.cli.bench import Load as BenchLoad
from bftnode.cli.bench import Tally, summarise
from comparison.acknowledgements import missing, silences
from comparison.failures import Failed
from comparison.loads import Load, read_outage, read_report

REPORT = {
    "operations": 100,
    "operations_per_s": 50.0,
    "duration_s": 2.0,
    "latency_ms_median": 3.0,
    "latency_ms_p99": 9.0,
    "refused": 1,
    "outcome_unknown": 2,
    "silences": [[10.0, 10.1], [19.99, 20.04], [20.05, 21.5], [30.0, 30.2]],
    "last_acknowledged": 40.0,
    "read_back_from": 3,
    "acknowledged_and_lost": 0,
}


def test_a_report_is_read() -> None:
    """What is not used is not looked at."""
    report = read_report(json.dumps({**REPORT, "something": "new"}))
    assert (report.operations, report.operations_per_s, report.failures) == (100, 50.0, 3)
    assert (report.median_ms, report.p99_ms) == (3.0, 9.0)


def test_the_bench_has_the_names_that_are_read() -> None:
    """The two would drift apart otherwise."""
    tally = Tally()
    tally.committed(0.005)
    load = BenchLoad("coalesced", 4, 1, 1.0, None, lambda number: b"%d" % number)
    report = read_report(json.dumps(summarise(load, tally, 1.0, 128)))
    assert (report.operations, report.median_ms, report.failures) == (1, 5.0, 0)


@pytest.mark.parametrize("text", ["", "error: no", "[]", "{}", json.dumps({**REPORT, "latency_ms_median": None})])
def test_what_is_no_report_is_told(text: str) -> None:
    """With its words."""
    with pytest.raises(Failed, match="not a report"):
        read_report(text)


def test_nothing_committed_is_a_failure() -> None:
    """A median of nothing would be nothing."""
    with pytest.raises(Failed, match="nothing was committed"):
        read_report(json.dumps({**REPORT, "operations": 0}))


def test_an_outage_ends_with_the_longest_silence_after_the_kill() -> None:
    """Acknowledgements of what was committed before do not end it; silences before do not count."""
    outage = read_outage(json.dumps(REPORT), killed_at=20.0, survivors=3)
    assert (outage.seconds, outage.lost) == (1.5, 3)


def test_a_kill_that_silences_nobody_or_everybody_is_a_failure() -> None:
    """Neither is a figure."""
    with pytest.raises(Failed, match="as if nothing had happened"):
        read_outage(json.dumps(REPORT), killed_at=31.0, survivors=3)
    with pytest.raises(Failed, match="nothing was committed"):
        read_outage(json.dumps(REPORT), killed_at=41.0, survivors=3)
    with pytest.raises(Failed, match="not a report"):
        read_outage("{}", killed_at=1.0, survivors=3)


def test_what_was_acknowledged_and_lost_is_told() -> None:
    """As it was read back; and where a survivor was not read, nothing is known."""
    lost = json.dumps({**REPORT, "acknowledged_and_lost": 7})
    assert read_outage(lost, killed_at=20.0, survivors=3).missing == 7
    with pytest.raises(Failed, match="from 3 of the 4 survivors"):
        read_outage(lost, killed_at=20.0, survivors=4)


def test_what_a_member_lacks() -> None:
    """What is absent, and what has another value; more than was written is no loss."""
    written = {b"a": b"1", b"b": b"2", b"c": b"3"}
    assert missing(written, {**written, b"d": b"4"}) == 0
    assert missing(written, {b"a": b"1", b"b": b"of before"}) == 2


def test_silences_are_between_neighbours() -> None:
    """In order of time, whoever was first to note."""
    assert silences([3.0, 1.0, 1.01, 2.99, 1.02]) == [(1.02, 2.99)]
    assert silences([]) == []


def test_labels() -> None:
    """For progress lines."""
    assert Load("put", 64).label == "put x64"
    assert Load("many", 4, 1000).label == "many x4 of 1000"
    assert Load("put", 2000, rate=2500.0).label == "put at 2500/s"
