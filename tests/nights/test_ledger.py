"""The ledger: what is in it, what is missing, what is taken over from elsewhere, and which files it refuses."""

import sqlite3
from pathlib import Path

import pytest

from nights.ledger import BadLedger, Found, Ledger, Stretch
from simulations.work import Finding


def stretch(first: int, last: int, *, digest: str = "code", name: str = "set", ended: str = "1") -> Stretch:
    return Stretch(name, digest, first, last, {"runs": last - first, "zeros": 0}, {}, 0.5, f"commit {ended}", ended)


def test_what_is_missing_is_what_no_task_of_this_code_covers(ledger: Ledger) -> None:
    """Gaps in order, cut at what was asked; other code and other sets count for nothing."""
    for one in (stretch(4, 8), stretch(12, 16), stretch(0, 40, digest="other"), stretch(0, 40, name="another")):
        ledger.done(one, [])
    assert ledger.missing("set", "code", range(20)) == [range(4), range(8, 12), range(16, 20)]
    assert ledger.missing("set", "code", range(5, 14)) == [range(8, 12)]
    assert ledger.missing("set", "code", range(4, 8)) == []


def test_what_was_done_once_is_not_missing_but_where_it_was_found_wanting(ledger: Ledger) -> None:
    """On whatever code, overlapping as it may; where something was found it has to be played since, on other code."""
    wrong = [Finding(unit, "judge", "detail", "replay") for unit in (2, 5, 9, 11)]
    ledger.done(stretch(11, 12, digest="oldest", ended="1"), [])
    ledger.done(stretch(0, 12, digest="older", ended="2"), wrong)
    ledger.done(stretch(4, 8, digest="other", ended="3"), [])
    ledger.done(stretch(8, 10, ended="3"), [])
    ledger.found(Found("set", "older", Finding(15, "died", "detail", "replay"), "", "older", "2"))
    assert ledger.missing("set", "code", range(16), once=True) == [range(2, 3), range(11, 12), range(12, 16)]
    assert ledger.missing("set", "older", range(16), once=True) == [range(12, 16)]


def test_neighbours_are_one_stretch_with_their_sums(ledger: Ledger) -> None:
    """Counts that are 0 stay; the commit is the one that ended last."""
    for one in (stretch(4, 8, ended="3"), stretch(0, 4, ended="2"), stretch(10, 12)):
        ledger.done(one, [])
    joined, other = ledger.stretches()
    assert (joined.first, joined.last, joined.counts, joined.seconds) == (0, 8, {"runs": 8, "zeros": 0}, 1.0)
    assert joined.code == "commit 3"
    assert (other.first, other.last) == (10, 12)


def test_a_task_is_there_with_its_findings_or_not_at_all(ledger: Ledger) -> None:
    """Of a task that cannot be written, nothing is."""
    ledger.done(stretch(0, 4), [Finding(1, "judge", "detail", "replay")])
    with pytest.raises(sqlite3.IntegrityError):
        ledger.done(stretch(0, 8), [Finding(7, "judge", "detail", "replay")])
    assert [found.finding.unit for found in ledger.findings()] == [1]


def test_who_saw_it_first_stays_and_what_is_smaller_is_added(ledger: Ledger) -> None:
    """A finding is one by set, code, unit and judge."""
    finding = Finding(1, "judge", "detail", "replay")
    ledger.done(stretch(0, 4), [finding])
    ledger.found(Found("set", "code", finding, "", "later", "9"))
    ledger.found(Found("set", "code", finding, "replay less", "later", "9"))
    ledger.found(Found("set", "code", finding, "", "later", "9"))
    assert ledger.findings() == [Found("set", "code", finding, "replay less", "commit 1", "1")]


@pytest.mark.parametrize(
    ("ours", "theirs", "taken"),
    [
        ([], (0, 8), True),
        ([(0, 4), (4, 8)], (0, 8), False),  # known
        ([(0, 8)], (2, 6), False),  # in part of ours
        ([(0, 4)], (0, 8), True),  # contains ours
        ([(0, 4)], (2, 8), False),  # overlaps: cannot be divided
        ([(0, 4)], (4, 8), True),
    ],
)
def test_what_was_done_elsewhere_is_counted_once(
    ledger: Ledger, ours: list[tuple[int, int]], theirs: tuple[int, int], taken: bool
) -> None:
    """No unit is counted twice, whatever overlaps."""
    for ends in ours:
        ledger.done(stretch(*ends), [])
    assert ledger.add(stretch(*theirs)) is taken
    units = [unit for one in ledger.stretches() for unit in range(one.first, one.last)]
    assert len(units) == len(set(units)) == sum(one.counts["runs"] for one in ledger.stretches())
    if taken:
        assert set(range(*theirs)) <= set(units)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """Another version, other data, a directory: one sentence each."""
    (tmp_path / "text").write_text("this is no database, and it is long enough to be read as one\n" * 100)
    with sqlite3.connect(tmp_path / "later") as base:
        base.execute("PRAGMA user_version = 7")
    base.close()
    with sqlite3.connect(tmp_path / "foreign") as base:
        base.execute("CREATE TABLE something (x)")
    base.close()
    for name in ("text", "later", "foreign", ".", "none/ledger"):
        with pytest.raises(BadLedger, match=r"name another file \(--ledger\)"):
            Ledger(tmp_path / name)


def test_there_is_one_writer(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second campaign into the same file would play the same units."""
    monkeypatch.setattr("nights.ledger.BUSY_MS", 1)
    ledger.done(stretch(0, 4), [])
    with pytest.raises(BadLedger, match="another campaign is writing it"):
        Ledger(tmp_path / "ledger.sqlite")
