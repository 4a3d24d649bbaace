"""LMDB's two meta pages, as they were after the last commit, noted outside of its file: in LOCK.

A commit writes one of them, in turn, and of the two LMDB believes the one with the higher transaction id, with no
checksum. So a flipped bit in an id makes it open the snapshot before the last, whole and consistent, in which a COMMIT
that was sent is forgotten (faults.md D03, D06); nothing inside the file can tell. The note can, and it also finds
damage to the pages' other fields where the file is too large for `check_structure`.

It is written after each commit and never synced: a power cut leaves an older one, which then says less. One that is not
whole says nothing. Whoever puts an older data.mdb beside it is found out as well (D07).
"""

import hashlib
import mmap
import os
import sys
from pathlib import Path
from typing import NamedTuple

from bftnode.storage.errors import FULL, IntegrityError, StorageBroken

META_BYTES = 16 + 136
"""Of each page: LMDB's page header and what follows it (mdb.c, MDB_meta, data version 1, 64 bit)."""

_HEADER_BYTES = 16
_ID = slice(META_BYTES - 8, META_BYTES)
_SEAL_BYTES = 16
NOTE_BYTES = _SEAL_BYTES + 2 * META_BYTES
assert NOTE_BYTES <= 512, "a disk writes one sector whole"


class Meta(NamedTuple):
    """One page: `transaction` wrote it. `content`: what it says beside its own number and that id."""

    raw: bytes

    @property
    def transaction(self) -> int:
        return int.from_bytes(self.raw[_ID], sys.byteorder)

    @property
    def content(self) -> bytes:
        return self.raw[_HEADER_BYTES : _ID.start]


def note(data: int, lock: int) -> None:
    """Note what the data file's meta pages are now. Descriptors of both. Raises StorageBroken."""
    try:
        raw = b"".join(meta.raw for meta in _read(data))
        os.pwrite(lock, _seal(raw) + raw, 0)
    except OSError as error:
        if error.errno in FULL:
            return  # the note stays an older one: it is a disk's block, taken by the first that found room
        raise StorageBroken(f"LOCK cannot be written: {error.strerror}") from error


def check(data: Path, lock: int) -> None:
    """Before LMDB sees a data file: it is what it was after the commit that was noted, or after a later one.

    Raises IntegrityError, OSError.
    """
    noted = _noted(lock)
    if noted is None:
        return
    file = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = _read(file)
    finally:
        os.close(file)
    newest, was = max(found, key=_transaction), max(noted, key=_transaction)
    if newest.transaction < was.transaction:
        raise IntegrityError(
            str(data), f"older than what was written to it: transaction {newest.transaction} of {was.transaction}"
        )
    if newest.transaction == was.transaction:
        if newest != was:
            raise IntegrityError(str(data), f"the meta page of transaction {was.transaction} is not what it was")
        return
    # One commit later the page is another one: what it says is where LMDB has put its pages, and it takes none that the
    # page before still needs. Many commits later, after a power cut, it may say the same again; but then so many have
    # written the other page as well.
    page = found.index(newest)
    if found[1 - page] == noted[1 - page] and newest.content == noted[page].content:
        raise IntegrityError(str(data), f"the meta page of an earlier transaction says {newest.transaction}")


def _transaction(meta: Meta) -> int:
    return meta.transaction


def _read(data: int) -> tuple[Meta, Meta]:
    return Meta(os.pread(data, META_BYTES, 0)), Meta(os.pread(data, META_BYTES, mmap.PAGESIZE))


def _noted(lock: int) -> tuple[Meta, Meta] | None:
    sealed = os.pread(lock, NOTE_BYTES, 0)
    raw = sealed[_SEAL_BYTES:]
    if len(sealed) != NOTE_BYTES or _seal(raw) != sealed[:_SEAL_BYTES]:
        return None
    return Meta(raw[:META_BYTES]), Meta(raw[META_BYTES:])


def _seal(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=_SEAL_BYTES).digest()
