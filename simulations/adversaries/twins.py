"""One key at two places: two correct replicas of one member that know nothing of each other.

Bano et al., "Twins: BFT Systems Made Robust" (OPODIS 2021): most Byzantine behaviour is what two honest copies do
when they hear different halves of the world. Their frames are numbered by one counter, so that replay windows do
not spoil the attack.
"""

from dataclasses import dataclass
from random import Random

from bftnode.protocol.envelope import encode_frame, open_frame, seal
from simulations.adversaries.liar import Behaviour, Letter

covers = ("O02", "N01", "N11", "V11", "R13")


@dataclass(slots=True)
class Numbering:
    """What the twins share."""

    counter: int = 0


class Twin(Behaviour):
    """Says what its replica says, under the next common number."""

    def __init__(self, dice: Random, numbering: Numbering) -> None:
        super().__init__(dice)
        self._numbering = numbering

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        opened = open_frame(frame)
        if opened.sender != self.liar.member:
            return [(to, frame)]
        self._numbering.counter += 1
        fresh = seal(
            self.liar.members.chain_id,
            opened.kind,
            opened.sender,
            1,
            self._numbering.counter,
            opened.body,
            self.liar.replica.voice._sign,
            opened.payload,
        )
        return [(to, encode_frame(fresh))]
