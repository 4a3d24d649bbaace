"""A night: shares of the time, a table, and what another machine takes over from it."""

import json
import time
from pathlib import Path

import pytest

from nights import engine, night, table
from nights.ledger import Found, Ledger, Stretch
from nights.night import Need, main, pace, share_of
from nights.sets import ROOT, SETS, Entry, Slice, digest_of
from simulations.work import Finding
from tests.nights import tiny


@pytest.fixture(autouse=True)
def elsewhere(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiny sets instead of the real ones, and a table that is not the project's."""
    monkeypatch.setattr(table, "JSON", place / "nights.json")
    monkeypatch.setattr(table, "PAGE", place / "nights.md")
    only(monkeypatch, plain=Entry("tests.nights.tiny:PLAIN"), alone=Entry("tests.nights.tiny:ALONE"))
    monkeypatch.chdir(place)


def only(monkeypatch: pytest.MonkeyPatch, **entries: Entry) -> None:
    for name in list(SETS):
        monkeypatch.delitem(SETS, name)
    for name, entry in entries.items():
        monkeypatch.setitem(SETS, name, entry)


def row(place: Path, name: str) -> list[str]:
    (line,) = (
        line for line in (place / "nights.md").read_text(encoding="utf-8").splitlines() if line.startswith(f"| {name} ")
    )
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_night_plays_every_set_and_writes_the_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the night after has nothing to do."""
    assert main(["--hours", "1"]) == 0
    assert sorted(tiny.played()) == sorted([*range(40), *range(40)])
    assert row(place, "plain")[1:6] == ["a line in a file", "40", "40 (100 %)", "40 (100 %)", "0"]
    assert row(place, "alone")[3] == "40 (100 %)"
    capsys.readouterr()
    assert main([]) == 0
    assert "plain: all of it is done on this code" in capsys.readouterr().out
    assert len(tiny.played()) == 80


def test_another_machine_goes_on_from_the_table(place: Path) -> None:
    """What is in the JSON is done there; what is not, is played."""
    with Ledger(place / "here") as ledger:
        digest = digest_of("tests.nights.tiny:PLAIN")
        for first, last in ((0, 8), (8, 12), (20, 36)):
            it = Stretch("plain", digest, first, last, {"runs": last - first}, {}, 1.0, "here", f"2026-01-{first + 1}")
            ledger.done(it, [])
        table.write(ledger, "here", table.JSON, table.PAGE)
    written = json.loads(table.JSON.read_text(encoding="utf-8"))
    assert [(one["first"], one["last"]) for one in written["done"]] == [(0, 12), (20, 36)]
    assert row(place, "plain")[3] == "28 (70 %)"
    assert main(["--sets", "plain", "--ledger", "there"]) == 0
    assert sorted(tiny.played()) == [*range(12, 20), *range(36, 40)]
    assert row(place, "plain")[3:5] == ["40 (100 %)", "40 (100 %)"]


def test_the_projects_own_table_can_be_taken_over(ledger: Ledger) -> None:
    """As a fresh clone does; what is taken over twice is news once."""
    ours = ROOT / "docs" / "nights.json"
    assert table.take_over(ledger, ours) == len(ledger.stretches())
    assert table.take_over(ledger, ours) == 0


def test_the_table_tells_what_was_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1; with the least that shows it; over to the next machine, where it is not found anew."""
    only(monkeypatch, fails=Entry("tests.nights.tiny:FAILS"))
    assert main([]) == 1
    page = (place / "nights.md").read_text(encoding="utf-8")
    assert "- fails 5, even, on this code, first seen 20" in page
    assert "  `replay 5`\n" in page
    before = table.JSON.read_text(encoding="utf-8")
    assert main(["--hours", "0", "--ledger", "there"]) == 0
    assert table.JSON.read_text(encoding="utf-8") == before


def test_what_one_line_shows_again_is_found_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of a fuzz target come upon the same kept input, and one cause has many units."""
    only(monkeypatch, fails=Entry("tests.nights.tiny:FAILS"))
    with Ledger(place / ".nights.sqlite") as ledger:
        for unit, judge, replay in (
            (9, "even", "play x"),
            (7, "even", "play x"),
            (3, "even", "play y"),
            (8, "odd", "play x"),
        ):
            finding = Finding(unit, judge, f"seen in {unit}", replay)
            ledger.found(Found("fails", "old", finding, "", f"c{unit}", f"2026-01-0{unit}T00:00:00Z"))
        table.write(ledger, "here", table.JSON, table.PAGE)
    page = table.PAGE.read_text(encoding="utf-8")
    assert page[page.index("- fails 3") :].splitlines() == [
        "- fails 3, even, on the code of c3, first seen 2026-01-03T00:00:00Z: seen in 3",
        "  `play y`",
        "- fails 7, 9, even, on the code of c7, first seen 2026-01-07T00:00:00Z: seen in 7",
        "  `play x`",
        "- fails 8, odd, on the code of c8, first seen 2026-01-08T00:00:00Z: seen in 8",
        "  `play x`",
    ]
    assert table.JSON.read_text(encoding="utf-8").count('"judge"') == 4


def test_what_was_played_on_other_code_is_not_done(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was done once, and everything is played again, but where once is enough."""
    assert main(["--sets", "plain"]) == 0
    played = len(tiny.played())
    for module in (table, night, engine):
        monkeypatch.setattr(module, "digest_of", lambda address: "other code")
    assert main(["--sets", "plain", "--once"]) == 0
    assert len(tiny.played()) == played
    assert row(place, "plain")[3:5] == ["0 (0 %)", "40 (100 %)"]
    with Ledger(place / ".nights.sqlite") as ledger:
        assert night.need_of(ledger, "plain", 1, once=False).units == 40


def test_a_night_of_no_hours_only_writes_the_table(place: Path) -> None:
    """Nothing is played."""
    assert main(["--hours", "0"]) == 0
    assert tiny.played() == []
    assert row(place, "plain")[3] == "0 (0 %)"


def test_a_set_that_does_less_fails_the_night_and_not_the_other_sets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are played all the same."""
    only(monkeypatch, less=Entry("tests.nights.tiny:LESS"), plain=Entry("tests.nights.tiny:PLAIN"))
    assert main([]) == 1
    assert "came back as 3 units" in capsys.readouterr().err
    assert set(tiny.played()) == set(range(40))


@pytest.mark.parametrize(
    ("ci", "code", "said"),
    [
        (Slice(range(4, 12), 8), 0, "; all held"),
        (Slice(range(4, 12), 9), 1, "plain: LESS than stated: 8 units and 9 runs"),
    ],
)
def test_ci_plays_what_the_table_of_sets_states(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: Slice, code: int, said: str
) -> None:
    """Always, whatever is done; fewer runs than stated fail."""
    only(monkeypatch, plain=Entry("tests.nights.tiny:PLAIN", ci), alone=Entry("tests.nights.tiny:ALONE", None, "why"))
    assert main(["--ci"]) == code
    told = capsys.readouterr().out
    assert said in told
    assert "alone: not here: why" in told
    assert sorted(tiny.played()) == list(range(4, 12))
    assert not table.PAGE.exists()


def test_ci_fails_where_something_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the names of the sets."""
    only(monkeypatch, fails=Entry("tests.nights.tiny:FAILS", Slice(range(8), 8)))
    assert main(["--ci"]) == 1
    assert capsys.readouterr().out.endswith("; failed: fails\n")


def test_shares_are_as_large_as_what_is_missing() -> None:
    """Of what is left; a set that nobody has played yet is taken to need a minute for a chunk."""
    needs = [Need("a", 10, 30.0), Need("b", 1000, 60.0), Need("c", 5, 10.0)]
    assert share_of(needs, 1000.0) == 300.0
    assert share_of(needs[1:], 700.0) == 600.0
    assert share_of([Need("done", 0, 0.0)], 100.0) == 100.0
    assert share_of(needs, -5.0) == 0.0
    assert pace([], "a", 30) == 2.0
    stretches = [Stretch("a", "x", 0, 10, {"runs": 10}, {}, 5.0, "", ended) for ended in ("1",)]
    assert pace(stretches, "a", 30) == 0.5


def test_the_time_of_a_night_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sets that miss as much as each other get half each of what is left when they begin."""
    given: list[float] = []
    began = time.monotonic()
    monkeypatch.setattr(
        night, "_held", lambda name, engine, ledger, until, once: bool(given.append(until - began)) or True
    )
    monkeypatch.setattr(night, "is_alone", lambda work: False)
    assert main(["--hours", "1"]) == 0
    assert given[0] == pytest.approx(1800, rel=0.02)
    assert given[1] == pytest.approx(3600, rel=0.02)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "done": [], "findings": []}',
        '{"version": 1, "done": [{"name": "a"}], "findings": []}',
        '{"version": 1, "done": [{"name": "a", "digest": "d", "first": 4, "last": 4, "counts": {"runs": 0}, "notes": {}'
        ', "seconds": 1.0, "code": "c", "ended": "e"}], "findings": []}',
        '{"version": 1, "done": [], "findings": [{"name": "a", "digest": "d", "unit": 1, "judge": "j", "detail": "d",'
        ' "replay": "two\\nlines", "smaller": "", "code": "c", "seen": "s"}]}',
    ],
)
def test_a_table_that_cannot_be_read_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence that says which file; it is not written over."""
    table.JSON.write_text(text, encoding="utf-8")
    assert main([]) == 2
    assert "nights.json: " in capsys.readouterr().err
    assert table.JSON.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--hours", "soon"], "'soon' is not a number of hours"),
        (["--sets", "plain,nothing"], "there is no set 'nothing': plain, alone"),
        (["--ci", "--hours", "1"], "not allowed with argument"),
    ],
)
def test_a_wrong_word_is_one_line(wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Usage and what is wrong, exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_an_engine_that_is_not_there_is_told_before_anything_is_played(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["--engine", "somewhere"]) == 2
    assert "is no engine" in capsys.readouterr().err
    assert tiny.played() == []
