"""Evidence: each contradiction is one, and no honest pair of frames is (faults.md O12)."""

import itertools
from collections.abc import Sequence

import msgspec
import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.envelope import Frame, encode_frame
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.evidence import check_accusation, without_payload
from bftnode.protocol.limits import EVIDENCE_HEADERS_MAX, FRAME_BYTES_MAX
from bftnode.protocol.messages import Accusation, Body, Kind, NewView, PrePrepare, ViewChange, open_body
from tests.protocol.cluster import OTHER_CHAIN, Cluster, block_of

CLUSTER = Cluster()
X, Y = block_of((b"x",)), block_of((b"y",))


def accusation(first: Frame, second: Frame, headers: Sequence[bytes] = (), epoch: int = 0) -> Accusation:
    return Accusation(epoch, *(encode_frame(without_payload(frame)) for frame in (first, second)), tuple(headers))


def said(kind: Kind, body: Body, sender: int = 2, counter: int = 1, cluster: Cluster = CLUSTER) -> Frame:
    return cluster.frame(kind, sender, encode(body), counter)


def refusal(first: Frame, second: Frame, headers: Sequence[bytes] = (), cluster: Cluster = CLUSTER) -> Reason:
    with pytest.raises(Refused) as caught:
        check_accusation(accusation(first, second, headers), cluster.members, verify)
    return caught.value.reason


def changes(view: int, certificate: Certificate | None) -> tuple[bytes, ...]:
    return tuple(encode_frame(said(Kind.VIEW_CHANGE, ViewChange(0, view, certificate), i)) for i in range(3))


Y2 = block_of((b"y2",), seq=2, parent=Y.hash)
Y3 = block_of((b"y3",), seq=3, parent=Y2.hash)
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
    "a PREPARE at view 3, height 1, on another branch": (
        said(Kind.COMMIT, Vote(0, 3, 1, X.hash)),
        said(Kind.PREPARE, Vote(0, 3, 1, Y.hash)),
    ),
    "a PREPARE at view 3, height 3, on another branch": (
        said(Kind.COMMIT, Vote(0, 3, 1, X.hash)),
        said(Kind.PREPARE, Vote(0, 3, 3, Y3.hash)),
    ),
    "a COMMIT at view 3, height 2, on another branch": (
        said(Kind.COMMIT, Vote(0, 3, 1, X.hash)),
        said(Kind.COMMIT, Vote(0, 3, 2, Y2.hash)),
    ),
}
HEADERS = {
    "a PREPARE at view 3, height 3, on another branch": (Y3.header_raw, Y2.header_raw),
    "a COMMIT at view 3, height 2, on another branch": (Y2.header_raw,),
}


@pytest.mark.covers("O12")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_each_contradiction_names_its_culprit(what: str) -> None:
    """With the genesis alone: the member's index, and what it did in the field's words."""
    culprit, proved = check_accusation(
        accusation(*CONTRADICTIONS[what], HEADERS.get(what, ())), CLUSTER.members, verify
    )
    assert culprit == 2
    assert what in proved


SECOND = block_of((b"z",), seq=2, parent=X.hash)
THIRD = block_of((b"zz",), seq=3, parent=SECOND.hash)
FOURTH = block_of((b"zzz",), seq=4, parent=THIRD.hash)


