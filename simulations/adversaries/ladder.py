"""Two branches of one view, without a second vote at any height: PREPARE above, on the other branch, what is COMMITted
here below.

To one part of the honest the conspirators show the block that they COMMIT; to the other, in the same view, another one
of its height, for which they do not vote, and a block above it, for which they do. A prepare certificate for that
outranks their COMMITs, so no VIEW-CHANGE has to hide them (decision 010). Twins do the work (twins.py): the copies on
that side climb, those on this side watch, and one scheme is between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from random import Random

from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, VoteSignature
from bftnode.protocol.envelope import encode_frame, open_frame
from bftnode.protocol.messages import Kind, PrePrepare, ViewChange, open_body
from bftnode.protocol.transactions import Transaction
from bftnode.replica.chain import next_entry
from simulations.adversaries.liar import Behaviour, Letter

covers = ("X02", "X03", "V02")


class Way(IntEnum):
    """What becomes of the block above."""

    COMMITTED = 0  # at once, in that view
    REPORTED = 1  # by the conspirators, to the next view
    LEFT_TO_THE_HONEST = 2  # to report, who know of nothing else; the conspirators report what they COMMITted


@dataclass(slots=True)
class Scheme:
    """What the copies of all conspirators know."""

    way: Way
    quorum: int
    over: bool = False
    ballots: dict[tuple[int, bytes], dict[int, VoteSignature]] = field(default_factory=dict)  # PREPAREs of this side

    @property
    def height(self) -> int:
        """Up to which height there are votes on this side."""
        return max((seq for seq, _ in self.ballots), default=0)

    def certificate(self) -> Certificate | None:
        """The highest prepare certificate of this side."""
        for (seq, block), votes in sorted(self.ballots.items(), reverse=True):
            if len(votes) >= self.quorum:
                chosen = tuple(votes[sender] for sender in sorted(votes)[: self.quorum])
                return Certificate(PREPARE, 0, 0, seq, block, chosen)
        return None


class Watcher(Behaviour):
    """The copy on this side: a correct replica, that remembers who PREPAREd what."""

    def __init__(self, dice: Random, scheme: Scheme) -> None:
        super().__init__(dice)
        self._scheme = scheme

    def hear(self, sender: int, frame: bytes) -> None:
        opened = open_frame(frame)
        if opened.kind == Kind.PREPARE and not self._scheme.over:
            vote = open_body(opened)
            assert isinstance(vote, Vote), "opened by its kind"
            if vote.view == 0:
                ballot = VoteSignature(opened.sender, opened.boot, opened.counter, opened.signature)
                self._scheme.ballots.setdefault((vote.seq, vote.block), {})[sender] = ballot


class Climber(Behaviour):
    """The copy on that side: votes in the first view only above what its twin voted for."""

    def __init__(self, dice: Random, scheme: Scheme) -> None:
        super().__init__(dice)
        self._scheme = scheme

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        opened = open_frame(frame)
        if self._scheme.over:
            return [(to, frame)]
        if opened.kind in (Kind.PREPARE, Kind.COMMIT):
            vote = open_body(opened)
            assert isinstance(vote, Vote), "opened by its kind"
            below = vote.seq <= self._scheme.height
            if vote.view == 0 and (below or (opened.kind == COMMIT and self._scheme.way != Way.COMMITTED)):
                return []
        if opened.kind == Kind.VIEW_CHANGE and self._scheme.way == Way.LEFT_TO_THE_HONEST:
            change = open_body(opened)
            assert isinstance(change, ViewChange), "opened by its kind"
            if change.view == 1:
                truth = ViewChange(change.epoch, change.view, self._scheme.certificate())
                return [(to, encode_frame(self.liar.replica.voice.seal(Kind.VIEW_CHANGE, truth)))]
        return [(to, frame)]

    def climb(self, transactions: Sequence[Transaction]) -> None:
        """As the primary of the first view: propose a branch up to the first height that has no vote of this side, one
        block for each of these, and vote for the last of them."""
        replica, entry = self.liar.replica, self.liar.replica.agreement.tip
        members, position = replica.members, replica.position
        for transaction in transactions[: self._scheme.height + 1]:
            entry = next_entry(entry, [transaction], members, replica.me, position.view, position.now.wall_ms)
            self._tell(Kind.PRE_PREPARE, PrePrepare(0, position.view, entry.block.header_raw), entry.block.payload)
        vote = Vote(0, position.view, entry.block.seq, entry.block.hash)
        self._tell(Kind.PREPARE, vote)
        self._tell(Kind.COMMIT, vote)

    def _tell(self, kind: Kind, body: PrePrepare | Vote, payload: bytes = b"") -> None:
        frame = encode_frame(self.liar.replica.voice.seal(kind, body, payload))
        for member in self.others():
            self.liar.utter(member, frame)
