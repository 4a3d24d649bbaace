"""The exam's own parts: every patch can still be planted, and what the hunt says is read aright."""

import ast
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.exam import answers as book
from tests.exam.glances import GLANCE
from tests.exam.hunting import Answer, judge_of
from tests.exam.planting import CHECKOUT, TOPICS, BadPatch, Patch, patches, planted

BUGS = [patch for patch in patches() if not patch.harmless]
HARMLESS = [patch for patch in patches() if patch.harmless]


@cache
def as_it_is(file: str) -> tuple[str, str]:
    """A file of the core, and what Python reads in it."""
    source = Path(CHECKOUT, file).read_text(encoding="utf-8")
    return source, ast.dump(ast.parse(source))


@pytest.mark.parametrize("patch", patches(), ids=lambda patch: patch.name)
def test_every_patch_can_be_planted(patch: Patch) -> None:
    """Its line stands once, and what comes of it is still Python, and something else."""
    source, read = as_it_is(patch.file)
    assert ast.dump(ast.parse(planted(source, patch))) != read


def test_names_are_different_and_topics_are_wide() -> None:
    """Sixty bugs and ten harmless changes at least, each with a name of its own, and a bug of every topic."""
    names = Counter(patch.name for patch in patches())
    assert names.most_common(1)[0][1] == 1
    assert len(BUGS) >= 60
    assert len(HARMLESS) >= 10
    assert {patch.topic for patch in BUGS} == TOPICS


def test_a_line_that_is_gone_is_said_so() -> None:
    """A patch whose line is not there any more must not pass as one that nobody found."""
    with pytest.raises(BadPatch, match="0 times"):
        planted("x = 1", Patch("gone", "votes", "file.py", "y = 2", "y = 3"))


@pytest.mark.parametrize(
    ("said", "judge"),
    [
        ("E   simulations.world.Violation: agreement: n1 commits another block", "agreement: n1 commits another block"),
        ("E   +  where Violation('view-monotone', 'n2 goes back') = Outcome(...)", "view-monotone: n2 goes back"),
        ("E     seed 3: VIOLATED durable: n3 may forget (trace 5f)", "durable: n3 may forget"),
        ("power-cut: VIOLATED durable: n3 may forget", "durable: n3 may forget"),
        ("E   assert 1 == 2\nE    +  where 1 = <x at 0x7f62>", "+  where 1 = <x at 0x>"),
        ("3 passed", ""),
    ],
)
def test_who_spoke(said: str, judge: str) -> None:
    """The same words for the same violation, whoever tells it; else what was raised last."""
    assert judge_of(said) == judge


def answer(
    patch: Patch, *, found: bool = True, cpu_s: float = 3.0, replayed: bool = True, whole: bool = True
) -> Answer:
    judge = ("worlds", "tests/a.py::test", "order: x") if found else ("", "", "")
    return Answer(patch.digest, found, 12.3, cpu_s, 1.0, *judge, again="", replayed=replayed, whole=whole)


def test_what_falls_short_stands_out() -> None:
    """The table hides neither a bug that was not found, nor an alarm, nor what was not played."""
    bug, other, calm = BUGS[0], BUGS[1], HARMLESS[0]
    assert book.wrong(bug, answer(bug)) == ""
    assert book.wrong(bug, answer(bug, found=False)) == "not found"
    assert book.wrong(bug, answer(bug, cpu_s=61.0)) == "found after more than 60 s of CPU"
    assert book.wrong(bug, answer(bug, replayed=False)) == "not the same again"
    assert book.wrong(calm, answer(calm, found=False)) == ""
    assert book.wrong(calm, answer(calm)) == "a false alarm"
    assert book.wrong(calm, answer(calm, found=False, whole=False)) == "ended by the limit"
    known = {bug.name: answer(bug, found=False), calm.name: answer(calm)}
    told = book.page([bug, other, calm], known, {})
    assert f"| {bug.name} | {bug.topic} | **not in 12** |" in told
    assert "**tests/a.py::test: order: x**" in told
    assert other.name not in told
    assert "1 patches are not played yet." in told
    assert "Hunted: 1 bugs, 0 found" in told
    assert "1 alarms" in told


def test_what_was_looked_at_only_is_no_hunt() -> None:
    """It is counted apart, and hunted when its turn comes."""
    seen, unseen = BUGS[0], BUGS[1]
    known = {
        seen.name: replace(answer(seen), by=GLANCE, test="tests/a.py::test"),
        unseen.name: replace(answer(unseen, found=False), by=GLANCE),
    }
    told = book.page([seen, unseen], known, {"tests/a.py::test": 7.25})
    assert "Hunted: 0 bugs" in told
    assert "2 more bugs, 1 seen" in told
    assert f"| {seen.name} | {seen.topic} | 7.2 | a.py::test | order: x |" in told
    assert f"**not by {unseen.seen_by.rsplit('/', 1)[-1]}**" in told
    assert book.wrong(unseen, known[unseen.name]) == "not found"
    assert book.unhunted([seen, unseen], known) == [seen, unseen]


def test_an_answer_to_another_patch_is_none() -> None:
    """Who changes a bug plays it again."""
    bug = BUGS[0]
    assert book.open_patches([bug], {}) == [bug]
    assert book.open_patches([bug], {bug.name: answer(bug)}) == []
    assert book.open_patches([bug], {bug.name: answer(BUGS[1])}) == [bug]


def test_every_topic_has_its_turn() -> None:
    """Before any has a second one; and bugs come before what is harmless."""
    turn = book.in_turn(patches())
    assert {patch.topic for patch in turn[: len(TOPICS)]} == TOPICS
    assert [patch.harmless for patch in turn] == [False] * len(BUGS) + [True] * len(HARMLESS)


def test_every_bug_has_tests_that_are_about_it() -> None:
    """And they exist."""
    for bug in BUGS:
        assert bug.seen_by, bug.name
        assert Path(CHECKOUT, bug.seen_by.split("::")[0]).exists(), bug.name


def test_the_table_is_of_these_answers() -> None:
    """docs/exam.md is what `./scripts/exam --write` makes of what is kept."""
    page = book.page(patches(), book.load(), book.load_reached())
    assert Path(CHECKOUT, "docs/exam.md").read_text(encoding="utf-8") == page