def honest_frames() -> list[Frame]:
    """All that one correct member may say: it prepares and commits in view 3, leaves it, votes on in view 4.

    Each is said twice, signed afresh, as a resend is. In view 3 it has PREPAREd Y and Y2 before the others committed X:
    it went on there, above what it had PREPAREd.
    """
    base = CLUSTER.certificate(PREPARE, 3, 3, THIRD.hash)
    bodies: list[tuple[Kind, Body]] = [
        (Kind.PRE_PREPARE, PrePrepare(0, 3, X.header_raw)),
        (Kind.PRE_PREPARE, PrePrepare(0, 3, SECOND.header_raw)),
        (Kind.PRE_PREPARE, PrePrepare(0, 3, THIRD.header_raw)),
        (Kind.PREPARE, Vote(0, 3, 1, Y.hash)),
        (Kind.PREPARE, Vote(0, 3, 2, Y2.hash)),
        (Kind.PREPARE, Vote(0, 3, 3, THIRD.hash)),
        (Kind.PREPARE, Vote(0, 3, 4, FOURTH.hash)),
        (Kind.COMMIT, Vote(0, 3, 3, THIRD.hash)),
        (Kind.VIEW_CHANGE, ViewChange(0, 4, base)),
        (Kind.NEW_VIEW, NewView(0, 4, changes(4, base))),
        (Kind.PREPARE, Vote(0, 4, 3, THIRD.hash)),
        (Kind.PREPARE, Vote(0, 4, 4, Y.hash)),  # another block at a height where view 3 certified none
        (Kind.COMMIT, Vote(0, 4, 3, THIRD.hash)),
        (Kind.VIEW_CHANGE, ViewChange(0, 5, CLUSTER.certificate(COMMIT, 4, 3, THIRD.hash))),
        (Kind.VIEW_CHANGE, ViewChange(0, 6, CLUSTER.certificate(COMMIT, 4, 3, THIRD.hash))),
    ]
    return [said(kind, body, counter=i) for i, (kind, body) in enumerate(bodies + bodies, 1)]


@pytest.mark.covers("O12", "X07")
def test_what_looks_like_a_contradiction_and_is_none() -> None:
    """A branch may be left between two PREPAREs; who has voted in a view had asked for it before; and a VIEW-CHANGE
    says nothing beside a NEW-VIEW."""
    change = said(Kind.VIEW_CHANGE, ViewChange(0, 3, None))
    commit = said(Kind.COMMIT, Vote(0, 3, 1, X.hash))
    opened = said(Kind.NEW_VIEW, NewView(0, 3, changes(3, None)))
    prepares = [said(Kind.PREPARE, Vote(0, 3, block.seq, block.hash)) for block in (X, Y2)]
    assert refusal(*prepares, (Y2.header_raw,)) is Reason.UNEXPECTED
    for first, second in itertools.permutations((change, commit, opened), 2):
        assert refusal(first, second) is Reason.UNEXPECTED


@pytest.mark.covers("O12")
def test_nothing_that_a_correct_member_says_is_evidence() -> None:
    """Every ordered pair of its frames, repetitions included, with and without the headers of either branch."""
    branches = [[], *(branch[at:] for branch in ([THIRD, SECOND, X], [Y2, Y]) for at in range(len(branch)))]
    headers = [[block.header_raw for block in branch[:count]] for branch in branches for count in range(1, 4)]
    for first, second in itertools.product(honest_frames(), repeat=2):
        assert refusal(first, second) is Reason.UNEXPECTED
        if first.kind == Kind.COMMIT:
            assert {refusal(first, second, some) for some in headers} == {Reason.UNEXPECTED}


@pytest.mark.covers("O12", "R06")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_nobody_is_framed(what: str) -> None:
    """Frames of another cluster, with an altered body, under another name, or with a payload prove nothing."""
    first, second = CONTRADICTIONS[what]
    headers = HEADERS.get(what, ())
    assert refusal(first, second, headers, Cluster(chain_id=OTHER_CHAIN)) is Reason.AUTH_SIGNATURE
    renamed = [msgspec.structs.replace(frame, sender=1) for frame in (first, second)]
    assert refusal(*renamed, headers) is Reason.AUTH_SIGNATURE
    assert refusal(first, msgspec.structs.replace(second, body=first.body), headers) in (
        Reason.AUTH_SIGNATURE,
        Reason.UNEXPECTED,
    )
    stranger = msgspec.structs.replace(first, sender=4)
    assert refusal(stranger, stranger, headers) is Reason.UNEXPECTED
    payload = encode_frame(msgspec.structs.replace(first, payload=b"\x90"))
    loaded = Accusation(0, payload, encode_frame(second), headers)
    with pytest.raises(Refused):
        check_accusation(loaded, CLUSTER.members, verify)


