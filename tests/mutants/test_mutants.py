"""The parts of `./scripts/mutants` that are its own: the order of tests, their bound, and what is counted."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.mutants import soonest
from tests.mutants.__main__ import SETTINGS, TESTS, table, verdict


def chosen(seconds: dict[str, float], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tests that are played, in their order."""
    monkeypatch.chdir(folder)
    (folder / "mutmut-stats.json").write_text(json.dumps({"duration_by_test": seconds}), encoding="utf-8")
    dropped: list[Any] = []

    def deselected(items: list[Any]) -> None:
        dropped.extend(items)

    hook = SimpleNamespace(pytest_deselected=deselected)
    config = SimpleNamespace(option=SimpleNamespace(collectonly=False), hook=hook)
    items = [SimpleNamespace(nodeid=name) for name in seconds]
    soonest.pytest_collection_modifyitems(cast(pytest.Config, config), cast(list[pytest.Item], items))
    assert len(items) + len(dropped) == len(seconds)
    return [item.nodeid for item in items]


def test_the_quickest_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who survives the budget survives."""
    assert chosen({"slow": 3.0, "quick": 0.1, "middle": 1.0}, tmp_path, monkeypatch) == ["quick", "middle", "slow"]
    assert chosen({"a": 10.0, "b": 1.0, "c": 11.0}, tmp_path, monkeypatch) == ["b", "a"]
    assert chosen({"alone": 100.0}, tmp_path, monkeypatch) == ["alone"], "one is always played"


def test_what_is_counted() -> None:
    """A mutant that was not played is neither dead nor alive."""
    codes: dict[str, int | None] = {"a": 1, "b": 0, "c": None, "d": -24, "e": 33, "f": -11}
    assert [verdict(code) for code in codes.values()] == [
        "killed",
        "survived",
        "not played",
        "timeout",
        "no test",
        "killed",
    ]
    assert table({"x.py": codes}).splitlines()[2:] == [
        "| x.py | 6 | 2 | 1 | 1 | 1 | 1 | 60 % |",
        "| **all** | 6 | 2 | 1 | 1 | 1 | 1 | 60 % |",
    ]


def test_its_settings_name_tests_that_exist() -> None:
    """A path that is gone would make every mutant of its file survive."""
    root = Path(__file__).parent.parent.parent
    assert all((root / path).exists() for path in TESTS)
    assert "{tests}" in SETTINGS
