"""Proofs (c2sp.org/tlog-proof): an index, the inclusion proof of its leaf, and a signed checkpoint, in one text file.

    c2sp.org/tlog-proof@v1
    extra base64(...)          (only if there is any)
    index 73894
    base64(sibling)            (as many as the path has)

    the signed checkpoint, verbatim

`extra` is not authenticated by anything. Ours is the entry itself, so that the file alone can be checked: whoever
believes it hashes it to the leaf.
"""

from dataclasses import dataclass

from bftnode.protocol import limits
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import verify_inclusion
from bftnode.protocol.tlog.checkpoints import Checkpoint
from bftnode.protocol.tlog.encoding import from_base64, from_decimal, malformed, to_base64
from bftnode.protocol.tlog.notes import NOTE_BYTES_MAX

HEADER = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
PATH_MAX = 63
"""Hashes of an inclusion proof: the depth of a tree of 2^63 leaves."""

EXTRA_BYTES_MAX = limits.TRANSACTION_BYTES_MAX
PROOF_BYTES_MAX = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX
"""A longer file is refused: a note, base64 of an entry, and a path fit."""


@dataclass(frozen=True, slots=True)
class Proof:
    """`checkpoint` is the signed note as it was received; `path` is of leaf `index`, nearest sibling first."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None


def write_proof(proof: Proof) -> bytes:
    """The bytes of a .tlog-proof file."""
    lines = [HEADER]
    if proof.extra is not None:
        lines.append(f"extra {to_base64(proof.extra)}")
    lines += [f"index {proof.index}", *(to_base64(node) for node in proof.path), "", ""]
    return "\n".join(lines).encode() + proof.checkpoint


def parse_proof(raw: bytes) -> Proof:
    """The parts of a .tlog-proof file; the checkpoint is not looked at. Raises Refused(NOTE_MALFORMED)."""
    if len(raw) > PROOF_BYTES_MAX:
        raise malformed(f"a proof is at most {PROOF_BYTES_MAX} bytes")
    head, blank, checkpoint = raw.partition(b"\n\n")
    if not blank or not head.isascii():
        raise malformed("a proof is some lines, an empty line and a checkpoint")
    lines = head.decode("ascii").split("\n")
    if lines.pop(0) != HEADER:
        raise malformed(f"a proof begins with {HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = from_base64(lines.pop(0).removeprefix("extra "), "the extra data of a proof")
        if len(extra) > EXTRA_BYTES_MAX:
            raise malformed(f"the extra data of a proof is at most {EXTRA_BYTES_MAX} bytes")
    if not lines or not lines[0].startswith("index "):
        raise malformed("a proof names an index")
    index = from_decimal(lines.pop(0).removeprefix("index "), "the index of a proof")
    if len(lines) > PATH_MAX:
        raise malformed(f"a proof has at most {PATH_MAX} hashes")
    path = tuple(from_base64(line, "a hash of a proof") for line in lines)
    if any(len(node) != 32 for node in path):
        raise malformed("a hash of a proof is not 32 bytes")
    return Proof(index, path, checkpoint, extra)


def check_included(proof: Proof, leaf: bytes, checkpoint: Checkpoint) -> None:
    """Raises Refused(NOTE_UNPROVED) unless `leaf` (a leaf hash) is leaf `proof.index` of the tree of the checkpoint,
    which the caller has verified."""
    if not verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root):
        raise Refused(Reason.NOTE_UNPROVED, "the inclusion proof does not lead to the root of the checkpoint")
