"""What a replica says: frames sealed with the next nonce, and the effects of the turn in order.

Ed25519 is deterministic (RFC 8032) and the counter is state, so a replica that signs is still a function.
"""

from collections.abc import Mapping

from bftnode.protocol.codec import UInt, Wire, encode
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.envelope import Frame, encode_frame, seal
from bftnode.protocol.evidence import without_payload
from bftnode.protocol.limits import EVIDENCE_BYTES_MAX
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Accusation, Kind
from bftnode.replica.effects import Accuse, Broadcast, Effect, Note, Persist, Send

ACCUSATIONS_MAX = 8
"""Accusations of one culprit in one boot; what comes after them is the same story again and is not told (O13)."""


RESERVED = 4096
"""Counters reserved in the journal at a time. Peers that have seen one beyond the reserve have seen what a
restored disk has forgotten."""


class BootRecord(Wire, frozen=True):
    """Journal record "boot": the boot epoch of the last start, and a counter that it did not go beyond."""

    boot: UInt
    reserved: UInt


class Voice:
    """Collects effects; `take` hands them over. Counters start at 1 in each boot epoch."""

    def __init__(self, members: Membership, me: int, sign: Signer, boot: int) -> None:
        self.members = members
        self.me = me
        self._sign = sign
        self.boot = boot
        self.counter = 0
        self._effects: list[Effect] = []
        self._accused: dict[int, set[str]] = {}
        self._reserved = 0
        self._reserve()

    def _reserve(self) -> None:
        self._reserved = self.counter + RESERVED
        self.persist("boot", BootRecord(self.boot, self._reserved))

    def new_boot(self, boot: int) -> None:
        """Go on under a later boot epoch (peers know a later one of ours than we remember)."""
        assert boot > self.boot, "boot epochs only grow"
        self.boot = boot
        self.counter = 0
        self._reserve()

    def seal(self, kind: Kind, body: Wire, payload: bytes = b"") -> Frame:
        """The next frame of ours."""
        self.counter += 1
        if self.counter > self._reserved:
            self._reserve()
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

    def persist(self, name: str, value: Wire | bytes, *, behind: bool = False) -> None:
        self._effects.append(Persist(name, value if isinstance(value, bytes) else encode(value), behind))

    def accuse(self, culprit: int, proved: str, first: Frame, second: Frame, headers: tuple[bytes, ...] = ()) -> None:
        """Report two verified frames that contradict each other, here and to the others, once."""
        frames = [encode_frame(without_payload(frame)) for frame in (first, second)]
        if max(map(len, frames)) > EVIDENCE_BYTES_MAX or not self._is_news(culprit, proved):
            return
        accusation = Accusation(self.members.epoch, frames[0], frames[1], headers)
        self._keep(culprit, proved, accusation)
        self.broadcast(Kind.EVIDENCE, accusation)

    def heard(self, culprit: int, proved: str, accusation: Accusation) -> None:
        """Keep an accusation of somebody else's that was verified, once."""
        if self._is_news(culprit, proved):
            self._keep(culprit, proved, accusation)

    def _is_news(self, culprit: int, proved: str) -> bool:
        known = self._accused.setdefault(culprit, set())
        if proved in known or len(known) >= ACCUSATIONS_MAX:
            return False
        known.add(proved)
        return True

    def _keep(self, culprit: int, proved: str, accusation: Accusation) -> None:
        self.persist(f"evidence.{culprit}.{len(self._accused[culprit])}", accusation)
        self._effects.append(Accuse(culprit, proved, accusation))

    def note(self, name: str, fields: Mapping[str, int | str]) -> None:
        self._effects.append(Note(name, dict(fields)))

    def add(self, effect: Effect) -> None:
        self._effects.append(effect)

    def take(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
