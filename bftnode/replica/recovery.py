"""What a replica wakes up with: everything that it made durable, in the shapes that it needs."""

from dataclasses import dataclass, field

from bftnode.protocol.blocks import Block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.merkle import Frontier
from bftnode.protocol.nonces import ClientWindow


@dataclass(slots=True)
class Recovered:
    """The durable past. `head` is the last appended (so executed) block; the genesis block for a new node.

    journal: the last value of each Persist, by name. blocks: stored (uncommitted) blocks by hash.
    clients: every client of replicated state with its nonce window. certificate: the latest commit certificate in
    the log (its seq is the head's, or below where the head was committed by a later block's... never above).
    """

    head: Block
    frontier: Frontier
    certificate: Certificate | None
    journal: dict[str, bytes] = field(default_factory=dict)
    blocks: dict[bytes, Block] = field(default_factory=dict)
    clients: dict[bytes, ClientWindow] = field(default_factory=dict)
