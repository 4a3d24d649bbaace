"""Holds its votes back until it knows what they are worth: where one makes a quorum, one member gets it, or nobody.

It sees what its replica has counted. A vote that the others do not need any more it casts like anybody, so that
nobody misses it.
"""

from random import Random

from bftnode.protocol.certificates import Vote
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.messages import Kind, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N11", "N19", "X01", "P22")

KEPT = 64

Place = tuple[int, Vote]
"""(phase, what is voted for)."""


class DecisiveVote(Behaviour):
    """One member is to know as decided what the others do not even know to be prepared."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.favours = dice.random() < 0.7  # one member gets the vote, else nobody
        self._held: dict[Place, bytes] = {}

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        kind = kind_of(frame)
        if kind not in (Kind.PREPARE, Kind.COMMIT):
            return [(to, frame)]
        vote = open_body(open_frame(frame))
        assert isinstance(vote, Vote), "of its kind"
        if self._others(kind, vote) >= self.liar.members.quorum:
            return [(to, frame)]
        self._held[kind, vote] = frame
        while len(self._held) > KEPT:
            del self._held[next(iter(self._held))]
        return []

    def hear(self, sender: int, frame: bytes) -> None:
        self._weigh()

    def act(self) -> None:
        self._weigh()

    def _weigh(self) -> None:
        """What was held back is worth something now, or nothing any more."""
        quorum = self.liar.members.quorum
        for (kind, vote), frame in list(self._held.items()):
            others = self._others(kind, vote)
            if others < quorum - 1:
                continue
            del self._held[kind, vote]
            if others >= quorum:
                self.liar.post(self.others(), frame)
            elif self.favours:
                self.liar.post([self.random.choice(self.others())], frame)

    def _others(self, kind: int, vote: Vote) -> int:
        seen = self.liar.replica.votes.seen(kind, vote.view, vote.seq, vote.block)
        return sum(member != self.liar.member for member in seen)
