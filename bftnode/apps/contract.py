"""What an application is: a deterministic function over an ordered map of bytes (docs/applications.md).

The map is the application's whole state; the host stores it, digests what changes, snapshots and restores it. An
application never looks at a clock, a file, randomness or the order of a set: two replicas that apply the same
operations to the same map must have the same map after it (faults.md K10).
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from bftnode.protocol.codec import encode
from bftnode.protocol.errors import Refused

__all__ = ["Application", "Context", "ReadableState", "Refused", "State"]

KEY_BYTES_MAX = 400
"""LMDB's keys have at most 511 bytes, of which the host uses some."""

VALUE_BYTES_MAX = 256 * 1024


class ReadableState(Protocol):
    """An ordered map of bytes to bytes."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """At most `limit` entries with start <= key < end (None: no end), in ascending order of key."""


class State(ReadableState, Protocol):
    """The map while an operation is applied. Writes are seen by later reads of the same block."""

    def put(self, key: bytes, value: bytes) -> None:
        """Keys of 1 to KEY_BYTES_MAX bytes, values of at most VALUE_BYTES_MAX; the application checks them."""

    def delete(self, key: bytes) -> None:
        """Deleting what is not there does nothing."""


class Context(NamedTuple):
    """Where and for whom an operation is applied."""

    seq: int  # height of the block
    log_index: int  # the envelope's leaf in the log
    time_ms: int  # agreed time of the block
    client: bytes  # the Ed25519 public key that signed
    role: int  # nonces.CLIENT or nonces.ADMINISTRATOR, as its envelope's turn came


class Application(ABC):
    """One replicated application. Stateless itself: everything is in the map."""

    @abstractmethod
    def validate(self, operation: bytes) -> None:
        """Refuse an operation that can never be applied (malformed, oversized). Depends on nothing else.

        Raises Refused(TX_INVALID_OPERATION); nothing else, whatever the bytes.
        """

    @abstractmethod
    def apply(self, state: State, operation: bytes, context: Context) -> bytes:
        """Apply a valid operation and return its result.

        Raises Refused to reject it: then nothing that it wrote stays, and of the refusal only the reason's code does
        (its sentence may come from a library, and libraries have versions). Anything else that it raises is a
        broken application and stops the node. A result of more than limits.RESULT_BYTES_MAX is a rejection too.
        """

    @abstractmethod
    def query(self, state: ReadableState, query: bytes) -> bytes:
        """Answer a read. Raises Refused on a query that makes no sense."""

    def snapshot(self, state: ReadableState) -> Iterable[tuple[bytes, bytes]]:
        """Every entry, in ascending order of key."""
        start = b""
        while page := state.scan(start, None, 1000):
            yield from page
            start = page[-1][0] + b"\x00"

    def restore(self, state: State, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Fill an empty map with a snapshot."""
        for key, value in entries:
            state.put(key, value)

    def digest(self, state: ReadableState) -> bytes:
        """SHA-256 over the whole map, entry by entry in ascending order of key: what a snapshot is compared with."""
        hasher = hashlib.sha256()
        for entry in self.snapshot(state):
            hasher.update(encode(entry))
        return hasher.digest()
