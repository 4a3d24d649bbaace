"""Blocks' payloads on the disk: in pieces, numbered in the order in which they were stored.

Each is a record with a checksum of its own (CRC-32 of key and bytes: who opens a block compares it with its header), of
a size of which four fill a page. So a block costs its bytes and hardly more
(a record of many pages leaves its last one half empty, and LMDB has to find neighbouring free ones for it), and some
bytes in the middle of a block are read and checked without the rest of it: the state names most of its values by their
address here instead of having them again (state.py). An address is a piece's number times PIECE_BYTES, and the offset
in it; the pieces of one block are neighbours.
"""

import zlib
from itertools import islice

from bftnode.storage.errors import IntegrityError
from bftnode.storage.records import (
    PAGE_ROOM_BYTES,
    RECORD_OVERHEAD_BYTES,
    Database,
    Txn,
    number,
    record_name,
)

_CHECKSUM_BYTES = 4

PIECE_BYTES = PAGE_ROOM_BYTES // 4 - RECORD_OVERHEAD_BYTES - 8 - _CHECKSUM_BYTES
"""998: a block leaves half of one unused, on average, and the seals of larger ones would take longer to check."""


def write(txn: Txn, db: Database, payload: bytes) -> int:
    """Store a payload behind all others; the number of its first piece."""
    cursor = txn.cursor(db=db.handle)
    first = int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 0
    starts = range(0, len(payload), PIECE_BYTES)
    pieces = ((number(at), payload[start : start + PIECE_BYTES]) for at, start in enumerate(starts, first))
    cursor.putmulti(((key, _checksum(key, piece) + piece) for key, piece in pieces), append=True)
    return first


def remove(txn: Txn, db: Database, first: int, size: int) -> None:
    """Take out the payload of `size` bytes that starts with piece `first`."""
    for at in _pieces(first, size):
        txn.delete(number(at), db=db.handle)


def read(txn: Txn, db: Database, first: int, size: int) -> bytes:
    """The payload of `size` bytes that starts with piece `first`. Raises IntegrityError."""
    return _joined(txn, db, _pieces(first, size), size)


def read_at(txn: Txn, db: Database, address: int, size: int) -> bytes:
    """Some bytes in the middle of a payload. Raises IntegrityError."""
    at, offset = divmod(address, PIECE_BYTES)
    return _joined(txn, db, _pieces(at, offset + size), offset + size, at_least=True)[offset : offset + size]


def read_piece(txn: Txn, db: Database, at: int) -> bytes:
    """One piece. Raises IntegrityError."""
    key = number(at)
    sealed = txn.get(key, db=db.handle)
    if sealed is None:
        raise IntegrityError(record_name(db, key), "the record is missing")
    return _unseal(db, key, sealed)


def read_unchecked(txn: Txn, db: Database, first: int, size: int) -> bytes:
    """As `read`, whatever the seals say and as far as there is something: for who looks for the damage."""
    found = (txn.get(number(at), db=db.handle) or b"" for at in _pieces(first, size))
    return b"".join(sealed[_CHECKSUM_BYTES:] for sealed in found)


def _checksum(key: bytes, piece: bytes) -> bytes:
    return zlib.crc32(piece, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big")


def _unseal(db: Database, key: bytes, sealed: bytes) -> bytes:
    piece = sealed[_CHECKSUM_BYTES:]
    if _checksum(key, piece) != sealed[:_CHECKSUM_BYTES]:
        raise IntegrityError(record_name(db, key), "the checksum does not match")
    return piece


def _pieces(first: int, size: int) -> range:
    return range(first, first - (-size // PIECE_BYTES))


def _joined(txn: Txn, db: Database, pieces: range, size: int, *, at_least: bool = False) -> bytes:
    cursor = txn.cursor(db=db.handle)
    found: list[bytes] = []
    if cursor.set_key(number(pieces.start)):
        for at, (key, sealed) in zip(pieces, islice(cursor, len(pieces)), strict=False):
            if key != number(at):
                break
            found.append(_unseal(db, key, sealed))
    payload = b"".join(found)
    if len(found) != len(pieces) or len(payload) < size or (len(payload) > size and not at_least):
        missing = pieces.start + min(len(found), len(pieces) - 1)
        raise IntegrityError(record_name(db, number(missing)), "the record is missing, or of another block")
    return payload
