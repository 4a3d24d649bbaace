"""Speaks to some and not to others; whom changes now and then."""

from random import Random

from bftnode.protocol.messages import Kind
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N02", "V05", "V15")


class Selective(Behaviour):
    """For each kind of message a set of members that get it."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.changes = dice.random() < 0.5
        self._heard_by: dict[int, list[int]] = {}

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        kind = kind_of(frame)
        if kind == Kind.STATUS:
            return [(to, frame)]
        if kind not in self._heard_by:
            self._heard_by[kind] = self.some()
        return [(to, frame)] if to in self._heard_by[kind] else []

    def act(self) -> None:
        if self.changes and self.random.random() < 0.2:
            self._heard_by.clear()
