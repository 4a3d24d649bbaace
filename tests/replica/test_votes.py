"""Votes: whose count, how often, in which view, and what survives a crash."""

import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE, Vote, VoteSignature
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, encode_frame, open_frame, signing_bytes
from bftnode.protocol.errors import Reason
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.limits import EVIDENCE_BYTES_MAX
from bftnode.protocol.messages import Accusation, Kind, NewView, Slow
from bftnode.replica.effects import Accuse
from bftnode.replica.voice import ACCUSATIONS_MAX
from bftnode.replica.votes import BALLOTS_MAX, VoteBook
from tests.replica.conversation import CHAIN, Conversation, of_kind, voted


@pytest.mark.covers("P1", "P3")
@pytest.mark.parametrize(("n", "quorum"), [(4, 3), (5, 4), (6, 4), (7, 5), (10, 7), (31, 21)])
def test_the_quorum_is_one_that_two_share_a_correct_member_of(n: int, quorum: int) -> None:
    """Not 2f+1 where n is not 3f+1; and the primary's proposal is no vote beside its PREPARE."""
    talk = Conversation(n)
    block = talk.block()
    talk.propose(block)
    count = next(
        count for count, sender in enumerate(talk.others(), 2) if voted(talk.vote(PREPARE, sender, block), COMMIT)
    )
    assert count == quorum, "its own PREPARE and those of quorum - 1 others"


@pytest.mark.covers("P2", "R09")
def test_a_vote_counts_once() -> None:
    """Sent again, under a fresh number and signature, it is still one vote."""
    talk = Conversation()
    block = talk.block()
    talk.propose(block)
    for _ in range(5):
        assert not voted(talk.vote(PREPARE, 0, block), COMMIT)
    assert voted(talk.vote(PREPARE, 2, block), COMMIT)
    for _ in range(5):
        talk.vote(COMMIT, 0, block)
    assert talk.height == 0


@pytest.mark.covers("N21", "P2")
def test_votes_count_for_their_block_view_and_phase_alone() -> None:
    """Others' blocks, other views, the other phase: none of them adds to a quorum."""
    talk = Conversation()
    block, other = talk.block(), talk.block()
    talk.propose(block)
    talk.vote(PREPARE, 0, block)
    said = [
        *talk.vote(PREPARE, 2, other),
        *talk.vote(PREPARE, 3, block, view=4),
        *talk.vote(COMMIT, 2, block),
        *talk.vote(COMMIT, 3, block),
    ]
    assert not voted(said, COMMIT)
    assert talk.height == 0


@pytest.mark.covers("N11", "O12")
def test_two_votes_for_one_place_are_evidence() -> None:
    """Both are counted for their blocks, at most once each, and their sender is named."""
    talk = Conversation()
    block, other = talk.block(), talk.block()
    talk.propose(block)
    talk.vote(PREPARE, 3, other)
    said = talk.vote(PREPARE, 3, block)
    assert [accuse.culprit for accuse in talk.accused] == [3]
    assert len(of_kind(said, Kind.EVIDENCE)) == 1
    assert voted(talk.vote(PREPARE, 0, block), COMMIT), "a liar's vote is a vote"


@pytest.mark.covers("O12", "X07")
def test_nobody_is_framed_by_a_forged_vote() -> None:
    """A second vote whose signature does not hold proves nothing."""
    talk = Conversation()
    block, other = talk.block(), talk.block()
    talk.vote(PREPARE, 3, block)
    frame = talk.seal(3, Kind.PREPARE, Vote(0, 0, 1, other.hash))
    talk.deliver(Frame(frame.kind, 3, frame.boot, frame.counter, frame.body, bytes(64), b""))
    assert not talk.accused


@pytest.mark.covers("R01", "R15")
def test_an_invalid_signature_is_found_when_it_matters() -> None:
    """It fills its sender's place until a quorum is counted; then it goes, and a valid one may come."""
    talk = Conversation()
    block = talk.block()
    talk.propose(block)
    frame = talk.seal(3, Kind.PREPARE, Vote(0, 0, 1, block.hash))
    talk.deliver(Frame(frame.kind, 3, frame.boot, frame.counter, frame.body, bytes(64), b""))
    assert not voted(talk.vote(PREPARE, 0, block), COMMIT)
    assert talk.replica.votes.invalid == 1
    assert voted(talk.vote(PREPARE, 3, block), COMMIT)


