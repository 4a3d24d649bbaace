"""The blocks above the log: a tree of uncommitted blocks over the committed head (docs/protocol.md, "Terms").

A block that was voted for is kept until its height is committed: somebody's certificate may depend on a block
that only those who voted for it hold. BLOCKS_MAX bounds the tree; at the bound the block of the lowest view that
no certificate of ours needs gives way.
"""

from collections.abc import Iterable, Sequence

from bftnode.protocol.blocks import Block, Header, make_block
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of
from bftnode.protocol.transactions import Transaction

BLOCKS_MAX = 256


class Entry:
    """A block in the tree; `frontier` is the log after it, known once its ancestors are."""

    __slots__ = ("block", "frontier", "transactions")

    def __init__(self, block: Block, transactions: tuple[Transaction, ...]) -> None:
        self.block = block
        self.transactions = transactions
        self.frontier: Frontier | None = None


def next_entry(
    parent: Entry, transactions: Sequence[Transaction], members: Membership, me: int, view: int, wall_ms: int
) -> Entry:
    """A new block of `me` on top of `parent`; its time never goes back."""
    assert parent.frontier is not None, "the tip is connected"
    raws = tuple(transaction.raw for transaction in transactions)
    leaves = [leaf_hash(raw) for raw in raws]
    frontier = parent.frontier.grown(leaves)
    header = Header(
        members.chain_id,
        members.epoch,
        parent.block.seq + 1,
        parent.block.hash,
        max(parent.block.header.time_ms, wall_ms),
        root_of(leaves),
        frontier.size,
        frontier.root(),
        me,
        view,
    )
    entry = Entry(make_block(header, raws, leaves), tuple(transactions))
    entry.frontier = frontier
    return entry


class Fork(Exception):
    """A certificate commits a block that contradicts the log: more than f members lied (faults.md X02)."""


class Chain:
    """The committed head and the tree above it."""

    def __init__(self, head: Block, frontier: Frontier) -> None:
        self.head = Entry(head, ())
        self.head.frontier = frontier
        self.height = head.seq  # the committed one
        self._blocks: dict[bytes, Entry] = {}

    def get(self, block: bytes) -> Entry | None:
        """The entry of this hash: the head, or one of the tree."""
        return self.head if block == self.head.block.hash else self._blocks.get(block)

    def headers(self) -> tuple[bytes, ...]:
        """The headers of the head and of the tree, as their bytes."""
        return (self.head.block.header_raw, *(entry.block.header_raw for entry in self._blocks.values()))

    def add(self, entry: Entry, protected: Iterable[bytes] = ()) -> bytes | None:
        """Keep a block; the hash of the one that gave way, if the tree was full. Protected ones and their ancestors
        do not."""
        assert entry.block.seq > self.height, "the tree is above the log"
        gone = None
        if len(self._blocks) >= BLOCKS_MAX:
            kept = self._with_ancestors(protected)
            gone = min(
                (item for item in self._blocks.values() if item.block.hash not in kept),
                key=lambda item: (item.block.header.view, -item.block.seq),
            ).block.hash
            del self._blocks[gone]
        self._blocks[entry.block.hash] = entry
        return gone

    def _with_ancestors(self, blocks: Iterable[bytes]) -> set[bytes]:
        """At most a window for each: proposals are within one of the committed height."""
        found: set[bytes] = set()
        for block in blocks:
            at = self._blocks.get(block)
            while at is not None and at.block.hash not in found:
                found.add(at.block.hash)
                at = self._blocks.get(at.block.parent)
        return found

    def path(self, block: bytes) -> list[Entry] | bytes:
        """The entries from the head (exclusive) to `block`, lowest first, or the hash of the one that is missing.

        An empty list means that `block` is the head. Raises Fork where the path does not meet the head.
        """
        path: list[Entry] = []
        at = block
        while at != self.head.block.hash:
            entry = self._blocks.get(at)
            if entry is None:
                return at
            path.append(entry)
            if entry.block.seq <= self.height + 1 and entry.block.parent != self.head.block.hash:
                raise Fork(f"a block at height {entry.block.seq} does not follow the log")
            at = entry.block.parent
        return path[::-1]

    def is_known_contradiction(self, block: bytes) -> bool:
        """Whether `block` is known not to descend from the head. Missing ancestors are no contradiction."""
        if block == self.head.block.hash:
            return False
        entry = self._blocks.get(block)
        while entry is not None and entry.block.seq > self.height + 1:
            entry = self._blocks.get(entry.block.parent)
        return entry is not None and entry.block.parent != self.head.block.hash

    def is_elsewhere(self, path: list[Entry], seq: int, block: bytes) -> bool:
        """Whether this block, above the log, is known to be of another branch than `path`."""
        if seq <= self.height:
            return False
        if seq <= path[-1].block.seq:
            return path[seq - path[0].block.seq].block.hash != block
        at = self.get(block)
        while at is not None and at.block.seq > path[-1].block.seq:
            at = self.get(at.block.parent)
        return at is not None and at.block.hash != path[-1].block.hash

    def connect(self, path: list[Entry], seq: int) -> None:
        """Compute the frontiers along a path from the head to height `seq`; it must say of the log what is true.

        Raises Refused(BAD_BLOCK): a header names another height or another log than the one that its blocks make.
        """
        frontier = self.head.frontier
        assert frontier is not None, "the head's frontier is known"
        if [entry.block.seq for entry in path] != list(range(self.height + 1, seq + 1)):
            raise Refused(Reason.BAD_BLOCK, f"the headers up to height {seq} do not name the heights at which they are")
        for entry in path:
            if entry.frontier is None:
                grown = frontier.grown(entry.block.leaves)
                header = entry.block.header
                if (header.log_size, header.log_root) != (grown.size, grown.root()):
                    raise Refused(Reason.BAD_BLOCK, "the header does not name the log that follows from its blocks")
                entry.frontier = grown
            frontier = entry.frontier

    def commit(self, path: list[Entry]) -> tuple[bytes, ...]:
        """Move the head along `path`; the hashes of the tree that are now at or below it."""
        self.head = path[-1]
        self.height = height = self.head.block.seq
        gone = tuple(key for key, entry in self._blocks.items() if entry.block.seq <= height)
        for key in gone:
            del self._blocks[key]
        return gone

    def __len__(self) -> int:
        return len(self._blocks)
