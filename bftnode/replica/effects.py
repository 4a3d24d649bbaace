"""All that a replica can ask for, and what must be durable BEFORE what.

A turn (one or more steps) that has a Persist which is not `behind` is a promise. Its effects are carried out so,
whatever their order in the lists:

1. Persist and StoreBlock, and all that earlier turns left behind, in ONE durable write. If it fails, nothing below
   happens and the same write is tried again before the replica takes another step.
2. Only then Send and Broadcast, in order; Answer; Accuse; Note.
3. AppendBlock executes the block, in order of height, and its result may be told to clients: its commit certificate
   says that a quorum has made it durable, and where my own COMMIT is in it, that is durable NOW and not before. Then
   an Executed event. What it appends, DropBlocks and KeepCheckpoint are left behind.
4. For each ReadRun a RunRead, for each ReadBlock a BlockRead; what was left behind is written before they read, if it
   is among what they ask for.

A turn without one does the same but for the write; what it persists, stores, appends and drops is left behind: written
by the next promise, or within some milliseconds, together or not at all (docs/decisions/009-one-sync-a-block.md).
"""

from typing import NamedTuple

from bftnode.protocol.blocks import Block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.errors import Reason
from bftnode.protocol.messages import Accusation
from bftnode.protocol.transactions import Transaction


class Persist(NamedTuple):
    """Journal record `name` is `value` from now on. Durable BEFORE anything of this turn is sent, unless `behind`."""

    name: str
    value: bytes
    behind: bool = False


class StoreBlock(NamedTuple):
    """An accepted, uncommitted block. Durable BEFORE a COMMIT for it is sent; found again by its hash."""

    block: Block


class AppendBlock(NamedTuple):
    """A committed block, the next one of the log: append and execute it.

    `certificate` is None for an ancestor that was committed by a later block's certificate and has none of its own.
    `transactions` are the opened envelopes of the block, in order.
    """

    block: Block
    transactions: tuple[Transaction, ...]
    certificate: Certificate | None


class DropBlocks(NamedTuple):
    """Stored blocks that are committed or can never be: StoreBlock's counterpart."""

    hashes: tuple[bytes, ...]


class KeepCheckpoint(NamedTuple):
    """A checkpoint of the log that a quorum has cosigned; it replaces one of the same size. Left behind."""

    cosigned: Cosigned


class Send(NamedTuple):
    """A frame for one member. Never lost silently by us, but the network may: status repeats what matters."""

    to: int
    frame: bytes


class Broadcast(NamedTuple):
    """A frame for every other member."""

    frame: bytes


class ReadRun(NamedTuple):
    """Read committed blocks from height `first` to `last` for member `to`: see limits.RUN_*; ends at a certified block.

    It takes a while, and later events do not wait for it.
    """

    to: int
    first: int
    last: int


class ReadBlock(NamedTuple):
    """Read a committed or stored block by hash for member `to`."""

    to: int
    block: bytes


class Answer(NamedTuple):
    """What happened to a submitted envelope before ordering: reason None = taken into custody (ACK)."""

    transaction: Transaction
    reason: Reason | None


class Accuse(NamedTuple):
    """A proof that `culprit` lied; keep it and report it. It was verified."""

    culprit: int
    proved: str
    accusation: Accusation


class Note(NamedTuple):
    """Something worth a log line or a counter: a stable snake_case name and flat fields (ints, short strs)."""

    name: str
    fields: dict[str, int | str]


Effect = (
    Persist
    | StoreBlock
    | AppendBlock
    | DropBlocks
    | KeepCheckpoint
    | Send
    | Broadcast
    | ReadRun
    | ReadBlock
    | Answer
    | Accuse
    | Note
)