@pytest.mark.covers("N14")
def test_votes_of_a_decided_height_cost_nothing() -> None:
    """Late ones are dropped before anybody looks at their signatures."""
    talk = Conversation()
    block = talk.block()
    talk.commit(block)
    talk.votes(COMMIT, talk.others(), talk.block())
    assert not talk.replica.votes._heights
    assert not talk.accused


@pytest.mark.covers("N14")
def test_votes_of_heights_that_are_decided_with_a_later_one_cost_nothing_either() -> None:
    """A certificate decides its ancestors too, which may never have a quorum of votes of their own here."""
    talk = Conversation(me=2)
    blocks = talk.chain(3)
    for block in blocks:
        talk.propose(block)
        talk.vote(COMMIT, 0, block)
    talk.votes(COMMIT, (1, 3), blocks[2])
    assert talk.height == 3
    assert not talk.replica.votes._heights


@pytest.mark.covers("N13", "P20", "P36")
def test_far_votes_are_bounded() -> None:
    """Heights beyond two windows are refused; views are bounded a sender, the lowest going first."""
    talk = Conversation()
    block = talk.block()
    for seq in (17, 10**6, 2**63 - 1):
        talk.hear(3, Kind.PREPARE, Vote(0, 0, seq, block.hash))
    talk.hear(3, Kind.PREPARE, Vote(0, 0, 16, block.hash))
    assert talk.refusals() == [Reason.OUT_OF_WINDOW] * 3, "those within are kept, for the heights are in use"
    for view in range(100):
        talk.hear(3, Kind.COMMIT, Vote(0, view, 1, bytes([200 - view]) * 32))
    kept = [key[1] for key in talk.replica.votes._heights[1].by_sender[COMMIT, 3]]
    assert sorted(kept) == [96, 97, 98, 99]


@pytest.mark.covers("N11", "P2")
def test_the_tip_follows_what_is_committed() -> None:
    """The others commit another block than the one voted for: it is executed, and votes go on above it."""
    talk = Conversation()
    mine, theirs = talk.block(), talk.block()
    talk.propose(mine)
    said = talk.votes(COMMIT, (0, 2, 3), theirs)
    assert of_kind(said, Kind.FETCH_BLOCK)
    talk.answer_block(of_kind(said, Kind.FETCH_BLOCK)[0].to or 0, theirs)
    assert talk.height == 1
    above = talk.block([theirs])
    assert voted(talk.propose(above), PREPARE) == [(0, 2, above.hash)]


@pytest.mark.covers("P13", "D01")
def test_a_restart_forgets_no_vote() -> None:
    """The same view, the same tip, and the other block is not voted for; what was said is said again to who asks."""
    talk = Conversation()
    block, other = talk.block(), talk.block()
    talk.propose(block)
    talk.restart()
    assert not voted(talk.propose(other), PREPARE)
    talk.boots[3] = 2
    said = [*talk.status(3), *talk.tick(600), *talk.status(3)]
    assert set(voted(said, PREPARE)) == {(0, 1, block.hash)}
    assert voted(talk.votes(PREPARE, (0, 2), block), COMMIT) == [(0, 1, block.hash)]


@pytest.mark.covers("K12", "P13")
def test_nothing_is_voted_for_before_q_minus_1_members_were_heard() -> None:
    """They might know of votes that this replica has forgotten."""
    talk = Conversation(introduced=False)
    block = talk.block()
    assert not voted(talk.propose(block), PREPARE)
    talk.status(0)
    assert not talk.replica.position.may_vote
    said = talk.status(2)
    assert voted(said, PREPARE) == [(0, 1, block.hash)], "then it votes for what it has accepted meanwhile"


@pytest.mark.covers("P21")
def test_what_a_member_lacks_is_sent_again() -> None:
    """To one whose STATUS stands still, in the same view: proposals of the primary's, votes of this view."""
    talk = Conversation(me=0)
    talk.submit(talk.transaction())
    talk.tick(600)
    said = talk.status(3)
    assert [item.frame.kind for item in said if item.to == 3] == [Kind.PRE_PREPARE, Kind.PREPARE]
    assert not [item for item in talk.status(3) if item.to == 3], "not at every STATUS: at the pace of ours"


