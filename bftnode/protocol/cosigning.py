"""Checkpoints as members sign and keep them: whose keys, over what, and the signed note that is made of them.

The formats are those of `tlog/`; here is how a cluster uses them. Every member's log key signs under the one origin,
so any member's signature makes the checkpoint the log's; a cosignature is a member's, one of each kind that the genesis
asks for, and counts when all of them are valid (decision 014).
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from bftnode.protocol import mldsa, quorums
from bftnode.protocol.codec import Hash32, MemberIndex, Signature, UInt, Wire
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.errors import Refused
from bftnode.protocol.tlog.checkpoints import Checkpoint, origin_of
from bftnode.protocol.tlog.cosignatures import cosign, cosigned_message, verify_cosignature
from bftnode.protocol.tlog.notes import NAME_BYTES_MAX, Note, NoteSignature, VerifierKey, sign_text, write_note
from bftnode.protocol.tlog.policy import MemberKeys

CosignatureValue = Annotated[bytes, Meta(min_length=64, max_length=mldsa.SIGNATURE_BYTES)]
CosignatureValues = Annotated[tuple[CosignatureValue, ...], Meta(min_length=1, max_length=2)]
"""One signature a kind, in ascending order of kinds, all by one member over one checkpoint and time."""


class MemberCosignatures(Wire, frozen=True):
    member: MemberIndex
    values: CosignatureValues


OUTSIDE_MAX = 8
"""Cosignatures of outside witnesses with one checkpoint: a note of 64 members who cosign in two kinds has room for no
more (notes.SIGNATURES_MAX counts a quorum)."""


class OutsideCosignature(Wire, frozen=True):
    """A line of a signed note, by a witness that is no member."""

    name: Annotated[str, Meta(max_length=NAME_BYTES_MAX)]
    key_id: Annotated[bytes, Meta(min_length=4, max_length=4)]
    value: Annotated[bytes, Meta(max_length=8 + mldsa.SIGNATURE_BYTES)]


class Cosigned(Wire, frozen=True):
    """A checkpoint as a member keeps it: what the log is after block `seq`, and who said so, by ascending member."""

    seq: UInt
    log_size: UInt
    log_root: Hash32
    time_s: UInt  # of the block: the time in every cosignature
    signer: MemberIndex  # whose log key made `signature`: the member that keeps this
    signature: Signature
    cosignatures: Annotated[tuple[MemberCosignatures, ...], Meta(max_length=quorums.MEMBERS_MAX)]
    outside: Annotated[tuple[OutsideCosignature, ...], Meta(max_length=OUTSIDE_MAX)] = ()


def with_outside(cosigned: Cosigned, signatures: Sequence[NoteSignature]) -> Cosigned:
    """With these witnesses' cosignatures, which were verified, in place of theirs that were there. Beyond OUTSIDE_MAX
    the last ones are left out."""
    lines = {(one.name, one.key_id): one for one in cosigned.outside}
    lines.update({(one.name, one.key_id): OutsideCosignature(*one) for one in signatures})
    return msgspec.structs.replace(cosigned, outside=tuple(lines.values())[:OUTSIDE_MAX])


class CheckpointKeys:
    """The public log keys of a cluster's members, by index. Immutable."""

    def __init__(self, chain_id: bytes, members: Sequence[MemberKeys]) -> None:
        self.origin = origin_of(chain_id)
        self.log_keys = tuple(member.log_key(chain_id) for member in members)
        self.cosigning_keys = tuple(tuple(member.cosigning_keys(chain_id)) for member in members)

    def checkpoint(self, size: int, root: bytes) -> Checkpoint:
        return Checkpoint(self.origin, size, root)

    def valid(self, member: int, size: int, root: bytes, time_s: int, values: Sequence[bytes]) -> bool:
        """Whether these are this member's cosignatures, of all kinds, over that checkpoint: one check a kind."""
        keys = self.cosigning_keys[member]
        if len(values) != len(keys):
            return False
        checkpoint = self.checkpoint(size, root)
        try:
            for key, value in zip(keys, values, strict=True):
                verify_cosignature(checkpoint, _line(key, time_s, value), key)
        except Refused:
            return False
        return True

    def note(self, cosigned: Cosigned) -> bytes:
        """The signed checkpoint, which everybody's tools read: the log's signature, then the cosignatures."""
        log_key = self.log_keys[cosigned.signer]
        lines = [NoteSignature(log_key.name, log_key.key_id, cosigned.signature)]
        for one in cosigned.cosignatures:
            for key, value in zip(self.cosigning_keys[one.member], one.values, strict=True):
                lines.append(_line(key, cosigned.time_s, value))
        lines += [NoteSignature(one.name, one.key_id, one.value) for one in cosigned.outside]
        return write_note(Note(self.checkpoint(cosigned.log_size, cosigned.log_root).text(), tuple(lines)))


class CheckpointSigner(NamedTuple):
    """One member's side. `log` signs for its Ed25519 log key; `kinds` are the signers of its cosigning keys, in order.

    ML-DSA-44 is hedged, so a signature of it differs each time; nothing that follows from it does.
    """

    keys: CheckpointKeys
    member: int
    log: Signer
    kinds: tuple[Signer, ...]

    def sign(self, size: int, root: bytes) -> bytes:
        """The log's own signature over the checkpoint."""
        return sign_text(self.keys.checkpoint(size, root).text(), self.keys.log_keys[self.member], self.log).value

    def witness(self, checkpoint: Checkpoint, time_s: int) -> list[NoteSignature]:
        """Cosignatures over another log's checkpoint."""
        pairs = zip(self.keys.cosigning_keys[self.member], self.kinds, strict=True)
        return [cosign(checkpoint, key, time_s, sign) for key, sign in pairs]

    def cosign(self, size: int, root: bytes, time_s: int) -> tuple[bytes, ...]:
        checkpoint, keys = self.keys.checkpoint(size, root), self.keys.cosigning_keys[self.member]
        return tuple(
            sign(cosigned_message(key, time_s, checkpoint)) for key, sign in zip(keys, self.kinds, strict=True)
        )


def _line(key: VerifierKey, time_s: int, value: bytes) -> NoteSignature:
    return NoteSignature(key.name, key.key_id, time_s.to_bytes(8, "big") + value)
