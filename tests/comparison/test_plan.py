"""What a turn consists of, and how long it says that it takes."""

import argparse

import pytest

from comparison.command import parser, topics_of
from comparison.loads import Load
from comparison.plan import BATCHED, IN_TURNS, LONG, STUDY_S, TOPICS, Plan, best, half
from comparison.studies import STUDIES
from tests.comparison.made import measured, ours, theirs

ALL = frozenset(TOPICS)


@pytest.mark.parametrize("kind", ["bftnode", "etcd"])
@pytest.mark.parametrize("quick", [False, True])
def test_both_systems_have_all_rows(kind: str, quick: bool) -> None:
    """A row that one of them lacks could not be compared."""
    plan = Plan(ALL, 10.0, 5.0, quick)
    assert set(plan.saturated(kind)) == {"T1", BATCHED, "T2"}
    assert set(plan.fixed(kind)) == {"T3"}
    assert set(plan.saturated(kind).values()) <= {load.kind for load in plan.curve(kind)}


def test_only_what_was_asked_for() -> None:
    """T4 needs a saturation, T2 one of its own, T3 none."""
    assert Plan(frozenset({"T3"}), 10.0, 5.0).curve("etcd") == []
    assert list(Plan(frozenset({"T3"}), 10.0, 5.0).fixed("bftnode")) == ["T3"]
    assert set(Plan(frozenset({"T4"}), 10.0, 5.0).saturated("etcd")) == {"T1", BATCHED}
    assert {load.kind for load in Plan(frozenset({"T2"}), 10.0, 5.0).curve("bftnode")} == {"alone"}


def test_the_time_is_stated_and_grows_with_what_is_asked() -> None:
    """Twenty minutes or so a system for all; seconds for one row."""
    everything = Plan(ALL, 10.0, 5.0).turn_s("bftnode") + Plan(ALL, 10.0, 5.0).turn_s("etcd")
    assert 200 < everything < 400
    assert Plan(frozenset({"T3"}), 10.0, 5.0).turn_s("etcd") < 20


def test_a_study_alone_needs_no_turns() -> None:
    """Nor etcd; and what it takes is stated, with what is asked for in turns or without."""
    alone = Plan(frozenset({"T7"}), 4.0, 2.0)
    assert not alone.in_turns
    assert Plan(frozenset({"T7", "T3"}), 4.0, 2.0).in_turns
    assert 0 < Plan(frozenset({"T7"}), 4.0, 2.0, quick=True).studies_s() < alone.studies_s() < 200
    assert Plan(frozenset({"T3"}), 4.0, 2.0).studies_s() == 0


def test_every_study_says_what_it_is_and_how_long_it_takes() -> None:
    """Its topic is on the command line, and it is no row of the turns."""
    assert set(STUDIES) == set(STUDY_S) == set(TOPICS) - IN_TURNS
    assert set(STUDIES) >= LONG


def test_saturation_is_the_best_point_of_all_turns() -> None:
    """One lucky window does not move it."""
    assert best([ours(1.0)], "coalesced") == Load("coalesced", 1024)
    lucky = theirs(1.0)
    lucky.curve[0] = measured(Load("put", 64), 9_000, 7)
    assert best([theirs(1.0), lucky, theirs(1.0)], "put") == Load("put", 512)


def test_half_of_a_saturation_is_an_open_loop() -> None:
    """At a whole number of operations a second, never none."""
    assert half(Load("put", 512), 5001.0) == Load("put", 1000, rate=2500)
    assert half(Load("put", 1), 0.5).rate == 1


def test_options() -> None:
    """Topics in any case; an unknown one is named."""
    assert topics_of("t1,T3") == {"T1", "T3"}
    with pytest.raises(argparse.ArgumentTypeError, match="T11"):
        topics_of("T1,T11")
    asked = parser().parse_args(["--pairs", "3", "--only", "T5", "--etcd-4"])
    assert (asked.pairs, asked.only, asked.etcd_4, asked.quick) == (3, {"T5"}, True, False)


@pytest.mark.parametrize("words", [("--pairs", "0"), ("--pairs", "two"), ("--only", "T11")])
def test_what_cannot_be_measured_is_refused_at_once(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is fetched or started, with the word that is wrong."""
    with pytest.raises(SystemExit):
        parser().parse_args(words)
    assert words[1] in capsys.readouterr().err
