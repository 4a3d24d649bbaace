"""The log application: records that are appended and never change, read by their index.

The state holds each record's data under its index, what its envelope says of it with the first one of the envelope,
and how many records there are; it is read by queries. What an entry of the replicated log is (an envelope) and what a
record is are two things: one envelope may append many records, and `Record.log_index` names its envelope, for which any
replica gives a receipt. docs/applications.md.

A private record has a commitment for its data. Its payload is not in the state and not in the log: members keep it
beside them until `Erase` is executed (docs/decisions/020-a-payload-is-kept-beside-the-log.md).
"""

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from bftnode.apps.contract import Application, Context, ReadableState, Refused, State
from bftnode.protocol import limits
from bftnode.protocol.codec import Hash32, PublicKey, UInt, Wire, decoder_of, encode, reader_of
from bftnode.protocol.errors import Reason
from bftnode.protocol.nonces import ADMINISTRATOR

RECORD_BYTES_MAX = 192 * 1024
"""One record's data. A longer one is refused as malformed; an envelope has room for this one and its signature."""

PAGE_BYTES_MAX = 256 * 1024
"""A range's answer ends before the record that would exceed this. One record is always in it."""

PAGE_RECORDS_MAX = 1000
"""A range that asks for more records is refused as malformed."""

ERASURES_MAX = 1000
"""Erasures in one answer; the next question begins after them."""

_END_KEY = b"n"
_RECORD_PREFIX = b"r"
_ERASURES_KEY = b"e"  # how many there were
_ERASURE_PREFIX = b"g"  # the index of a record that was erased, by the erasure's number
_RECORD_OVERHEAD_BYTES = 100  # the most that the other fields add to a record's data
_READ_AHEAD = 16  # records read from the map at a time


class Append(Wire, frozen=True, tag=1):
    data: Annotated[bytes, Meta(max_length=RECORD_BYTES_MAX)]


class Commit(Wire, frozen=True, tag=2):
    """A private record: `commitments.commitment_of` its client, a salt and the payload."""

    commitment: Hash32


class Erase(Wire, frozen=True, tag=3):
    """Erase the payload of the private record `index`. For its client, and for administrators."""

    index: UInt


Operation = Append | Commit | Erase


class Read(Wire, frozen=True, tag=1):
    """The record at `index`."""

    index: UInt


class Range(Wire, frozen=True, tag=2):
    """At most `limit` records from index `first` on, in order."""

    first: UInt
    limit: Annotated[int, Meta(ge=1, le=PAGE_RECORDS_MAX)]


class Erasures(Wire, frozen=True, tag=3):
    """Which records were erased, from the erasure number `first` (the first one is 0) on."""

    first: UInt


Query = Read | Range | Erasures


class Origin(Wire, frozen=True):
    """An envelope in the log: what all its records have in common."""

    log_index: UInt
    seq: UInt
    time_ms: UInt
    client: PublicKey


class Commitment(Wire, frozen=True):
    """The data of a private record. `erased`: the envelope that had its payload erased."""

    hash: Hash32
    erased: Origin | None


class Record(Wire, frozen=True):
    index: UInt  # the place among the records, from 0
    log_index: UInt  # the leaf of its envelope in the replicated log, for a receipt
    seq: UInt  # the height of its block
    time_ms: UInt  # the agreed time of its block: milliseconds since 1970
    client: PublicKey  # who signed it
    data: bytes | Commitment


class Stored(Wire, frozen=True):
    """A record in the state. `behind`: so many records before it is the first of its envelope, which has the origin."""

    behind: UInt
    origin: Origin | None
    data: bytes | Commitment


class End(Wire, frozen=True):
    """How many records there are, the envelope of the last one, and the index of that envelope's first."""

    size: UInt
    log_index: UInt
    first: UInt


class Appended(Wire, frozen=True, tag=1):
    """The index that the record was given."""

    index: UInt


class Found(Wire, frozen=True, tag=2):
    """What a Read answered; None: there is no such record yet."""

    record: Record | None


class Page(Wire, frozen=True, tag=3):
    """What a Range answered, and how many records there are: the next range starts after the last one here."""

    records: tuple[Record, ...]
    size: UInt


class Gone(Wire, frozen=True, tag=4):
    """What Erasures answered: indices of records, in the order of their erasure; and how many there were."""

    indices: tuple[UInt, ...]
    size: UInt


class Erased(Wire, frozen=True, tag=5):
    """The private record `index` is erased, now or before."""

    index: UInt


Answer = Appended | Found | Page | Gone | Erased

_read_operation: Callable[[bytes], Operation] = decoder_of(Operation, limits.TRANSACTION_BYTES_MAX)
_read_valid_operation: Callable[[bytes], Operation] = reader_of(Operation)
_read_query: Callable[[bytes], Query] = decoder_of(Query, 64)
_read_answer: Callable[[bytes], Answer] = decoder_of(Answer, PAGE_BYTES_MAX + RECORD_BYTES_MAX)
_read_stored: Callable[[bytes], Stored] = reader_of(Stored)
_read_end: Callable[[bytes], End] = reader_of(End)
_read_number: Callable[[bytes], int] = reader_of(int)