def test_who_has_voted_can_be_told() -> None:
    """For people who ask why nothing happens: who voted for the block in question, and who asks for another view."""
    talk = Conversation(me=2)
    block = talk.block()
    talk.propose(block)
    talk.vote(PREPARE, 0, block)
    talk.ask_for_view(3, 2)
    assert talk.replica.votes.seen(PREPARE, 0, 1, block.hash) == (0, 2)
    assert talk.replica.votes.seen(COMMIT, 0, 1, block.hash) == ()
    assert talk.replica.view_changes.asked() == {3: 2}


def test_company_is_waited_for_with_one_block_in_flight_only() -> None:
    """With more of them every vote is looked at as it comes (decision 018), until they are committed."""
    talk = Conversation(me=2)
    blocks = talk.chain(3)
    assert talk.replica.votes_wanted() == talk.quorum
    talk.propose(blocks[0])
    assert talk.replica.votes_wanted() == talk.quorum - 1, "its own PREPARE is there"
    other = Conversation(me=2)
    other.propose(blocks[0])
    other.votes(PREPARE, other.others(), blocks[0])
    assert other.replica.votes_wanted() == other.quorum - 1, "it has cast COMMIT: no PREPARE matters there any more"
    talk.propose(blocks[1])
    assert talk.replica.votes_wanted() == 1
    talk.votes(COMMIT, talk.others(), blocks[1])
    assert (talk.height, talk.replica.votes_wanted()) == (2, talk.quorum)
    talk.propose(blocks[2])
    assert talk.replica.votes_wanted() == talk.quorum - 1


@pytest.mark.covers("N13", "R14")
def test_what_gave_way_is_verified_again_when_it_comes_again() -> None:
    """A vote was valid, was pushed out by its sender's later ones, and comes again with a signature that is not: what
    was known of the first says nothing of the second."""
    talk = Conversation()
    book = VoteBook(talk.members, talk.keyring.verify)
    block = talk.block()

    def vote(sender: int, view: int, *, valid: bool = True) -> None:
        body = Vote(0, view, block.seq, block.hash)
        signature = talk.keyring.member_signer(sender)(signing_bytes(CHAIN, COMMIT, sender, 1, 1, encode(body)))
        book.add(COMMIT, body, VoteSignature(sender, 1, 1, signature if valid else bytes(64)))

    for sender in (0, 2, 3):
        vote(sender, 0, valid=sender != 3)
    assert book.quorum(COMMIT, 0, block.seq, block.hash) is None, "two are verified"
    for view in range(1, BALLOTS_MAX + 1):
        vote(0, view, valid=view > 1)
    assert book.seen(COMMIT, 0, block.seq, block.hash) == (2,)
    for sender in (2, 3):
        vote(sender, 1)
    assert book.quorum(COMMIT, 1, block.seq, block.hash) is None, "which leaves room for a vote of a lower view"
    vote(0, 0, valid=False)
    vote(3, 0)
    assert book.seen(COMMIT, 0, block.seq, block.hash) == (0, 2, 3)
    assert book.quorum(COMMIT, 0, block.seq, block.hash) is None
    assert book.invalid == 3


@pytest.mark.covers("N11", "O12")
def test_each_thing_that_is_proved_of_a_member_is_kept_once() -> None:
    """Whoever tells it; what else is proved of it later is kept too, each under what it proves."""
    talk = Conversation()

    def accusation(seq: int) -> Accusation:
        frames = [talk.seal(3, Kind.PREPARE, Vote(0, 0, seq, bytes((mark,)) * 32)) for mark in (1, 2)]
        return Accusation(0, encode_frame(frames[0]), encode_frame(frames[1]), ())

    first, second = accusation(1), accusation(2)
    for sender, told in ((0, first), (2, first), (0, second)):
        talk.hear(sender, Kind.EVIDENCE, told)
    proved = [check_accusation(told, talk.members, talk.keyring.verify) for told in (first, second)]
    assert [(item.culprit, item.proved) for item in talk.accused] == proved
    assert len({what for _, what in proved}) == 2
    assert encode(first) in talk.disk.journal.values()
    assert encode(second) in talk.disk.journal.values()


@pytest.mark.covers("N10", "O12")
@pytest.mark.parametrize("phase", [PREPARE, COMMIT])
def test_two_votes_for_one_height_are_evidence_for_anybody(phase: int) -> None:
    """Both frames are put together from what is kept of votes: they verify as they were signed."""
    talk = Conversation()
    for block in (talk.block(), talk.block()):
        talk.vote(phase, 3, block)
    (accuse,) = talk.accused
    assert (accuse.culprit, accuse.proved) == check_accusation(accuse.accusation, talk.members, talk.keyring.verify)
    assert accuse.culprit == 3
    for raw in (accuse.accusation.first, accuse.accusation.second):
        frame = open_frame(raw)
        assert (frame.kind, frame.sender, frame.payload) == (phase, 3, b"")


