"""Where a client's nonces come from: never the same twice, over restarts and between processes with one key.

The replicated state remembers which nonces of a key were used and refuses one that is used, 4096 below the highest
or 65,536 above it (docs/protocol.md, "Transactions"), so nonces are counted, not drawn and not told by a clock
(faults.md R10, A06, P44). A file beside the key holds the first nonce that nobody has reserved; a process reserves a
block of them in one synced write, so a crash skips numbers and never repeats one.
"""

import fcntl
import os
from pathlib import Path
from typing import Protocol

from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.limits import NONCE_JUMP_MAX, NONCE_WINDOW

BLOCK = 1000
"""Nonces reserved at a time: one sync of the disk for so many envelopes. 65 crashes in a row without one executed
transaction would leave the window of what is accepted; a clean close gives back what it did not use."""

NONCE_MAX = 2**63 - 1
"""What an envelope has room for. A file that is near it was not counted up to there; nothing is taken from it."""

_DIGITS = 20
_RECORD_BYTES = _DIGITS + 1

assert NONCE_JUMP_MAX > 60 * BLOCK, "crashes may skip some blocks"


class NonceSource(Protocol):
    """One key's nonces."""

    def take(self) -> int:
        """A nonce that was never taken. May write to the disk."""

    def skip_to(self, used: int) -> None:
        """The cluster has seen `used`: take only higher ones from now on."""

    def close(self) -> None:
        """Nothing is taken any more."""


class CountingNonces:
    """For a key that lives as long as the process: tests, simulations, throw-away clients."""

    def __init__(self, first: int = 1) -> None:
        self._next = first

    def take(self) -> int:
        nonce = self._next
        self._next += 1
        return nonce

    def skip_to(self, used: int) -> None:
        self._next = max(self._next, used + 1)

    def close(self) -> None:
        """Nothing to give back."""


class FileNonces:
    """Nonces reserved in a file. The lock is held while it is read and written, never longer."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, Refused(INTEGRITY) for a file that is something else."""
        self._path = path
        created = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if created:
                _sync_directory(path.parent)
            self._read()
        except BaseException:
            os.close(self._file)
            raise
        self._next = self._end = 0
        self._used = 0

    def take(self) -> int:
        """Raises OSError, Refused(INTEGRITY)."""
        # Another process with this key may be so far ahead that a nonce of our block would be too old. One small
        # read of a cached page tells.
        if self._next >= self._end or self._read() - self._next > NONCE_WINDOW - BLOCK:
            self._reserve()
        nonce = self._next
        self._next += 1
        return nonce

    def skip_to(self, used: int) -> None:
        self._used = max(self._used, used)
        if self._next <= self._used:
            self._next = self._end = 0

    def close(self) -> None:
        """Give back what is left of our block, if nobody has reserved after it."""
        if self._next < self._end:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if self._read() == self._end:
                self._write(self._next)
        os.close(self._file)

    def _reserve(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            first = max(self._read(), self._used + 1)
            if first > NONCE_MAX - BLOCK:
                raise Refused(Reason.INTEGRITY, f"{self._path} holds a nonce beyond all that can be sent")
            self._write(first + BLOCK)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._next, self._end = first, first + BLOCK

    def _read(self) -> int:
        """The first nonce that is not reserved. A record is 21 bytes, so it is read whole or not written at all."""
        record = os.pread(self._file, _RECORD_BYTES + 1, 0)
        if not record:
            return 1
        whole = len(record) == _RECORD_BYTES and record[-1:] == b"\n" and record[:-1].isdigit()
        if not whole or int(record) == 0:
            detail = f"{self._path} does not hold a nonce; without it the members tell which were used"
            raise Refused(Reason.INTEGRITY, detail)
        return int(record)

    def _write(self, nonce: int) -> None:
        record = b"%0*d\n" % (_DIGITS, nonce)
        written = os.pwrite(self._file, record, 0)
        if written != len(record):
            raise OSError(f"{self._path}: {written} of {len(record)} bytes written")
        os.fsync(self._file)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
