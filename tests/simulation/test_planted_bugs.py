"""The net has no hole where it matters: classical bugs, planted on purpose, are each caught.

Each is a small change to the replica, made for the length of one test. The same schedule that catches it is played
with the replica as it is and shows nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from bftnode.protocol import quorums
from bftnode.protocol.certificates import PREPARE, Certificate, Vote, VoteSignature, rank_of
from bftnode.protocol.codec import Wire
from bftnode.replica import view_change
from bftnode.replica.agreement import Agreement
from bftnode.replica.effects import AppendBlock, Effect
from bftnode.replica.proposals import Proposals
from bftnode.replica.view_change import ViewChanges
from bftnode.replica.voice import Voice
from bftnode.replica.votes import Contradiction, VoteBook
from simulations.node import Node
from simulations.scenarios import (
    ancestors_of_the_base,
    certificate_of_a_later_view,
    lowest_certificate,
    own_commit,
    two_quorums,
    withheld_base,
)
from simulations.simulation import play
from simulations.swarm import draw
from simulations.world import Violation


@contextmanager
def quorum_of_2f() -> Iterator[None]:
    """2f, where a quorum is 2f+1 of 3f+1: two quorums need not share a correct member."""
    with patch.object(quorums, "quorum", lambda n: 2 * quorums.max_faulty(n)):
        yield


@contextmanager
def a_vote_counted_twice() -> Iterator[None]:
    """A vote that is sent again, under a fresh number, counts again."""
    add = VoteBook.add

    def add_again(
        self: VoteBook, phase: int, vote: Vote, ballot: VoteSignature, *, own: bool = False
    ) -> Contradiction | None:
        height = self._heights.get(vote.seq)
        tally = height.tallies.get((phase, vote.view, vote.block)) if height is not None else None
        if tally is None or ballot.sender not in tally:
            return add(self, phase, vote, ballot, own=own)
        if len(tally) < self._members.n:
            assert height is not None
            pretended = 100 + len(tally)
            tally[pretended] = ballot
            height.by_sender[phase, pretended] = [(phase, vote.view, vote.block)]
        return None

    with patch.object(VoteBook, "add", add_again):
        yield


@contextmanager
def the_lowest_certificate_chosen() -> Iterator[None]:
    """NEW-VIEW builds on the lowest certificate that was reported."""
    with patch.object(view_change, "base_of", lambda them: min((item.certificate for item in them), key=rank_of)):
        yield


@contextmanager
def a_vote_before_it_is_durable() -> Iterator[None]:
    """The vote leaves; that it was cast is written a little later, a COMMIT's too."""
    persist = Voice.persist

    def persist_later(self: Voice, name: str, value: Wire | bytes, *, behind: bool = False) -> None:
        persist(self, name, value, behind=behind or name in ("prepare", "commit"))

    with patch.object(Voice, "persist", persist_later):
        yield


@contextmanager
def a_restart_without_abstention() -> Iterator[None]:
    """Who restarts votes at heights where it may have voted already (decision 009)."""
    resume = Agreement.resume_view

    def resume_boldly(self: Agreement, certificate: Certificate | None, *, crashed: bool) -> None:
        assert crashed in (True, False)
        resume(self, certificate, crashed=False)

    with patch.object(Agreement, "resume_view", resume_boldly):
        yield


@contextmanager
def prepares_never_vouched_for() -> Iterator[None]:
    """PREPAREs go unrecorded however far above what is durable they are."""
    with patch.object(Agreement, "_vouch", lambda self, view: (view, 2**40)):
        yield


@contextmanager
def ancestors_of_the_base_voted_for_again() -> Iterator[None]:
    """TRAP 1: in a new view every block up to the base is voted for again, one by one."""
    settle, cast = Agreement.settle, Agreement._vote

    def settle_one_by_one(self: Agreement) -> None:
        def vote(phase: int, seq: int, block: bytes) -> None:
            path = self._chain.path(block)
            if phase == PREPARE and block == self.base[1] and isinstance(path, list):
                self.accepted = {entry.block.seq: entry.block.hash for entry in path}
                for entry in path[:-1]:
                    cast(self, PREPARE, entry.block.seq, entry.block.hash)
            cast(self, phase, seq, block)

        with patch.object(self, "_vote", vote):
            settle(self)

    with patch.object(Agreement, "settle", settle_one_by_one):
        yield


@contextmanager
def a_certificate_of_a_later_view_ignored() -> Iterator[None]:
    """TRAP 3: who learns that its view is over goes on in it."""
    with patch.object(ViewChanges, "end_view", lambda self, view: None):
        yield


@contextmanager
def proposals_outlive_their_view() -> Iterator[None]:
    """What was proposed in the view before is compared with what is proposed in this one."""
    with patch.object(Proposals, "clear", lambda self: self._waiting.clear()):
        yield