@pytest.mark.covers("O12", "X07")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_headers_show_what_they_show_and_nothing_else(what: str) -> None:
    """One less, one more, one twice, of another order, changed, of another branch, where none belong: no evidence. The
    same votes the other way round, and of a descendant, are none whatever the headers."""
    first, second = CONTRADICTIONS[what]
    good = HEADERS.get(what, ())
    above = block_of((b"y4",), seq=4, parent=Y3.hash)
    odd = [*good, Y.header_raw], [above.header_raw, *good], [X.header_raw], [b"", *good], [*good, b"\xc1"]
    for headers in (*odd, good[1:], good[:-1], good[::-1], good + good, [SECOND.header_raw, *good[1:]]):
        if tuple(headers) != good:
            with pytest.raises(Refused):
                check_accusation(accusation(first, second, headers), CLUSTER.members, verify)
    for headers in ((), good, good[::-1]):
        if good:
            assert refusal(second, first, headers) is Reason.UNEXPECTED
        assert refusal(first, said(Kind.PREPARE, Vote(0, 3, 3, THIRD.hash)), headers) is Reason.UNEXPECTED
    descends = THIRD.header_raw, SECOND.header_raw
    assert refusal(said(Kind.COMMIT, Vote(0, 3, 1, X.hash)), said(Kind.PREPARE, Vote(0, 3, 3, THIRD.hash)), descends)


@pytest.mark.covers("O12")
def test_headers_name_heights_one_below_the_other() -> None:
    """A header that lies about its height shows nothing about the height that the COMMIT is of."""
    liar = block_of((b"y2",), seq=3, parent=Y.hash)
    first, second = said(Kind.COMMIT, Vote(0, 3, 1, X.hash)), said(Kind.PREPARE, Vote(0, 3, 2, liar.hash))
    assert refusal(first, second, (liar.header_raw,)) is Reason.UNEXPECTED


@pytest.mark.covers("O12", "O13")
def test_headers_are_bounded() -> None:
    """As many as the limit says make an accusation that the others can take in; one more is not opened."""
    blocks = [Y]
    while len(blocks) <= EVIDENCE_HEADERS_MAX + 1:
        blocks.append(block_of((b"y",), seq=blocks[-1].seq + 1, parent=blocks[-1].hash))
    for count in (EVIDENCE_HEADERS_MAX, EVIDENCE_HEADERS_MAX + 1):
        vote = said(Kind.PREPARE, Vote(0, 3, 1 + count, blocks[count].hash))
        headers = [block.header_raw for block in blocks[count:0:-1]]
        body = encode(accusation(said(Kind.COMMIT, Vote(0, 3, 1, X.hash)), vote, headers))
        frame = CLUSTER.frame(Kind.EVIDENCE, 0, body)
        assert len(encode_frame(frame)) < FRAME_BYTES_MAX
        if count > EVIDENCE_HEADERS_MAX:
            with pytest.raises(Refused):
                open_body(frame)
            continue
        opened = open_body(frame)
        assert isinstance(opened, Accusation)
        assert check_accusation(opened, CLUSTER.members, verify)[0] == 2


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
        check_accusation(accusation(first, second, (), 1), CLUSTER.members, verify)
    assert caught.value.reason is Reason.WRONG_EPOCH
    for kind in (Kind.PREPARE, Kind.COMMIT):
        later = said(kind, Vote(1, 3, 1, Y.hash))
        assert refusal(said(kind, Vote(0, 3, 1, X.hash)), later) is Reason.UNEXPECTED


@pytest.mark.covers("O12", "R08")
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_nobody_is_convicted_of_what_was_said_in_another_epoch(name: str) -> None:
    """Two statements of one other epoch contradict each other, and prove nothing in this one."""
    pair = CONTRADICTIONS[name]
    first, second = (said(Kind(it.kind), msgspec.structs.replace(open_body(it), epoch=1)) for it in pair)
    assert refusal(first, second, HEADERS.get(name, ())) is Reason.WRONG_EPOCH
