"""Sliding windows over nonces: one rule for clients (replicated state), one for peers (anti-replay of frames).

A window remembers the highest nonce and which of those below it were used, so that messages may arrive in any
order and none is accepted twice (faults.md R09..R12, P43). Bit i of `used` is nonce `highest - i`.
"""

from typing import Annotated

from msgspec import Meta

from bftnode.protocol import limits
from bftnode.protocol.codec import Byte, UInt, Wire
from bftnode.protocol.errors import Reason

CLIENT = 1
ADMINISTRATOR = 2

_CLIENT_MASK = (1 << limits.NONCE_WINDOW) - 1
_REPLAY_MASK = (1 << limits.REPLAY_WINDOW) - 1


class ClientRecord(Wire, frozen=True):
    """A client in replicated state. Nonces start at 1; `highest` is 0 and `used` is 1 before the first."""

    role: Byte
    highest: UInt
    used: Annotated[bytes, Meta(min_length=limits.NONCE_WINDOW // 8, max_length=limits.NONCE_WINDOW // 8)]


class ClientWindow:
    """The nonces that one client has used. Mutable; `record` and `load` carry it in and out of state."""

    __slots__ = ("highest", "role", "used")

    def __init__(self, role: int, highest: int = 0, used: int = 1) -> None:
        self.role = role
        self.highest = highest
        self.used = used

    def refusal(self, nonce: int) -> Reason | None:
        """Why `nonce` cannot be used now, or None (docs/protocol.md, "Transactions")."""
        if nonce > self.highest:
            return Reason.TX_NONCE_FAR if nonce - self.highest > limits.NONCE_JUMP_MAX else None
        behind = self.highest - nonce
        if behind >= limits.NONCE_WINDOW:
            return Reason.TX_NONCE_OLD
        return Reason.TX_NONCE_USED if self.used >> behind & 1 else None

    def use(self, nonce: int) -> list[int]:
        """Mark `nonce` used; the used nonces that leave the window by it, whose results may be forgotten."""
        assert self.refusal(nonce) is None, "a nonce is checked before it is used"
        if nonce <= self.highest:
            self.used |= 1 << (self.highest - nonce)
            return []
        shift, used, highest = nonce - self.highest, self.used, self.highest
        self.used = (used << shift | 1) & _CLIENT_MASK
        self.highest = nonce
        # What was at bit i is at bit i + shift now, and out of the window from NONCE_WINDOW on.
        first = max(0, limits.NONCE_WINDOW - shift)
        gone = used >> first
        return [highest - first - i for i in range(gone.bit_length()) if gone >> i & 1]

    def record(self) -> ClientRecord:
        return ClientRecord(self.role, self.highest, self.used.to_bytes(limits.NONCE_WINDOW // 8, "big"))

    @staticmethod
    def load(record: ClientRecord) -> "ClientWindow":
        return ClientWindow(record.role, record.highest, int.from_bytes(record.used, "big"))


class ReplayWindow:
    """The frames seen of one peer: highest boot epoch, and a window of counters in it."""

    __slots__ = ("boot", "counter", "seen")

    def __init__(self, boot: int = 0, counter: int = 0) -> None:
        self.boot = boot
        self.counter = counter
        # After a restart nothing below the remembered counter is accepted again.
        self.seen = _REPLAY_MASK

    def accept(self, boot: int, counter: int) -> bool:
        """Whether (boot, counter) is new; remembers it if so."""
        if boot < self.boot:
            return False
        if boot > self.boot:
            self.boot, self.counter, self.seen = boot, counter, 1
            return True
        if counter > self.counter:
            shift = min(counter - self.counter, limits.REPLAY_WINDOW)
            self.seen = (self.seen << shift | 1) & _REPLAY_MASK
            self.counter = counter
            return True
        behind = self.counter - counter
        if behind >= limits.REPLAY_WINDOW or self.seen >> behind & 1:
            return False
        self.seen |= 1 << behind
        return True
