"""When a liar lies: always, now and then, at heights, in views, about kinds of messages.

A behaviour that is not triggered still hears everything, so that it knows what it needs when its moment comes.
"""

from dataclasses import dataclass
from random import Random

from bftnode.protocol.messages import Kind
from simulations.adversaries.liar import Behaviour, Letter, Liar
from simulations.judges import kind_of


@dataclass(frozen=True, slots=True)
class Trigger:
    """All that is named must be so; what is empty is always so."""

    probability: float = 1.0  # of each message, and of each unprovoked act
    heights: tuple[int, ...] = ()  # of the block that the liar expects next
    views: tuple[int, ...] = ()  # that the liar's replica is in
    kinds: tuple[Kind, ...] = ()  # of the message that it says, or answers; unprovoked acts are of none

    def holds(self, liar: Liar, kind: int | None, dice: Random) -> bool:
        if self.kinds and kind not in self.kinds:
            return False
        if self.heights and liar.disk.height + 1 not in self.heights:
            return False
        if self.views and liar.replica.position.view not in self.views:
            return False
        return self.probability >= 1 or dice.random() < self.probability


ALWAYS = Trigger()


class Triggered(Behaviour):
    """Another behaviour, at its moments."""

    def __init__(self, dice: Random, trigger: Trigger, behaviour: Behaviour) -> None:
        super().__init__(dice)
        self._trigger = trigger
        self._behaviour = behaviour

    def attach(self, liar: Liar) -> None:
        super().attach(liar)
        self._behaviour.attach(liar)

    def hear(self, sender: int, frame: bytes) -> None:
        if self._trigger.holds(self.liar, kind_of(frame), self.random):
            self._behaviour.hear(sender, frame)
            return
        voice = self.liar.replica.voice
        self.liar.muted, counter = True, voice.counter
        try:
            self._behaviour.hear(sender, frame)
        finally:
            self.liar.muted, voice.counter = False, counter  # what was sealed and not said has no number

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if self._trigger.holds(self.liar, kind_of(frame), self.random):
            return self._behaviour.utter(to, frame)
        return [(to, frame)]

    def act(self) -> None:
        if self._trigger.holds(self.liar, None, self.random):
            self._behaviour.act()
