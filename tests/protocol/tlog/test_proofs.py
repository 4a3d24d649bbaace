"""Proof files: written, read, believed; and refused in every other spelling."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import leaf_hash
from bftnode.protocol.tlog.encoding import NUMBER_MAX
from bftnode.protocol.tlog.policy import check_checkpoint
from bftnode.protocol.tlog.proofs import (
    EXTRA_BYTES_MAX,
    HEADER,
    PATH_MAX,
    PROOF_BYTES_MAX,
    Proof,
    check_included,
    parse_proof,
    write_proof,
)
from tests.protocol.tlog.cosigners import ENTRIES, LEAVES, Cosigners, proof_of

CLUSTER = Cosigners()
PROOF = proof_of(CLUSTER, 73, 300)
RAW = write_proof(PROOF)


def test_the_form_is_the_documents() -> None:
    """c2sp.org/tlog-proof, line by line."""
    lines = RAW.decode().split("\n")
    blank = lines.index("")
    assert lines[0] == HEADER
    assert lines[1].startswith("extra ")
    assert lines[2] == "index 73"
    assert len(lines[3:blank]) == len(PROOF.path) == 9
    assert "\n".join(lines[blank + 1 :]).encode() == PROOF.checkpoint
    assert parse_proof(RAW) == PROOF
    without = replace(PROOF, extra=None)
    assert b"extra" not in write_proof(without)
    assert parse_proof(write_proof(without)) == without


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 300])
def test_what_a_quorum_cosigned_is_believed(size: int) -> None:
    """The first and the last entry, also of a log that has one: its path is empty."""
    for index in (0, size - 1):
        proof = parse_proof(write_proof(proof_of(CLUSTER, index, size)))
        checkpoint = check_checkpoint(proof.checkpoint, CLUSTER.policy).checkpoint
        check_included(proof, leaf_hash(proof.extra or b""), checkpoint)
        with pytest.raises(Refused) as refusal:
            check_included(proof, LEAVES[(index + 1) % len(ENTRIES)], checkpoint)
        assert refusal.value.reason is Reason.NOTE_UNPROVED


def believe(raw: bytes) -> None:
    proof = parse_proof(raw)
    check_included(proof, LEAVES[73], check_checkpoint(proof.checkpoint, CLUSTER.policy).checkpoint)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v1\n", "v2\n"),
        ("v1\n", "v1\nextra \nextra "),
        ("extra ", "extra  "),
        ("extra ", "Extra "),
        ("index 73\n", ""),
        ("index 73", "73"),
        ("index 73", "index 073"),
        ("index 73", "index -73"),
        ("index 73", "index 7 3"),
        ("index 73", f"index {2**63}"),
        ("index 73\n", "index 73\nindex 73\n"),
        ("index 73\n", "index 73\nAAAA\n"),
        ("index 73\n", "index 73\n" + "A" * 43 + "=\n" * 1),
        ("index 73\n", "index 73\n" + ("A" * 43 + "=\n") * 64),
        ("index 73\n", "index 73\r\n"),
        ("index 73\n", "index 73\n\n"),
        ("\n\n", "\n"),
    ],
)
def test_another_spelling_is_refused(old: str, new: str) -> None:
    """Or is another proof, which proves nothing."""
    raw = RAW.replace(old.encode(), new.encode(), 1)
    assert raw != RAW
    with pytest.raises(Refused) as refusal:
        believe(raw)
    assert refusal.value.reason in {Reason.NOTE_MALFORMED, Reason.NOTE_UNPROVED}


@given(st.binary(max_size=200))
def test_no_bytes_break_it(raw: bytes) -> None:
    """A proof or a refusal, and a proof comes back as the same bytes."""
    for candidate in (raw, f"{HEADER}\nindex 1\n".encode() + raw):
        with suppress(Refused):
            assert write_proof(parse_proof(candidate)) == candidate


def test_a_longer_file_is_refused() -> None:
    """Before anything is looked at; one of as many bytes as are allowed is not."""
    longest = RAW + bytes(PROOF_BYTES_MAX - len(RAW))
    assert parse_proof(longest).path == PROOF.path
    with pytest.raises(Refused):
        parse_proof(longest + b"\0")


def test_what_is_as_large_as_is_allowed_is_read() -> None:
    """The last index, the longest path and the largest entry, and one more of the last two."""
    most = Proof(NUMBER_MAX, (bytes(32),) * PATH_MAX, b"", bytes(EXTRA_BYTES_MAX))
    assert parse_proof(write_proof(most)) == most
    for more in (replace(most, path=(bytes(32),) * (PATH_MAX + 1)), replace(most, extra=bytes(EXTRA_BYTES_MAX + 1))):
        with pytest.raises(Refused):
            parse_proof(write_proof(more))


def test_a_head_without_anything_is_refused() -> None:
    """Not even an index."""
    with pytest.raises(Refused):
        parse_proof(f"{HEADER}\n\n".encode())
