"""One decision without some of its messages, and its votes in every order: slices, and bugs that they find."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from bftnode.protocol.certificates import COMMIT, Vote
from bftnode.protocol.envelope import Frame
from bftnode.replica.agreement import Agreement
from bftnode.replica.view_change import ViewChanges
from simulations.command import main
from simulations.worlds.cast import Cast
from simulations.worlds.command import Told as Set
from simulations.worlds.lost import LOST, PRIMARIES, messages
from simulations.worlds.orders import CASES, ORDERS, Told
from tests.simulation.test_planted_bugs import Bug, quorum_of_2f


@pytest.mark.covers("N03")
def test_what_is_said_for_one_decision() -> None:
    """Three PRE-PREPAREs, twelve PREPAREs, twelve COMMITs, where nobody lies; more beside a liar."""
    cast = Cast()
    said = {primary: messages(cast, primary) for primary in PRIMARIES}
    assert len(said["correct"]) == 27
    assert [sum(kind == phase for _, _, kind, _ in said["correct"]) for phase in (1, 2, 3)] == [3, 12, 12]
    assert all(len(its) > 27 for primary, its in said.items() if primary != "correct")


@pytest.mark.parametrize("share", range(6))
def test_some_lost_messages_keep_nobody_from_deciding(share: int) -> None:
    """Every sixth part of the set begins with sets of one and two."""
    first = LOST.units * share // 6
    done = LOST.play(first, first + 40)
    assert not done.findings
    assert done.counts["runs"] == 40
    assert done.counts["messages lost"] > 40


def test_orders_are_all_there() -> None:
    """7! over the names of two, 6! over the names of three, 9!."""
    assert ORDERS.units == 2520 + 120 + 362_880
    cast = Cast()
    for case in CASES[:2]:
        orders = list(Told.of(cast, case).orders(case))
        assert len(orders) == len(set(orders)) == {"backup": 2520, "primary": 120}[case.name]


@pytest.mark.parametrize("first", [0, 2520, 200_000])
def test_whatever_the_order_the_block_is_the_same(first: int) -> None:
    """Of a backup, of the primary, and beside a member that votes for two blocks."""
    done = ORDERS.play(first, first + 120)
    assert not done.findings
    assert done.counts["runs"] == 120


# ---- planted bugs


@contextmanager
def a_view_change_said_once() -> Iterator[None]:
    """A VIEW-CHANGE that is lost is not said again."""

    def repeat(self: ViewChanges) -> None:
        pass

    with patch.object(ViewChanges, "repeat", repeat):
        yield


@contextmanager
def early_commits_forgotten() -> Iterator[None]:
    """A COMMIT for what is not accepted yet is no use."""
    on_vote = Agreement.on_vote

    def forget(self: Agreement, frame: Frame, vote: Vote) -> None:
        if frame.kind != COMMIT or vote.seq in self.accepted:
            on_vote(self, frame, vote)

    with patch.object(Agreement, "on_vote", forget):
        yield


@contextmanager
def commits_looked_at_as_they_come() -> Iterator[None]:
    """Those that were there before the proposal was are not looked at again."""

    def look(self: Agreement, seq: int) -> None:
        pass

    with patch.object(Agreement, "_look_at_commits", look):
        yield


PLANTED = [
    pytest.param(quorum_of_2f, LOST, 48_558, "certificate", id="quorum of 2f beside two proposals"),
    pytest.param(a_view_change_said_once, LOST, 24_722, "liveness", id="three VIEW-CHANGEs of a ring lost"),
    pytest.param(quorum_of_2f, ORDERS, 2520, "certificate", id="quorum of 2f"),
    pytest.param(early_commits_forgotten, ORDERS, 2400, "same-block", id="early COMMITs forgotten"),
    pytest.param(commits_looked_at_as_they_come, ORDERS, 2433, "same-block", id="COMMITs not looked at again"),
]


@pytest.mark.covers("P1", "V05")
@pytest.mark.parametrize(("bug", "work", "unit", "judge"), PLANTED)
def test_a_schedule_catches_it(bug: Bug, work: Set, unit: int, judge: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The schedule that a bug needs is among them; its command tells it; without the bug it is harmless."""
    with bug():
        done = work.play(unit, unit + 1)
        assert [(finding.unit, finding.judge) for finding in done.findings] == [(unit, judge)]
        words = done.findings[0].replay.split()
        assert words == ["python", "-m", "simulations", "schedules", work.name, "--unit", str(unit)]
        assert main(words[3:]) == 1
    assert f"VIOLATED {judge}" in capsys.readouterr().out.splitlines()[-1]
    assert not work.play(unit, unit + 1).findings


def test_the_command_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    """A slice of either set."""
    assert main(["schedules", "orders", "--units", "2510..2529"]) == 0
    assert "orders: 20 of 20 units, 0 violations; 20 runs" in capsys.readouterr().out
    assert main(["schedules", "lost", "--units", "0..2"]) == 0
    assert "lost: 3 of 3 units, 0 violations; 3 runs" in capsys.readouterr().out
