"""The shape of everything on disk: the named databases, their keys, and the seal on every value.

LMDB has no page checksums, so each value carries eight bytes of BLAKE2b over its database's name, its key and itself
(in `blocks` and `state` a CRC-32): a flipped bit, or a record that stands under a key that is not its own, is found
when it is read (faults.md D06, D14). A seal is no protection against who can write the file; hashes and certificates
are, and verify.py checks those.

database       key                            value
meta           name                           identity of the node; derived height; digest and tally of the state then
journal        name of a Persist              its last value
blocks         number of a piece              a piece of a block's payload (pieces.py), stored or committed
stored         block hash                     header, and which pieces: of a block that is not committed
log            height                         header, which pieces, commit certificate where there is one
cosigned       size of the log                checkpoint with the cosignatures of a quorum (decision 014)
hashes         block hash                     height, of committed blocks
nodes          last position of the chunk     up to NODES_PER_RECORD nodes of the log's Merkle tree
transactions   transaction id                 where it stands in the log and what became of it
state          key of replicated state        its value, or where in `blocks` that stands (state.py)

The last four, and what meta says of them, are derived data: executing the log gives them. They are as of the
derived height, which is that of the head or some blocks below it (decision 008). The rest is what a turn makes durable:
four small trees, of which only the right edges change (docs/decisions/015-a-value-is-on-the-disk-once.md).
A committed block is not written again when it is appended: its pieces stay where they are.
Integers in keys are 8 bytes, big-endian, so that LMDB's order is theirs.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import lmdb

from bftnode.protocol import limits
from bftnode.protocol.codec import Hash32, MemberIndex, PublicKey, UInt, Wire, decoder_of
from bftnode.protocol.errors import Refused
from bftnode.storage.errors import IntegrityError

if TYPE_CHECKING:
    # Generic for the type checker only; the class itself, written in C, cannot be subscribed.
    Txn = lmdb.Transaction[bytes]
    Cursor = lmdb.Cursor[bytes]
else:
    Txn = lmdb.Transaction
    Cursor = lmdb.Cursor
Handle = lmdb._Database

SCHEMA = 2
"""Of everything in this file. A change of meaning counts it up; newer data is refused, and so is older as long as there
is no release whose data would have to be taken over (D19). 1 had every value twice on the disk."""

SEAL_BYTES = 8
LMDB_KEY_BYTES_MAX = 511
"""Fixed when LMDB is compiled."""

PAGE_BYTES = 4096
PAGE_ROOM_BYTES = PAGE_BYTES - 16
RECORD_OVERHEAD_BYTES = 10
"""LMDB's own: of a page, and of each record in it. A record of more than half a page gets pages of its own, which must
be neighbours, and whose last one is half empty."""

NODES_PER_RECORD = 62
"""Merkle nodes in one record: two fill a page."""
assert 2 * (8 + SEAL_BYTES + 32 * NODES_PER_RECORD + RECORD_OVERHEAD_BYTES) <= PAGE_ROOM_BYTES

IDENTITY = b"identity"
DERIVED = b"derived"
STATE = b"state"

T = TypeVar("T")


class Database(NamedTuple):
    """A named database: its handle in one environment, and what its seals start with."""

    name: str
    handle: Handle
    tag: bytes


class Databases(NamedTuple):
    meta: Database
    journal: Database
    blocks: Database
    stored: Database
    log: Database
    cosigned: Database
    hashes: Database
    nodes: Database
    transactions: Database
    state: Database


NAMES = Databases._fields


class Identity(Wire, frozen=True):
    """Whose data this is."""

    schema: UInt
    chain_id: Hash32
    member: MemberIndex
    public_key: PublicKey


class Kept(Wire, frozen=True):
    """A block that is stored and not committed."""

    seq: UInt
    header: bytes
    first: UInt  # piece of its payload
    size: UInt  # of its payload, in bytes


class Logged(Wire, frozen=True):
    """A committed block. `certificate`: encoded, empty where a later block's commits it."""

    header: bytes
    first: UInt  # piece of its payload
    size: UInt  # of its payload, in bytes
    certificate: bytes


class Placed(Wire, frozen=True):
    """Where an envelope stands in the log. `code` is empty, or the Reason for which execution rejected it."""

    client: PublicKey
    nonce: UInt
    seq: UInt
    log_index: UInt
    code: str


