"""The key-value application: put, get, delete, compare-and-swap, scan, and atomic batches of writes.

Operations, queries and their results are tagged `Wire` structs. Clients build operations and queries with the
functions at the end and read answers with `open_result`; the byte that marks an operation as the application's is
added by `execution.application_operation`. A get or a scan may be a query (answered by one replica, from what it
has) or an operation (ordered, so linearizable). docs/applications.md.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

from msgspec import Meta

from bftnode.apps.contract import KEY_BYTES_MAX, Application, Context, ReadableState, Refused, State
from bftnode.protocol import limits
from bftnode.protocol.codec import UInt, Wire, decoder_of, encode, reader_of
from bftnode.protocol.errors import Reason

VALUE_BYTES_MAX = limits.RESULT_BYTES_MAX - 1024
"""A stored value always fits into the result that reads it. A longer one is refused as malformed."""

PAGE_BYTES_MAX = VALUE_BYTES_MAX
"""A scan's page ends before the entry that would make keys and values exceed this, and says where to go on. One
entry is always in it, however large."""

PAGE_ENTRIES_MAX = 1000
"""A scan that asks for more entries in a page is refused as malformed."""

BATCH_WRITES_MAX = 1024
"""A batch of more writes is refused as malformed."""

_ENTRY_BYTES = 9  # what msgpack adds to a key and a value
_READ_AHEAD = 32  # entries read from the map at a time: a page of large values reads few that it cannot hold

Key = Annotated[bytes, Meta(min_length=1, max_length=KEY_BYTES_MAX)]
Prefix = Annotated[bytes, Meta(max_length=KEY_BYTES_MAX)]
Value = Annotated[bytes, Meta(max_length=VALUE_BYTES_MAX)]


class Put(Wire, frozen=True, tag=1):
    key: Key
    value: Value


class Get(Wire, frozen=True, tag=2):
    key: Key


class Delete(Wire, frozen=True, tag=3):
    key: Key


class CompareAndSwap(Wire, frozen=True, tag=4):
    """If `key` holds `expected` (None: is absent), it holds `value` afterwards (None: is deleted)."""

    key: Key
    expected: Value | None
    value: Value | None


class Scan(Wire, frozen=True, tag=5):
    """Entries whose key begins with `prefix` and is not below `start`, in ascending order, at most `limit`."""

    prefix: Prefix
    start: Prefix
    limit: Annotated[int, Meta(ge=1, le=PAGE_ENTRIES_MAX)]


Write = Put | Delete | CompareAndSwap


class Batch(Wire, frozen=True, tag=6):
    """All writes in order, each seeing those before it, or none: where a compare-and-swap fails, none is made."""

    writes: Annotated[tuple[Write, ...], Meta(min_length=1, max_length=BATCH_WRITES_MAX)]


Operation = Put | Get | Delete | CompareAndSwap | Scan | Batch
Query = Get | Scan


class Done(Wire, frozen=True, tag=1):
    """A put was made."""


class Found(Wire, frozen=True, tag=2):
    """What a get read; None: absent."""

    value: bytes | None


class Deleted(Wire, frozen=True, tag=3):
    existed: bool


class Swapped(Wire, frozen=True, tag=4):
    """`found` is what the key held before, whether or not it was swapped; None: absent."""

    swapped: bool
    found: bytes | None


class Entry(Wire, frozen=True):
    key: bytes
    value: bytes


class Page(Wire, frozen=True, tag=5):
    """`next` is the `start` of the scan that goes on here; None: there is nothing more."""

    entries: tuple[Entry, ...]
    next: bytes | None


class Batched(Wire, frozen=True, tag=6):
    """`failed` is the place in the batch of the compare-and-swap that stopped it; None: all writes were made."""

    failed: UInt | None


Result = Done | Found | Deleted | Swapped | Page | Batched

_read_operation: Callable[[bytes], Operation] = decoder_of(Operation, limits.TRANSACTION_BYTES_MAX)
_read_valid_operation: Callable[[bytes], Operation] = reader_of(Operation)
_read_query: Callable[[bytes], Query] = decoder_of(Query, limits.TRANSACTION_BYTES_MAX)
_read_result: Callable[[bytes], Result] = decoder_of(Result, limits.RESULT_BYTES_MAX)

_DONE = encode(Done())


class KeyValue(Application):
    """An ordered map of keys (1 to 400 bytes) to values (up to 63 KiB). The state is the map itself."""

    def validate(self, operation: bytes) -> None:
        open_operation(operation)

    def apply(self, state: State, operation: bytes, context: Context) -> bytes:
        request = _read_valid_operation(operation)
        # The first is the hot path: ten thousand puts a second on a fraction of a core.
        if type(request) is Put:
            state.put(request.key, request.value)
            return _DONE
        return encode(_apply_other(state, request))

    def query(self, state: ReadableState, query: bytes) -> bytes:
        """Raises Refused(TX_INVALID_OPERATION)."""
        request = open_query(query)
        return encode(_get(state, request) if isinstance(request, Get) else _scan(state, request))


def _apply_other(state: State, request: Operation) -> Result:
    match request:
        case Put():
            state.put(request.key, request.value)
            return Done()
        case Get():
            return _get(state, request)
        case Delete():
            existed = state.get(request.key) is not None
            state.delete(request.key)
            return Deleted(existed)
        case CompareAndSwap():
            found = state.get(request.key)
            if found == request.expected:
                _write(state, request.key, request.value)
            return Swapped(found == request.expected, found)
        case Scan():
            return _scan(state, request)
        case Batch():
            return _batch(state, request)


def _get(state: ReadableState, request: Get) -> Found:
    return Found(state.get(request.key))


def _write(state: State, key: bytes, value: bytes | None) -> None:
    if value is None:
        state.delete(key)
    else:
        state.put(key, value)


def _batch(state: State, request: Batch) -> Batched:
    """The writes are made in memory first, so that a batch that fails has touched nothing."""
    written: dict[bytes, bytes | None] = {}
    for place, write in enumerate(request.writes):
        if isinstance(write, CompareAndSwap):
            found = written[write.key] if write.key in written else state.get(write.key)
            if found != write.expected:
                return Batched(place)
        written[write.key] = None if isinstance(write, Delete) else write.value
    for key, value in written.items():
        _write(state, key, value)
    return Batched(None)


def _scan(state: ReadableState, request: Scan) -> Page:
    start, end = max(request.prefix, request.start), _after_prefix(request.prefix)
    entries: list[Entry] = []
    room = PAGE_BYTES_MAX
    while end is None or start < end:
        read = state.scan(start, end, _READ_AHEAD)
        for key, value in read:
            room -= len(key) + len(value) + _ENTRY_BYTES
            if entries and (room < 0 or len(entries) == request.limit):
                return Page(tuple(entries), key)
            entries.append(Entry(key, value))
        if len(read) < _READ_AHEAD:
            break
        start = read[-1][0] + b"\x00"
    return Page(tuple(entries), None)


def _after_prefix(prefix: bytes) -> bytes | None:
    """The lowest key above every key with this prefix; None: there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


