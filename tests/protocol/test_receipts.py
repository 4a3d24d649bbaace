"""Receipts: what one proves, and every way of not proving it."""

from base64 import b64encode

import msgspec
import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import Frontier, inclusion_proof
from bftnode.protocol.receipts import (
    FORMAT,
    PATH_MAX,
    RECEIPT_BYTES_MAX,
    Receipt,
    check_receipt,
    parse_receipt,
    write_receipt,
)
from tests.protocol.cluster import OTHER_CHAIN, Cluster, block_of, transaction

CLUSTER = Cluster(7)
ENVELOPES = tuple(transaction(nonce).raw for nonce in range(1, 6))
BLOCK = block_of(ENVELOPES)
NODES = {(level, index): digest for level, index, digest in Frontier().append(BLOCK.leaves)[1]}
CERTIFICATE = CLUSTER.certificate(COMMIT, 2, 1, BLOCK.hash)


def receipt(index: int) -> Receipt:
    path = inclusion_proof(index, len(ENVELOPES), lambda level, at: NODES[level, at])
    return Receipt(BLOCK.header_raw, index, tuple(path), CERTIFICATE)


def refusal(one: Receipt, envelope: bytes, cluster: Cluster = CLUSTER) -> Reason:
    with pytest.raises(Refused) as caught:
        check_receipt(one, envelope, cluster.members, verify)
    return caught.value.reason


@pytest.mark.parametrize("index", range(len(ENVELOPES)))
def test_a_receipt_proves_its_entry(index: int) -> None:
    """To anyone who has the genesis, also after a walk over the wire; and no other entry."""
    one = decode(encode(receipt(index)), Receipt, 100_000)
    check_receipt(one, ENVELOPES[index], CLUSTER.members, verify)
    assert refusal(one, ENVELOPES[index - 1]) is Reason.INTEGRITY


@pytest.mark.parametrize("envelope", [None, ENVELOPES[2]])
def test_a_receipt_is_text_that_is_read_back(envelope: bytes | None) -> None:
    """Line by line: the entry if it is there, the index, the path, a blank line, header and certificate."""
    one = receipt(2)
    text = write_receipt(one, envelope)
    assert parse_receipt(text) == (one, envelope)
    lines = text.decode().split("\n")
    assert lines[0] == FORMAT
    if envelope is not None:
        assert lines.pop(1) == f"entry {b64encode(envelope).decode()}"
    assert lines[1:-4] == ["index 2", *(b64encode(node).decode() for node in one.path)]
    assert lines[-4:] == [
        "",
        f"header {b64encode(one.header).decode()}",
        f"certificate {b64encode(encode(one.certificate)).decode()}",
        "",
    ]


def test_a_text_that_is_no_receipt_is_refused() -> None:
    """Without its index, with a path that is too long or of something else than hashes, and of too many bytes."""
    one = receipt(2)
    good = write_receipt(one, None)
    longest = msgspec.structs.replace(one, path=(bytes(32),) * PATH_MAX)
    assert parse_receipt(write_receipt(longest, None)) == (longest, None)
    line = b"header " + b64encode(one.header)
    for bad in (
        good.replace(b"index 2\n", b""),
        good.replace(b"index 2\n", b"number 2\n"),
        f"{FORMAT}\n\n".encode(),
        write_receipt(msgspec.structs.replace(one, path=(bytes(32),) * (PATH_MAX + 1)), None),
        write_receipt(msgspec.structs.replace(one, path=(bytes(31),)), None),
        good + b"\n",
        good.replace(line, line + b"A" * RECEIPT_BYTES_MAX),
        good.replace(FORMAT.encode(), FORMAT.encode() + b"\xc3\xa9"),
    ):
        with pytest.raises(Refused):
            parse_receipt(bad)
    with pytest.raises(Refused, match="begins with"):
        parse_receipt(b"x" * RECEIPT_BYTES_MAX)
    with pytest.raises(Refused, match="at most"):
        parse_receipt(b"x" * (RECEIPT_BYTES_MAX + 1))


@pytest.mark.covers("A08")
def test_a_forged_receipt_is_refused() -> None:
    """Another index, a shorter path, a prepare certificate, another block's certificate, another header."""
    good = receipt(2)
    other = block_of(ENVELOPES[:4])
    for change in (
        {"index": 3},
        {"index": 5},
        {"path": good.path[:-1]},
        {"path": (*good.path, good.path[0])},
        {"header": other.header_raw},
        {"certificate": CLUSTER.certificate(PREPARE, 2, 1, BLOCK.hash)},
        {"certificate": CLUSTER.certificate(COMMIT, 2, 2, BLOCK.hash)},
        {"certificate": CLUSTER.certificate(COMMIT, 2, 1, other.hash)},
    ):
        assert refusal(msgspec.structs.replace(good, **change), ENVELOPES[2]) is Reason.INTEGRITY


@pytest.mark.covers("A08", "P2")
@pytest.mark.parametrize("senders", [[0, 1, 2, 3], [0, 1, 2, 3, 3]])
def test_too_few_signers_are_refused(senders: list[int]) -> None:
    """2f signatures, or one member twice, prove nothing."""
    short = CLUSTER.certificate(COMMIT, 2, 1, BLOCK.hash, senders)
    assert refusal(msgspec.structs.replace(receipt(2), certificate=short), ENVELOPES[2]) is Reason.BAD_CERTIFICATE


@pytest.mark.covers("A08", "R06")
def test_a_receipt_of_another_cluster_is_refused() -> None:
    """The same members on another chain: neither header nor signatures are theirs."""
    stranger = Cluster(7, OTHER_CHAIN)
    assert refusal(receipt(2), ENVELOPES[2], stranger) is Reason.INTEGRITY
    forged = stranger.certificate(COMMIT, 2, 1, BLOCK.hash)
    assert refusal(msgspec.structs.replace(receipt(2), certificate=forged), ENVELOPES[2]) is Reason.BAD_CERTIFICATE
