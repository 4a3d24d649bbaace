"""Cosignatures (c2sp.org/tlog-cosignature): "as of this time, the largest tree of that log that I saw is this one".

Two kinds, each over bytes that nothing else of this project signs: Ed25519 (0x04) over "cosignature/v1", the time and
the checkpoint's text, and ML-DSA-44 (0x06) over a structure that begins with "subtree/v1" and names the cosigner.
In a note the value of either is the time, eight bytes, and the signature.
"""

from collections.abc import Callable

from bftnode.protocol import ed25519, mldsa
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog.checkpoints import Checkpoint
from bftnode.protocol.tlog.encoding import NUMBER_MAX
from bftnode.protocol.tlog.notes import NoteSignature, VerifierKey

ED25519 = 0x04
ML_DSA_44 = 0x06

KEY_BYTES = {ED25519: 32, ML_DSA_44: mldsa.PUBLIC_KEY_BYTES}
SIGNATURE_BYTES = {ED25519: 64, ML_DSA_44: mldsa.SIGNATURE_BYTES}

_VERIFY: dict[int, ed25519.Verifier] = {ED25519: ed25519.verify, ML_DSA_44: mldsa.verify}


def cosigned_message(key: VerifierKey, timestamp_s: int, checkpoint: Checkpoint) -> bytes:
    """What a key of either kind signs; `timestamp_s` in seconds since 1970."""
    assert key.kind in KEY_BYTES, "a cosigner's key"
    assert 0 <= timestamp_s <= NUMBER_MAX, "a time that has a name"
    if key.kind == ED25519:
        return f"cosignature/v1\ntime {timestamp_s}\n{checkpoint.text()}".encode()
    name, origin = key.name.encode(), checkpoint.origin.encode()
    return b"".join(
        (
            b"subtree/v1\n\x00",
            bytes((len(name),)) + name,
            timestamp_s.to_bytes(8, "big"),
            bytes((len(origin),)) + origin,
            bytes(8),  # start: a checkpoint is a subtree from the first leaf on
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def cosign(checkpoint: Checkpoint, key: VerifierKey, timestamp_s: int, sign: Callable[[bytes], bytes]) -> NoteSignature:
    """The signature line of `key`, for which `sign` signs."""
    signature = sign(cosigned_message(key, timestamp_s, checkpoint))
    assert len(signature) == SIGNATURE_BYTES[key.kind], "the signer is of the key's kind"
    return NoteSignature(key.name, key.key_id, timestamp_s.to_bytes(8, "big") + signature)


def verify_cosignature(checkpoint: Checkpoint, signature: NoteSignature, key: VerifierKey) -> int:
    """When `key` cosigned the checkpoint, in seconds since 1970 by its own clock.

    Raises Refused(NOTE_UNPROVED) unless the line is this key's and valid.
    """
    if key.kind not in KEY_BYTES or not key.made(signature):
        raise _unproved(key, "there is no cosignature of {}")
    if len(signature.value) != 8 + SIGNATURE_BYTES[key.kind]:
        raise _unproved(key, "the cosignature of {} has another length")
    timestamp_s = int.from_bytes(signature.value[:8], "big")
    if timestamp_s > NUMBER_MAX:
        raise _unproved(key, "the cosignature of {} is of a time beyond 2^63 - 1")
    message = cosigned_message(key, timestamp_s, checkpoint)
    if not _VERIFY[key.kind](key.public_key, message, signature.value[8:]):
        raise _unproved(key, "the cosignature of {} is not valid")
    return timestamp_s


def _unproved(key: VerifierKey, sentence: str) -> Refused:
    return Refused(Reason.NOTE_UNPROVED, sentence.format(ascii(key.name[:80])))
