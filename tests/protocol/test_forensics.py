"""Forensics on forks made with the members' keys in hand: who is named, with which proof, and who never is."""

import itertools
from collections.abc import Iterable
from random import Random

import msgspec
import pytest

from bftnode.protocol import forensics
from bftnode.protocol.blocks import Block, hash_header
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.envelope import encode_frame
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.forensics import Findings, Testimony, investigate
from bftnode.protocol.limits import EVIDENCE_BYTES_MAX
from bftnode.protocol.messages import Accusation, Kind, NewView, ViewChange
from tests.protocol.cluster import OTHER_CHAIN, Cluster, block_of

CLUSTER = Cluster(7)
N, Q, SOME = CLUSTER.members.n, CLUSTER.members.quorum, CLUSTER.members.some_correct
LEFT, RIGHT = range(Q), range(N - Q, N)
"""Two quorums that share f+1 members: those are the culprits of a fork, and nobody else is."""
SHARED = [member for member in LEFT if member in RIGHT]

ROOT = block_of((b"root",))
X, Y = block_of((b"x",), 2, parent=ROOT.hash), block_of((b"y",), 2, parent=ROOT.hash)
X3, Y3 = block_of((b"x3",), 3, parent=X.hash), block_of((b"y3",), 3, parent=Y.hash)


def certified(block: Block, view: int, senders: Iterable[int], phase: int = COMMIT) -> Certificate:
    return CLUSTER.certificate(phase, view, block.seq, block.hash, senders)


def new_view(view: int, reports: dict[int, Certificate | None]) -> bytes:
    """The NEW-VIEW of the view's primary over what these members report."""
    changes = tuple(
        encode_frame(CLUSTER.frame(Kind.VIEW_CHANGE, member, encode(ViewChange(0, view, report))))
        for member, report in sorted(reports.items())
    )
    return encode_frame(CLUSTER.frame(Kind.NEW_VIEW, view % N, encode(NewView(0, view, changes))))


def holds(*blocks: Block, certificates: tuple[Certificate, ...], new_views: tuple[bytes, ...] = ()) -> Testimony:
    return Testimony(
        headers=tuple(block.header_raw for block in blocks), certificates=certificates, new_views=new_views
    )


NOTHING = holds(certificates=())


def findings(left: Testimony, right: Testimony) -> Findings:
    """The same whoever comes first; every culprit's proof is one for those who verify evidence."""
    found = investigate(left, right, CLUSTER.members, verify)
    other = investigate(right, left, CLUSTER.members, verify)
    assert found.fork_height == other.fork_height
    assert [one.member for one in found.culprits] == [one.member for one in other.culprits]
    for culprit in (*found.culprits, *other.culprits):
        accusation = Accusation(0, culprit.first, culprit.second, culprit.headers)
        assert check_accusation(accusation, CLUSTER.members, verify) == (culprit.member, culprit.proved)
    return found


def named(found: Findings) -> list[int]:
    return [culprit.member for culprit in found.culprits]


@pytest.mark.covers("X02")
def test_two_certificates_of_one_view_name_whoever_signed_both() -> None:
    """f+1 members at least: two quorums share so many. The fork is where the headers part."""
    found = findings(
        holds(ROOT, X, certificates=(certified(X, 4, LEFT),)), holds(ROOT, Y, certificates=(certified(Y, 4, RIGHT),))
    )
    assert (found.fork_height, named(found)) == (2, SHARED)
    assert len(SHARED) >= SOME
    assert {culprit.proved for culprit in found.culprits} == {"two COMMITs for different blocks at view 4, height 2"}


@pytest.mark.covers("X06")
def test_a_receipt_against_a_log_is_enough() -> None:
    """One header and its certificate: a fake receipt of a colluding client, and what really stands there."""
    log = holds(ROOT, X, X3, certificates=(certified(X, 0, LEFT), certified(X3, 0, LEFT)))
    found = findings(holds(Y, certificates=(certified(Y, 0, RIGHT),)), log)
    assert (found.fork_height, named(found)) == (2, SHARED)


