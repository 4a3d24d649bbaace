"""Receipts: what one proves, and every way of not proving it."""

import msgspec
import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import Frontier, inclusion_proof
from bftnode.protocol.receipts import Receipt, check_receipt
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
