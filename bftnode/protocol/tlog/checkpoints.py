"""Checkpoints (c2sp.org/tlog-checkpoint): one size of one log and its root, as the text of a signed note.

ORIGIN
SIZE
base64(ROOT)
"""

from typing import NamedTuple

from bftnode.protocol.tlog.encoding import from_base64, from_decimal, malformed, to_base64
from bftnode.protocol.tlog.notes import NAME_BYTES_MAX, Note, parse_note

EXTENSIONS_MAX = 16
"""Extension lines of others' checkpoints; of more the checkpoint is refused. Ours have none: nobody can audit them."""


class Checkpoint(NamedTuple):
    """The log `origin` has the RFC 6962 root `root` (32 bytes) at `size` leaves."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The text that is signed, with its final newline."""
        lines = (self.origin, str(self.size), to_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def origin_of(chain_id: bytes) -> str:
    """The origin of a cluster's log: bftnode/ and 32 hexadecimal digits of its chain id, so of its genesis.

    Nobody registers it and it is no address; 128 bits of a hash are not met twice.
    """
    return f"bftnode/{chain_id[:16].hex()}"


def cosigner_name(chain_id: bytes, member: str) -> str:
    """The key name under which a member cosigns: the origin, and its name in the genesis."""
    return f"{origin_of(chain_id)}/{member}"


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text. Raises Refused(NOTE_MALFORMED)."""
    if not text.endswith("\n"):
        raise malformed("a checkpoint ends in a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise malformed("a checkpoint is an origin, a size and a root, each on a line")
    if len(lines) > 3 + EXTENSIONS_MAX:
        raise malformed(f"a checkpoint has at most {EXTENSIONS_MAX} extension lines")
    if len(lines[0].encode()) > NAME_BYTES_MAX:
        raise malformed(f"the origin of a checkpoint is at most {NAME_BYTES_MAX} bytes")
    size, root = from_decimal(lines[1], "the size of a checkpoint"), from_base64(lines[2], "the root of a checkpoint")
    if len(root) != 32:
        raise malformed("the root of a checkpoint is not 32 bytes")
    return Checkpoint(lines[0], size, root, tuple(lines[3:]))


def parse_signed_checkpoint(raw: bytes) -> tuple[Checkpoint, Note]:
    """A checkpoint and the note that it is the text of; no signature is verified. Raises Refused(NOTE_MALFORMED)."""
    note = parse_note(raw)
    return parse_checkpoint(note.text), note
