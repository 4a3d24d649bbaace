"""Replicated state on LMDB: how it is read, how changes are applied, and that all of it is there.

It is as of the derived height; what later blocks made of it is pending (pending.py). A record is a CRC-32 of key and
value, a byte that says which of three forms the rest has, and the rest:

LITERAL    the value
DEFLATED   the value, raw DEFLATE (RFC 1951): results of many operations are much alike
NAMED      address and length of the value's end in `blocks` (pieces.py), and the bytes before it

Most of what an application keeps are its operations' own bytes, and the log has those already: a value is stored once
(docs/decisions/015-a-value-is-on-the-disk-once.md). The checksum is over the value itself, so what a name leads to is
checked like any other. It is not the seal of other records (records.py) because there is one for every operation: it
takes a sixth of the time and half the room, and finds a flipped bit as surely.
"""

import struct
import zlib
from collections.abc import Callable, Iterator

from bftnode.apps.contract import ReadableState
from bftnode.apps.execution import APPLICATION_PREFIX, RESULT_PREFIX
from bftnode.protocol.codec import Hash32, UInt, Wire, decoder_of
from bftnode.storage import pieces
from bftnode.storage.errors import IntegrityError
from bftnode.storage.pieces import PIECE_BYTES
from bftnode.storage.records import (
    LMDB_KEY_BYTES_MAX,
    PAGE_ROOM_BYTES,
    RECORD_OVERHEAD_BYTES,
    STATE,
    Cursor,
    Database,
    Databases,
    Txn,
    need,
    neighbours,
    opened,
    record_name,
)

SCAN_ENTRIES = 1000
"""Entries read at a time where a long stretch of the state is read."""

NAMED_BYTES_MIN = 32
"""A shorter value is not worth a name, which takes eight bytes."""

NEAR_BYTES = 1024
"""Values stand in a block in the order in which they were written: the next one begins within so many bytes of the
last one's end, or all of the block is searched for it."""

SEARCHES_MAX = 32
"""Searches through a whole block that find nothing, a tenth of a millisecond each. After them nothing far is found."""

DEFLATED_BYTES_MIN = 256
"""Shorter results are not deflated: the compressor's own memory costs more than they."""

DENSE_KEYS = 1024
"""Keys that are looked at together when it is decided whether pages are packed."""

DENSE_KEYS_MIN = 64
"""Fewer are no reason to move others."""

LITERAL, DEFLATED, NAMED = 0, 1, 2

_SIZE_BITS = 20  # of a name: the size of the value's end; 44 bits of address before it
_OFFSET_BITS, _HEAD_BITS = 24, 20  # of a reference: height of the block, where in it, bytes that are not in it
_OFFSET_MASK, _HEAD_MASK = (1 << _OFFSET_BITS) - 1, (1 << _HEAD_BITS) - 1

_name = struct.Struct(">IBQ")
_form = struct.Struct(">IB")


def _checksum(key: bytes, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key))


class StoredState:
    """The map in one transaction (a ReadableState). Every entry is checked as it is read.

    `prove_absence` also checks what is beside a key that is not there: for answers to others. Execution goes
    without, because every replica compares what it executed at the next checkpoint.
    """

    def __init__(self, txn: Txn, databases: Databases, *, prove_absence: bool) -> None:
        self._txn = txn
        self._db = databases.state
        self._blocks = databases.blocks
        self._prove_absence = prove_absence
        self._last_piece: tuple[int, bytes] = (-1, b"")  # what is written together is often read together

    def get(self, key: bytes) -> bytes | None:
        # LMDB calls it an error to ask for a key that it cannot have.
        if not 0 < len(key) <= LMDB_KEY_BYTES_MAX:
            return None
        record = self._txn.get(key, db=self._db.handle)
        if record is not None:
            return self._value(key, record)
        if self._prove_absence:
            for beside in neighbours(self._txn, self._db, key):
                self._value(*beside)
        return None

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        cursor = self._txn.cursor(db=self._db.handle)
        if limit <= 0 or not cursor.set_range(start[:LMDB_KEY_BYTES_MAX]):
            return found
        for key, record in cursor:
            if key < start:
                continue  # `start` was longer than any key
            if end is not None and key >= end:
                break
            found.append((key, self._value(key, record)))
            if len(found) >= limit:
                break
        return found

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every entry, in ascending order of key. Raises IntegrityError."""
        return ((key, value) for key, _, value in self._records())

    def tally(self) -> "Tally":
        """Of all that is there, each entry checked. Some microseconds an entry. Raises IntegrityError."""
        found = checksums = 0
        for _, record, _ in self._records():
            found += 1
            checksums += int.from_bytes(record[:4], "big")
        return Tally(found, checksums % _TALLY_MODULUS)

    def _records(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        for key, record in self._txn.cursor(db=self._db.handle):
            yield key, record, self._value(key, record)

    def _value(self, key: bytes, record: bytes) -> bytes:
        try:
            checksum, form = _form.unpack_from(record)
            if form == NAMED:
                name: int = _name.unpack_from(record)[2]
                value = record[_name.size :] + self._named(*divmod(name, 1 << _SIZE_BITS))
            elif form == DEFLATED:
                value = zlib.decompress(record[_form.size :], -zlib.MAX_WBITS)
            else:
                value = record[_form.size :]
        except (struct.error, zlib.error) as error:
            raise IntegrityError(record_name(self._db, key), str(error)) from error
        if form > NAMED or _checksum(key, value) != checksum:
            raise IntegrityError(record_name(self._db, key), "the checksum does not match")
        return value

    def _named(self, address: int, size: int) -> bytes:
        at, offset = divmod(address, PIECE_BYTES)
        if offset + size > PIECE_BYTES:
            return pieces.read_at(self._txn, self._blocks, address, size)
        if self._last_piece[0] != at:
            self._last_piece = (at, pieces.read_piece(self._txn, self._blocks, at))
        return self._last_piece[1][offset : offset + size]


def entries(state: ReadableState, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Every entry with start <= key < end (None: no end), in ascending order of key."""
    while page := state.scan(start, end, SCAN_ENTRIES):
        yield from page
        start = page[-1][0] + b"\x00"


