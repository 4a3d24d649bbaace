"""A checkpoint's cosignatures: whose count, and the note that is made of them."""

import hashlib

import msgspec

from bftnode.protocol.cosigning import (
    OUTSIDE_MAX,
    CheckpointKeys,
    CheckpointSigner,
    Cosigned,
    MemberCosignatures,
    OutsideCosignature,
    with_outside,
)
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.tlog.checkpoints import Checkpoint
from bftnode.protocol.tlog.cosignatures import verify_cosignature
from bftnode.protocol.tlog.notes import NoteSignature, parse_note, verify_text
from bftnode.protocol.tlog.policy import MemberKeys

CHAIN = bytes(32)
ROOT = hashlib.sha256(b"root").digest()
TIME_S = 1_800_000_000


def seed_of(member: int, what: str) -> bytes:
    return hashlib.sha256(f"{what} {member}".encode()).digest()


def signers() -> list[CheckpointSigner]:
    """Three members that cosign with Ed25519."""
    publics = [[public_key_of(seed_of(member, what)) for what in ("node", "log", "cosign")] for member in range(3)]
    keys = CheckpointKeys(CHAIN, [MemberKeys(f"m{member}", *publics[member]) for member in range(3)])
    return [
        CheckpointSigner(keys, member, signer(seed_of(member, "log")), (signer(seed_of(member, "cosign")),))
        for member in range(3)
    ]


def cosigned(outside: tuple[OutsideCosignature, ...] = ()) -> Cosigned:
    """Signed by member 1, cosigned by 0 and 2."""
    one = signers()
    cosignatures = tuple(MemberCosignatures(member, one[member].cosign(9, ROOT, TIME_S)) for member in (0, 2))
    return Cosigned(4, 9, ROOT, TIME_S, 1, one[1].sign(9, ROOT), cosignatures, outside)


def line(number: int, value: bytes = b"v") -> NoteSignature:
    return NoteSignature(f"witness{number}", b"%04d" % number, value)


def test_a_members_cosignatures_are_valid_for_what_they_are_of() -> None:
    """For nobody else's key, no other size, root or time, and all of them."""
    one = signers()
    keys, values = one[0].keys, one[0].cosign(9, ROOT, TIME_S)
    assert keys.valid(0, 9, ROOT, TIME_S, values)
    assert not keys.valid(1, 9, ROOT, TIME_S, values)
    assert not keys.valid(0, 10, ROOT, TIME_S, values)
    assert not keys.valid(0, 9, bytes(32), TIME_S, values)
    assert not keys.valid(0, 9, ROOT, TIME_S + 1, values)
    assert not keys.valid(0, 9, ROOT, TIME_S, ())
    assert not keys.valid(0, 9, ROOT, TIME_S, values * 2)


def test_the_note_has_the_logs_signature_the_members_and_the_witnesses() -> None:
    """In this order, each by a key of its own over the one text, as everybody's tools read it."""
    keys = signers()[0].keys
    outside = OutsideCosignature("witness", b"\1\2\3\4", b"what it said")
    note = parse_note(keys.note(cosigned((outside,))))
    assert note.text == Checkpoint(keys.origin, 9, ROOT).text()
    log, first, second, last = note.signatures
    verify_text(note.text, log, keys.log_keys[1])
    for member, signature in ((0, first), (2, second)):
        assert verify_cosignature(keys.checkpoint(9, ROOT), signature, keys.cosigning_keys[member][0]) == TIME_S
    assert last == NoteSignature(*msgspec.structs.astuple(outside))


def test_a_member_cosigns_another_log() -> None:
    """With the same key, over that log's checkpoint, at the time that it is asked."""
    one = signers()[2]
    checkpoint = Checkpoint("example.org/another", 5, ROOT)
    (signature,) = one.witness(checkpoint, 7)
    assert verify_cosignature(checkpoint, signature, one.keys.cosigning_keys[2][0]) == 7


def test_outside_cosignatures_take_the_place_of_their_older_ones() -> None:
    """By name and key; the others stay, and beyond the bound the last ones are left out."""
    before = cosigned((OutsideCosignature(*line(1)), OutsideCosignature(*line(2))))
    after = with_outside(before, [line(2, b"new"), line(3)])
    assert after.outside == tuple(OutsideCosignature(*item) for item in (line(1), line(2, b"new"), line(3)))
    assert msgspec.structs.replace(after, outside=before.outside) == before
    many = with_outside(before, [line(number) for number in range(3, 20)])
    assert many.outside == tuple(OutsideCosignature(*line(number)) for number in range(1, OUTSIDE_MAX + 1))
