"""Says nothing, or nothing of some kinds."""

from random import Random

from bftnode.protocol.messages import Kind
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N03", "N19", "X01")


class Silent(Behaviour):
    """Dead silence, or a mouth without some of its words."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        words = [int(kind) for kind in Kind]
        self.unsaid = words if dice.random() < 0.5 else sorted(dice.sample(words, dice.randint(1, 6)))

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        return [] if kind_of(frame) in self.unsaid else [(to, frame)]
