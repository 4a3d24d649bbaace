"""Certificates and lists that contradict themselves: strangers among the signers, one twice, of genesis, out of order.

Precedents: CometBFT's ASA-2024-011 (a signer's index beyond the members stopped nodes) and ASA-2025-003 (a bit
array of another length than the members).
"""

from dataclasses import dataclass

from bftnode.protocol.certificates import COMMIT, Certificate, VoteSignature
from bftnode.protocol.codec import encode
from bftnode.protocol.messages import Kind, Run, Seen, Status, ViewChange
from simulations.adversaries.liar import Behaviour

covers = ("C13", "C14", "V01", "P2")

EXTRA = 32
"""Votes beyond a quorum that somebody might check one by one."""

TRICKS = ("stranger", "one twice", "not in order", "too few", "too many", "genesis", "of a view to come")


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is changed of a certificate that holds."""

    view: int
    seq: int
    votes: tuple[VoteSignature, ...]


class CrookedCertificate(Behaviour):
    """Takes a certificate that holds and bends it."""

    def act(self) -> None:
        liar, dice = self.liar, self.random
        epoch, view = liar.members.epoch, liar.replica.position.view
        highest = liar.replica.position.highest
        if highest is not None:
            bent = self._bent(highest)
            asked = view + dice.choice((1, 1, 2))
            liar.post(self.some(1), liar.seal(Kind.VIEW_CHANGE, ViewChange(epoch, asked, bent)))
            run = liar.disk.read_run(1, liar.disk.height)
            if run is not None:
                crooked = Run(epoch, 1, self._bent(run[1]))
                liar.post(self.some(1), liar.seal(Kind.RUN, crooked, encode(run[0])))
        seen = tuple(Seen(0, 0, 0) for _ in range(dice.choice((0, 1, liar.members.n - 1, liar.members.n + 1))))
        height = liar.disk.height
        liar.post(self.some(1), liar.seal(Kind.STATUS, Status(epoch, view, True, height, height, height, seen)))

    def _bent(self, one: Certificate) -> Certificate:
        shape = self._shape(one)
        return Certificate(COMMIT, one.epoch, shape.view, shape.seq, one.block, shape.votes)

    def _shape(self, one: Certificate) -> _Shape:
        votes = one.votes
        last = votes[-1]
        match self.random.choice(TRICKS):
            case "stranger":
                beyond = VoteSignature(self.liar.members.n, last.boot, last.counter, last.signature)
                return _Shape(one.view, one.seq, (*votes[:-1], beyond))
            case "one twice":
                return _Shape(one.view, one.seq, (*votes[:-1], votes[-2]))
            case "not in order":
                return _Shape(one.view, one.seq, votes[::-1])
            case "too few":
                return _Shape(one.view, one.seq, votes[:-1])
            case "too many":
                return _Shape(one.view, one.seq, (*votes, *[last] * EXTRA))
            case "genesis":
                return _Shape(one.view, 0, votes)
            case _:
                return _Shape(one.view + 5, one.seq, votes)