@pytest.mark.covers("X03", "V02")
def test_a_commit_and_a_view_change_that_hides_it() -> None:
    """No member votes twice in a view: the proof is in the NEW-VIEW that the second branch stands on."""
    left = holds(ROOT, X, certificates=(certified(X, 1, LEFT),))
    hidden = new_view(3, dict.fromkeys(RIGHT, certified(ROOT, 0, LEFT)))
    right = holds(ROOT, Y, certificates=(certified(Y, 3, RIGHT),), new_views=(hidden,))
    found = findings(left, right)
    assert (found.fork_height, named(found)) == (2, SHARED)
    assert {culprit.proved for culprit in found.culprits} == {
        "a VIEW-CHANGE for view 3 that hides its COMMIT at view 1, height 2"
    }
    without = findings(left, holds(ROOT, Y, certificates=(certified(Y, 3, RIGHT),)))
    assert (without.fork_height, named(without)) == (2, [])


@pytest.mark.covers("X03", "V02")
def test_several_views_later() -> None:
    """The lie is in the first view of the other branch; the certificates are of later ones and of descendants."""
    left = holds(ROOT, X, X3, certificates=(certified(X3, 1, LEFT),))
    first = new_view(2, dict.fromkeys(RIGHT, None))
    later = new_view(5, dict.fromkeys(RIGHT, certified(Y, 2, RIGHT, PREPARE)))
    right = holds(ROOT, Y, Y3, certificates=(certified(Y3, 5, RIGHT),), new_views=(later, first))
    found = findings(left, right)
    assert (found.fork_height, named(found)) == (2, SHARED)
    assert all("view 2 that hides its COMMIT at view 1" in culprit.proved for culprit in found.culprits)


@pytest.mark.covers("V11")
def test_two_new_views_name_their_primary() -> None:
    """Two bodies for one view: one lie, one culprit, and no fork yet."""
    one, two = new_view(3, dict.fromkeys(LEFT, None)), new_view(3, dict.fromkeys(RIGHT, None))
    found = findings(holds(certificates=(), new_views=(one,)), holds(certificates=(), new_views=(two,)))
    assert (found.fork_height, named(found)) == (None, [3])
    another = new_view(3 + N, {})
    found = findings(holds(certificates=(), new_views=(another, one)), holds(certificates=(), new_views=(two,)))
    assert named(found) == [3], "whatever else it has opened"


def test_a_prepare_certificate_inside_a_view_change_counts() -> None:
    """A double PREPARE shows where one side's prepare certificate was reported to a view of the other's."""
    reports: dict[int, Certificate | None] = dict.fromkeys(RIGHT, None)
    reports[6] = certified(Y, 1, RIGHT, PREPARE)
    left = holds(certificates=(certified(X, 1, LEFT, PREPARE),))
    found = findings(left, holds(certificates=(), new_views=(new_view(2, reports),)))
    assert (found.fork_height, named(found)) == (None, SHARED)


@pytest.mark.covers("X07", "O12")
def test_what_correct_members_say_across_views_names_nobody() -> None:
    """A block committed in two views; reports of its prepare and commit certificates, and of a descendant's."""
    prepared = certified(X, 1, LEFT, PREPARE)
    reports: dict[int, Certificate | None] = dict.fromkeys(range(Q), prepared)
    again = certified(X, 2, range(Q))
    after: dict[int, Certificate | None] = {member: certified(X3, 2, LEFT, PREPARE) for member in range(3)}
    after |= dict.fromkeys(range(3, Q), again)
    testimonies = [
        holds(ROOT, X, certificates=(prepared, certified(X, 1, LEFT), again), new_views=(new_view(2, reports),)),
        holds(ROOT, X, X3, certificates=(again, certified(X3, 3, RIGHT)), new_views=(new_view(3, after),)),
    ]
    for left, right in itertools.product(testimonies, repeat=2):
        found = findings(left, right)
        assert found == Findings(None, ())


