"""What somebody may cost a node: arithmetic on a clock that is handed in."""

import pytest

from bftnode.api import budgets
from bftnode.api.budgets import Budgets


def test_who_overspends_waits_until_it_is_refilled() -> None:
    """Ten at once, two a second; what is beyond is waited for, and nobody else pays for it."""
    tested = Budgets(10, 2)
    assert tested.spend("a", 10, 0.0) == 0
    assert tested.spend("a", 4, 0.0) == 2.0
    assert tested.wait_s("a", 1.5) == 0.5
    assert tested.wait_s("a", 2.0) == 0
    assert tested.spend("a", 1, 2.0) == 0.5
    assert tested.spend("b", 10, 2.0) == 0
    assert tested.spend("a", 10, 100.0) == 0  # full again, and never more than full
    assert tested.spend("a", 1, 100.0) == 0.5


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full ones are forgotten first; where there is none, the oldest: nobody fills a node's memory with names."""
    monkeypatch.setattr(budgets, "NAMES_MAX", 3)
    tested = Budgets(10, 1)
    for name, cost in (("first", 30), ("small", 1), ("big", 40)):
        tested.spend(name, cost, 0.0)
    tested.spend("fourth", 20, 2.0)  # `small` is full again by now
    assert [tested.wait_s(name, 2.0) for name in ("first", "small", "big", "fourth")] == [18, 0, 28, 10]
    tested.spend("fifth", 20, 2.0)
    assert [tested.wait_s(name, 2.0) for name in ("first", "big", "fourth", "fifth")] == [0, 28, 10, 10]
