"""A short unit of every target under libFuzzer itself, by a fixed seed; and what it says when a unit does less."""

from dataclasses import replace
from pathlib import Path

import pytest

from nights.fuzz import work
from nights.fuzz.player import Unit
from nights.fuzz.schedule import SCHEDULE, SHARES
from nights.fuzz.work import LESS, findings_of, run

INPUTS = 300
SEED = 20


@pytest.mark.covers("C17")
def test_a_short_unit_of_every_target() -> None:
    """As many inputs as it says of each, and nothing is found."""
    units = list(run([(name, SEED, INPUTS) for name in SHARES]))
    assert [unit.target for unit in units] == list(SHARES)
    assert not [finding for unit in units for finding in findings_of(SEED, unit, INPUTS)]
    assert all(unit.inputs == INPUTS and unit.taken for unit in units)


def test_a_unit_is_the_same_again() -> None:
    """The same inputs in the same order, in another process; and others for another seed."""
    first, second, other = run([("requests", seed, 1000) for seed in (7, 7, 8)])
    assert first == second
    assert first.digest != other.digest


def test_less_than_a_unit_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ended it; and its breaches are kept in files."""
    monkeypatch.setattr(work, "FOUND", tmp_path)
    monkeypatch.setattr(work, "CHECKOUT", tmp_path)
    whole = Unit("frames", 3, INPUTS, 1, "00", [], "")
    assert not list(findings_of(3, whole, INPUTS))
    less = replace(whole, inputs=INPUTS - 1, breaches=[("one spelling", "of a frame", "c0")], ended="ended with -9")
    broken, short = findings_of(3, less, INPUTS)
    assert broken.judge == "one spelling"
    assert (tmp_path / broken.replay.split()[-1]).read_bytes() == b"\xc0"
    assert short.judge == LESS


def test_every_target_has_its_turn() -> None:
    """As often as its share says."""
    assert {name: SCHEDULE.count(name) for name in SHARES} == SHARES