class Tally(Wire, frozen=True):
    """How many entries the state has, and the sum of their checksums modulo 2**63.

    Kept here and for this disk alone: it finds what no checksum can, an old page where a new one belongs or an entry
    that is not there (faults.md D06, D14). Like one, it is no protection against who can write the file.
    """

    entries: UInt
    checksums: UInt


class StateRecord(Wire, frozen=True):
    """What meta says of the state: its digest, which the members compare (decision 013), and its tally."""

    digest: Hash32
    tally: Tally


NO_TALLY = Tally(0, 0)
_TALLY_MODULUS = 2**63

_open_record: Callable[[bytes], StateRecord] = decoder_of(StateRecord, 256)


def references(seq: int, payload: bytes, changes: dict[bytes, bytes | None]) -> dict[bytes, int]:
    """For each changed key where in the block of height `seq` its value ends, as one number, or 0: nowhere.

    A matter of this disk alone: what is not found here is merely stored twice.
    """
    found: list[int] = []
    block, prefix, stands_at = seq << _OFFSET_BITS + _HEAD_BITS, APPLICATION_PREFIX[0], payload.startswith
    end, gap, head, searches = 0, 0, 0, SEARCHES_MAX
    for key, value in changes.items():
        if value is None or len(value) < NAMED_BYTES_MIN or key[0] != prefix:
            found.append(0)
            continue
        # Operations of one client are mostly alike: as far behind the last value as that was behind the one before it.
        start, size = end + gap, len(value)
        if head or not stands_at(value, start):
            if not _continues(payload, value, start, head):
                start, head = _search(payload, value, end, far=searches > 0)
                if start < 0:
                    searches -= 1
                    head = 0
                    found.append(0)
                    continue
                gap = start - end
            size -= head
        found.append(block | start << _HEAD_BITS | head)
        end = start + size
    return dict(zip(changes, found, strict=True))


def _continues(payload: bytes, value: bytes, start: int, head: int) -> bool:
    """Whether exactly what follows the first `head` bytes of `value`, and no byte more, stands at `start`."""
    if not 0 < head <= len(value) - NAMED_BYTES_MIN:
        return False
    return payload.startswith(value[head:], start) and payload[start - 1] != value[head - 1]


def _search(payload: bytes, value: bytes, near: int, *, far: bool) -> tuple[int, int]:
    """Where in the payload the end of `value` begins, and how many bytes before it are not there; (-1, 0): nowhere."""
    start = payload.find(value, near, near + len(value) + NEAR_BYTES)
    if start >= 0:
        return start, 0
    tail = value[-NAMED_BYTES_MIN:]
    start = payload.find(tail, near, len(payload) if far else near + len(value) + NEAR_BYTES)
    if start < 0 and far:
        start = payload.find(tail, 0, near)
    if start < 0:
        return -1, 0
    end = start + NAMED_BYTES_MIN
    common, most = NAMED_BYTES_MIN, min(len(value), end)
    while common < most:
        middle = (common + most + 1) // 2
        if payload[end - middle : end] == value[-middle:]:
            common = middle
        else:
            most = middle - 1
    return end - common, len(value) - common


