"""Knows when its vote is the one that makes a quorum, and then gives it to one member only, or to nobody.

It sees what its replica has counted. A vote that decides nothing it casts like anybody, so that nobody misses it.
"""

from random import Random

from bftnode.protocol.certificates import Vote
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.messages import Kind, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.checkers import kind_of

covers = ("N11", "N19", "X01", "P22")

KEPT = 64


class DecisiveVote(Behaviour):
    """One member is to commit what the others do not even know to be decided."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.favours = dice.random() < 0.7  # one member gets the vote, else nobody
        self._favourite: dict[tuple[int, int, int], int] = {}

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        kind = kind_of(frame)
        if kind not in (Kind.PREPARE, Kind.COMMIT):
            return [(to, frame)]
        vote = open_body(open_frame(frame))
        assert isinstance(vote, Vote), "of its kind"
        seen = self.liar.replica.votes.seen(kind, vote.view, vote.seq, vote.block)
        others = sum(member != self.liar.member for member in seen)
        place = (kind, vote.view, vote.seq)
        if place not in self._favourite and others < self.liar.members.quorum - 2:
            return [(to, frame)]
        favourite = self._favourite.setdefault(place, self.random.choice(self.others()) if self.favours else -1)
        while len(self._favourite) > KEPT:
            del self._favourite[next(iter(self._favourite))]
        return [(to, frame)] if to == favourite else []
