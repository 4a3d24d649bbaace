"""Proofs of forks: two commit certificates that contradict each other, checked by anyone with the genesis alone."""

from itertools import pairwise

import pytest
from msgspec.structs import replace

from bftnode.protocol import limits, quorums
from bftnode.protocol.blocks import HEADER_BYTES_MAX, Block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, check_certificate
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.forks import chain_below, check_fork_proof, fork_proof
from bftnode.protocol.messages import ForkProof, Kind, open_body
from tests.protocol.cluster import OTHER_CHAIN, Cluster, block_of

CLUSTER = Cluster()


def branch(name: bytes, length: int) -> list[Block]:
    """A chain from height 1 on."""
    blocks = [block_of((name,))]
    for seq in range(2, length + 1):
        blocks.append(block_of((name,), seq=seq, parent=blocks[-1].hash))
    return blocks


LEFT, RIGHT = branch(b"left", 4), branch(b"right", 4)
assert all(above.parent == below.hash for below, above in pairwise(LEFT))


def commit(block: Block, view: int = 0, phase: int = COMMIT, cluster: Cluster = CLUSTER) -> Certificate:
    return cluster.certificate(phase, view, block.seq, block.hash)


def proof(lower: Certificate, higher: Certificate, *headers: Block) -> ForkProof:
    return ForkProof(0, (lower, higher), tuple(block.header_raw for block in headers))


def verdict(claim: ForkProof) -> tuple[Reason | None, list[Certificate]]:
    """Why it is refused, and of which certificates signatures were looked at before."""
    looked_at: list[Certificate] = []

    def check(certificate: Certificate) -> None:
        looked_at.append(certificate)
        check_certificate(certificate, CLUSTER.members, verify)

    try:
        check_fork_proof(claim, CLUSTER.members, check)
    except Refused as refused:
        return refused.reason, looked_at
    return None, looked_at


@pytest.mark.covers("X02", "X04")
@pytest.mark.parametrize("lower_view", [0, 3])
@pytest.mark.parametrize("higher_view", [0, 3])
def test_two_certificates_on_two_branches_are_a_proof(lower_view: int, higher_view: int) -> None:
    """Of one height, and of two with the headers between them; whichever view is the earlier one."""
    lower = commit(LEFT[1], lower_view)
    assert verdict(proof(lower, commit(RIGHT[1], higher_view)))[0] is None
    assert verdict(proof(lower, commit(RIGHT[2], higher_view), RIGHT[2]))[0] is None
    assert verdict(proof(lower, commit(RIGHT[3], higher_view), RIGHT[3], RIGHT[2]))[0] is None


FALSE = {
    "the same": (proof(commit(LEFT[1]), commit(LEFT[1])), Reason.UNEXPECTED),
    "of one block": (proof(commit(LEFT[1]), commit(LEFT[1], 2)), Reason.UNEXPECTED),
    "of one chain": (proof(commit(LEFT[1]), commit(LEFT[3]), LEFT[3], LEFT[2]), Reason.UNEXPECTED),
    "prepared": (proof(commit(LEFT[1], phase=PREPARE), commit(RIGHT[1])), Reason.BAD_CERTIFICATE),
    "prepared above": (proof(commit(LEFT[1]), commit(RIGHT[1], phase=PREPARE)), Reason.BAD_CERTIFICATE),
    "alone": (ForkProof(0, (commit(LEFT[1]),), ()), Reason.UNEXPECTED),
    "upside down": (proof(commit(RIGHT[3]), commit(LEFT[1])), Reason.UNEXPECTED),
    "no headers": (proof(commit(LEFT[1]), commit(RIGHT[3])), Reason.UNEXPECTED),
    "one short": (proof(commit(LEFT[1]), commit(RIGHT[3]), RIGHT[3]), Reason.UNEXPECTED),
    "one too many": (proof(commit(LEFT[1]), commit(RIGHT[2]), RIGHT[2], RIGHT[1]), Reason.UNEXPECTED),
    "another branch's": (proof(commit(LEFT[1]), commit(LEFT[3]), LEFT[3], RIGHT[2]), Reason.BAD_BLOCK),
    "another block's": (proof(commit(LEFT[1]), commit(LEFT[2]), RIGHT[2]), Reason.BAD_BLOCK),
    "of another epoch": (
        proof(replace(commit(LEFT[1]), epoch=1), replace(commit(RIGHT[1]), epoch=1)),
        Reason.WRONG_EPOCH,
    ),
    "no header": (
        ForkProof(0, (commit(LEFT[1]), commit(RIGHT[2])), (b"junk",)),
        Reason.CODEC_TYPE,
    ),
}


