"""Certificates: q votes that anyone can check, and everything that is not one."""

import msgspec
import pytest

from bftnode.protocol.certificates import COMMIT, NO_RANK, PREPARE, Certificate, check_certificate, rank_of
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from tests.protocol.cluster import OTHER_CHAIN, Cluster

CLUSTER = Cluster(7)


def refusal(certificate: Certificate, cluster: Cluster = CLUSTER) -> Reason:
    with pytest.raises(Refused) as caught:
        check_certificate(certificate, cluster.members, verify)
    return caught.value.reason


@pytest.mark.parametrize("phase", [PREPARE, COMMIT])
@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_a_quorum_of_votes_is_a_certificate(n: int, phase: int) -> None:
    """Of any members, also after a walk over the wire."""
    cluster = Cluster(n)
    certificate = cluster.certificate(phase, 3, 9, b"h" * 32, range(n - cluster.members.quorum, n))
    check_certificate(certificate, cluster.members, verify)
    assert decode(encode(certificate), Certificate, 100_000) == certificate


@pytest.mark.covers("P2", "A08")
@pytest.mark.parametrize("senders", [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [0]])
def test_the_number_of_votes_is_exactly_a_quorum(senders: list[int]) -> None:
    """One fewer proves nothing; one more would be a second spelling."""
    assert refusal(CLUSTER.certificate(senders=senders)) is Reason.BAD_CERTIFICATE


@pytest.mark.covers("P2", "A08")
@pytest.mark.parametrize("senders", [[0, 1, 2, 3, 3], [0, 0, 1, 2, 3], [4, 3, 2, 1, 0], [0, 2, 1, 3, 4]])
def test_a_sender_counts_once_and_in_order(senders: list[int]) -> None:
    """Duplicates would make a quorum of few; another order would be a second spelling."""
    assert refusal(CLUSTER.certificate(senders=senders)) is Reason.BAD_CERTIFICATE


def test_a_sender_is_a_member() -> None:
    """An index beyond the membership has no key to check with."""
    good = CLUSTER.certificate()
    stranger = msgspec.structs.replace(good.votes[-1], sender=7)
    assert refusal(msgspec.structs.replace(good, votes=(*good.votes[:-1], stranger))) is Reason.BAD_CERTIFICATE


@pytest.mark.covers("P2", "R07")
@pytest.mark.parametrize("change", [{"view": 1}, {"seq": 2}, {"block": b"c" * 32}, {"phase": PREPARE}])
def test_votes_prove_only_what_they_were_cast_for(change: dict[str, object]) -> None:
    """Another view, height, block or phase: the same signatures are worth nothing."""
    assert refusal(msgspec.structs.replace(CLUSTER.certificate(), **change)) is Reason.BAD_CERTIFICATE


@pytest.mark.covers("P2")
def test_votes_for_different_blocks_do_not_add_up() -> None:
    """Matching is what is counted, not arriving."""
    mixed = (*CLUSTER.certificate().votes[:4], CLUSTER.vote(COMMIT, 4, 0, 1, b"c" * 32))
    assert refusal(msgspec.structs.replace(CLUSTER.certificate(), votes=mixed)) is Reason.BAD_CERTIFICATE


@pytest.mark.parametrize("field", ["boot", "counter", "sender"])
def test_the_nonce_and_the_sender_are_signed(field: str) -> None:
    """They are part of what is signed, so that a vote has one spelling."""
    good = CLUSTER.certificate(senders=[0, 1, 2, 3, 4])
    moved = msgspec.structs.replace(good.votes[-1], **{field: getattr(good.votes[-1], field) + 1})
    assert refusal(msgspec.structs.replace(good, votes=(*good.votes[:-1], moved))) is Reason.BAD_CERTIFICATE


@pytest.mark.covers("R06", "R08")
def test_votes_of_another_cluster_or_epoch_are_worth_nothing() -> None:
    """The same members with the same keys, on another chain or in another epoch."""
    assert refusal(Cluster(7, OTHER_CHAIN).certificate()) is Reason.BAD_CERTIFICATE
    older = Cluster(7, epoch=1).certificate()
    assert refusal(older) is Reason.WRONG_EPOCH
    assert refusal(msgspec.structs.replace(older, epoch=0)) is Reason.BAD_CERTIFICATE


def test_nobody_votes_for_the_genesis_block() -> None:
    """Height 0 is committed by definition; a certificate for it could only confuse."""
    assert refusal(CLUSTER.certificate(seq=0)) is Reason.BAD_CERTIFICATE


def test_ranks_order_by_view_then_height_then_phase() -> None:
    """docs/protocol.md, "Terms"."""
    ascending = [
        None,
        CLUSTER.certificate(PREPARE, 0, 1),
        CLUSTER.certificate(COMMIT, 0, 1),
        CLUSTER.certificate(PREPARE, 0, 2),
        CLUSTER.certificate(PREPARE, 1, 1),
    ]
    ranks = [rank_of(certificate) for certificate in ascending]
    assert ranks == sorted(ranks)
    assert ranks[0] == NO_RANK < (0, 0, 0)