open_identity: Callable[[bytes], Identity] = decoder_of(Identity, 256)
open_kept: Callable[[bytes], Kept] = decoder_of(Kept, 1024)
open_logged: Callable[[bytes], Logged] = decoder_of(Logged, limits.BODY_BYTES_MAX)
open_placed: Callable[[bytes], Placed] = decoder_of(Placed, 1024)


def database(name: str, handle: Handle) -> Database:
    return Database(name, handle, name.encode() + b"\x00")


def record_name(db: Database, key: bytes) -> str:
    return f"{db.name}/{key.hex()}"


def seal(db: Database, key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(db.tag + key + value, digest_size=SEAL_BYTES).digest() + value


def unseal(db: Database, key: bytes, sealed: bytes) -> bytes:
    """The value in a sealed record. Raises IntegrityError naming it."""
    value = sealed[SEAL_BYTES:]
    if hashlib.blake2b(db.tag + key + value, digest_size=SEAL_BYTES).digest() != sealed[:SEAL_BYTES]:
        raise IntegrityError(record_name(db, key), "the checksum does not match")
    return value


def get(txn: Txn, db: Database, key: bytes) -> bytes | None:
    """The checked value under `key`, or None."""
    sealed = txn.get(key, db=db.handle)
    return None if sealed is None else unseal(db, key, sealed)


def get_or_prove_absent(txn: Txn, db: Database, key: bytes) -> bytes | None:
    """As `get`, and before it says None it checks the two records between which `key` would stand."""
    sealed = txn.get(key, db=db.handle)
    if sealed is not None:
        return unseal(db, key, sealed)
    for beside in neighbours(txn, db, key):
        unseal(db, *beside)
    return None


def neighbours(txn: Txn, db: Database, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records between which `key`, which is not there, would stand.

    A flipped bit in a key hides its record: the search ends beside it, and its seal no longer fits its key.
    """
    cursor = txn.cursor(db=db.handle)
    if cursor.set_range(key):
        yield cursor.item()
        before = cursor.prev()
    else:
        before = cursor.last()
    if before:
        yield cursor.item()


def need(txn: Txn, db: Database, key: bytes) -> bytes:
    """The checked value of a record that must be there. Raises IntegrityError."""
    value = get(txn, db, key)
    if value is None:
        raise IntegrityError(record_name(db, key), "the record is missing")
    return value


def items(txn: Txn, db: Database, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Every record from key `start` on, checked, in order of key. Raises IntegrityError."""
    cursor = txn.cursor(db=db.handle)
    if not cursor.set_range(start):
        return
    for key, sealed in cursor:
        yield key, unseal(db, key, sealed)


def put(txn: Txn, db: Database, key: bytes, value: bytes, *, overwrite: bool = True, append: bool = False) -> bool:
    return txn.put(key, seal(db, key, value), overwrite=overwrite, append=append, db=db.handle)


def put_many(
    txn: Txn, db: Database, records: Iterable[tuple[bytes, bytes]], *, overwrite: bool = True, append: bool = False
) -> None:
    """Many records in one C pass; in ascending order of key they are fastest.

    Sealed on the way: a list of ten thousand would set off the garbage collector several times.
    """
    tag, blake2b = db.tag, hashlib.blake2b
    sealed = ((key, blake2b(tag + key + value, digest_size=SEAL_BYTES).digest() + value) for key, value in records)
    txn.cursor(db=db.handle).putmulti(sealed, overwrite=overwrite, append=append)


def opened(db: Database, key: bytes, read: Callable[[bytes], T], value: bytes) -> T:
    """Read what we wrote ourselves; what does not decode is damage, not a refusal. Raises IntegrityError."""
    try:
        return read(value)
    except Refused as refused:
        raise IntegrityError(record_name(db, key), str(refused)) from refused


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def node_position(level: int, index: int) -> int:
    """The place of a Merkle node in the order in which appending creates them.

    A tree of s leaves has 2s - popcount(s) complete nodes; leaf s then creates the levels 0, 1, ... in order.
    """
    last_leaf = ((index + 1) << level) - 1
    return nodes_before(last_leaf) + level


def nodes_before(size: int) -> int:
    """How many complete nodes a tree of `size` leaves has."""
    return 2 * size - size.bit_count()
