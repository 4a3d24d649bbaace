"""Writes down what a replica is told, where an operator asked for it (bftnode/replica/recording.py has the format).

One file a life in data/recording, mode 0600, appended to with one write a turn, after the step and before anything is
promised or said: a kill -9 loses at most what nobody has heard of. Nothing is synced, so a power failure may take the
end. At its bound a recording ends, with a log line, and the node goes on; so it does where the disk refuses.
docs/operations.md, "Recording a member".
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import bftnode
from bftnode.protocol.cosigning import CheckpointSigner
from bftnode.protocol.ed25519 import Signer
from bftnode.replica.effects import Effect
from bftnode.replica.events import Event, Now
from bftnode.replica.recording import ROOMS, Start, Woke, code_digest, listening, record_of, turn_record

SUFFIX = ".recording"


class Told(Protocol):
    """Who is told that a recording has ended."""

    def __call__(self, event: str, **fields: object) -> object: ...


class Recorder:
    """One life's recording. Beyond `bytes_max` nothing is written."""

    def __init__(self, folder: Path, bytes_max: int, lives_max: int, told: Told) -> None:
        """Makes a new file in `folder`; of older lives' the last `lives_max - 1` stay. Raises OSError."""
        folder.mkdir(mode=0o700, exist_ok=True)
        lives = sorted(folder.glob(f"*{SUFFIX}"))
        for path in lives[: max(0, len(lives) + 1 - lives_max)]:
            path.unlink()
        number = int(lives[-1].name.removesuffix(SUFFIX)) + 1 if lives else 1
        self.path = folder / f"{number:08d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor: int | None = os.open(self.path, flags, 0o600)
        self._left = bytes_max
        self._told = told
        self._signatures: list[bytes] = []

    def begin(self, start: Start, woke: Woke) -> None:
        """The first two records."""
        self._write(record_of(start) + record_of(woke))

    def signing(self, sign: Signer) -> Signer:
        """`sign`, whose signatures are recorded with the turn that makes them."""
        return listening(sign, self._signatures.append)

    def cosigning(self, signer: CheckpointSigner) -> CheckpointSigner:
        """The same of a member's checkpoints."""
        return signer._replace(log=self.signing(signer.log), kinds=tuple(map(self.signing, signer.kinds)))

    def turn(self, now: Now, steps: Sequence[tuple[Event, Sequence[Effect] | None]]) -> None:
        """Steps that were taken at this moment; None for the effects of one that raised."""
        if self._descriptor is not None:
            self._write(turn_record(now, steps, self._signatures))
        self._signatures.clear()

    def _write(self, record: bytes) -> None:
        if self._descriptor is None:
            return
        if len(record) > self._left:
            self._end("recording.bytes_max is reached; a restart begins another one")
            return
        try:
            written = os.write(self._descriptor, record)
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        self._left -= written
        if written < len(record):
            self._end("the disk is full")

    def _end(self, reason: str) -> None:
        assert self._descriptor is not None, "it goes on until here"
        os.close(self._descriptor)
        self._descriptor = None
        self._told("recording_ended", path=str(self.path), reason=reason)


def code_in_use() -> bytes:
    """The digest of the code that decides what a step does."""
    root = Path(bftnode.__file__).parent
    files = (path for room in ROOMS for path in (root / room).rglob("*.py"))
    return code_digest((path.relative_to(root).as_posix(), path.read_bytes()) for path in files)
