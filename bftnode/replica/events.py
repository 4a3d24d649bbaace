"""All that can happen to a replica. With effects.py, the table of contents of the machine."""

from typing import NamedTuple

from bftnode.protocol.blocks import Packed
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.transactions import Transaction


class Now(NamedTuple):
    """Time, passed in. Timers use the monotonic clock only; the wall clock only ever judges fresh proposals."""

    monotonic_ms: int
    wall_ms: int


class Received(NamedTuple):
    """A frame came over the authenticated link of member `sender` (an index, never our own)."""

    sender: int
    frame: bytes


class Linked(NamedTuple):
    """There is a (new) authenticated link to this member; what was sent before it may be lost."""

    member: int


class Unlinked(NamedTuple):
    """The last link to this member has ended: it died, or its line did. A hint, as what is silent may be alive."""

    member: int


class Submitted(NamedTuple):
    """Clients' envelopes, opened, validated by the application, and with valid signatures."""

    transactions: tuple[Transaction, ...]


class ExecutedTransaction(NamedTuple):
    """What execution did with one envelope. `code` is empty or the Reason of its rejection."""

    client: bytes
    nonce: int
    code: str


class Executed(NamedTuple):
    """A block of an AppendBlock effect was executed. Fed back in order of height, each exactly once."""

    seq: int
    transactions: tuple[ExecutedTransaction, ...]
    clients: tuple[tuple[bytes, int], ...]  # clients whose role changed; 0: removed
    state_digest: bytes | None  # 32 bytes at checkpoint heights, else None


class RunRead(NamedTuple):
    """The answer to a ReadRun effect: committed blocks [first, certificate.seq], or nothing to give (None)."""

    to: int
    first: int
    blocks: tuple[Packed, ...]
    certificate: Certificate | None


class BlockRead(NamedTuple):
    """The answer to a ReadBlock effect; None: no such block here."""

    to: int
    block: Packed | None


class Tick(NamedTuple):
    """The time that `Replica.next_deadline_ms` named has come (or any other time: ticks are harmless)."""


class Stopping(NamedTuple):
    """The last event of a life that ends in order: what it leaves durable is all that was ever said."""


Event = Received | Linked | Unlinked | Submitted | Executed | RunRead | BlockRead | Tick | Stopping
