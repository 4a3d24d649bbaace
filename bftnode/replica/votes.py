"""Votes as they come in, and the certificates that they make (docs/protocol.md, "Normal case").

Signatures are looked at when a quorum is there and not before; nothing beyond a quorum is verified or kept.
Links are authenticated, so an unverified vote costs nobody but its sender: it fills that sender's own slots, of
which there are BALLOTS_MAX a height and phase; the lowest view gives way (faults.md N13, P20).
"""

from typing import NamedTuple

from bftnode.protocol.certificates import Certificate, Vote, VoteSignature, vote_body
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import Frame, signing_bytes
from bftnode.protocol.membership import Membership

BALLOTS_MAX = 4

_Key = tuple[int, int, bytes]  # phase, view, block hash


class _Height:
    """The ballots of one height."""

    __slots__ = ("by_sender", "tallies")

    def __init__(self) -> None:
        self.tallies: dict[_Key, dict[int, VoteSignature]] = {}
        self.by_sender: dict[tuple[int, int], list[_Key]] = {}  # (phase, sender) -> keys, in order of arrival


class Contradiction(NamedTuple):
    """Two different votes of one sender for the same phase, view and height; both signatures are valid."""

    first: Frame
    second: Frame


class VoteBook:
    """The votes for heights above the committed one. The owner says which heights are in its window."""

    def __init__(self, members: Membership, verify: Verifier) -> None:
        self._members = members
        self._verify = verify
        self._heights: dict[int, _Height] = {}
        self._verified: dict[tuple[int, _Key, int], bool] = {}  # (seq, key, sender)
        self.invalid = 0  # signatures that did not hold when a quorum was counted

    def add(self, phase: int, vote: Vote, ballot: VoteSignature, *, own: bool = False) -> Contradiction | None:
        """Take a vote in; a contradiction with an earlier one of its sender, if it proves one."""
        height = self._heights.setdefault(vote.seq, _Height())
        key = (phase, vote.view, vote.block)
        tally = height.tallies.setdefault(key, {})
        if ballot.sender in tally:
            return None
        keys = height.by_sender.setdefault((phase, ballot.sender), [])
        found = None
        for earlier in keys:
            if earlier[1] == vote.view:
                found = self._contradiction(phase, vote, ballot, earlier, height.tallies[earlier][ballot.sender])
        tally[ballot.sender] = ballot
        keys.append(key)
        if own:
            self._verified[vote.seq, key, ballot.sender] = True
        if len(keys) > BALLOTS_MAX:
            lowest = min(keys, key=lambda item: item[1])
            keys.remove(lowest)
            self._remove(vote.seq, height, lowest, ballot.sender)
        return found

    def quorum(self, phase: int, view: int, seq: int, block: bytes) -> Certificate | None:
        """The certificate for these votes once q valid ones are there. Invalid ones are dropped on the way."""
        height = self._heights.get(seq)
        key = (phase, view, block)
        tally = height.tallies.get(key) if height else None
        if height is None or tally is None or len(tally) < self._members.quorum:
            return None
        body = vote_body(self._members.epoch, view, seq, block)
        valid: list[VoteSignature] = []
        # Those that were verified before come first, so that a resent quorum costs nothing twice.
        for sender in sorted(tally, key=lambda item: ((seq, key, item) not in self._verified, item)):
            ballot = tally[sender]
            if self._check(seq, key, ballot, body):
                valid.append(ballot)
                if len(valid) == self._members.quorum:
                    votes = tuple(sorted(valid, key=lambda item: item.sender))
                    return Certificate(phase, self._members.epoch, view, seq, block, votes)
            else:
                self.invalid += 1
                height.by_sender[phase, sender].remove(key)
                self._remove(seq, height, key, sender)
        return None

    def missing(self, phase: int, above: int) -> int:
        """How many votes more it takes, at least, before a block above this height has a quorum of `phase`."""
        votes = (
            len(tally)
            for seq, height in self._heights.items()
            if seq > above
            for key, tally in height.tallies.items()
            if key[0] == phase
        )
        return self._members.quorum - max(votes, default=0)

    def seen(self, phase: int, view: int, seq: int, block: bytes) -> tuple[int, ...]:
        """Who voted so, as far as is known (for people: signatures may not have been checked)."""
        height = self._heights.get(seq)
        return tuple(sorted(height.tallies.get((phase, view, block), ()))) if height else ()

    def own(self, view: int, me: int) -> list[tuple[int, int, bytes]]:
        """(phase, seq, block) of this replica's own votes in `view`, lowest height first."""
        return sorted(
            (key[0], seq, key[2])
            for seq, height in self._heights.items()
            for key, tally in height.tallies.items()
            if key[1] == view and me in tally
        )

    def votes_of(self, phase: int, sender: int) -> list[Frame]:
        """One member's votes of `phase` that are kept, as frames."""
        return [
            self._frame(phase, Vote(self._members.epoch, key[1], seq, key[2]), height.tallies[key][sender])
            for seq, height in self._heights.items()
            for key in height.by_sender.get((phase, sender), ())
        ]

    def forget_up_to(self, seq: int) -> None:
        """Heights at or below `seq` are decided."""
        for old in [height for height in self._heights if height <= seq]:
            del self._heights[old]
        if len(self._verified) > 64:
            self._verified = {key: True for key in self._verified if key[0] > seq}

    def _remove(self, seq: int, height: _Height, key: _Key, sender: int) -> None:
        del height.tallies[key][sender]
        if not height.tallies[key]:
            del height.tallies[key]
        self._verified.pop((seq, key, sender), None)

    def _check(self, seq: int, key: _Key, ballot: VoteSignature, body: bytes) -> bool:
        if (seq, key, ballot.sender) in self._verified:
            return True
        message = signing_bytes(self._members.chain_id, key[0], ballot.sender, ballot.boot, ballot.counter, body)
        if not self._verify(self._members.public_keys[ballot.sender], message, ballot.signature):
            return False
        self._verified[seq, key, ballot.sender] = True
        return True

    def _frame(self, phase: int, vote: Vote, ballot: VoteSignature) -> Frame:
        body = vote_body(vote.epoch, vote.view, vote.seq, vote.block)
        return Frame(phase, ballot.sender, ballot.boot, ballot.counter, body, ballot.signature, b"")

    def _contradiction(
        self, phase: int, vote: Vote, ballot: VoteSignature, earlier: _Key, earlier_ballot: VoteSignature
    ) -> Contradiction | None:
        first = self._frame(phase, Vote(vote.epoch, earlier[1], vote.seq, earlier[2]), earlier_ballot)
        second = self._frame(phase, vote, ballot)
        for frame in (first, second):
            message = signing_bytes(self._members.chain_id, phase, frame.sender, frame.boot, frame.counter, frame.body)
            if not self._verify(self._members.public_keys[frame.sender], message, frame.signature):
                return None
        return Contradiction(first, second)
