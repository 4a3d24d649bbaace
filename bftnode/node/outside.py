"""Outside witnesses: has the cluster's checkpoints cosigned by others (C2SP tlog-witness, the client's side).

Beside agreement: a witness that is slow, gone or lies delays nothing, and its cosignature is kept with the checkpoint
when it comes. One that refuses, because the log was rewritten, is what receipts that ask for it are worth.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import structlog
import trio

from bftnode.protocol.cosigning import CheckpointKeys, Cosigned, with_outside
from bftnode.protocol.errors import Refused
from bftnode.protocol.tlog.checkpoints import Checkpoint
from bftnode.protocol.tlog.cosignatures import verify_cosignature
from bftnode.protocol.tlog.notes import NoteSignature, parse_note
from bftnode.protocol.tlog.policy import Witness
from bftnode.protocol.tlog.witness import AddCheckpoint, write_add_checkpoint
from bftnode.web.post import Answer, post

TIMEOUT_S = 10.0
"""For a step of one answer; then the next checkpoint is tried, an interval later."""

PATIENCE_S = 30.0
"""For all that is said with one witness about one checkpoint, however it drips. Then it keeps its thread, one at most,
until it is through, and what it says is not heard any more."""

ROUNDS = 3
"""409 says which size the witness knows; so many times in a row it is asked anew, for others of us may ask, too."""

Post = Callable[[str, bytes], Answer]


class Log(NamedTuple):
    """What is needed of the node. All but `keep` are called in threads."""

    newest: Callable[[], Cosigned | None]
    consistency: Callable[[int, int], tuple[bytes, ...] | None]
    keep: Callable[[Cosigned], None]


class OutsideWitnesses:
    """`run` it beside the driver."""

    def __init__(
        self,
        witnesses: Sequence[Witness],
        keys: CheckpointKeys,
        log: Log,
        interval_s: float,
        post_to: Post | None = None,
    ) -> None:
        self._witnesses = witnesses
        self._keys = keys
        self._log = log
        self._interval_s = interval_s
        self._post = post_to or partial(post, content_type="text/plain", timeout_s=TIMEOUT_S)
        self._old: dict[str, int] = {}  # witness -> the size that it cosigned last, as far as is known here
        self._threads = {witness.name: trio.CapacityLimiter(1) for witness in witnesses}
        self._said = structlog.get_logger("witness")
        self._complained: dict[str, str] = {}

    async def run(self) -> None:
        """For ever."""
        asked = 0
        while True:
            newest = await trio.to_thread.run_sync(self._log.newest)
            if newest is not None and newest.log_size > asked:
                asked = newest.log_size
                await self.ask(newest)
            await trio.sleep(self._interval_s)

    async def ask(self, cosigned: Cosigned) -> None:
        """All witnesses at once; what they cosign is kept with the checkpoint."""
        found: dict[str, NoteSignature] = {}

        async def one(witness: Witness) -> None:
            with trio.move_on_after(PATIENCE_S) as patience:
                signature = await trio.to_thread.run_sync(
                    self._ask_one, witness, cosigned, abandon_on_cancel=True, limiter=self._threads[witness.name]
                )
                if signature is not None:
                    found[witness.name] = signature
            if patience.cancelled_caught:
                self._complain(witness, "it takes too long")

        async with trio.open_nursery() as nursery:
            for witness in self._witnesses:
                nursery.start_soon(one, witness)
        if found:
            self._log.keep(with_outside(cosigned, [found[name] for name in sorted(found)]))

    def _ask_one(self, witness: Witness, cosigned: Cosigned) -> NoteSignature | None:
        """One witness's cosignature, or None: then why is in the log, once until it changes."""
        checkpoint = self._keys.checkpoint(cosigned.log_size, cosigned.log_root)
        note = self._keys.note(cosigned)
        for _ in range(ROUNDS):
            old = self._old.get(witness.name, 0)
            if old > cosigned.log_size:
                return None  # another member was faster, with a newer one
            path = self._log.consistency(old, cosigned.log_size) if old else ()
            if path is None:
                return None
            try:
                body = write_add_checkpoint(AddCheckpoint(old, path, note))
                status, answer = self._post(witness.url.rstrip("/") + "/add-checkpoint", body)
            except OSError as error:
                self._complain(witness, f"not reached: {error}")
                return None
            if status == 409 and _is_size(answer):
                self._old[witness.name] = int(answer)
                continue
            if status != 200:
                self._complain(witness, f"it refuses the checkpoint with status {status}")
                return None
            signature = _signature_of(witness, checkpoint, answer)
            if signature is None:
                self._complain(witness, "its answer is not a cosignature of its key")
                return None
            self._old[witness.name] = cosigned.log_size
            self._complained.pop(witness.name, None)
            return signature
        return None

    def _complain(self, witness: Witness, why: str) -> None:
        if self._complained.get(witness.name) != why:
            self._complained[witness.name] = why
            self._said.warning("witness_did_not_cosign", witness=witness.name, why=why)


def _is_size(answer: bytes) -> bool:
    return len(answer) <= 20 and answer.strip().isdigit()


def _signature_of(witness: Witness, checkpoint: Checkpoint, answer: bytes) -> NoteSignature | None:
    """The line in the answer that is the witness's, and valid; others are ignored."""
    try:
        note = parse_note(checkpoint.text().encode() + b"\n" + answer)
    except Refused:
        return None
    for signature in note.signatures:
        try:
            verify_cosignature(checkpoint, signature, witness.key)
        except Refused:
            continue
        return signature
    return None
