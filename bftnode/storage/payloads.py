"""Payloads of private records, kept beside the log: what may be erased (decision 020).

A file each, in folders of a few thousand. Not in LMDB: it writes changed pages to other places, so what was erased
would stay on the disk until its page is used again. A file's bytes are overwritten where they are, then its name is
removed; what a file system that copies on write, or the disk itself, makes of that is not ours to say.

`put`, `erase` and `carried_out` are called by one thread at a time; `get` by any.
"""

import errno
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bftnode.protocol.errors import Reason, Refused
from bftnode.storage.directory import sync_directory
from bftnode.storage.errors import DiskFull, StorageBroken

_FOLDER_BITS = 12
_BLOCK_BYTES = 4096  # what the smallest file takes
_CURSOR_NAME = "erased"
_CURSOR_BYTES_MAX = 40
_NEW = ".new"
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class Payloads:
    """One node's. Contents are bytes to it."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        """`bytes_max`: of all, each counted as whole blocks of 4 KiB. At it a further one is refused."""
        self._path = path
        self._bytes_max = bytes_max
        self._used: int | None = None  # bytes; counted when it is first asked for

    def put(self, index: int, content: bytes) -> None:
        """Keep this for record `index`, durably, in the place of what is there. Raises Refused(DISK_FULL), OSError."""
        if self._used is None:
            self._used = self._count()
        path = self._file(index)
        size = _blocks(len(content)) - _size_of(path)
        if self._used + size > self._bytes_max:
            raise Refused(Reason.DISK_FULL, f"payloads are kept up to {self._bytes_max} bytes")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, content)
            for folder in (path.parent, self._path, self._path.parent):
                sync_directory(folder)
        except OSError as error:
            with suppress(OSError):  # its name is gone all the same
                _wipe(_temporary(path))
            if error.errno in _FULL:
                raise Refused(Reason.DISK_FULL, "the disk is full") from None
            raise
        self._used += size

    def get(self, index: int) -> bytes | None:
        """What is kept for record `index`. Raises OSError."""
        try:
            return self._file(index).read_bytes()
        except FileNotFoundError:
            return None

    def erase(self, index: int) -> None:
        """Overwrite and remove what there is of record `index`; durable when it returns.

        Raises DiskFull, StorageBroken.
        """
        path = self._file(index)
        with _breaking():
            if not path.parent.exists():
                return
            size = _size_of(path)
            for one in (path, _temporary(path)):
                _wipe(one)
            sync_directory(path.parent)
        if self._used is not None:
            self._used -= size

    @property
    def erasures(self) -> int:
        """How many of the log's erasures are carried out here; 0 where that is not to be read: each is safe to repeat.

        Raises StorageBroken.
        """
        try:
            with _breaking(), open(self._path / _CURSOR_NAME, "rb") as file:
                raw = file.read(_CURSOR_BYTES_MAX)
        except FileNotFoundError:
            return 0
        digits = raw.partition(b" ")[0]
        return int(digits) if digits.isdigit() and raw == _cursor(int(digits)) else 0

    def carried_out(self, erasures: int) -> None:
        """So many are carried out: durable when it returns. Raises DiskFull, StorageBroken."""
        with _breaking():
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._path / _CURSOR_NAME, _cursor(erasures))
            sync_directory(self._path)

    def _file(self, index: int) -> Path:
        return self._path / f"{index >> _FOLDER_BITS:x}" / f"{index:x}"

    def _count(self) -> int:
        return sum(_size_of(file) for folder in self._path.glob("*/") for file in folder.iterdir())


@contextmanager
def _breaking() -> Iterator[None]:
    """What was ordered to be erased and cannot be is no reason to go on as if it were; for want of room, try again."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull from error
        raise StorageBroken(f"payloads cannot be erased: {error.strerror or error}") from error


def _cursor(erasures: int) -> bytes:
    """With a checksum: a digit that is another one would have erasures left out for ever (faults.md D06)."""
    digits = b"%d" % erasures
    return b"%s %08x" % (digits, zlib.crc32(digits))


def _blocks(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _size_of(path: Path) -> int:
    try:
        return _blocks(path.stat().st_size)
    except FileNotFoundError:
        return 0


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + _NEW)


def _write(path: Path, content: bytes) -> None:
    """The whole file or none; its name is durable when its folder is synced. Raises OSError."""
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _wipe(path: Path) -> None:
    """Raises OSError; the name is removed even where the bytes could not be overwritten."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(os.fstat(descriptor).st_size))
            file.flush()
            os.fsync(descriptor)
    finally:
        path.unlink()