@pytest.mark.covers("X07", "O12", "O13")
def test_nobody_is_framed() -> None:
    """Certificates of another cluster, with one changed signature, epochs that are not ours, bytes of any kind."""
    left = holds(ROOT, X, certificates=(certified(X, 4, LEFT),))
    foreign = Cluster(7, chain_id=OTHER_CHAIN).certificate(COMMIT, 4, 2, Y.hash, RIGHT)
    honest = certified(Y, 4, RIGHT)
    votes = (*honest.votes[:-1], msgspec.structs.replace(honest.votes[-1], signature=bytes(64)))
    forged = msgspec.structs.replace(honest, votes=votes)
    later = msgspec.structs.replace(honest, epoch=1)
    view = bytearray(new_view(5, dict.fromkeys(RIGHT, None)))
    view[-3] ^= 1
    wrong_kind = encode_frame(CLUSTER.frame(Kind.VIEW_CHANGE, 2, encode(ViewChange(0, 5, None))))
    junk = (b"", b"\xc1", bytes(view), wrong_kind)
    for certificate in (foreign, forged, later):
        right = Testimony(headers=(b"junk", Y.header_raw), certificates=(certificate,), new_views=junk)
        assert findings(left, right) == Findings(None, ())


@pytest.mark.covers("X02")
def test_junk_among_the_headers_hides_nothing() -> None:
    """Whoever handed it in, and wherever it stands."""
    left = holds(ROOT, X, certificates=(certified(X, 4, LEFT),))
    right = Testimony((b"junk", ROOT.header_raw, Y.header_raw, Y3.header_raw), (certified(Y3, 4, RIGHT),), ())
    found = findings(left, right)
    assert (found.fork_height, named(found)) == (2, SHARED)


@pytest.mark.covers("X02")
def test_the_first_height_is_the_lowest_that_can_be_forked() -> None:
    """Whatever the two blocks of it are said to follow: nobody certified that."""
    blocks = ROOT, block_of((b"root",), parent=b"p" * 32)
    certificates = tuple(certified(block, 4, LEFT) for block in blocks)
    assert findings(holds(*blocks, certificates=certificates), NOTHING).fork_height == 1


@pytest.mark.covers("X07")
def test_headers_of_another_cluster_lead_nowhere() -> None:
    """Nor do those of another epoch, be a block of ours certified above them."""
    for strange in (
        msgspec.structs.replace(Y.header, chain_id=OTHER_CHAIN),
        msgspec.structs.replace(Y.header, epoch=1),
    ):
        raw = encode(strange)
        above = block_of((b"above",), 3, parent=hash_header(raw))
        other_root = block_of((b"another root",))
        left = holds(other_root, certificates=(certified(other_root, 4, LEFT),))
        right = Testimony((above.header_raw, raw), (certified(above, 4, RIGHT),), ())
        assert findings(left, right) == Findings(None, ())


@pytest.mark.covers("X02")
@pytest.mark.parametrize("view", range(1, 6))
def test_the_plainest_is_told_of_who_did_several_things(view: int) -> None:
    """Two COMMITs rather than two PREPAREs; and these in every view."""
    double = tuple(certified(block, view, LEFT, PREPARE) for block in (X, Y))
    for found in (
        findings(holds(certificates=double), NOTHING),
        findings(holds(certificates=double[:1]), holds(certificates=double[1:])),
    ):
        assert {one.proved for one in found.culprits} == {f"two PREPAREs for different blocks at view {view}, height 2"}
    commits = tuple(certified(block, view, LEFT) for block in (X3, Y3))
    found = findings(holds(certificates=(*double, *commits)), NOTHING)
    assert {one.proved for one in found.culprits} == {f"two COMMITs for different blocks at view {view}, height 3"}


