"""All that a replica can ask for, and what must be durable BEFORE what.

The effects of one turn (one or more steps) are carried out in this order, whatever their order in the lists:

1. Persist, StoreBlock, AppendBlock, DropBlocks: all of them in ONE durable write. If it fails, nothing below
   happens and the same write is tried again before the replica takes another step.
2. AppendBlock also executes the block, in order of height, in that same write.
3. Only then Send and Broadcast, in order; Answer; Accuse; Note.
4. For each executed block an Executed event, for each ReadRun a RunRead, for each ReadBlock a BlockRead.
"""

from typing import NamedTuple

from bftnode.protocol.blocks import Block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.errors import Reason
from bftnode.protocol.messages import Accusation
from bftnode.protocol.transactions import Transaction


class Persist(NamedTuple):
    """Journal record `name` is `value` from now on. Durable BEFORE anything of this turn is sent."""

    name: str
    value: bytes


class StoreBlock(NamedTuple):
    """An accepted, uncommitted block. Durable BEFORE the vote for it is sent; found again by its hash."""

    block: Block


class AppendBlock(NamedTuple):
    """A committed block, the next one of the log: append and execute it, durably.

    `certificate` is None for an ancestor that was committed by a later block's certificate. `transactions` are
    the opened envelopes of the block, in order.
    """

    block: Block
    transactions: tuple[Transaction, ...]
    certificate: Certificate | None


class DropBlocks(NamedTuple):
    """Stored blocks that are committed or can never be: StoreBlock's counterpart."""

    hashes: tuple[bytes, ...]


class Send(NamedTuple):
    """A frame for one member. Never lost silently by us, but the network may: status repeats what matters."""

    to: int
    frame: bytes


class Broadcast(NamedTuple):
    """A frame for every other member."""

    frame: bytes


class ReadRun(NamedTuple):
    """Read committed blocks from height `first` for member `to`: see limits.RUN_*; ends at a certified block."""

    to: int
    first: int


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
    Persist | StoreBlock | AppendBlock | DropBlocks | Send | Broadcast | ReadRun | ReadBlock | Answer | Accuse | Note
)
