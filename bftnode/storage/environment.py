"""The LMDB environment: how it is opened, written, read and made to grow.

Flags are fixed: a commit is durable when it returns (no NOSYNC, NOMETASYNC, MAP_ASYNC) and no wild pointer can
write the map (no WRITEMAP; faults.md D17). One process, one environment, no fork after open (D12).

The map is exactly as large as the space that is reserved on disk for the data file. LMDB then meets the end of
the map before it meets the end of the disk: while a turn is put together, not in the middle of writing its pages,
where LMDB reports a short write on a full disk as EIO and a full disk could not be told from a broken one. Growing
is one step, reserve then enlarge, and it is the only place where DiskFull comes from on file systems that honour
reservations; on those that do not (copy on write), ENOSPC from a commit says the same (D04), unless it was the meta
page that found no room: then nothing is known of the turn, and the environment is broken.
"""

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import lmdb
from lmdb.verify import VerifyError
from lmdb.verify import verify as verify_structure

from bftnode.storage import metas
from bftnode.storage.errors import FULL, DiskFull, IntegrityError, StorageBroken
from bftnode.storage.records import NAMES, Databases, Txn, database

MAP_BYTES_INITIAL = 16 * 1024 * 1024
"""Reserved on disk when a node is created."""

MAP_BYTES_MAX = 1024**4
"""At 1 TiB the log is full: DiskFull, and an operator decides. Address space, not memory, is what this bounds."""

GROWTH_SHARE = 16
GROWTH_BYTES = 4 * 1024 * 1024
"""The map doubles up to a step of so many bytes, then grows by it, and from sixteen times as many on by a sixteenth of
itself: more would take disk long before its use, less would make readers wait, and a turn begin anew, more often."""

GROWTH_BYTES_MIN = 256 * 1024
"""Where not even this is left on the disk, it is full."""

ROOM_BYTES = 2 * 1024 * 1024
"""A map of four growths or more grows before a turn while it has no more free than this at its end: a flush that met
the end would be done twice."""

READ_S_MAX = 30.0
"""Readers are short (D11). Growth waits this long for those under way, then the turn fails as if the disk were full
and can be committed again."""

READERS_MAX = 510
"""Read transactions at one time in all processes; one more is turned down by LMDB as StorageBroken."""

STRUCTURE_CHECK_BYTES_MAX = 32 * 1024 * 1024
"""Data files up to this size are walked page by page before LMDB is let loose on them: half a second. With a larger one
the node starts without the walk, and an operator asks for it (verify.py does it on any size)."""

DATA_NAME = "data.mdb"

META_LOST = "a meta page could not be written"

T = TypeVar("T")