@pytest.mark.covers("O13")
@pytest.mark.parametrize("more", [0, 1])
def test_what_no_accusation_can_carry_convicts_nobody(more: int) -> None:
    """A frame that is as long as an accusation has room for does."""

    def opened(size: int) -> bytes:
        return encode_frame(CLUSTER.frame(Kind.NEW_VIEW, 0, encode(NewView(0, 7, (bytes(size),)))))

    half = EVIDENCE_BYTES_MAX // 2
    long = opened(half + EVIDENCE_BYTES_MAX - len(opened(half)) + more)
    assert len(long) == EVIDENCE_BYTES_MAX + more
    found = investigate(holds(certificates=(), new_views=(opened(1), long)), NOTHING, CLUSTER.members, verify)
    assert named(found) == [0] * (1 - more)


def test_headers_alone_commit_nothing() -> None:
    """Anybody can write a header: only what a certificate covers is part of a fork."""
    left = holds(ROOT, X, certificates=(certified(X, 4, LEFT),))
    assert findings(left, holds(ROOT, Y, certificates=())) == Findings(None, ())


@pytest.mark.covers("X02")
def test_one_view_and_two_heights_name_whoever_signed_both_branches() -> None:
    """By the headers between the two blocks. Without them the fork is not seen, unless its own height is certified."""
    left = holds(ROOT, X, certificates=(certified(X, 4, LEFT),))
    right = holds(ROOT, Y, Y3, certificates=(certified(Y3, 4, RIGHT),))
    found = findings(left, right)
    assert (found.fork_height, named(found)) == (2, SHARED)
    assert {culprit.proved for culprit in found.culprits} == {
        "a COMMIT at view 4, height 3, on another branch than its COMMIT at height 2"
    }
    assert {culprit.headers for culprit in found.culprits} == {(Y3.header_raw,)}
    assert findings(left, holds(ROOT, Y, certificates=(certified(Y3, 4, RIGHT),))) == Findings(None, ())
    kept = holds(ROOT, Y, Y3, certificates=(certified(Y, 4, RIGHT), certified(Y3, 4, RIGHT)))
    assert "two COMMITs" in findings(left, kept).culprits[0].proved


@pytest.mark.covers("X03")
@pytest.mark.parametrize("truthful", [False, True])
def test_a_pipelined_branch_of_the_same_view_names_who_prepared_it(truthful: bool) -> None:
    """The liars prepare on Y's branch one height above the X that they committed. That certificate outranks their
    COMMITs, so who reports it hides nothing, and they voted once at each height. Nor does it help them to report the
    truth and to leave that certificate to an honest member that was shown Y alone."""
    prepared = certified(Y3, 1, RIGHT, PREPARE)
    reports: dict[int, Certificate | None] = dict.fromkeys(RIGHT, prepared)
    if truthful:
        reports |= dict.fromkeys(SHARED, certified(X, 1, LEFT, PREPARE))
    left = holds(ROOT, X, certificates=(certified(X, 1, LEFT),))
    right = holds(ROOT, Y, Y3, certificates=(certified(Y3, 2, RIGHT),), new_views=(new_view(2, reports),))
    found = findings(left, right)
    assert (found.fork_height, named(found)) == (2, SHARED)
    assert {culprit.proved for culprit in found.culprits} == {
        "a PREPARE at view 1, height 3, on another branch than its COMMIT at height 2"
    }


@pytest.mark.covers("X07", "O12")
def test_a_branch_that_was_left_before_its_height_was_voted_for_names_nobody() -> None:
    """All PREPARE X and X3; then Y is committed by COMMITs of view 0, and they go on above it, higher than X3."""
    y4 = block_of((b"y4",), 4, parent=Y3.hash)
    left = holds(ROOT, X, X3, certificates=tuple(certified(block, 1, LEFT, PREPARE) for block in (X, X3)))
    right = holds(ROOT, Y, Y3, y4, certificates=(certified(Y, 0, RIGHT), certified(y4, 1, RIGHT)))
    assert findings(left, right).culprits == ()


def descends(block: Block, ancestor: Block, by_hash: dict[bytes, Block]) -> bool:
    at: Block | None = block
    while at is not None and at.seq > ancestor.seq:
        at = by_hash.get(at.parent)
    return at is not None and at.hash == ancestor.hash


