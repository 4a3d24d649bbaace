"""A Byzantine member: a correct replica behind a mouth that is not its own.

The replica inside keeps it well-informed; its behaviours change, add and withhold what leaves. They sign with the
member's own key and no other: whatever they do, they forge nothing.
"""

from collections.abc import Sequence
from random import Random

from bftnode.protocol.codec import Wire
from bftnode.protocol.envelope import encode_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import Kind
from bftnode.replica.events import Event
from bftnode.replica.position import Quarantine
from simulations.judges import kind_of
from simulations.node import Node

Letter = tuple[int, bytes]
"""(to which member, frame)."""

ACT_INTERVAL_MS = (40, 400)


class Behaviour:
    """One way of misbehaving. A member may have several: what one lets out goes through the next."""

    def __init__(self, dice: Random) -> None:
        self.random = dice
        self._liar: Liar | None = None

    @property
    def liar(self) -> "Liar":
        assert self._liar is not None, "a behaviour belongs to a member"
        return self._liar

    def attach(self, liar: "Liar") -> None:
        self._liar = liar

    def hear(self, sender: int, frame: bytes) -> None:
        """A frame comes in; the replica hears it too."""

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        """What leaves instead of this frame."""
        return [(to, frame)]

    def act(self) -> None:
        """From time to time, unprovoked."""

    def others(self) -> list[int]:
        return [member for member in range(self.liar.members.n) if member != self.liar.member]

    def some(self, least: int = 0) -> list[int]:
        """Some of the others."""
        others = self.others()
        return sorted(self.random.sample(others, self.random.randint(least, len(others))))


def _changed(behaviour: Behaviour, letter: Letter) -> list[Letter]:
    try:
        return behaviour.utter(*letter)
    except Refused:
        return [letter]  # another behaviour has made it unreadable


class Liar(Node):
    """A node whose member is Byzantine."""

    behaviours: Sequence[Behaviour] = ()
    act_random: Random | None = None
    muted: bool = False  # what a behaviour would post now is not its moment's (trigger.py)

    def misbehave(self, behaviours: Sequence[Behaviour], dice: Random) -> None:
        """Once, at the beginning."""
        self.act_random = dice
        self.become(behaviours)
        self.world.after(dice.randint(*ACT_INTERVAL_MS), self._act)

    def become(self, behaviours: Sequence[Behaviour]) -> None:
        """Behave so from now on; with none, like anybody."""
        self.behaviours = behaviours
        for behaviour in behaviours:
            behaviour.attach(self)

    def _act(self) -> None:
        assert self.act_random is not None, "scheduled by misbehave"
        if self.up:
            for behaviour in self.behaviours:
                behaviour.act()
        self.world.after(self.act_random.randint(*ACT_INTERVAL_MS), self._act)

    def hear(self, sender: int, frame: bytes) -> None:
        if self.up:
            for behaviour in self.behaviours:
                behaviour.hear(sender, frame)
        super().hear(sender, frame)

    def put(self, event: Event) -> None:
        if self.up:
            # It does not care that its disk was rolled back or that it has a twin.
            self.replica.position.quarantine = Quarantine.NONE
        super().put(event)

    def utter(self, to: int, frame: bytes) -> None:
        if kind_of(frame) == Kind.FORK:
            return  # it does not stop those that it fools
        letters: list[Letter] = [(to, frame)]
        for behaviour in self.behaviours:
            letters = [after for letter in letters for after in _changed(behaviour, letter)]
        for member, raw in letters:
            super().utter(member, raw)

    # ---- for behaviours

    def seal(self, kind: Kind, body: Wire, payload: bytes = b"") -> bytes:
        """A frame of this member, with its next nonce."""
        return encode_frame(self.replica.voice.seal(kind, body, payload))

    def post(self, to: Sequence[int], frame: bytes) -> None:
        """Past all behaviours."""
        if self.muted:
            return
        for member in to:
            super().utter(member, frame)