class Records(Application):
    """Append-only records of up to 192 KiB. Nothing that was appended changes; that a payload is erased is added."""

    def validate(self, operation: bytes) -> None:
        open_operation(operation)

    def apply(self, state: State, operation: bytes, context: Context) -> bytes:
        """Raises Refused(NOT_FOUND | TX_DENIED) for an Erase."""
        request = _read_valid_operation(operation)
        match request:
            case Append():
                return self._append(state, request.data, context)
            case Commit():
                return self._append(state, Commitment(request.commitment, None), context)
            case Erase():
                return _erase(state, request.index, context)

    def _append(self, state: State, data: bytes | Commitment, context: Context) -> bytes:
        end = _end(state)
        index = first = end.size
        if index and end.log_index == context.log_index:
            first, origin = end.first, None
        else:
            origin = Origin(context.log_index, context.seq, context.time_ms, context.client)
        state.put(_record_key(index), encode(Stored(index - first, origin, data)))
        state.put(_END_KEY, encode(End(index + 1, context.log_index, first)))
        return encode(Appended(index))

    def query(self, state: ReadableState, query: bytes) -> bytes:
        """Raises Refused(TX_INVALID_OPERATION)."""
        request = open_query(query)
        match request:
            case Read():
                return encode(_read(state, request))
            case Range():
                return encode(_range(state, request))
            case Erasures():
                return encode(_erasures(state, request))


def _erase(state: State, index: int, context: Context) -> bytes:
    raw = state.get(_record_key(index))
    stored = None if raw is None else _read_stored(raw)
    if stored is None or isinstance(stored.data, bytes):
        raise Refused(Reason.NOT_FOUND, "no private record of this index")
    if context.role != ADMINISTRATOR and context.client != _origin(state, index, stored).client:
        raise Refused(Reason.TX_DENIED, "a private record is its client's, or an administrator's, to erase")
    if stored.data.erased is None:
        by = Origin(context.log_index, context.seq, context.time_ms, context.client)
        state.put(_record_key(index), encode(Stored(stored.behind, stored.origin, Commitment(stored.data.hash, by))))
        count = _erasures_count(state)
        state.put(_erasure_key(count), encode(index))
        state.put(_ERASURES_KEY, encode(count + 1))
    return encode(Erased(index))


def _erasures(state: ReadableState, request: Erasures) -> Gone:
    size = _erasures_count(state)
    first, end = request.first, min(request.first + ERASURES_MAX, size)
    found = state.scan(_erasure_key(first), _erasure_key(end), ERASURES_MAX) if first < end else []
    return Gone(tuple(_read_number(raw) for _, raw in found), size)


def _erasures_count(state: ReadableState) -> int:
    raw = state.get(_ERASURES_KEY)
    return 0 if raw is None else _read_number(raw)


def _erasure_key(number: int) -> bytes:
    return _ERASURE_PREFIX + number.to_bytes(8, "big")


def _record_key(index: int) -> bytes:
    return _RECORD_PREFIX + index.to_bytes(8, "big")


def _end(state: ReadableState) -> End:
    stored = state.get(_END_KEY)
    return End(0, 0, 0) if stored is None else _read_end(stored)


def _read(state: ReadableState, request: Read) -> Found:
    raw = state.get(_record_key(request.index))
    if raw is None:
        return Found(None)
    stored = _read_stored(raw)
    return Found(_record(request.index, stored, _origin(state, request.index, stored)))


def _origin(state: ReadableState, index: int, stored: Stored) -> Origin:
    if stored.origin is not None:
        return stored.origin
    raw = state.get(_record_key(index - stored.behind))
    assert raw is not None, "an envelope's first record is there"
    origin = _read_stored(raw).origin
    assert origin is not None, "an envelope's first record has its origin"
    return origin


def _record(index: int, stored: Stored, origin: Origin) -> Record:
    return Record(index, origin.log_index, origin.seq, origin.time_ms, origin.client, stored.data)


def _range(state: ReadableState, request: Range) -> Page:
    records: list[Record] = []
    origin: Origin | None = None
    size, room = _end(state).size, PAGE_BYTES_MAX
    at, end = request.first, min(request.first + request.limit, size)
    while at < end:
        for index, (_, raw) in enumerate(state.scan(_record_key(at), _record_key(end), _READ_AHEAD), at):
            room -= len(raw) + _RECORD_OVERHEAD_BYTES
            if records and room < 0:
                return Page(tuple(records), size)
            stored = _read_stored(raw)
            # The same as that of the record before it, unless this one begins an envelope.
            origin = _origin(state, index, stored) if origin is None else stored.origin or origin
            records.append(_record(index, stored, origin))
        at += _READ_AHEAD
    return Page(tuple(records), size)


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


def open_answer(raw: bytes) -> Answer:
    """What an append or a query answered. Raises Refused(CODEC_*)."""
    return _read_answer(raw)


def append(data: bytes) -> bytes:
    """An operation; its result is `Appended`. Raises Refused(TX_INVALID_OPERATION) for a record that is too long."""
    raw = encode(Append(data))
    open_operation(raw)
    return raw


def commit(commitment: bytes) -> bytes:
    """An operation; its result is `Appended`."""
    assert len(commitment) == 32, "a hash"
    return encode(Commit(commitment))


def erase(index: int) -> bytes:
    """An operation; its result is `Erased`. Raises Refused(TX_INVALID_OPERATION) beyond 64 bits."""
    try:
        raw = encode(Erase(index))
    except OverflowError:
        raise Refused(Reason.TX_INVALID_OPERATION, "an index beyond 64 bits") from None
    open_operation(raw)
    return raw


def erasures(first: int) -> bytes:
    """A query; its answer is `Gone`."""
    return _build(Erasures(first))


def read(index: int) -> bytes:
    """A query; its answer is `Found`. Raises, like `read_range`, Refused(TX_INVALID_OPERATION) beyond a limit."""
    return _build(Read(index))


def read_range(first: int, limit: int = 100) -> bytes:
    """A query; its answer is a `Page`."""
    return _build(Range(first, limit))


def _build(query: Query) -> bytes:
    try:
        raw = encode(query)
    except OverflowError:
        raise Refused(Reason.TX_INVALID_OPERATION, "an index beyond 64 bits") from None
    open_query(raw)
    return raw