def apply_changes(
    txn: Txn,
    db: Database,
    changes: dict[bytes, bytes | None],
    named: dict[bytes, int],
    first_piece: Callable[[int], int],
    tally: Tally,
) -> Tally:
    """Carry out what blocks changed; the tally after it.

    `named`: the `references` of the changes. `first_piece`: of the block of a height, which is in the log by now.
    """
    ordered = sorted(changes)
    count, checksums, crc32, packed = tally.entries, tally.checksums, zlib.crc32, _name.pack
    cursor = txn.cursor(db=db.handle)
    getmulti = cursor.getmulti
    block, base = -1, 0  # the last one that a value was named in, and its address
    for start in range(0, len(ordered), DENSE_KEYS):
        group = ordered[start : start + DENSE_KEYS]
        there = _stretch(cursor, group[0], group[-1], len(group))
        old = getmulti(group) if there is None else [(key, there[key]) for key in group if key in there]
        records: list[tuple[bytes, bytes]] = []
        gone: list[bytes] = []
        for key in group:
            value = changes[key]
            if value is None:
                gone.append(key)
                continue
            checksum, reference = crc32(value, crc32(key)), named[key]
            checksums += checksum
            if reference:
                seq, head = reference >> _OFFSET_BITS + _HEAD_BITS, reference & _HEAD_MASK
                if seq != block:
                    block, base = seq, first_piece(seq) * PIECE_BYTES
                address = base + (reference >> _HEAD_BITS & _OFFSET_MASK)
                record = packed(checksum, NAMED, address << _SIZE_BITS | len(value) - head)
                records.append((key, record + value[:head] if head else record))
            else:
                records.append((key, _literal(key, value, checksum)))
        count += len(records) - len(old)
        checksums -= sum(int.from_bytes(record[:4], "big") for _, record in old)
        _put(cursor, records, there, len(group) - len(old))
        for key in gone:
            txn.delete(key, db=db.handle)
    return Tally(count, checksums % _TALLY_MODULUS)


def _literal(key: bytes, value: bytes, checksum: int) -> bytes:
    if len(value) >= DEFLATED_BYTES_MIN and key[0] == RESULT_PREFIX[0]:
        packed = zlib.compress(value, 1, -zlib.MAX_WBITS)
        if len(packed) < len(value):
            return _form.pack(checksum, DEFLATED) + packed
    return _form.pack(checksum, LITERAL) + value


def _put(cursor: Cursor, records: list[tuple[bytes, bytes]], there: dict[bytes, bytes] | None, fresh: int) -> None:
    """Put records, which are in ascending order; `fresh` of their keys are not there yet. `there`: what is there
    between the first and the last of them, if that is not more than they.

    LMDB halves a page that is full, unless what comes goes to its end. New keys in ascending order somewhere in the
    tree thus leave page after page half empty, because of the old ones behind them. So where a stretch of the tree
    gets at least as many new keys as it has, what it has is taken out, to be put in again between them; and what is
    behind it is kept off the pages that they fill, by wedges that are taken out again: two fill a page, so that the
    second is not on that page where the stretch begins, and the first, if it is, goes before they come.
    """
    last = records[-1][0] if records else b""
    wedges = [last + b"\x00" * count for count in (1, 2, 3)]
    packed = there is not None and len(there) <= fresh and fresh * 2 > len(records) > DENSE_KEYS_MIN
    if not packed or len(wedges[2]) > LMDB_KEY_BYTES_MAX or (cursor.set_range(wedges[0]) and cursor.key() <= wedges[2]):
        cursor.putmulti(records)
        return
    if there:
        cursor.set_key(next(iter(there)))
        for _ in there:
            cursor.delete()
        there.update(records)
        records = sorted(there.items())
    cursor.putmulti([(key, bytes(PAGE_ROOM_BYTES // 2 - RECORD_OVERHEAD_BYTES - len(key))) for key in wedges])
    cursor.pop(wedges[0])
    cursor.putmulti(records)
    cursor.pop(wedges[1])
    cursor.pop(wedges[2])


def _stretch(cursor: Cursor, first: bytes, last: bytes, most: int) -> dict[bytes, bytes] | None:
    """The records from key `first` to `last`; None: they are more than `most`."""
    found: dict[bytes, bytes] = {}
    if cursor.set_range(first):
        for key, record in cursor:
            if key > last:
                break
            found[key] = record
            if len(found) > most:
                return None
    return found


def load_state_record(txn: Txn, databases: Databases) -> StateRecord:
    """As it was stored with the state. Raises IntegrityError."""
    db = databases.meta
    return opened(db, STATE, _open_record, need(txn, db, STATE))


def check_state(txn: Txn, databases: Databases) -> None:
    """Read the whole state and compare it with its tally. Raises IntegrityError."""
    if StoredState(txn, databases, prove_absence=False).tally() != load_state_record(txn, databases).tally:
        raise IntegrityError(databases.state.name, "the state is not the one whose tally was stored with it")
