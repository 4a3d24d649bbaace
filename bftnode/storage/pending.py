"""Derived data that LMDB does not have yet: what executing the last blocks made of state, index and Merkle nodes.

All of it can be had again from the log, so it is written behind: many blocks at once (derived.py, decision 008).
Here is its shape in memory and how it is read. A `Layer` is what some successive blocks changed and never changes
once it is published, so a thread that holds a `Pending` beside an LMDB snapshot of the same moment sees one moment,
without a lock and without a copy. Neighbours of like size are merged while they are small, so there are few layers to
look through and an entry is copied a few times.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bftnode.apps.contract import ReadableState
from bftnode.apps.execution import merged_scan

FLUSH_BLOCKS = 64
"""So many blocks are executed again after a crash, at most: some tenths of a second. At any of the three bounds the
turn that reached it flushes before it goes on."""

FLUSH_ENTRIES = 20_000
"""Changed entries, before they are netted: a flush takes some 2 microseconds an entry, and its pages."""

FLUSH_BYTES = 4 * 1024 * 1024
"""Keys and values, before they are netted. Memory is bounded by this and the last block's, which is a frame's worth
of envelopes and their results, times two while a reader still holds what was flushed."""

MERGED_ENTRIES_MAX = 2048
"""A layer that would become larger is not merged: to look through some ten more costs a reader less than copying."""

_TRANSACTION_BYTES = 256
"""What a place in the index and two Merkle nodes take, roughly."""


class Layer:
    """What some successive blocks made of the derived data. Read by any thread, written by none."""

    __slots__ = ("_keys", "blocks", "changes", "executed", "first_node", "named", "nodes", "rejected", "size")

    def __init__(
        self,
        changes: dict[bytes, bytes | None],
        named: dict[bytes, int],
        executed: dict[bytes, bytes],
        rejected: dict[bytes, bytes],
        first_node: int,
        nodes: list[bytes],
        blocks: dict[bytes, int],
    ) -> None:
        self.changes = changes  # state key -> new value or None (deleted)
        self.named = named  # the same keys -> where the value stands in a block (state.references)
        # Encoded as they will be stored: bytes are nothing to the garbage collector, thousands of structs would be.
        self.executed = executed  # transaction id -> where it was executed
        self.rejected = rejected  # transaction id -> where it was rejected first
        self.first_node = first_node  # position of the first of `nodes`
        self.nodes = nodes  # of the log's Merkle tree, in order of position
        self.blocks = blocks  # block hash -> height
        self.size = len(changes) + len(executed) + len(rejected) + len(blocks)
        self._keys: list[bytes] | None = None

    @property
    def keys(self) -> list[bytes]:
        """The changed keys in ascending order; most layers are never scanned and never pay for it."""
        if self._keys is None:
            self._keys = sorted(self.changes)  # two threads may both do it: they get the same
        return self._keys


def merged(layers: Sequence[Layer]) -> Layer:
    """One layer that says what `layers`, oldest first, say together."""
    changes: dict[bytes, bytes | None] = {}
    named: dict[bytes, int] = {}
    executed: dict[bytes, bytes] = {}
    rejected: dict[bytes, bytes] = {}
    nodes: list[bytes] = []
    blocks: dict[bytes, int] = {}
    for layer in layers:
        changes.update(layer.changes)
        named.update(layer.named)
        blocks.update(layer.blocks)
        executed.update(layer.executed)
        rejected = layer.rejected | rejected  # the first rejection is the one that counts
        nodes += layer.nodes
    return Layer(changes, named, executed, rejected, layers[0].first_node, nodes, blocks)


class Pending(NamedTuple):
    """All derived data above those in LMDB, which are as of `height`. Immutable."""

    height: int
    digest: bytes  # of the state, with all that is pending
    layers: tuple[Layer, ...] = ()  # oldest first
    blocks: int = 0
    entries: int = 0
    size_bytes: int = 0

    def full(self, ahead_blocks: int = 0) -> bool:
        """Whether it is time to flush; `ahead_blocks` before it would be."""
        return (
            self.blocks + ahead_blocks >= FLUSH_BLOCKS
            or self.entries >= FLUSH_ENTRIES
            or self.size_bytes >= FLUSH_BYTES
        )

    def extended(self, layer: Layer, digest: bytes) -> "Pending":
        """With one more block's layer, after which the state has this digest."""
        changes = layer.changes
        size_bytes = sum(map(len, changes)) + sum(map(len, filter(None, changes.values())))
        size_bytes += _TRANSACTION_BYTES * (layer.size - len(changes))
        return self._replace(
            digest=digest,
            layers=_stacked(self.layers, layer) if layer.size else self.layers,
            blocks=self.blocks + 1,
            entries=self.entries + layer.size,
            size_bytes=self.size_bytes + size_bytes,
        )


def _stacked(layers: tuple[Layer, ...], layer: Layer) -> tuple[Layer, ...]:
    """`layer` on top, merged with those below it that are not more than twice as large."""
    size, keep = layer.size, len(layers)
    while keep and layers[keep - 1].size <= min(2 * size, MERGED_ENTRIES_MAX - size):
        keep -= 1
        size += layers[keep].size
    return (*layers[:keep], layer if keep == len(layers) else merged((*layers[keep:], layer)))


class LayeredState:
    """The state in LMDB as the layers change it (a ReadableState)."""

    def __init__(self, stored: ReadableState, layers: Iterable[Layer]) -> None:
        self._stored = stored
        self._layers = tuple(layers)
        self._newest_first = tuple(layer.changes for layer in reversed(self._layers))

    def get(self, key: bytes) -> bytes | None:
        for changes in self._newest_first:
            if key in changes:
                return changes[key]
        return self._stored.get(key)

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        state = self._stored
        for layer in self._layers:
            state = _Under(state, layer)
        return state.scan(start, end, limit)


class _Under:
    """A state under one layer, for scans."""

    def __init__(self, base: ReadableState, layer: Layer) -> None:
        self._base = base
        self._layer = layer

    def get(self, key: bytes) -> bytes | None:
        return self._layer.changes[key] if key in self._layer.changes else self._base.get(key)

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        return merged_scan(self._base, self._layer.changes, self._layer.keys, start, end, limit)
