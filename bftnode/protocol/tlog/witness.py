"""The witness protocol (c2sp.org/tlog-witness): what add-checkpoint asks, and what a witness makes of it.

    old SIZE
    base64(hash)               (as many as the consistency proof has)

    the signed checkpoint

A witness remembers one checkpoint for each log, the largest that it cosigned, and cosigns another only when it is
proved to extend that one. So a log that its own members rewrite, all of them together, gets no cosignature of it any
more. Keeping, signing and the network are elsewhere; here is the judgement, in the order of the document's rules.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bftnode.protocol.errors import Refused
from bftnode.protocol.merkle import EMPTY_ROOT, verify_consistency
from bftnode.protocol.tlog.checkpoints import Checkpoint, parse_signed_checkpoint
from bftnode.protocol.tlog.encoding import from_base64, from_decimal, malformed, to_base64
from bftnode.protocol.tlog.notes import NOTE_BYTES_MAX, VerifierKey
from bftnode.protocol.tlog.policy import NONE, Log, Policy, check_checkpoint

PATH_MAX = 63
"""Consistency proof lines; of more the request is malformed, says the document."""

REQUEST_BYTES_MAX = NOTE_BYTES_MAX + 8192
"""The lines before the checkpoint are under 3 kB."""

SIZE_TYPE = "text/x.tlog.size"


class AddCheckpoint(NamedTuple):
    """`note` is the signed checkpoint; `path` proves that it extends the log of `old` entries."""

    old: int
    path: tuple[bytes, ...]
    note: bytes


class Latest(NamedTuple):
    """What a witness cosigned last of one log."""

    size: int
    root: bytes


NOTHING = Latest(0, EMPTY_ROOT)


class Denied(NamedTuple):
    """The HTTP status of the document, and a body; of 409 it is the size that was cosigned last."""

    status: int
    body: str


def write_add_checkpoint(request: AddCheckpoint) -> bytes:
    lines = [f"old {request.old}", *(to_base64(node) for node in request.path), "", ""]
    return "\n".join(lines).encode() + request.note


def parse_add_checkpoint(raw: bytes) -> AddCheckpoint:
    """Nothing is verified. Raises Refused(NOTE_MALFORMED)."""
    if len(raw) > REQUEST_BYTES_MAX:
        raise malformed(f"a request is at most {REQUEST_BYTES_MAX} bytes")
    head, blank, note = raw.partition(b"\n\n")
    if not blank or not head.isascii():
        raise malformed("a request is some lines, an empty line and a checkpoint")
    first, *lines = head.decode("ascii").split("\n")
    if not first.startswith("old "):
        raise malformed("a request begins with the old size")
    if len(lines) > PATH_MAX:
        raise malformed(f"a consistency proof has at most {PATH_MAX} lines")
    path = tuple(from_base64(line, "a hash of a proof") for line in lines)
    if any(len(node) != 32 for node in path):
        raise malformed("a hash of a proof is not 32 bytes")
    return AddCheckpoint(from_decimal(first.removeprefix("old "), "the old size"), path, note)


def judge(
    request: AddCheckpoint, logs: Mapping[str, Sequence[VerifierKey]], latest: Mapping[str, Latest]
) -> Checkpoint | Denied:
    """The checkpoint, if it may be recorded and then cosigned. `logs`: trusted keys by origin; `latest`: by origin."""
    try:
        checkpoint, _ = parse_signed_checkpoint(request.note)
    except Refused as refused:
        return Denied(400, refused.detail)
    keys = logs.get(checkpoint.origin)
    if keys is None:
        return Denied(404, "no log of this origin is known here")
    try:
        check_checkpoint(request.note, Policy(tuple(Log(key) for key in keys), (), (), NONE))
    except Refused as refused:
        return Denied(403, refused.detail)
    if request.old > checkpoint.size:
        return Denied(400, "the old size is above the checkpoint's")
    known = latest.get(checkpoint.origin, NOTHING)
    if request.old != known.size:
        return Denied(409, str(known.size))
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        return Denied(422, "not the root of an empty log")
    if not verify_consistency(known.size, checkpoint.size, known.root, checkpoint.root, request.path):
        return Denied(422, "the checkpoint is not proved to extend the one that was cosigned last")
    return checkpoint