@pytest.mark.covers("X02", "X03", "X07")
@pytest.mark.parametrize("seed", range(40))
def test_votes_on_two_branches_are_found_where_there_are_any(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree of blocks and votes at random: compared with every pair, tried one by one; with a bound on the headers."""
    dice = Random(seed)
    most = dice.choice((1, 2, 100))
    monkeypatch.setattr(forensics, "EVIDENCE_HEADERS_MAX", most)
    blocks = [ROOT]
    for number in range(12):
        parent = dice.choice(blocks[-4:])
        blocks.append(block_of((b"%d" % number,), parent.seq + 1, parent=parent.hash))
    by_hash = {block.hash: block for block in blocks}
    taken: dict[tuple[int, int, int], Block] = {}
    for block in dice.sample(blocks, 5):
        taken.setdefault((dice.choice((PREPARE, COMMIT)), dice.choice((1, 2)), block.seq), block)
    expected = any(
        view == other and phase == COMMIT and 0 <= vote.seq - commit.seq <= most and not descends(vote, commit, by_hash)
        for (phase, view, _), commit in taken.items()
        for (_, other, _), vote in taken.items()
    )
    certificates = tuple(certified(block, view, LEFT, phase) for (phase, view, _), block in taken.items())
    found = findings(holds(*blocks[::2], certificates=certificates), holds(*blocks[1::2], certificates=()))
    assert named(found) == (list(LEFT) if expected else [])


@pytest.mark.covers("O13", "X07")
def test_a_liar_cannot_spoil_the_proofs_against_the_others() -> None:
    """One that convicts itself with frames that no accusation can carry is left out; who it would shield is named."""
    junk = [
        encode_frame(CLUSTER.frame(Kind.NEW_VIEW, 0, encode(NewView(0, 7, (bytes(size),) * 64))))
        for size in (1, 16_000)
    ]
    left = holds(ROOT, X, certificates=(certified(X, 4, LEFT),), new_views=tuple(junk))
    assert named(findings(left, holds(ROOT, Y, certificates=(certified(Y, 4, RIGHT),)))) == SHARED
    assert 0 not in SHARED
    short = encode_frame(CLUSTER.frame(Kind.NEW_VIEW, 0, encode(NewView(0, 7, ()))))
    assert named(findings(holds(certificates=(), new_views=(short, *junk)), NOTHING)) == [0]


def test_one_party_alone_may_hold_the_contradiction() -> None:
    """A node that halted on a fork has both certificates."""
    both = holds(ROOT, X, certificates=(certified(X, 4, LEFT), certified(Y, 4, RIGHT)))
    assert named(findings(both, NOTHING)) == SHARED


@pytest.mark.covers("X07")
def test_new_views_of_two_views_or_of_another_epoch_name_nobody() -> None:
    """A primary opens each of its views once; another epoch has other members; and a frame of no member is none."""
    left = holds(certificates=(), new_views=(new_view(1, dict.fromkeys(LEFT, None)),))
    again = new_view(1 + N, dict.fromkeys(LEFT, None))
    assert not named(findings(left, holds(certificates=(), new_views=(again,))))
    epoch = [encode_frame(CLUSTER.frame(Kind.NEW_VIEW, 1, encode(NewView(1, 1, changes)))) for changes in ((), (b"x",))]
    strange = encode_frame(
        msgspec.structs.replace(CLUSTER.frame(Kind.NEW_VIEW, 1, encode(NewView(0, 1, ()))), sender=N)
    )
    found = findings(
        holds(certificates=(), new_views=(epoch[0], strange)), holds(certificates=(), new_views=(epoch[1],))
    )
    assert not named(found)


@pytest.mark.covers("X03")
def test_two_view_changes_of_one_member_are_named_beside_who_used_both() -> None:
    """It reports a certificate to some and none to others."""
    base = certified(ROOT, 0, LEFT)
    left = new_view(3, dict.fromkeys(LEFT, base))
    right = new_view(3, {**dict.fromkeys(LEFT, base), 4: None})
    found = findings(holds(certificates=(), new_views=(left,)), holds(certificates=(), new_views=(right,)))
    assert named(found) == [3, 4]
