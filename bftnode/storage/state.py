"""Replicated state on LMDB: how it is read, how changes are applied, and that it is what the digest says.

It is as of the derived height; what later blocks made of it is pending (pending.py).
"""

from collections.abc import Iterator

from bftnode.apps.contract import ReadableState, StateDigest
from bftnode.storage.errors import IntegrityError
from bftnode.storage.records import (
    DIGEST,
    LMDB_KEY_BYTES_MAX,
    Database,
    Databases,
    Txn,
    get,
    get_or_prove_absent,
    items,
    need,
    put_many,
    record_name,
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

    def get_many(self, keys: list[bytes]) -> list[tuple[bytes, bytes]]:
        """The entries that there are under `keys`, which are in ascending order: one pass."""
        db = self._db
        return [(key, unseal(db, key, sealed)) for key, sealed in self._txn.cursor(db=db.handle).getmulti(keys)]

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


def apply_changes(txn: Txn, db: Database, changes: dict[bytes, bytes | None]) -> None:
    """Carry out what blocks changed."""
    ordered = sorted(changes)
    put_many(txn, db, ((key, value) for key in ordered if (value := changes[key]) is not None))
    for key in ordered:
        if changes[key] is None:
            txn.delete(key, db=db.handle)


def load_digest(txn: Txn, databases: Databases) -> StateDigest:
    """The digest as it was stored with the state. Raises IntegrityError."""
    raw = need(txn, databases.meta, DIGEST)
    if len(raw) != len(StateDigest().dump()):
        raise IntegrityError(record_name(databases.meta, DIGEST), "not a state digest")
    return StateDigest.load(raw)


def check_state(txn: Txn, databases: Databases) -> None:
    """Read the whole state and compare it with its digest: finds what no seal can, an old page where a new one
    belongs or an entry that is not there (faults.md D06, D14). Some 5 microseconds an entry.

    Raises IntegrityError.
    """
    db, computed = databases.state, StateDigest()
    for key, value in items(txn, db):
        computed.replace(key, None, value)
    if computed.dump() != load_digest(txn, databases).dump():
        raise IntegrityError(db.name, "the state is not the one whose digest was stored with it")