@pytest.mark.covers("X07", "O13")
@pytest.mark.parametrize("name", FALSE)
def test_what_is_no_fork_is_refused_before_a_signature_is_looked_at(name: str) -> None:
    """A liar's junk costs hashes and nothing more."""
    claim, reason = FALSE[name]
    assert verdict(claim) == (reason, [])


@pytest.mark.covers("X07", "O12")
def test_signatures_decide() -> None:
    """Another block under the same signatures, another cluster's, too few: nothing is proved, whatever else fits."""
    good = proof(commit(LEFT[1]), commit(RIGHT[2]), RIGHT[2])
    elsewhere = Cluster(chain_id=OTHER_CHAIN)
    moved = replace(commit(LEFT[1]), block=b"m" * 32)
    relabelled = replace(commit(LEFT[1], phase=PREPARE), phase=COMMIT)
    few = replace(commit(LEFT[1]), votes=commit(LEFT[1]).votes[1:])
    for lower in (moved, relabelled, few, commit(LEFT[1], cluster=elsewhere)):
        assert verdict(replace(good, certificates=(lower, good.certificates[1])))[0] == Reason.BAD_CERTIFICATE
    forged = replace(commit(RIGHT[2]), votes=commit(LEFT[2]).votes)
    assert verdict(replace(good, certificates=(good.certificates[0], forged)))[0] == Reason.BAD_CERTIFICATE


def test_it_is_made_of_what_is_at_hand() -> None:
    """Given in any order, with headers of both branches; none where something is missing, or nothing contradicts."""
    headers = [block.header_raw for block in (*LEFT, *RIGHT)]
    low, high = commit(LEFT[0]), commit(RIGHT[3])
    made = fork_proof(high, low, headers, CLUSTER.members)
    assert made == proof(low, high, RIGHT[3], RIGHT[2], RIGHT[1]) == fork_proof(low, high, headers, CLUSTER.members)
    assert made is not None
    assert verdict(made)[0] is None
    assert fork_proof(low, high, headers[:-1], CLUSTER.members) is None
    assert fork_proof(low, commit(LEFT[3]), headers, CLUSTER.members) is None
    assert fork_proof(low, low, headers, CLUSTER.members) is None


@pytest.mark.covers("O13")
def test_it_is_bounded() -> None:
    """Headers up to so many, more than any run has; the largest fits into a body by far."""
    most = limits.FORK_HEADERS_MAX
    long = branch(b"long", most + 2)
    headers = [block.header_raw for block in long]
    low = commit(LEFT[0])
    assert fork_proof(low, commit(long[most]), headers, CLUSTER.members) is not None
    assert fork_proof(low, commit(long[most + 1]), headers, CLUSTER.members) is None
    assert len(chain_below(commit(long[-1]), 2, headers)) == most
    large = Cluster(quorums.MEMBERS_MAX).certificate(COMMIT, 2**62, 2**62)
    body = ForkProof(0, (large, large), (bytes(HEADER_BYTES_MAX),) * most)
    assert len(encode(body)) < limits.BODY_BYTES_MAX // 2
    for wrong in (
        replace(body, headers=(*body.headers, b"")),
        replace(body, headers=(bytes(HEADER_BYTES_MAX + 1),)),
        replace(body, certificates=()),
        replace(body, certificates=(large,) * 3),
    ):
        with pytest.raises(Refused):
            open_body(CLUSTER.frame(Kind.FORK, 0, encode(wrong)))
    assert open_body(CLUSTER.frame(Kind.FORK, 0, encode(body))) == body
