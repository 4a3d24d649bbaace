"""The parts of `./scripts/mutants` that are its own: the order of tests, their bound, and what is counted."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.mutants import known, soonest
from tests.mutants.__main__ import SETTINGS, TESTS, table
from tests.mutants.known import verdict
from tests.mutants.survivors import RULES, WORDS, Survivor, changed, explained, page, pretty


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
    most = soonest.BUDGET_S
    assert chosen({"a": most - 1.0, "b": 1.0, "c": most}, tmp_path, monkeypatch) == ["b", "a"]
    assert chosen({"alone": 100.0}, tmp_path, monkeypatch) == ["alone"], "one is always played"


def test_a_modules_own_tests_come_before_all_others() -> None:
    """Of any folder; each kind the quickest first, and the same order always."""
    seconds = {"tests/replica/test_watch.py::slow": 3.0, "tests/replica/test_watch.py::quick": 1.0}
    seconds |= {"tests/replica/test_votes.py::quickest": 0.1, "tests/watch/test_watch.py::other": 0.1}
    mutant = "bftnode.replica.watch.xǁWatchǁ_conclude__mutmut_1"
    assert sorted(seconds, key=soonest.order(mutant, seconds)) == [
        "tests/replica/test_watch.py::quick",
        "tests/replica/test_watch.py::slow",
        "tests/replica/test_votes.py::quickest",
        "tests/watch/test_watch.py::other",
    ]
    notes = soonest.order("bftnode.protocol.tlog.notes.x_parse_note__mutmut_9", {})
    assert notes("tests/protocol/tlog/test_notes.py::any") < notes("tests/protocol/test_notes.py::any")


def test_what_is_beyond_the_budget_is_not_even_looked_for(tmp_path: Path) -> None:
    """Of each function by itself; what was measured stays, for tests that come later."""
    statistics = tmp_path / "mutmut-stats.json"
    soonest.shorten(statistics)
    assert not statistics.exists(), "nothing was measured yet"
    most = soonest.BUDGET_S
    seconds = {"quick": 0.5, "slow": most - 0.5, "slower": most, "slowest": 9 * most}
    tests = {"one": ["slower", "quick", "slow"], "other": ["slowest"], "none": []}
    measured = {"duration_by_test": seconds, "tests_by_mangled_function_name": tests, "stats_time": 1.0}
    statistics.write_text(json.dumps(measured), encoding="utf-8")
    soonest.shorten(statistics)
    kept = {"one": ["quick", "slow"], "other": ["slowest"], "none": []}
    assert json.loads(statistics.read_text(encoding="utf-8")) == measured | {"tests_by_mangled_function_name": kept}
    soonest.shorten(statistics, 9 * most)
    kept["one"].append("slower")
    assert json.loads(statistics.read_text(encoding="utf-8")) == measured | {"tests_by_mangled_function_name": kept}


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


def meta(folder: Path, hashes: dict[str, str], codes: dict[str, int | None]) -> None:
    """What mutmut writes of one file."""
    fields = {"exit_code_by_key": codes, "hash_by_function_name": hashes, "type_check_error_by_key": {}}
    fields |= {"durations_by_key": {}, "estimated_durations_by_key": {}}
    (folder / "a").mkdir(parents=True, exist_ok=True)
    (folder / "a" / "b.py.meta").write_text(json.dumps(fields), encoding="utf-8")


def test_what_is_known_outlives_its_checkout(tmp_path: Path) -> None:
    """Another checkout's mutmut is told the same verdicts; of what was not played nothing is said."""
    codes: dict[str, int | None] = {"a.b.x_f__mutmut_1": -11, "a.b.x_f__mutmut_2": 0, "a.b.x_f__mutmut_3": None}
    codes |= {"a.b.x_g__mutmut_1": -24, "a.b.x_g__mutmut_2": 33, "a.b.x_g__mutmut_3": 34}
    meta(tmp_path / "here", {"x_f": "1f", "x_g": "1e"}, codes)
    known.remember(tmp_path / "here", tmp_path / "known.json")
    assert json.loads((tmp_path / "known.json").read_text("utf-8")) == {
        "a/b.py": {"x_f": ["1f", "ks."], "x_g": ["1e", "tn-"]}
    }
    known.restore(tmp_path / "there", tmp_path / "known.json")
    told = known.load(tmp_path / "there")["a/b.py"]
    assert {name: verdict(code) for name, code in told.items()} == {name: verdict(code) for name, code in codes.items()}


def test_a_function_that_changed_is_not_known(tmp_path: Path) -> None:
    """Neither is mutmut told of it, nor is what was known of it kept."""
    (tmp_path / "known.json").write_text(json.dumps({"a/b.py": {"x_f": ["1f", "kk"], "x_g": ["1e", "s"]}}), "utf-8")
    codes: dict[str, int | None] = {"a.b.x_f__mutmut_1": None, "a.b.x_g__mutmut_1": None}
    meta(tmp_path / "here", {"x_f": "2f", "x_g": "1e"}, codes)
    known.restore(tmp_path / "here", tmp_path / "known.json")
    assert known.load(tmp_path / "here")["a/b.py"] == {"a.b.x_f__mutmut_1": None, "a.b.x_g__mutmut_1": 0}
    known.remember(tmp_path / "here", tmp_path / "known.json")
    assert json.loads((tmp_path / "known.json").read_text("utf-8"))["a/b.py"]["x_f"] == ["2f", "."]


