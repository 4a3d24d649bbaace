"""The exam's own parts: every bug can still be planted, and what the tests say is read aright."""

import ast
from pathlib import Path

import pytest

from tests.exam.__main__ import CHECKOUT, Answer, BadBug, Bug, _who_spoke, bugs, planted, table


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_every_bug_can_be_planted(bug: Bug) -> None:
    """Its line stands once, and what comes of it is still Python, and something else."""
    source = Path(CHECKOUT, bug.file).read_text(encoding="utf-8")
    changed = planted(source, bug)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))


def test_names_are_different_and_topics_are_wide() -> None:
    """At least twenty bugs, each with a name of its own, over all the topics that an examiner would ask about."""
    names = [bug.name for bug in bugs()]
    assert len(names) == len(set(names)) >= 20
    assert {
        "votes",
        "quorums",
        "view change",
        "persistence",
        "watermarks",
        "dedupe",
        "timers",
        "certificates",
        "replay windows",
    } <= {bug.topic for bug in bugs()}


def test_a_line_that_is_gone_is_said_so() -> None:
    """A bug whose line is not there any more must not pass as one that nobody caught."""
    with pytest.raises(BadBug, match="0 times"):
        planted("x = 1", Bug("gone", "votes", "file.py", "y = 2", "y = 3"))


def test_who_spoke() -> None:
    """The judge's name where one spoke, else what was raised last."""
    said = "E   simulations.world.Violation: ('agreement', 'n1 commits another block')\nFAILED tests/x.py::test_y - Vio"
    test, judge = _who_spoke(said)
    assert test == "tests/x.py::test_y"
    assert judge.startswith("agreement: ")
    shown = "E   +  where Violation('view-monotone', 'n2 goes back') = Outcome(...)\nFAILED tests/x.py::test_y"
    assert _who_spoke(shown)[1].startswith("view-monotone: 'n2 goes back'")
    assert _who_spoke("E   assert 1 == 2\nFAILED tests/x.py::test_z") == ("tests/x.py::test_z", "assert 1 == 2")


def test_what_was_not_caught_stands_out() -> None:
    """The table does not hide it."""
    bug = Bug("name", "votes", "file.py", "a", "b")
    assert "**not in 600 s**" in table([(bug, Answer(False, 600.2, "", ""))])
    assert "caught after" in table([])
    assert "| 12 s |" in table([(bug, Answer(True, 12.4, "tests/a.py::test", "order"))])