def open_operation(raw: bytes) -> Operation:
    """Raises Refused(TX_INVALID_OPERATION)."""
    try:
        return _read_operation(raw)
    except Refused as refused:
        raise Refused(Reason.TX_INVALID_OPERATION, refused.detail) from None


def open_query(raw: bytes) -> Query:
    """Raises Refused(TX_INVALID_OPERATION)."""
    try:
        return _read_query(raw)
    except Refused as refused:
        raise Refused(Reason.TX_INVALID_OPERATION, refused.detail) from None


def open_result(raw: bytes) -> Result:
    """What an operation or a query answered. Raises Refused(CODEC_*)."""
    return _read_result(raw)


def put(key: bytes, value: bytes) -> bytes:
    """An operation; its result is `Done`. Raises, like all of these, Refused(TX_INVALID_OPERATION) beyond a limit."""
    return _build(Put(key, value))


def get(key: bytes) -> bytes:
    """A query or an operation; its result is `Found`."""
    return _build(Get(key))


def delete(key: bytes) -> bytes:
    """An operation; its result is `Deleted`."""
    return _build(Delete(key))


def compare_and_swap(key: bytes, expected: bytes | None, value: bytes | None) -> bytes:
    """An operation; its result is `Swapped`. None is absence, before or after."""
    return _build(CompareAndSwap(key, expected, value))


def scan(prefix: bytes = b"", start: bytes = b"", limit: int = 100) -> bytes:
    """A query or an operation; its result is a `Page`, whose `next` is the `start` of the following one."""
    return _build(Scan(prefix, start, limit))


def batch(writes: Sequence[Write]) -> bytes:
    """An operation of `Put`, `Delete` and `CompareAndSwap`, all or nothing; its result is `Batched`."""
    return _build(Batch(tuple(writes)))


def _build(operation: Operation) -> bytes:
    raw = encode(operation)
    open_operation(raw)
    return raw
