"""No story holds whatever the replica does: for many, a mistake that it would not survive, planted for one test.

Each is a mistake that its published precedent made, or that the story's sentence excludes. The same stories hold with
the replica as it is (test_stories.py).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import pytest

from bftnode.protocol import quorums
from bftnode.protocol.certificates import Certificate, Vote, check_certificate
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import SIGNING_DOMAIN, Frame, open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.evidence import contradiction
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.messages import Accusation, Kind, NewView, ViewChange, open_body
from bftnode.protocol.nonces import ClientWindow
from bftnode.replica import core, sync, view_change
from bftnode.replica.agreement import Agreement
from bftnode.replica.checkpoints import Checkpoints
from bftnode.replica.pool import Pool
from bftnode.replica.view_change import ViewChanges
from bftnode.replica.votes import VoteBook
from bftnode.replica.watch import Watch
from simulations import script
from simulations.adversaries.other_cluster import CHAIN_ELSEWHERE
from simulations.catalogue import find
from simulations.crypto import Keyring
from simulations.damage import Seals
from simulations.disks import Disk
from simulations.node import Node
from simulations.simulation import CHAIN
from simulations.world import Violation

Bug = Callable[[], "contextmanager[None]"]


@contextmanager
def no_chain_in_what_is_signed() -> Iterator[None]:
    """A signature made for another cluster holds here (Avalanche Simplex #554)."""
    verify = Keyring.verify

    def verify_either(self: Keyring, public_key: bytes, message: bytes, signature: bytes) -> bool:
        elsewhere = message.replace(CHAIN, CHAIN_ELSEWHERE)
        return verify(self, public_key, message, signature) or verify(self, public_key, elsewhere, signature)

    with patch.object(Keyring, "verify", verify_either):
        yield


@contextmanager
def no_kind_in_what_is_signed() -> Iterator[None]:
    """The signature of a PREPARE is as good for a COMMIT."""
    verify = Keyring.verify
    at = len(SIGNING_DOMAIN) + len(CHAIN)

    def verify_either(self: Keyring, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if not message.startswith(SIGNING_DOMAIN):
            return verify(self, public_key, message, signature)
        other = {Kind.PREPARE: Kind.COMMIT, Kind.COMMIT: Kind.PREPARE}.get(Kind(message[at]), Kind(message[at]))
        renamed = message[:at] + bytes((other,)) + message[at + 1 :]
        return verify(self, public_key, message, signature) or verify(self, public_key, renamed, signature)

    with patch.object(Keyring, "verify", verify_either):
        yield


@contextmanager
def certificates_of_any_epoch() -> Iterator[None]:
    """A certificate is checked with the keys alone (sikka, wolverine-db)."""

    def check(certificate: Certificate, members: Membership, verify: Verifier) -> None:
        there = Membership(members.chain_id, certificate.epoch, members.public_keys, members.parameters)
        check_certificate(certificate, there, verify)

    with patch.object(view_change, "check_certificate", check):
        yield


@contextmanager
def evidence_that_nobody_signed() -> Iterator[None]:
    """Two frames that contradict each other are enough (massa #4979)."""

    def check(accusation: Accusation, members: Membership, verify: Verifier) -> tuple[int, str]:
        frames = open_frame(accusation.first), open_frame(accusation.second)
        proved = contradiction(*frames)
        if proved is None or frames[0].sender != frames[1].sender:
            raise Refused(core.Reason.UNEXPECTED, "nothing is proved")
        return frames[0].sender, proved

    with patch.object(core, "check_accusation", check):
        yield


@contextmanager
def a_disk_that_is_believed() -> Iterator[None]:
    """No checksums: what is read is what was written."""
    with patch.object(Seals, "check", lambda self, place, value: None):
        yield


@contextmanager
def one_is_enough_to_leave_a_view() -> Iterator[None]:
    """f VIEW-CHANGEs move a correct member (indy-plenum #1488, fabric #274)."""
    with patch.object(quorums, "some_correct", quorums.max_faulty):
        yield


@contextmanager
def a_new_view_with_whatever_is_in_it() -> Iterator[None]:
    """A NEW-VIEW is believed: too few reports, one twice, unsigned ones."""

    def believe(self: ViewChanges, body: NewView) -> list[ViewChange]:
        bodies = [open_body(open_frame(raw)) for raw in body.view_changes]
        return [item for item in bodies if isinstance(item, ViewChange)]

    with patch.object(ViewChanges, "check_new_view", believe):
        yield


@contextmanager
def no_timer() -> Iterator[None]:
    """Nobody ever gives a view up by himself."""
    with patch.object(ViewChanges, "deadline_ms", lambda self: None):
        yield


@contextmanager
def nobody_watches() -> Iterator[None]:
    """A primary is given up when its time is over, and not before (Aardvark's PBFT)."""
    with patch.object(Watch, "look", lambda self: None):
        yield


@contextmanager
def neither_timer_nor_watch() -> Iterator[None]:
    """Whatever a primary does, it stays."""
    with no_timer(), nobody_watches():
        yield


@contextmanager
def any_progress_stops_the_timer() -> Iterator[None]:
    """A primary that orders anything is good enough (one timer for all, P16, P31)."""
    executed = Pool.executed

    def executed_all(self: Pool, transactions: object, now_ms: int) -> object:
        others = executed(self, transactions, now_ms)  # type: ignore[arg-type]  # passed on
        self.oldest_since_ms = self.head_since_ms = now_ms
        return others

    with patch.object(Pool, "executed", executed_all):
        yield


@contextmanager
def any_progress_is_enough() -> Iterator[None]:
    """And nobody watches who is passed over."""
    with any_progress_stops_the_timer(), nobody_watches():
        yield


@contextmanager
def no_vote_is_kept() -> Iterator[None]:
    """COMMITs that overtake one's own are dropped (BFT-SMaRt before 7326d316); nobody sends blocks, either."""
    on_vote = Agreement.on_vote

    def drop(self: Agreement, frame: Frame, vote: Vote) -> None:
        mine = self.last_commit
        if frame.kind == Kind.PREPARE and self.accepted.get(vote.seq) != vote.block:
            return
        if frame.kind == Kind.COMMIT and (mine.view, mine.seq) < (vote.view, vote.seq):
            return
        on_vote(self, frame, vote)

    with (
        patch.object(Agreement, "on_vote", drop),
        patch.object(Agreement, "votes_to_repeat", lambda self, above: []),
        patch.object(Disk, "read_run", lambda self, first, last: None),
    ):
        yield


@contextmanager
def quorum_of_2f() -> Iterator[None]:
    """Two quorums need not share a correct member."""
    with patch.object(quorums, "quorum", lambda n: 2 * quorums.max_faulty(n)):
        yield


@contextmanager
def timers_that_never_wait() -> Iterator[None]:
    """A timeout of a tenth: whoever is slow loses its view."""
    with patch.object(ViewChanges, "timeout_ms", property(lambda self: 30)):
        yield


@contextmanager
def time_that_has_to_be_ones_own() -> Iterator[None]:
    """A proposal's time is compared with one's own clock to a tenth of a second (P51)."""
    with patch.object(script, "Parameters", partial(Parameters, clock_skew_ms=100)):
        yield


@contextmanager
def spoken_although_the_disk_is_full() -> Iterator[None]:
    """Nobody looks whether the write was made."""

    def written(self: Node, life: int, then: Callable[[object], None], effects: object) -> None:
        if life == self.life:
            if not self.disk.full:
                self.disk.sync()
            self._writing = False
            then(effects)

    with patch.object(Node, "_written", written):
        yield


@contextmanager
def nobody_compares_a_commit_with_a_view_change() -> Iterator[None]:
    """That a VIEW-CHANGE hides what its sender committed is not seen."""
    with patch.object(VoteBook, "votes_of", lambda self, phase, sender: []):
        yield


@contextmanager
def certificates_are_believed() -> Iterator[None]:
    """Whoever says that a quorum voted is right."""
    with patch.object(view_change, "check_certificate", lambda certificate, members, verify: None):
        yield


@contextmanager
def one_checkpoint_is_stable() -> Iterator[None]:
    """The first CHECKPOINT for a height is taken for the truth (K02)."""

    def look(self: Checkpoints, seq: int) -> None:
        said = {member: kept[seq] for member, kept in self._of.items() if seq in kept}
        own = said.get(self._me)
        for candidate in [*(item for item in said.values() if item != own), own]:
            if candidate is not None:
                self._make_stable(candidate, said)

    with patch.object(Checkpoints, "_look", look):
        yield


@contextmanager
def a_fetch_that_waits_for_ever() -> Iterator[None]:
    """Who promised the height is asked, and nobody else (CVE-2025-24371)."""
    with patch.object(sync, "_Fetch", lambda first, last, until_ms, owed: fetch(first, last, 2**62, owed)):
        yield


@contextmanager
def an_envelope_counts_as_often_as_it_comes() -> Iterator[None]:
    """Nonces are forgotten."""
    with (
        patch.object(ClientWindow, "refusal", lambda self, nonce: None),
        patch.object(Pool, "spent", lambda self, key: False),
    ):
        yield


fetch = sync._Fetch

CANNOT = [
    (no_chain_in_what_is_signed, "another-clusters-words"),
    (no_kind_in_what_is_signed, "another-kinds-signatures"),
    (certificates_of_any_epoch, "another-epochs-words"),
    (evidence_that_nobody_signed, "framed"),
    (a_disk_that_is_believed, "bit-rot-in-the-journal"),
    (a_disk_that_is_believed, "bit-rot-in-the-state"),
    (a_disk_that_is_believed, "bit-rot-in-the-log"),
    (a_disk_that_is_believed, "torn-write"),
    (a_disk_that_is_believed, "misdirected-write"),
    (one_is_enough_to_leave_a_view, "storm-of-plenum"),
    (one_is_enough_to_leave_a_view, "storm-of-fabric"),
    (a_new_view_with_whatever_is_in_it, "liar-in-new-view"),
    (neither_timer_nor_watch, "slow-primary-that-dares-too-much"),
    (neither_timer_nor_watch, "crash-of-each-primary"),
    (neither_timer_nor_watch, "full-disk-of-the-primary"),
    (neither_timer_nor_watch, "narrow-primary"),
    (any_progress_is_enough, "censored-client"),
    (quorum_of_2f, "opportunists"),
    (quorum_of_2f, "zyzzyva-first-slot"),
    (quorum_of_2f, "fab-first-slot"),
    (quorum_of_2f, "hidden-lock-of-ibft"),
    (quorum_of_2f, "equivocates-at-the-last-vote"),
    (quorum_of_2f, "twins-that-crash"),
    (quorum_of_2f, "stolen-key"),
    (nobody_watches, "slow-primary-of-aardvark"),
    (timers_that_never_wait, "order-inversion-of-bft-smart"),
    (no_vote_is_kept, "order-inversion-of-bft-smart"),
    (time_that_has_to_be_ones_own, "clocks-drift"),
    (spoken_although_the_disk_is_full, "full-disk-of-a-backup"),
    (spoken_although_the_disk_is_full, "full-disk-and-a-crash"),
    (nobody_compares_a_commit_with_a_view_change, "amnesia-of-tendermint"),
    (certificates_are_believed, "crooked-certificates"),
    (certificates_are_believed, "another-clusters-words"),
    (one_checkpoint_is_stable, "liar-in-checkpoint"),
    (a_fetch_that_waits_for_ever, "height-that-shrinks"),
    (a_fetch_that_waits_for_ever, "stalled-transfer"),
    (an_envelope_counts_as_often_as_it_comes, "retransmission-storm"),
]


@pytest.mark.parametrize(("bug", "story"), CANNOT)
def test_a_story_fails_where_it_should(bug: Bug, story: str) -> None:
    """The mistake is noticed by the judge, or by what the story expects."""
    with bug(), pytest.raises((Violation, Refused)) as caught:
        find(story).play()
    # A step that raises would be the patch's own mistake: it does not fit the code that it changes any more.
    assert not isinstance(caught.value, Violation) or caught.value.name != "raised", caught.value
