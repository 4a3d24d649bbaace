"""Evidence: each contradiction is one, and no honest pair of frames is (faults.md O12)."""

import itertools

import msgspec
import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.envelope import Frame, encode_frame
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.evidence import check_accusation, without_payload
from bftnode.protocol.messages import Accusation, Body, Kind, NewView, PrePrepare, ViewChange
from tests.protocol.cluster import OTHER_CHAIN, Cluster, block_of

CLUSTER = Cluster()
X, Y = block_of((b"x",)), block_of((b"y",))


def accusation(first: Frame, second: Frame, epoch: int = 0) -> Accusation:
    return Accusation(epoch, *(encode_frame(without_payload(frame)) for frame in (first, second)))


def said(kind: Kind, body: Body, sender: int = 2, counter: int = 1, cluster: Cluster = CLUSTER) -> Frame:
    return cluster.frame(kind, sender, encode(body), counter)


def refusal(first: Frame, second: Frame, cluster: Cluster = CLUSTER) -> Reason:
    with pytest.raises(Refused) as caught:
        check_accusation(accusation(first, second), cluster.members, verify)
    return caught.value.reason


def changes(view: int, certificate: Certificate | None) -> tuple[bytes, ...]:
    return tuple(encode_frame(said(Kind.VIEW_CHANGE, ViewChange(0, view, certificate), i)) for i in range(3))


PREPARED = CLUSTER.certificate(PREPARE, 3, 1, X.hash)
CONTRADICTIONS = {
    "two PREPAREs": (said(Kind.PREPARE, Vote(0, 3, 1, X.hash)), said(Kind.PREPARE, Vote(0, 3, 1, Y.hash))),
    "two COMMITs": (said(Kind.COMMIT, Vote(0, 3, 1, X.hash)), said(Kind.COMMIT, Vote(0, 3, 1, Y.hash))),
    "two PRE-PREPAREs": (
        said(Kind.PRE_PREPARE, PrePrepare(0, 3, X.header_raw)),
        said(Kind.PRE_PREPARE, PrePrepare(0, 3, Y.header_raw)),
    ),
    "two VIEW-CHANGEs": (
        said(Kind.VIEW_CHANGE, ViewChange(0, 4, PREPARED)),
        said(Kind.VIEW_CHANGE, ViewChange(0, 4, None)),
    ),
    "two NEW-VIEWs": (
        said(Kind.NEW_VIEW, NewView(0, 4, changes(4, PREPARED))),
        said(Kind.NEW_VIEW, NewView(0, 4, changes(4, None))),
    ),
    "hides its COMMIT": (
        said(Kind.COMMIT, Vote(0, 3, 1, X.hash)),
        said(Kind.VIEW_CHANGE, ViewChange(0, 4, CLUSTER.certificate(PREPARE, 2, 9, Y.hash))),
    ),
}


@pytest.mark.covers("O12")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_each_contradiction_names_its_culprit(what: str) -> None:
    """With the genesis alone: the member's index, and what it did in the field's words."""
    culprit, proved = check_accusation(accusation(*CONTRADICTIONS[what]), CLUSTER.members, verify)
    assert culprit == 2
    assert what in proved


def honest_frames() -> list[Frame]:
    """All that one correct member may say: it prepares and commits in view 3, leaves it, votes on in view 4.

    Each is said twice, signed afresh, as a resend is.
    """
    base = CLUSTER.certificate(PREPARE, 3, 1, X.hash)
    second = block_of((b"z",), seq=2, parent=X.hash)
    bodies: list[tuple[Kind, Body]] = [
        (Kind.PRE_PREPARE, PrePrepare(0, 3, X.header_raw)),
        (Kind.PRE_PREPARE, PrePrepare(0, 3, second.header_raw)),
        (Kind.PREPARE, Vote(0, 3, 1, X.hash)),
        (Kind.PREPARE, Vote(0, 3, 2, second.hash)),
        (Kind.COMMIT, Vote(0, 3, 1, X.hash)),
        (Kind.VIEW_CHANGE, ViewChange(0, 4, base)),
        (Kind.NEW_VIEW, NewView(0, 4, changes(4, base))),
        (Kind.PREPARE, Vote(0, 4, 1, X.hash)),
        (Kind.PREPARE, Vote(0, 4, 2, Y.hash)),  # another block at a height where view 3 certified none
        (Kind.COMMIT, Vote(0, 4, 1, X.hash)),
        (Kind.VIEW_CHANGE, ViewChange(0, 5, CLUSTER.certificate(COMMIT, 4, 1, X.hash))),
        (Kind.VIEW_CHANGE, ViewChange(0, 6, CLUSTER.certificate(COMMIT, 4, 1, X.hash))),
    ]
    return [said(kind, body, counter=i) for i, (kind, body) in enumerate(bodies + bodies, 1)]


@pytest.mark.covers("O12")
def test_nothing_that_a_correct_member_says_is_evidence() -> None:
    """Every ordered pair of its frames, repetitions included, and under every sender's name."""
    for first, second in itertools.product(honest_frames(), repeat=2):
        assert refusal(first, second) is Reason.UNEXPECTED


@pytest.mark.covers("O12", "R06")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_nobody_is_framed(what: str) -> None:
    """Frames of another cluster, with an altered body, under another name, or with a payload prove nothing."""
    first, second = CONTRADICTIONS[what]
    assert refusal(first, second, Cluster(chain_id=OTHER_CHAIN)) is Reason.AUTH_SIGNATURE
    renamed = [msgspec.structs.replace(frame, sender=1) for frame in (first, second)]
    assert refusal(*renamed) is Reason.AUTH_SIGNATURE
    assert refusal(first, msgspec.structs.replace(second, body=first.body)) in (
        Reason.AUTH_SIGNATURE,
        Reason.UNEXPECTED,
    )
    stranger = msgspec.structs.replace(first, sender=4)
    assert refusal(stranger, stranger) is Reason.UNEXPECTED
    loaded = Accusation(0, encode_frame(msgspec.structs.replace(first, payload=b"\x90")), encode_frame(second))
    with pytest.raises(Refused):
        check_accusation(loaded, CLUSTER.members, verify)


@pytest.mark.covers("O12")
def test_two_members_do_not_contradict_each_other() -> None:
    """Equivocation is one member saying two things."""
    first = said(Kind.PREPARE, Vote(0, 3, 1, X.hash), sender=1)
    second = said(Kind.PREPARE, Vote(0, 3, 1, Y.hash), sender=2)
    assert refusal(first, second) is Reason.UNEXPECTED


@pytest.mark.covers("O12", "R08")
def test_evidence_is_about_one_epoch() -> None:
    """An accusation of another epoch is refused, and frames of two epochs do not contradict each other."""
    first, second = CONTRADICTIONS["two PREPAREs"]
    with pytest.raises(Refused) as caught:
        check_accusation(accusation(first, second, epoch=1), CLUSTER.members, verify)
    assert caught.value.reason is Reason.WRONG_EPOCH
    for kind in (Kind.PREPARE, Kind.COMMIT):
        later = said(kind, Vote(1, 3, 1, Y.hash))
        assert refusal(said(kind, Vote(0, 3, 1, X.hash)), later) is Reason.UNEXPECTED
