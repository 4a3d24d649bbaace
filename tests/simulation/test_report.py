"""The page of a run: it holds the run's facts, needs nothing else, and nothing in it can end its script."""

import json
import re
from pathlib import Path

import pytest

from simulations.command import main
from simulations.report import MESSAGES_MAX, Recorder, page
from simulations.world import World


def facts_of(text: str) -> dict[str, object]:
    found = re.search(r"^const data = (.*);$", text, re.MULTILINE)
    assert found is not None
    facts: dict[str, object] = json.loads(found[1])
    return facts


def test_a_scenario_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Replicas, messages with when they left and arrived, crashes, views, accusations, the liar, the verdict."""
    path = tmp_path / "page.html"
    assert main(["run", "equivocating-primary", "--quiet", "--report", str(path)]) == 0
    assert capsys.readouterr().err == f"drawn in {path}\n"
    text = path.read_text(encoding="utf-8")
    facts = facts_of(text)
    assert (facts["name"], facts["places"], facts["liars"], facts["violation"]) == ("equivocating-primary", 7, [0], "")
    kinds = facts["kinds"]
    assert isinstance(kinds, list)
    assert {"PRE_PREPARE", "PREPARE", "COMMIT", "VIEW_CHANGE", "NEW_VIEW", "EVIDENCE"} <= set(kinds)
    messages, events = facts["messages"], facts["events"]
    assert isinstance(messages, list)
    assert isinstance(events, list)
    assert all(arrives == -1 or arrives >= sent for sent, _, _, arrives, _, _ in messages)
    assert {mark for _, _, mark, _ in events} >= {"start", "append", "view", "accuse", "step"}
    assert any(what.startswith("accuses n0") for _, _, _, what in events)
    # Nothing is fetched: no address of anything else, and a policy that would refuse it.
    assert not re.search(r"(src|href)\s*=|https?:|@import|url\(", text)
    assert "default-src 'none'" in text


def test_lost_messages_and_deaths_are_drawn(tmp_path: Path) -> None:
    """What is lost never arrives; who is dead has a gap in its line."""
    path = tmp_path / "page.html"
    assert main(["run", "everybody-loses-power", "--quiet", "--report", str(path)]) == 0
    lives = facts_of(path.read_text(encoding="utf-8"))["lives"]
    assert isinstance(lives, list)
    assert [up for _, _, up in lives[0]] == [False, True, False, True, False, True]
    assert main(["run", "bad-weather", "--quiet", "--report", str(path)]) == 0
    messages = facts_of(path.read_text(encoding="utf-8"))["messages"]
    assert isinstance(messages, list)
    assert sum(arrives == -1 for _, _, _, arrives, _, _ in messages) > len(messages) // 10


def test_nothing_that_is_told_ends_the_script() -> None:
    """Whatever a story says is text."""
    recorder = Recorder()
    recorder.begun(World("seed"))
    recorder.told(1, "n0", "accuses </script><script>alert(1)</script>")
    text = page("</script>", "<b>", ["<i>"], "</script>", "</script>", recorder)
    assert text.count("</script>") == 1
    assert facts_of(text)["violation"] == "</script>"


def test_a_long_run_is_cut_and_says_so() -> None:
    """Memory and page are bounded."""
    recorder = Recorder()
    recorder.begun(World("seed"))
    for number in range(MESSAGES_MAX + 5):
        recorder.sent(number, 0, 1, b"\x97\x63", None)
    facts = facts_of(page("long", "", [], "", "safe", recorder))
    assert (len(recorder.messages), facts["cut"]) == (MESSAGES_MAX, True)
    assert facts["kinds"] == ["UNKNOWN"]


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, the path and why."""
    path = tmp_path / "nowhere" / "page.html"
    assert main(["run", "silent-primary", "--quiet", "--report", str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path}: No such file or directory\n"
