"""A log only ever grows: what a client has verified of it, and what it therefore refuses (docs/receipts.md).

A client keeps the largest checkpoint that it has verified, across its lives where it has a place for it. Any larger
one, and any header of a receipt, must be proved to extend it or to be extended by it. Whether a proof cannot be had
because one member lies, or because the log is another one, only asking the others tells: `Reads` does that.
"""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple, Protocol

from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import verify_consistency
from bftnode.protocol.tlog.checkpoints import Checkpoint
from bftnode.protocol.tlog.notes import NOTE_BYTES_MAX
from bftnode.protocol.tlog.policy import Policy, check_checkpoint


class SignedCheckpoint(NamedTuple):
    """A checkpoint that the cluster's policy calls valid, and the note that says so."""

    note: bytes
    checkpoint: Checkpoint
    cosigned: dict[str, int]  # by which cosigners, and when, in seconds since 1970


class LogMemory(Protocol):
    """Where a client keeps the largest checkpoint that it has verified."""

    def load(self) -> bytes | None:
        """The signed note, or None before the first."""

    def store(self, note: bytes) -> None:
        """Durable when it returns."""


class FileMemory:
    """A note in a file beside the key, replaced whole. Two processes may both write: each writes what it verified."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """Raises OSError."""
        try:
            with open(self._path, "rb") as file:
                return file.read(NOTE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None

    def store(self, note: bytes) -> None:
        """Raises OSError."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)


class Growth:
    """The largest verified checkpoint of one log. Does no asking."""

    def __init__(self, policy: Policy, memory: LogMemory | None = None) -> None:
        """Raises OSError, Refused(INTEGRITY) for a memory that is not of this cluster."""
        self._policy = policy
        self._memory = memory
        self.largest: SignedCheckpoint | None = None
        note = None if memory is None else memory.load()
        if note is not None:
            try:
                self.largest = self.open(note)
            except Refused as refused:
                detail = f"the remembered checkpoint is not one of this cluster: {refused.detail}"
                raise Refused(Reason.INTEGRITY, detail) from None

    def open(self, note: bytes) -> SignedCheckpoint:
        """A checkpoint that is signed and cosigned by a quorum; how it stands to others is not looked at.

        Raises Refused(NOTE_MALFORMED | NOTE_UNPROVED).
        """
        return SignedCheckpoint(note, *check_checkpoint(note, self._policy))

    def needs_proof(self, size: int, root: bytes) -> tuple[int, int] | None:
        """Between which two sizes a consistency proof is needed before this head is believed; None: none.

        Raises Refused(INTEGRITY) where it contradicts what was verified, whatever anybody proves.
        """
        if self.largest is None:
            return None
        known = self.largest.checkpoint
        if size == known.size:
            if root != known.root:
                raise Refused(Reason.INTEGRITY, f"another log of {size} entries than the one that was verified before")
            return None
        return min(size, known.size), max(size, known.size)

    def check(self, size: int, root: bytes, path: tuple[bytes, ...]) -> None:
        """Raises Refused(INTEGRITY) unless the proof shows that one of both is the beginning of the other."""
        assert self.largest is not None, "a proof was needed"
        known = self.largest.checkpoint
        old, new = sorted(((size, root), (known.size, known.root)))
        if not verify_consistency(old[0], new[0], old[1], new[1], path):
            detail = f"no proof that the log of {new[0]} entries extends the one of {old[0]}"
            raise Refused(Reason.INTEGRITY, detail)

    def remember(self, signed: SignedCheckpoint) -> None:
        """It was proved to extend the largest, or is the first. Raises OSError."""
        if self.largest is None or signed.checkpoint.size > self.largest.checkpoint.size:
            self.largest = signed
            if self._memory is not None:
                self._memory.store(signed.note)