class Gate:
    """Readers pass while the map stands still; whoever moves it waits for them and keeps new ones out.

    A thread that is inside may enter again (a query that reads the log), so nobody waits for himself.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False
        self._mine = threading.local()

    @property
    def inside(self) -> int:
        return self._inside

    @contextmanager
    def passing(self) -> Iterator[None]:
        depth: int = getattr(self._mine, "depth", 0)
        if depth == 0:
            with self._changed:
                while self._closed:
                    self._changed.wait()
                self._inside += 1
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._mine.depth = depth
            if depth == 0:
                with self._changed:
                    self._inside -= 1
                    self._changed.notify_all()

    @contextmanager
    def closed(self, wait_s: float) -> Iterator[bool]:
        """Whether every reader has left within `wait_s`; nobody enters inside the block."""
        assert getattr(self._mine, "depth", 0) == 0, "who reads does not move the map"
        until = time.monotonic() + wait_s
        with self._changed:
            self._closed = True
            while self._inside and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            empty = not self._inside
        try:
            yield empty
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


class Environment:
    """One open environment with its named databases."""

    def __init__(self, path: Path, map_bytes_initial: int, map_bytes_max: int, lock: int) -> None:
        """`lock`: descriptor of the directory's LOCK, for metas.py. Raises IntegrityError, DiskFull, StorageBroken,
        OSError."""
        assert GROWTH_BYTES_MIN <= map_bytes_initial <= map_bytes_max <= MAP_BYTES_MAX, "the empty databases must fit"
        data = path / DATA_NAME
        exists = data.exists() and data.stat().st_size > 0
        if exists:
            metas.check(data, lock)
            check_structure(path, STRUCTURE_CHECK_BYTES_MAX)
        map_bytes = _whole_pages(max(map_bytes_initial, data.stat().st_size if exists else 0))
        self._map_bytes_max = map_bytes_max
        self._lock = lock
        self._gate = Gate()
        self._env = _open(path, map_bytes, readonly=False, lock=True)
        try:
            self._file = os.open(data, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            self._env.close()
            raise
        try:
            self._data = data
            self._data_name = str(data)  # asked for at every commit, and pathlib's way there is long
            self._inode = os.fstat(self._file).st_ino
            self._map_bytes = self._reserve_at_start(map_bytes, exists)
            self._env.reader_check()
            self.databases = _databases(self._env)
        except BaseException:
            self.close()
            raise

    def _reserve_at_start(self, wanted: int, exists: bool) -> int:
        try:
            os.posix_fallocate(self._file, 0, wanted)
        except OSError as error:
            if error.errno not in FULL:
                raise
            if not exists:
                raise DiskFull(f"no room for {wanted} bytes at {self._data}") from error
            # A node whose disk is full starts, to serve what it has.
            wanted = _whole_pages(os.fstat(self._file).st_size)
            self._env.set_mapsize(wanted)
        return wanted

    def flags(self) -> dict[str, bool]:
        return dict(self._env.flags())  # type: ignore[arg-type]  # a TypedDict of bools is a dict of bools

    @property
    def map_bytes(self) -> int:
        return self._map_bytes

    @property
    def used_bytes(self) -> int:
        """What the log, the state and LMDB's free pages take of the map."""
        return (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]

    @property
    def last_transaction(self) -> int:
        """The id of the last transaction that was committed."""
        return int(self._env.info()["last_txnid"])

    @property
    def readers(self) -> int:
        """Read transactions of this process that are open now."""
        return self._gate.inside

    @contextmanager
    def read(self) -> Iterator[Txn]:
        """A read transaction: what was committed when it began. Short, and used by one thread only.

        Raises StorageBroken.
        """
        with self._gate.passing():
            try:
                with self._env.begin() as txn:
                    yield txn
            except lmdb.Error as error:
                raise _broken(error) from error

    def write(self, work: Callable[[Txn], T]) -> T:
        """Do `work` in one write transaction, durable when this returns. One thread at a time.

        Work that meets the end of the map is undone, and done again in a larger one. Whatever it raises undoes it.
        Raises DiskFull, StorageBroken.
        """
        self._check_file()
        if self._map_bytes >= 4 * GROWTH_BYTES and self._map_bytes - self.used_bytes < ROOM_BYTES:
            with suppress(DiskFull):  # there may be free pages enough
                self._grow()
        while True:
            try:
                return self._attempt(work)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                if error.code not in FULL:
                    raise _broken(error) from error
                if not self._lives():
                    raise StorageBroken(f"{META_LOST}: {error}") from error
                raise DiskFull(str(error)) from error

    def _lives(self) -> bool:
        """Where a meta page cannot be written, whatever the reason, LMDB does not know what stands there, and serves
        nothing more, reads neither."""
        try:
            self._env.begin().abort()
        except lmdb.PanicError:
            return False
        except lmdb.Error:
            pass  # all places of readers may be taken: whoever has one is served
        return True

    def _attempt(self, work: Callable[[Txn], T]) -> T:
        txn = self._env.begin(write=True)
        try:
            done = work(txn)
            txn.commit()
        except BaseException:
            txn.abort()  # of a transaction whose commit failed: LMDB has ended it already, and this does nothing
            raise
        metas.note(self._file, self._lock)
        return done

    def _check_file(self) -> None:
        """A file that was deleted or replaced under us would take our writes with it when we end (D20)."""
        try:
            present = os.stat(self._data_name).st_ino == self._inode
        except OSError as error:
            raise StorageBroken(f"{self._data} is gone: {error.strerror}") from error
        if not present:
            raise StorageBroken(f"{self._data} was replaced under the running node")

    def _grow(self) -> None:
        """Reserve more of the disk, then move the map. Raises DiskFull, StorageBroken."""
        size = self._map_bytes
        step = _whole_pages(min(size, max(size // GROWTH_SHARE, GROWTH_BYTES), self._map_bytes_max - size))
        if step <= 0:
            raise DiskFull(f"the map has reached {size} of at most {self._map_bytes_max} bytes")
        while True:
            try:
                os.posix_fallocate(self._file, size, step)
                break
            except OSError as error:
                if error.errno not in FULL:
                    raise StorageBroken(f"cannot extend {self._data}: {error.strerror}") from error
                if step <= GROWTH_BYTES_MIN:
                    raise DiskFull(f"no room to extend {self._data} beyond {size} bytes") from error
                step = max(_whole_pages(step // 2), GROWTH_BYTES_MIN)
        with self._gate.closed(READ_S_MAX) as empty:
            if not empty:
                raise DiskFull(f"the map cannot grow while a read transaction is open for {READ_S_MAX} s")
            self._env.set_mapsize(size + step)
        self._map_bytes = size + step

    def close(self) -> None:
        """Waits for readers, as growth does. One that stays keeps the map until the process ends: unmapping it
        beneath a reader would crash."""
        with self._gate.closed(READ_S_MAX) as empty:
            if empty:
                self._env.close()
        os.close(self._file)


@contextmanager
def opened_read_only(path: Path, *, lock: bool) -> Iterator[tuple[lmdb.Environment, Databases]]:
    """The environment for a reader beside or instead of the node. `lock`: a node may be alive.

    Raises StorageBroken, and IntegrityError where a database is missing.
    """
    # The map is as large as any node's can become, so that a live one may grow beneath us.
    env = _open(path, MAP_BYTES_MAX, readonly=True, lock=lock)
    try:
        yield env, _databases(env, create=False)
    except lmdb.Error as error:
        raise _broken(error) from error
    finally:
        env.close()


def check_structure(path: Path, bytes_max: int | None) -> None:
    """Walk the pages of a closed environment without LMDB, which trusts its file and may crash on a damaged one.

    A file of more than `bytes_max` is not walked (None: any is). Raises IntegrityError.
    """
    data = path / DATA_NAME
    if bytes_max is not None and data.stat().st_size > bytes_max:
        return
    try:
        faults = verify_structure(str(data), subdir=False)  # type: ignore[no-untyped-call]  # py-lmdb types all but this
    except (VerifyError, OSError) as error:
        faults = [str(error)]
    if faults:
        raise IntegrityError(str(data), faults[0])


def _open(path: Path, map_bytes: int, *, readonly: bool, lock: bool) -> lmdb.Environment:
    try:
        return lmdb.open(
            str(path),
            map_size=map_bytes,
            subdir=True,
            readonly=readonly,
            create=False,
            mode=0o600,
            sync=True,
            metasync=True,
            map_async=False,
            writemap=False,
            meminit=True,
            lock=lock,
            max_dbs=len(NAMES),
            max_readers=READERS_MAX,
            max_spare_txns=1,
            lib_version=0,  # format 1: the one that years of other people's data have tested
        )
    except lmdb.Error as error:
        if error.code in FULL:
            raise DiskFull(str(error)) from error
        raise _broken(error) from error


def _databases(env: lmdb.Environment, *, create: bool = True) -> Databases:
    try:
        return Databases(*(database(name, env.open_db(name.encode(), create=create)) for name in NAMES))
    except lmdb.NotFoundError as error:
        raise IntegrityError(env.path(), "a database is missing") from error
    except lmdb.Error as error:
        if error.code in FULL:
            raise DiskFull(str(error)) from error
        raise _broken(error) from error


def _broken(error: lmdb.Error) -> StorageBroken:
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
        return IntegrityError("lmdb", str(error))
    # Who reads may meet it before who wrote does.
    return StorageBroken(f"{META_LOST}: {error}" if isinstance(error, lmdb.PanicError) else str(error))


def _whole_pages(size: int) -> int:
    """`size` rounded down, so that the map never exceeds what is reserved."""
    return size // mmap.PAGESIZE * mmap.PAGESIZE
