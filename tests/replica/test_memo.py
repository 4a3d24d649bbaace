"""Certificates are verified once, and each vote once, however many certificates it is in."""

import msgspec
import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.replica import view_change
from bftnode.replica.view_change import VOTES_REMEMBERED, CertificateMemo
from tests.protocol.cluster import Cluster

CLUSTER = Cluster(7)


class Verifications:
    def __init__(self) -> None:
        self.count = 0

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.count += 1
        return verify(public_key, message, signature)


@pytest.fixture
def seen() -> Verifications:
    return Verifications()


@pytest.fixture
def memo(seen: Verifications) -> CertificateMemo:
    return CertificateMemo(CLUSTER.members, seen.verify)


@pytest.mark.covers("C14")
def test_a_vote_in_many_certificates_is_verified_once(memo: CertificateMemo, seen: Verifications) -> None:
    """Each replica certifies a block with the votes that it saw first: seven votes, many certificates."""
    for senders in ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), (2, 3, 4, 5, 6), (0, 2, 4, 5, 6)):
        memo.check(CLUSTER.certificate(COMMIT, 1, 5, senders=senders))
    assert seen.count == 7


@pytest.mark.covers("V01")
@pytest.mark.parametrize("twice", [1, 2])
def test_what_is_not_valid_is_not_remembered(memo: CertificateMemo, seen: Verifications, twice: int) -> None:
    """A vote of the other phase, or by somebody else, is another vote; a bad one is refused again and again."""
    good = CLUSTER.certificate(COMMIT, 1, 5)
    memo.check(good)
    votes = (*good.votes[:-1], msgspec.structs.replace(good.votes[-1], signature=good.votes[0].signature))
    for certificate in (
        msgspec.structs.replace(good, votes=votes),
        msgspec.structs.replace(good, phase=PREPARE),
        msgspec.structs.replace(good, view=2),
    ):
        for _ in range(twice):
            with pytest.raises(Refused) as caught:
                memo.check(certificate)
            assert caught.value.reason is Reason.BAD_CERTIFICATE
    assert seen.count == 5 + 3 * twice


@pytest.mark.covers("C14")
def test_what_is_remembered_is_bounded(memo: CertificateMemo, seen: Verifications) -> None:
    """Past the bound the oldest vote is forgotten, and verified again."""
    first = CLUSTER.certificate(COMMIT, 1, 1)
    memo.check(first)
    always = memo._verify
    memo._verify = lambda *_: True  # the other votes need not be signed for this
    try:
        for number in range(VOTES_REMEMBERED // 5 + 1):
            memo.check(msgspec.structs.replace(first, seq=number + 2))
    finally:
        memo._verify = always
    memo.check(first)
    assert seen.count == 10


@pytest.mark.covers("C14")
def test_as_many_as_are_remembered_cost_nothing_twice(
    memo: CertificateMemo, seen: Verifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of certificates, and of votes; with one more the oldest is forgotten."""
    monkeypatch.setattr(view_change, "CERTIFICATES_REMEMBERED", 2)
    monkeypatch.setattr(view_change, "VOTES_REMEMBERED", 15)
    first, second, third = (CLUSTER.certificate(COMMIT, 1, seq) for seq in (1, 2, 3))
    for certificate in (first, second, first, second, third):
        memo.check(certificate)
    assert seen.count == 15
    assert list(memo._valid) == [encode(second), encode(third)]
    memo.check(first)
    assert seen.count == 15, "its votes are remembered"
    memo.check(CLUSTER.certificate(COMMIT, 1, 4))
    assert (seen.count, len(memo._votes)) == (20, 15)
