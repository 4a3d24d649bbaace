"""Checkpoints and cosignatures: the documents' examples, and that a signature is for one tree, time, key and kind."""

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from bftnode.protocol import mldsa
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog import cosignatures
from bftnode.protocol.tlog.checkpoints import (
    EXTENSIONS_MAX,
    Checkpoint,
    cosigner_name,
    origin_of,
    parse_checkpoint,
    parse_signed_checkpoint,
)
from bftnode.protocol.tlog.cosignatures import ML_DSA_44, cosign, cosigned_message, verify_cosignature
from bftnode.protocol.tlog.encoding import NUMBER_MAX
from bftnode.protocol.tlog.notes import NAME_BYTES_MAX, VerifierKey
from tests.protocol.cluster import CHAIN, seed
from tests.protocol.tlog.cosigners import WHEN, Cosigners

# c2sp.org/tlog-cosignature, the first example.
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()
TREE = Checkpoint("example.com/log", 7, bytes(range(32)))
ED = VerifierKey("example.com/w", cosignatures.ED25519, public_key_of(seed(0)))
PRIVATE = MLDSA44PrivateKey.from_seed_bytes(seed(0, "ml-dsa"))
ML = VerifierKey("example.com/w", ML_DSA_44, PRIVATE.public_key().public_bytes_raw())
SIGNERS = {cosignatures.ED25519: signer(seed(0)), ML_DSA_44: PRIVATE.sign}


def test_the_documents_example_is_read() -> None:
    """Its three lines, and the time in the witness's cosignature, which the document names."""
    checkpoint, note = parse_signed_checkpoint(EXAMPLE)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == note.text
    assert int.from_bytes(note.signatures[1].value[:8], "big") == 1679315147


def test_the_signed_message_is_the_documents() -> None:
    """c2sp.org/tlog-cosignature, "Ed25519 signed message", and the structure of ML-DSA-44 field by field."""
    checkpoint, _ = parse_signed_checkpoint(EXAMPLE)
    assert cosigned_message(ED, 1679315147, checkpoint) == (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    assert cosigned_message(ML, 258, TREE).hex(" ") == (
        b"subtree/v1\n\x00\x0dexample.com/w".hex(" ")
        + " 00 00 00 00 00 00 01 02 "
        + b"\x0fexample.com/log".hex(" ")
        + " 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07 "
        + bytes(range(32)).hex(" ")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "o\n1\nAAAA\n",
        TREE.text()[:-1],
        TREE.text() + "\n",
        TREE.text() + "extension\n\n",
        TREE.text().replace("\n7\n", "\n07\n"),
        TREE.text().replace("\n7\n", "\n-7\n"),
        TREE.text().replace("\n7\n", "\n+7\n"),
        TREE.text().replace("\n7\n", "\n7 \n"),
        TREE.text().replace("\n7\n", "\n\u0667\n"),
        TREE.text().replace("\n7\n", f"\n{2**63}\n"),
        TREE.text().replace("\n7\n", "\n" + "9" * 5000 + "\n"),
        TREE.text().replace("example.com/log", "o" * 256),
        TREE.text().replace("example.com/log", ""),
        TREE.text().replace("=\n", "\n"),
        TREE.text() + "e\n" * 17,
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    """Every line, broken once; numbers that Python would take and the format does not."""
    with pytest.raises(Refused) as refusal:
        parse_checkpoint(text)
    assert refusal.value.reason is Reason.NOTE_MALFORMED


def test_what_others_checkpoints_have_is_kept() -> None:
    """Extension lines, an empty log, an origin with spaces: each comes back as the same text."""
    for tree in (TREE._replace(extensions=("a", "b c")), TREE._replace(size=0), TREE._replace(origin="go.sum tree")):
        assert parse_checkpoint(tree.text()) == tree


@pytest.mark.parametrize("key", [ED, ML], ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_is_for_one_tree_time_and_key(key: VerifierKey) -> None:
    """Any other size, root, origin, time, name, type or bit, and it proves nothing."""
    line = cosign(TREE, key, WHEN, SIGNERS[key.kind])
    assert verify_cosignature(TREE, line, key) == WHEN
    assert verify_cosignature(TREE, cosign(TREE, key, NUMBER_MAX, SIGNERS[key.kind]), key) == NUMBER_MAX
    later = line._replace(value=(WHEN + 1).to_bytes(8, "big") + line.value[8:])
    flipped = line._replace(value=line.value[:-1] + bytes((line.value[-1] ^ 1,)))
    beyond = line._replace(value=b"\xff" + line.value[1:])
    renamed = key._replace(name="example.com/v")
    cases = [
        (TREE._replace(size=8), line, key),
        (TREE._replace(root=bytes(32)), line, key),
        (TREE._replace(origin="example.com/log2"), line, key),
        (TREE, later, key),
        (TREE, flipped, key),
        (TREE, beyond, key),
        (TREE, line._replace(value=line.value[:-1]), key),
        (TREE, line._replace(value=line.value[8:]), key),
        (TREE, line, renamed),
        (TREE, line, key._replace(kind=1)),
    ]
    if key.kind == ML_DSA_44:  # which names its cosigner in what it signs; Ed25519's message does not
        cases.append((TREE, line._replace(name=renamed.name, key_id=renamed.key_id), renamed))
    for tree, signature, by in cases:
        with pytest.raises(Refused) as refusal:
            verify_cosignature(tree, signature, by)
        assert refusal.value.reason is Reason.NOTE_UNPROVED


def test_the_two_kinds_and_the_logs_own_signature_are_domains_apart() -> None:
    """No message of one kind is one of another, whatever the tree: they begin differently."""
    messages = [cosigned_message(ED, WHEN, TREE), cosigned_message(ML, WHEN, TREE), TREE.text().encode()]
    assert len({message[:10] for message in messages}) == 3


def test_odd_lengths_are_no_ml_dsa_signature() -> None:
    """And a key that is not one never raises."""
    assert not mldsa.verify(b"", b"m", b"")
    assert not mldsa.verify(ML.public_key, b"m", bytes(mldsa.SIGNATURE_BYTES - 1))
    assert not mldsa.verify(bytes(mldsa.PUBLIC_KEY_BYTES), b"m", bytes(mldsa.SIGNATURE_BYTES))


def test_an_origin_follows_from_the_chain_id() -> None:
    """And the name of each cosigner from the origin, with no space and no plus in either."""
    assert origin_of(CHAIN) == f"bftnode/{CHAIN.hex()[:32]}"
    assert cosigner_name(CHAIN, "org-a") == f"{origin_of(CHAIN)}/org-a"
    assert Cosigners().log_key(0).name == origin_of(CHAIN)


def test_the_bounds_of_a_checkpoint_are_within_it() -> None:
    """As many lines of others', and as long a name, as are allowed."""
    most = Checkpoint("n" * NAME_BYTES_MAX, 7, bytes(32), ("x",) * EXTENSIONS_MAX)
    assert parse_checkpoint(most.text()) == most
    for more in (most._replace(extensions=(*most.extensions, "x")), most._replace(origin=most.origin + "n")):
        with pytest.raises(Refused):
            parse_checkpoint(more.text())
