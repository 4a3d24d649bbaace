"""Replicated state on LMDB: how it is read, how changes are applied, and that all of it is there.

It is as of the derived height; what later blocks made of it is pending (pending.py).
"""

from collections.abc import Callable, Iterator

from bftnode.apps.contract import ReadableState
from bftnode.protocol.codec import Hash32, UInt, Wire, decoder_of
from bftnode.storage.errors import IntegrityError
from bftnode.storage.records import (
    LMDB_KEY_BYTES_MAX,
    SEAL_BYTES,
    STATE,
    Database,
    Databases,
    Txn,
    get,
    get_or_prove_absent,
    items,
    need,
    opened,
    seal,
    unseal,
)

SCAN_ENTRIES = 1000
"""Entries read at a time where a long stretch of the state is read."""


class StoredState:
    """The map in one transaction (a ReadableState). Every entry is checked as it is read.

    `prove_absence` also checks what is beside a key that is not there: for answers to others. Execution goes
    without, because every replica compares what it executed at the next checkpoint.
    """

    def __init__(self, txn: Txn, db: Database, *, prove_absence: bool) -> None:
        self._txn = txn
        self._db = db
        self._get = get_or_prove_absent if prove_absence else get

    def get(self, key: bytes) -> bytes | None:
        # LMDB calls it an error to ask for a key that it cannot have.
        return self._get(self._txn, self._db, key) if 0 < len(key) <= LMDB_KEY_BYTES_MAX else None

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        cursor = self._txn.cursor(db=self._db.handle)
        if limit <= 0 or not cursor.set_range(start[:LMDB_KEY_BYTES_MAX]):
            return found
        for key, sealed in cursor:
            if key < start:
                continue  # `start` was longer than any key
            if end is not None and key >= end:
                break
            found.append((key, unseal(self._db, key, sealed)))
            if len(found) >= limit:
                break
        return found


def entries(state: ReadableState, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Every entry with start <= key < end (None: no end), in ascending order of key."""
    while page := state.scan(start, end, SCAN_ENTRIES):
        yield from page
        start = page[-1][0] + b"\x00"


class Tally(Wire, frozen=True):
    """How many entries the state has, and the sum of their seals modulo 2**63.

    Kept here and for this disk alone: it finds what no seal can, an old page where a new one belongs or an entry that
    is not there (faults.md D06, D14). Like a seal, it is no protection against who can write the file.
    """

    entries: UInt
    seals: UInt


class StateRecord(Wire, frozen=True):
    """What meta says of the state: its digest, which the members compare (decision 013), and its tally."""

    digest: Hash32
    tally: Tally


NO_TALLY = Tally(0, 0)
_SEALS_MODULUS = 2**63

_open_record: Callable[[bytes], StateRecord] = decoder_of(StateRecord, 256)


def apply_changes(txn: Txn, db: Database, changes: dict[bytes, bytes | None], tally: Tally) -> Tally:
    """Carry out what blocks changed; the tally after it."""
    number_of = int.from_bytes
    ordered = sorted(changes)
    old = [number_of(sealed[:SEAL_BYTES], "big") for _, sealed in txn.cursor(db=db.handle).getmulti(ordered)]
    new: list[int] = []

    def sealed() -> Iterator[tuple[bytes, bytes]]:
        for key in ordered:
            value = changes[key]
            if value is not None:
                record = seal(db, key, value)
                new.append(number_of(record[:SEAL_BYTES], "big"))
                yield key, record

    txn.cursor(db=db.handle).putmulti(sealed())
    for key in ordered:
        if changes[key] is None:
            txn.delete(key, db=db.handle)
    return Tally(tally.entries + len(new) - len(old), (tally.seals + sum(new) - sum(old)) % _SEALS_MODULUS)


def load_state_record(txn: Txn, databases: Databases) -> StateRecord:
    """As it was stored with the state. Raises IntegrityError."""
    db = databases.meta
    return opened(db, STATE, _open_record, need(txn, db, STATE))


def check_state(txn: Txn, databases: Databases) -> None:
    """Read the whole state and compare it with its tally. Some 2 microseconds an entry. Raises IntegrityError."""
    db, entries_found, seals = databases.state, 0, 0
    for key, value in items(txn, db):
        entries_found += 1
        seals += int.from_bytes(seal(db, key, value)[:SEAL_BYTES], "big")
    if Tally(entries_found, seals % _SEALS_MODULUS) != load_state_record(txn, databases).tally:
        raise IntegrityError(db.name, "the state is not the one whose tally was stored with it")
