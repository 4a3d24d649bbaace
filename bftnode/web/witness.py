"""A witness's door: POST /add-checkpoint, and GET /<hash of an origin>/checkpoint of what it cosigned last.

What it records is durable BEFORE the cosignature leaves, and one request is judged, recorded and answered at a time: so
no two answers are of sizes of which the larger was recorded first (C2SP tlog-witness names the race).
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from bftnode.protocol.errors import Refused
from bftnode.protocol.tlog.checkpoints import Checkpoint, parse_signed_checkpoint
from bftnode.protocol.tlog.notes import NOTE_BYTES_MAX, Note, NoteSignature, VerifierKey, signature_line, write_note
from bftnode.protocol.tlog.witness import SIZE_TYPE, Denied, Latest, judge, parse_add_checkpoint
from bftnode.web.server import BRIEFLY, TEXT, Request, Response, refusal

Cosign = Callable[[Checkpoint], Sequence[NoteSignature]]
"""The witness's cosignatures over a checkpoint, now."""


class Record:
    """The last checkpoint of each log, a file an origin, replaced whole: the signed note with our cosignatures."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory

    def read(self, origin: str) -> bytes | None:
        """Raises OSError."""
        return self.read_named(_hash_of(origin))

    def read_named(self, name: str) -> bytes | None:
        """By the hash of the origin. Raises OSError."""
        try:
            with open(self._directory / name, "rb") as file:
                return file.read(NOTE_BYTES_MAX)
        except FileNotFoundError:
            return None

    def latest(self, origin: str) -> Latest | None:
        """Raises OSError, and Refused(NOTE_MALFORMED) for a damaged file: then nothing of this log is cosigned."""
        note = self.read(origin)
        if note is None:
            return None
        checkpoint = parse_signed_checkpoint(note)[0]
        return Latest(checkpoint.size, checkpoint.root)

    def write(self, origin: str, note: bytes) -> None:
        """Durable when it returns. Raises OSError."""
        path = self._directory / _hash_of(origin)
        temporary = path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class WitnessDoor:
    """Cosigns checkpoints of `logs` (trusted keys by origin) that extend what it cosigned before."""

    def __init__(self, logs: dict[str, tuple[VerifierKey, ...]], record: Record, cosign: Cosign) -> None:
        self._logs = logs
        self._record = record
        self._cosign = cosign
        self._turn = trio.Lock()

    def serves(self, request: Request) -> bool:
        """Whether a request is for this door."""
        parts = request.path.split("/")
        return request.path == "/add-checkpoint" or (
            len(parts) == 3 and len(parts[1]) == 64 and parts[2] == "checkpoint"
        )

    async def __call__(self, request: Request) -> Response:
        if request.path != "/add-checkpoint":
            return await self._show(request)
        if request.method != "POST":
            return refusal(405, "a checkpoint is added with POST")
        async with self._turn:
            return await trio.to_thread.run_sync(self._add, request.body)

    def _add(self, body: bytes) -> Response:
        try:
            asked = parse_add_checkpoint(body)
            latest = {origin: known for origin in self._logs if (known := self._record.latest(origin)) is not None}
        except Refused as refused:
            return refusal(400, refused.detail)
        except OSError as error:
            return refusal(500, f"the record cannot be read: {error.strerror}")
        verdict = judge(asked, self._logs, latest)
        if isinstance(verdict, Denied):
            content_type = SIZE_TYPE if verdict.status == 409 else TEXT
            return Response(verdict.status, verdict.body.encode() + b"\n", content_type)
        ours = self._cosign(verdict)
        note = parse_signed_checkpoint(asked.note)[1]
        trusted = [one for one in note.signatures if any(key.made(one) for key in self._logs[verdict.origin])]
        try:
            self._record.write(verdict.origin, write_note(Note(note.text, (*trusted, *ours))))
        except OSError as error:
            return refusal(500, f"the record cannot be written: {error.strerror}")
        return Response(200, "".join(signature_line(one) for one in ours).encode())

    async def _show(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return refusal(405, "a checkpoint is read with GET")
        name = request.path.split("/")[1]
        if name not in {_hash_of(origin) for origin in self._logs}:
            return refusal(404, "no log of this origin is known here")
        note = await trio.to_thread.run_sync(self._record.read_named, name)
        return refusal(404, "nothing was cosigned yet") if note is None else Response(200, note, cache=BRIEFLY)


def _hash_of(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()