def test_what_lived_is_played_again_and_until_then_is_known(tmp_path: Path) -> None:
    """An interrupted --again takes nothing back."""
    meta(tmp_path / "here", {"x_f": "1f"}, {f"a.b.x_f__mutmut_{n}": code for n, code in enumerate((1, 0, 33), 1)})
    known.remember(tmp_path / "here", tmp_path / "known.json")
    lived = ["a.b.x_f__mutmut_2", "a.b.x_f__mutmut_3"]
    assert known.forget(tmp_path / "here", lived) == 2
    assert known.forget(tmp_path / "here", lived) == 0, "they are not known any more"
    assert list(known.load(tmp_path / "here")["a/b.py"].values()) == [1, None, None]
    known.remember(tmp_path / "here", tmp_path / "known.json")
    assert json.loads((tmp_path / "known.json").read_text("utf-8"))["a/b.py"]["x_f"] == ["1f", "ksn"]


SPOKEN, BELIEVED, SAME = RULES


@pytest.mark.parametrize(
    ("was", "became", "reason"),
    [
        ('raise Refused(Reason.TOO_LONG, "is too long")', 'raise Refused(Reason.TOO_LONG, "XXis too longXX")', SPOKEN),
        ('raise Refused(Reason.TOO_LONG, f"{n} too long")', "raise Refused(Reason.TOO_LONG, None)", SPOKEN),
        ('raise RuntimeError("no such thing")', "raise RuntimeError(None)", SPOKEN),
        ('answer = "it is" if valid else "it is not"', 'answer = "it is" if valid else "IT IS NOT"', SPOKEN),
        ('raise Refused(Reason.TOO_LONG, "is too long")', 'raise Refused(None, "is too long")', ""),
        ('raise Refused(Reason.TOO_LONG, "is too long")', 'raise Refused("is too long")', ""),
        ('raise RuntimeError("no such thing")', "raise ValueError(None)", ""),
        ('answer = "it is" if valid else "it is not"', 'answer = "it is" if not valid else "it is not"', ""),
        ('return Denied(404, "no such log")', "return Denied(404, None)", SPOKEN),
        ('return Denied(404, "no such log")', 'return Denied(405, "no such log")', ""),
        ('level = from_decimal(kind, "the level")', "level = from_decimal(kind, None)", SPOKEN),
        ('level = from_decimal(kind, "the level")', 'level = from_decimal(None, "the level")', ""),
        ('lines = ["# A policy", "log x"]', 'lines = ["# a policy", "log x"]', SPOKEN),
        ('lines = ["# A policy", "log x"]', 'lines = ["XX# A policyXX", "log x"]', ""),
        ('answer = "yes"', 'answer = "YES"', ""),
        ('if "a b" in known:', 'if "A B" in known:', ""),
        ("for a, b in zip(x, y, strict=True):", "for a, b in zip(x, y, strict=False):", BELIEVED),
        ("for a, b in zip(x, y, strict=True):", "for a, b in zip(x, strict=True):", ""),
        ('return n.to_bytes(4, "big")', "return n.to_bytes(4, )", SAME),
        ('return n.to_bytes(4, "big")', "return n.to_bytes(5, )", ""),
        ('raw.decode("ascii")', 'raw.decode("ASCII")', SAME),
        ('raw.decode("ascii")', 'raw.decode("XXasciiXX")', ""),
        ("return Decoder(kind, strict=True)", "return Decoder(kind, )", SAME),
        ("return Decoder(kind, strict=True)", "return Decoder(kind, strict=False)", ""),
        ("if a < b:", "if a <= b:", ""),
        ("elif a < b:", "elif a <= b:", ""),
        ("does not parse (", "does not parse either (", ""),
    ],
)
def test_a_reason_that_is_given_by_rule_is_given_to_nothing_else(was: str, became: str, reason: str) -> None:
    """What programs go by, and what is decided, has to be seen by a test."""
    assert explained(was, became) == reason


def test_the_page_says_who_has_no_reason() -> None:
    """A survivor without one is seen, and counted."""
    found = [
        Survivor(
            "x.xǁBlockǁencode__mutmut_3",
            "x.py",
            pretty("xǁBlockǁencode"),
            3,
            *changed("--- x\n+++ x\n@@ @@\n-  a | b\n+  a & b"),
            "survived",
            "",
        ),
        Survivor("x.x_f__mutmut_1", "x.py", pretty("x_f"), 1, "a", "b", "no test", WORDS),
    ]
    text = page("the table", found, 12.0)
    assert "2 live. Why: 1 words for people; 0 have a reason of their own; 1 have none yet." in text
    assert "| Block.encode 3 | `` a \\| b `` | `` a & b `` | **none yet** |" in text
    assert "| f 1 | `` a `` | `` b `` | words for people (no test calls it) |" in text