@contextmanager
def executed_before_it_is_durable() -> Iterator[None]:
    """Committed blocks are executed, and clients told, before the turn that committed them is written."""
    turn = Node._turn

    def turn_eagerly(self: Node) -> None:
        write, say = self._write, self._say

        def write_late(then: Callable[[Sequence[Effect]], None], effects: Sequence[Effect]) -> None:
            committing = [effect for effect in effects if isinstance(effect, AppendBlock)]
            for committed in self.disk.leave(committing):
                self.judge.on_committed(self, committed)
                self._inbox.append(committed.executed)
            rest = [effect for effect in effects if not isinstance(effect, AppendBlock)]
            write(then if then != say else self._say, rest)

        with patch.object(self, "_write", write_late):
            turn(self)

    with patch.object(Node, "_turn", turn_eagerly):
        yield


@contextmanager
def a_view_built_on_what_nobody_has() -> Iterator[None]:
    """The primary takes the first q VIEW-CHANGEs, whether the block that they lead to can be had or not."""
    with patch.object(Agreement, "lacks", lambda self, certificate: None):
        yield


Bug = Callable[[], "contextmanager[None]"]

PLANTED = [
    pytest.param(
        quorum_of_2f, two_quorums.play, {"certificate", "agreement"}, id="quorum of 2f", marks=pytest.mark.covers("P1")
    ),
    pytest.param(
        the_lowest_certificate_chosen,
        lowest_certificate.play,
        {"agreement"},
        id="lowest certificate",
        marks=pytest.mark.covers("V18", "P5"),
    ),
    pytest.param(
        ancestors_of_the_base_voted_for_again,
        ancestors_of_the_base.play,
        {"agreement"},
        id="ancestors of the base",
        marks=pytest.mark.covers("P4"),
    ),
    pytest.param(
        a_certificate_of_a_later_view_ignored,
        certificate_of_a_later_view.play,
        {"view-over"},
        id="certificate of a later view",
        marks=pytest.mark.covers("P10"),
    ),
    pytest.param(
        executed_before_it_is_durable,
        own_commit.play,
        {"durable"},
        id="executed before it is durable",
        marks=pytest.mark.covers("P13"),
    ),
    pytest.param(
        a_view_built_on_what_nobody_has,
        withheld_base.play,
        {"liveness"},
        id="view built on what nobody has",
        marks=pytest.mark.covers("N18"),
    ),
]


@pytest.mark.parametrize(("bug", "scenario", "names"), PLANTED)
def test_a_directed_schedule_catches_it(bug: Bug, scenario: Callable[[], None], names: set[str]) -> None:
    """The schedule that a bug needs is written down; without the bug the same schedule is harmless."""
    with bug(), pytest.raises(Violation) as caught:
        scenario()
    assert caught.value.name in names
    scenario()


RANDOM = [
    pytest.param(quorum_of_2f, {"certificate", "agreement"}, range(5), id="quorum of 2f"),
    # Others refuse a certificate with one sender twice, which is how it may be met first.
    pytest.param(
        a_vote_counted_twice, {"certificate", "agreement", "misunderstanding"}, range(60), id="vote counted twice"
    ),
    pytest.param(
        the_lowest_certificate_chosen, {"agreement", "misunderstanding", "halted"}, range(110), id="lowest certificate"
    ),
    pytest.param(a_vote_before_it_is_durable, {"durable"}, range(5), id="vote before it is durable"),
    pytest.param(executed_before_it_is_durable, {"durable"}, range(5), id="executed before it is durable"),
    pytest.param(a_restart_without_abstention, {"said-once"}, range(60), id="restart without abstention"),
    pytest.param(prepares_never_vouched_for, {"durable", "liveness"}, range(60), id="prepares never vouched for"),
    pytest.param(a_certificate_of_a_later_view_ignored, {"view-over"}, range(120), id="certificate of a later view"),
    pytest.param(proposals_outlive_their_view, {"framed", "evidence"}, range(40), id="proposals outlive their view"),
]


@pytest.mark.covers("P1", "P2", "P5", "P13", "V18")
@pytest.mark.parametrize(("bug", "names", "seeds"), RANDOM)
def test_a_few_dozen_seeds_catch_it(bug: Bug, names: set[str], seeds: range) -> None:
    """The swarm finds these without being told where to look (and finds nothing in the same seeds without them)."""
    with bug():
        caught = next((outcome for outcome in (play(draw(seed, (4, 7))) for seed in seeds) if outcome.violation), None)
    assert caught is not None, f"{len(seeds)} seeds do not notice"
    assert caught.violation is not None
    assert caught.violation.name in names
    assert play(draw(caught.seed, (4, 7))).violation is None
