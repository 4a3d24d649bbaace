"""What a replica says: frames sealed with the next nonce, and the effects of the turn in order.

Ed25519 is deterministic (RFC 8032) and the counter is state, so a replica that signs is still a function.
"""

from collections.abc import Mapping

from bftnode.protocol.codec import UInt, Wire, encode
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.envelope import Frame, encode_frame, seal
from bftnode.protocol.evidence import without_payload
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Accusation, Kind
from bftnode.replica.effects import Accuse, Broadcast, Effect, Note, Persist, Send

ACCUSATIONS_MAX = 256
"""Accusations in one boot; what comes after them is the same story again and is not told (faults.md O13)."""


class BootRecord(Wire, frozen=True):
    """Journal record "boot": the boot epoch of the last start."""

    boot: UInt


class Voice:
    """Collects effects; `take` hands them over. Counters start at 1 in each boot epoch."""

    def __init__(self, members: Membership, me: int, sign: Signer, boot: int) -> None:
        self.members = members
        self.me = me
        self._sign = sign
        self.boot = boot
        self.counter = 0
        self._effects: list[Effect] = []
        self._accused: set[tuple[int, str]] = set()
        self.persist("boot", BootRecord(boot))

    def new_boot(self, boot: int) -> None:
        """Go on under a later boot epoch (peers know a later one of ours than we remember)."""
        assert boot > self.boot, "boot epochs only grow"
        self.boot = boot
        self.counter = 0
        self.persist("boot", BootRecord(boot))

    def seal(self, kind: Kind, body: Wire, payload: bytes = b"") -> Frame:
        """The next frame of ours."""
        self.counter += 1
        return seal(self.members.chain_id, kind, self.me, self.boot, self.counter, encode(body), self._sign, payload)

    def send(self, to: int, kind: Kind, body: Wire, payload: bytes = b"") -> None:
        self._effects.append(Send(to, encode_frame(self.seal(kind, body, payload))))

    def send_sealed(self, to: int, frame: bytes) -> None:
        """Pass on a frame that proves itself (a NEW-VIEW of somebody else)."""
        self._effects.append(Send(to, frame))

    def broadcast(self, kind: Kind, body: Wire, payload: bytes = b"") -> Frame:
        frame = self.seal(kind, body, payload)
        self._effects.append(Broadcast(encode_frame(frame)))
        return frame

    def persist(self, name: str, value: Wire | bytes) -> None:
        self._effects.append(Persist(name, value if isinstance(value, bytes) else encode(value)))

    def accuse(self, culprit: int, proved: str, first: Frame, second: Frame) -> None:
        """Report two verified frames that contradict each other, here and to the others, once."""
        if (culprit, proved) in self._accused or len(self._accused) >= ACCUSATIONS_MAX:
            return
        self._accused.add((culprit, proved))
        frames = [encode_frame(without_payload(frame)) for frame in (first, second)]
        accusation = Accusation(self.members.epoch, frames[0], frames[1])
        self._effects.append(Accuse(culprit, proved, accusation))
        self.broadcast(Kind.EVIDENCE, accusation)

    def heard(self, culprit: int, proved: str, accusation: Accusation) -> None:
        """Keep an accusation of somebody else's that was verified, once."""
        if (culprit, proved) not in self._accused and len(self._accused) < ACCUSATIONS_MAX:
            self._accused.add((culprit, proved))
            self._effects.append(Accuse(culprit, proved, accusation))

    def note(self, name: str, fields: Mapping[str, int | str]) -> None:
        self._effects.append(Note(name, dict(fields)))

    def add(self, effect: Effect) -> None:
        self._effects.append(effect)

    def take(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