@pytest.mark.covers("N13", "O13")
def test_so_many_things_are_proved_of_a_member_and_no_more() -> None:
    """Each is durable; a liar fills no disk."""
    talk = Conversation()
    voice, frame = talk.replica.voice, talk.seal(3, Kind.SLOW, Slow(0, 0))
    for number in range(ACCUSATIONS_MAX + 2):
        voice.accuse(3, f"lie {number}", frame, frame)
    accused = [item.proved for item in voice.take() if isinstance(item, Accuse)]
    assert accused == [f"lie {number}" for number in range(ACCUSATIONS_MAX)]


@pytest.mark.covers("N13", "O13")
@pytest.mark.parametrize("more", [0, 1])
def test_a_frame_that_no_accusation_can_carry_is_not_accused(more: int) -> None:
    """One that is as long as an accusation has room for is."""
    talk = Conversation()
    frame = talk.seal(3, Kind.NEW_VIEW, NewView(0, 3, (bytes(EVIDENCE_BYTES_MAX // 2),)))
    room = EVIDENCE_BYTES_MAX - len(encode_frame(frame))
    frame = talk.seal(3, Kind.NEW_VIEW, NewView(0, 3, (bytes(EVIDENCE_BYTES_MAX // 2 + room + more),)))
    assert len(encode_frame(frame)) == EVIDENCE_BYTES_MAX + more
    talk.replica.voice.accuse(3, "a lie", frame, frame)
    assert len([item for item in talk.replica.voice.take() if isinstance(item, Accuse)]) == 1 - more


def test_what_was_verified_is_forgotten_with_its_height() -> None:
    """Now and then; what is above stays known."""
    talk = Conversation()
    checks: list[bytes] = []

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        checks.append(message)
        return True

    book = VoteBook(talk.members, verify)
    name = bytes(32)

    def quorum(seq: int) -> None:
        for sender in (0, 2, 3):
            book.add(COMMIT, Vote(0, 0, seq, name), VoteSignature(sender, 1, seq, bytes(64)))
        assert book.quorum(COMMIT, 0, seq, name) is not None

    for seq in range(1, 22):
        quorum(seq)
    book.forget_up_to(10)
    assert len(book._verified) == 63, "few enough to be left alone"
    book.add(COMMIT, Vote(0, 0, 22, name), VoteSignature(1, 1, 22, bytes(64)), own=True)
    book.forget_up_to(11)
    assert len(book._verified) == 64
    book.add(COMMIT, Vote(0, 0, 22, name), VoteSignature(0, 1, 22, bytes(64)), own=True)
    book.forget_up_to(11)
    assert sorted({seq for seq, _, _ in book._verified}) == list(range(12, 23))
    count = len(checks)
    assert book.quorum(COMMIT, 0, 12, name) is not None
    assert len(checks) == count
    book.add(COMMIT, Vote(0, 0, 12, name), VoteSignature(1, 1, 12, bytes(64)))
    assert book.quorum(COMMIT, 0, 12, name) is not None
    assert len(checks) == count, "those that were verified come first"


def test_of_what_is_missing_only_heights_above_are_asked() -> None:
    """And of what nobody has voted for all is."""
    talk = Conversation()
    book = VoteBook(talk.members, talk.keyring.verify)
    assert book.seen(COMMIT, 0, 9, bytes(32)) == ()
    for sender in (0, 2):
        book.add(COMMIT, Vote(0, 0, 5, bytes(32)), VoteSignature(sender, 1, 1, bytes(64)))
    missing = [book.missing(COMMIT, above) for above in (4, 5)]
    assert missing == [talk.quorum - 2, talk.quorum]
    assert book.missing(PREPARE, 4) == talk.quorum


def test_who_may_not_vote_repeats_nothing() -> None:
    """Nor is what somebody has committed said again to him."""
    talk = Conversation()
    blocks = talk.chain(2)
    for block in blocks:
        talk.propose(block)
    again = talk.replica.agreement.votes_to_repeat
    assert again(0) == [(PREPARE, block.seq, block.hash) for block in blocks]
    assert again(1) == [(PREPARE, 2, blocks[1].hash)]
    talk.replica.position.halted = "it met a fork"
    assert again(0) == []
