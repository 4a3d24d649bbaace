"""`python -m simulations campaign`: what it plays, and what it refuses in a sentence."""

from pathlib import Path

import pytest

from nights.command import bounded
from nights.sets import SETS, address_of, digest_of, find, full_of
from simulations.command import main
from simulations.work import is_alone
from tests.nights import tiny


def test_a_slice_is_played_and_then_it_is_done(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A few seeds of the swarm; the second time nothing is left to do."""
    words = ["campaign", "swarm", "--units", "0..2", "--jobs", "1", "--ledger", str(place / "a.sqlite")]
    assert main(words) == 0
    assert "swarm: 3/3 units, 3 runs now" in capsys.readouterr().out.splitlines()[-1]
    assert main(words) == 0
    assert "swarm: all 3 units are done; another ledger" in capsys.readouterr().out.splitlines()[-1]


def test_findings_are_exit_code_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And each is told with its replay, and with less of it."""
    ledger = str(place / "a.sqlite")
    assert main(["campaign", "tests.nights.tiny:FAILS", "--units", "0..7", "--jobs", "1", "--ledger", ledger]) == 1
    told = capsys.readouterr().out
    assert "unit 5 VIOLATED even: 5 is what it is\n    replay 5 --all\n" in told
    assert "unit 5 again, with less: replay 5\n" in told
    assert sorted(tiny.played()) == list(range(8))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["nothing"], "there is no set 'nothing': "),
        (["no.where:SET"], "no.where:SET cannot be imported: No module named 'no'"),
        (["tests.nights.tiny:PLAIN", "--units", "30..40"], "has units 0..39, not 30..40"),
        (["swarm", "--engine", "ray://somewhere:1"], "is no engine: dask://HOST:PORT"),
        (["tests.nights.tiny:ALONE", "--engine", "dask://localhost:1"], "needs a whole machine: play it without"),
        (["swarm", "--ledger", __file__], "name another file (--ledger)"),
    ],
)
def test_what_cannot_be_played_is_refused_in_a_sentence(
    place: Path, wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing is begun."""
    ledger = [] if "--ledger" in wrong else ["--ledger", str(place / "a.sqlite")]
    assert main(["campaign", *wrong, *ledger]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert told.err.count("\n") == 1


def test_without_units_it_is_a_full_set() -> None:
    """What the table of nights calls full; an address that is in no table says itself what it is."""
    assert bounded("mutation", address_of("mutation"), None) == range(250_000)
    assert bounded("tests.nights.tiny:PLAIN", "tests.nights.tiny:PLAIN", None) == range(40)


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_where_the_table_says(name: str) -> None:
    """It goes by its name there, has a story of a line, and its chunk and its full set are numbers to count with."""
    work = find(address_of(name))
    assert work.name == name
    assert work.story
    assert "\n" not in work.story
    assert 0 < work.chunk <= full_of(name)
    assert work.units is None or full_of(name) <= work.units
    assert isinstance(is_alone(work), bool)
    assert len(digest_of(address_of(name))) == 16
    assert SETS[name].ci or SETS[name].because, "CI plays some of it, or it is said why not"
