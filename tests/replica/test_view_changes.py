"""When a replica leaves a view, what it says, what it believes, and on what the next view stands."""

import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate
from bftnode.protocol.envelope import Frame, encode_frame
from bftnode.protocol.errors import Reason
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.messages import Kind, NewView, ViewChange
from tests.replica.conversation import TIMING, Conversation, Said, of_kind, voted


def asked_for(said: list[Said]) -> list[tuple[int, Certificate | None]]:
    return [(item.body.view, item.body.certificate) for item in said if isinstance(item.body, ViewChange)]


@pytest.mark.covers("N03", "P16", "P34")
def test_a_silent_primary_is_given_up() -> None:
    """A timeout after an envelope became known, not before; without pending work, never."""
    talk = Conversation()
    assert not asked_for(talk.tick(60_000))
    talk.submit(talk.transaction())
    assert not asked_for(talk.tick(999))
    assert asked_for(talk.tick(1)) == [(1, None)]
    assert talk.view == (1, False)


@pytest.mark.covers("P27", "N19")
def test_an_uncommitted_block_is_work_as_well() -> None:
    """A proposal that does not commit is reason enough."""
    talk = Conversation()
    talk.propose(talk.block())
    assert [view for view, _ in asked_for(talk.tick(1000))] == [1]


@pytest.mark.covers("N05", "P31", "P43")
def test_progress_of_others_does_not_help_a_primary_that_censors() -> None:
    """The timer runs over the oldest envelope, whatever else is committed meanwhile."""
    talk = Conversation()
    talk.submit(talk.transaction(client=1))
    blocks = []
    for _ in range(5):
        talk.tick(150)
        blocks.append(talk.block(blocks))
        talk.commit(blocks[-1])
    assert talk.height == 5
    assert [view for view, _ in asked_for(talk.tick(250))] == [1]


@pytest.mark.covers("P16", "P31")
def test_the_next_oldest_envelope_has_a_timeout_of_its_own() -> None:
    """It runs from when that one became the oldest: the primary was busy with the one before."""
    talk = Conversation()
    first = talk.transaction()
    talk.submit(first)
    talk.tick(500)
    talk.submit(talk.transaction())
    talk.tick(400)
    talk.commit(talk.block((), [first]))
    assert not asked_for(talk.tick(999))
    assert [view for view, _ in asked_for(talk.tick(1))] == [1]


@pytest.mark.covers("V07", "V08", "P18")
@pytest.mark.parametrize(("n", "f"), [(4, 1), (7, 2), (10, 3)])
def test_f_members_move_nobody_and_f_plus_1_do(n: int, f: int) -> None:
    """The join rule: the largest view that f+1 ask for or exceed, at once, without a timer."""
    talk = Conversation(n)
    others = talk.others()
    for member, view in zip(others[:f], range(2**62, 2**63, 2**40), strict=False):
        talk.ask_for_view(member, view)
    assert talk.view == (0, True)
    said = talk.ask_for_view(others[f], 3)
    assert asked_for(said) == [(3, None)]
    assert talk.view == (3, False)


@pytest.mark.covers("P20", "V07")
def test_one_view_change_a_member_is_kept() -> None:
    """The highest; a flood of them takes n slots."""
    talk = Conversation()
    for view in range(1, 300):
        talk.ask_for_view(3, view)
    assert len(talk.replica.view_changes._slots) == 1
    assert talk.view == (0, True)


@pytest.mark.covers("P17", "P19")
def test_the_timer_of_a_view_starts_with_q_of_its_view_changes() -> None:
    """Alone, a replica waits and repeats; with q it gives the primary a timeout, and the next one twice that."""
    talk = Conversation(me=3)
    talk.submit(talk.transaction())
    talk.tick(1000)
    said = talk.tick(60_000)
    assert set(asked_for(said)) == {(1, None)}, "the same, repeated"
    talk.ask_for_view(0, 1)
    talk.ask_for_view(2, 1)
    assert {view for view, _ in asked_for(talk.tick(999))} == {1}, "repeated still"
    assert asked_for(talk.tick(1))[-1] == (2, None)
    talk.ask_for_view(0, 2)
    talk.ask_for_view(1, 2)
    assert (3, None) not in asked_for(talk.tick(1999))
    assert (3, None) in asked_for(talk.tick(1))


@pytest.mark.covers("P19", "V16")
def test_progress_resets_the_timeout() -> None:
    """Fruitless views double it up to its bound; a block that commits in the view brings it back."""
    talk = Conversation()
    for view in range(1, 12):
        talk.ask_for_view(0, view)
        talk.ask_for_view(2, view)
    assert talk.replica.view_changes.timeout_ms == 8000
    talk.replica.view_changes.progressed(11)
    assert talk.replica.view_changes.fruitless == 11, "it is not active"
    talk.open_view(12)
    talk.replica.view_changes.progressed(0)
    assert talk.replica.view_changes.fruitless == 11, "what is committed with an earlier view's votes is not its work"
    talk.commit(talk.block(view=12), view=12)
    assert talk.replica.view_changes.timeout_ms == 1000
    assert talk.replica.view_changes.fruitless == 0


@pytest.mark.covers("P10", "V10")
def test_no_vote_in_a_view_that_was_left() -> None:
    """After VIEW-CHANGE nothing is prepared or committed in the old view; a commit of the others still counts."""
    talk = Conversation(me=2)
    block = talk.block()
    talk.propose(block)
    talk.ask_for_view(0, 1)
    talk.ask_for_view(3, 1)
    assert talk.view == (1, False)
    said = [*talk.votes(PREPARE, (0, 1, 3), block), *talk.propose(talk.block([block]))]
    assert not voted(said, PREPARE)
    assert not voted(said, COMMIT)
    talk.votes(COMMIT, (0, 1, 3), block)
    assert talk.height == 1, "TRAP 2"


def test_no_company_is_waited_for_outside_a_view_that_is_active_and_settled() -> None:
    """Every vote is looked at as it comes: in a view change, and until the base of the view is here (decision 018)."""
    talk = Conversation(me=2)
    base = talk.block()
    talk.ask_for_view(0, 1)
    assert talk.replica.votes_wanted() == talk.quorum
    talk.ask_for_view(3, 1)
    assert (talk.view, talk.replica.votes_wanted()) == ((1, False), 1)
    talk.open_view(1, talk.certificate(PREPARE, base))
    assert (talk.view, talk.replica.votes_wanted()) == ((1, True), 1)
    talk.answer_block(1, base)
    assert talk.replica.votes_wanted() == talk.quorum - 1, "its own PREPARE is there"


@pytest.mark.covers("P4", "V02")
def test_a_view_change_reports_the_highest_certificate_and_stays_what_it_was() -> None:
    """What is learnt afterwards does not change it: repeated, it is the same, also after a crash."""
    talk = Conversation()
    first = talk.block()
    talk.commit(first)
    second = talk.block([first])
    talk.propose(second)
    talk.votes(PREPARE, (0, 2), second)
    said = talk.tick(1000)
    ((view, certificate),) = asked_for(said)
    assert certificate is not None
    assert (view, certificate.rank) == (1, (0, 2, PREPARE))
    talk.votes(COMMIT, (0, 2, 3), second)
    assert talk.height == 2
    assert asked_for(talk.tick(500)) == [(1, certificate)]
    talk.restart()
    assert talk.view == (1, False)
    assert set(asked_for([*talk.said[-6:], *talk.tick(600)])) == {(1, certificate)}


@pytest.mark.covers("P4", "P5", "V02")
def test_a_certificate_of_a_later_view_is_higher_at_a_lower_height() -> None:
    """What was prepared last is reported: the view before prepared more, of which the others have no certificate."""
    talk = Conversation(me=2)
    blocks = talk.chain(2)
    for block in blocks:
        talk.propose(block)
    talk.votes(PREPARE, (0, 1), blocks[1])
    talk.open_view(1)
    later = talk.block(view=1)
    talk.propose(later, view=1)
    talk.votes(PREPARE, (0, 1), later, view=1)
    assert voted(talk.said, COMMIT) == [(0, 2, blocks[1].hash), (1, 1, later.hash)]
    ((view, certificate),) = asked_for(talk.tick(1000))
    assert certificate is not None
    assert (view, certificate.rank, certificate.block) == (2, (1, 1, PREPARE), later.hash)


@pytest.mark.covers("V18", "P5", "P4")
def test_the_new_view_stands_on_the_highest_certificate() -> None:
    """By view first, then by height; whoever reports it, and however many report less."""
    talk = Conversation(7, me=3)
    one, two = talk.block(), talk.block(view=1)
    long = talk.block([one])
    reports: dict[int, Certificate | None] = {
        0: talk.certificate(PREPARE, long),
        1: talk.certificate(COMMIT, one),
        2: talk.certificate(PREPARE, two, view=1),
        4: None,
        5: None,
    }
    said = talk.deliver(talk.new_view(2, reports))
    assert of_kind(said, Kind.FETCH_BLOCK)
    said = talk.answer_block(0, two)
    assert voted(said, PREPARE) == [(2, 1, two.hash)], "the later view wins over the greater height"


@pytest.mark.covers("P4", "P28", "P23")
def test_the_base_is_voted_for_again_and_its_ancestors_are_not() -> None:
    """TRAP 1; and a certified block is not judged again, however old it is by now."""
    talk = Conversation(me=2)
    blocks = talk.chain(3)
    for block in blocks:
        talk.propose(block)
    talk.wall_ms += 10**9
    said = talk.open_view(1, talk.certificate(PREPARE, blocks[2]))
    assert voted(said, PREPARE) == [(1, 3, blocks[2].hash)]
    said = talk.votes(PREPARE, (0, 1, 3), blocks[1], view=1)
    assert not voted(said, COMMIT), "no certificate of this view for an ancestor"
    assert voted(talk.votes(PREPARE, (0, 1), blocks[2], view=1), COMMIT) == [(1, 3, blocks[2].hash)]
    talk.votes(COMMIT, (0, 1), blocks[2], view=1)
    assert talk.height == 3, "commits cover ancestors"


@pytest.mark.covers("P4", "P8")
def test_a_committed_base_is_just_committed() -> None:
    """Nobody votes for it again, and proposals go on above it."""
    talk = Conversation(me=2)
    block = talk.block()
    talk.propose(block)
    said = talk.open_view(1, talk.certificate(COMMIT, block))
    assert talk.height == 1
    assert not voted(said, PREPARE)
    above = talk.block([block], view=1)
    assert voted(talk.propose(above, view=1), PREPARE) == [(1, 2, above.hash)]


@pytest.mark.covers("P8", "P27")
def test_a_view_without_certificates_starts_at_genesis() -> None:
    """q members that never held one: nothing is committed anywhere."""
    talk = Conversation(me=2)
    talk.propose(talk.block())
    talk.open_view(1)
    block = talk.block(view=1)
    assert voted(talk.propose(block, view=1), PREPARE) == [(1, 1, block.hash)]


@pytest.mark.covers("P22", "V13", "P23")
def test_the_new_primary_orders_what_it_knows() -> None:
    """Envelopes stay in custody across the view change; what the base holds is not proposed again."""
    talk = Conversation(me=1)
    first, second = talk.transaction(), talk.transaction()
    talk.submit(first, second)
    block = talk.block((), [first])
    talk.propose(block)
    certificate = talk.certificate(PREPARE, block, senders=(0, 2, 3))
    talk.ask_for_view(0, 1, certificate)
    said = talk.ask_for_view(2, 1, certificate)
    assert len(of_kind(said, Kind.NEW_VIEW)) == 1
    assert voted(said, PREPARE) == [(1, 1, block.hash)]
    said = [*talk.votes(PREPARE, (0, 2), block, 1), *talk.votes(COMMIT, (0, 2), block, 1)]
    (proposal,) = of_kind(said, Kind.PRE_PREPARE)
    assert second.raw in proposal.frame.payload
    assert first.raw not in proposal.frame.payload


@pytest.mark.covers("V04", "P4", "P6", "P12", "V03")
def test_a_new_view_that_is_wrong_is_refused() -> None:
    """By its author, its number, its members, its signatures, its certificates: all or nothing."""
    talk = Conversation(me=2)
    block = talk.block()
    good = talk.certificate(PREPARE, block)
    forged = Certificate(PREPARE, 0, 0, 2, block.hash, good.votes)
    few = Certificate(PREPARE, 0, 0, 1, block.hash, good.votes[:2])
    early = talk.certificate(PREPARE, block, view=1)
    valid = talk.new_view(1, {0: good, 1: None, 3: None})
    three = [encode_frame(talk.seal(i, Kind.VIEW_CHANGE, ViewChange(0, 1, None))) for i in (0, 1, 3)]
    other_view = encode_frame(talk.seal(3, Kind.VIEW_CHANGE, ViewChange(0, 2, None)))
    spoilt = encode_frame(talk.seal(3, Kind.STATUS, ViewChange(0, 1, None)))
    said = talk.seal(3, Kind.VIEW_CHANGE, ViewChange(0, 1, None))
    unsigned = encode_frame(Frame(said.kind, 3, said.boot, said.counter, said.body, bytes(64), b""))
    wrong = [
        (talk.new_view(1, {0: None, 1: None, 3: None}, sender=3), Reason.NOT_PRIMARY),
        (talk.seal(1, Kind.NEW_VIEW, NewView(0, 1, (*three[:2], unsigned))), Reason.BAD_NEW_VIEW),
        (talk.seal(1, Kind.NEW_VIEW, NewView(0, 1, tuple(three[:2]))), Reason.BAD_NEW_VIEW),
        (talk.seal(1, Kind.NEW_VIEW, NewView(0, 1, (three[0], three[0], three[2]))), Reason.BAD_NEW_VIEW),
        (talk.seal(1, Kind.NEW_VIEW, NewView(0, 1, (three[1], three[0], three[2]))), Reason.BAD_NEW_VIEW),
        (talk.seal(1, Kind.NEW_VIEW, NewView(0, 1, (*three[:2], other_view))), Reason.BAD_NEW_VIEW),
        (talk.seal(1, Kind.NEW_VIEW, NewView(0, 1, (*three[:2], spoilt))), Reason.BAD_NEW_VIEW),
        (talk.new_view(1, {0: forged, 1: None, 3: None}), Reason.BAD_CERTIFICATE),
        (talk.new_view(1, {0: few, 1: None, 3: None}), Reason.BAD_CERTIFICATE),
        (talk.new_view(1, {0: early, 1: None, 3: None}), Reason.BAD_VIEW_CHANGE),
        (Frame(valid.kind, 1, valid.boot, valid.counter, valid.body, bytes(64), b""), Reason.AUTH_SIGNATURE),
    ]
    for frame, reason in wrong:
        talk.deliver(frame)
        assert talk.refusals()[-1] == reason
        assert talk.view == (0, True)
    talk.deliver(valid)
    assert talk.view == (1, True)


@pytest.mark.covers("V01", "V03", "V09", "P6", "P12")
def test_a_view_change_with_a_false_certificate_is_refused_whole() -> None:
    """And its sender's place stays free for a valid one; those of others are not touched by it."""
    talk = Conversation()
    block = talk.block()
    good = talk.certificate(PREPARE, block)
    for false in (
        Certificate(PREPARE, 0, 0, 9, block.hash, good.votes),
        Certificate(COMMIT, 0, 0, 1, block.hash, good.votes),
        Certificate(PREPARE, 0, 0, 1, block.hash, (good.votes[0],) * 3),
        Certificate(PREPARE, 1, 0, 1, block.hash, good.votes),
        talk.certificate(PREPARE, block, view=5),
    ):
        talk.ask_for_view(3, 5, false)
    assert len(talk.refusals()) == 5
    assert not talk.replica.view_changes._slots
    talk.ask_for_view(3, 5, good)
    assert list(talk.replica.view_changes._slots) == [3]


@pytest.mark.covers("V06", "R08")
def test_an_old_new_view_changes_nothing() -> None:
    """Views only grow: a NEW-VIEW of this view or an earlier one is not installed again."""
    talk = Conversation(me=3)
    early = talk.new_view(1, {0: None, 1: None, 2: None})
    talk.open_view(2)
    block = talk.block(view=2)
    talk.propose(block, view=2)
    talk.deliver(early)
    assert talk.view == (2, True)
    assert talk.replica.agreement.accepted == {1: block.hash}


@pytest.mark.covers("P13", "D01", "V05")
def test_a_view_that_was_opened_is_active_after_a_crash() -> None:
    """Its NEW-VIEW is written with it: the base is the same, and who lacks the view gets it."""
    talk = Conversation(me=2)
    talk.step_behind = True
    block = talk.block()
    talk.propose(block)
    frame = talk.new_view(1, {0: talk.certificate(PREPARE, block), 1: None, 3: None})
    assert voted(talk.deliver(frame), PREPARE) == [(1, 1, block.hash)]
    talk.said.clear()
    talk.restart()
    assert talk.view == (1, True)
    assert talk.replica.agreement.base == (1, block.hash)
    # Everybody's STATUS is of view 0.
    assert [(item.to, item.frame) for item in of_kind(talk.said, Kind.NEW_VIEW)] == [(0, frame), (1, frame), (3, frame)]


@pytest.mark.covers("V11")
def test_two_new_views_of_one_view() -> None:
    """The first stands, the second is evidence; the same one again is nothing."""
    talk = Conversation(me=3)
    block = talk.block()
    first = talk.new_view(1, {0: None, 1: None, 2: None})
    second = talk.new_view(1, {0: talk.certificate(PREPARE, block), 1: None, 2: None})
    talk.deliver(first)
    talk.deliver(first, link=2)
    assert not talk.accused
    talk.deliver(second)
    assert [(accuse.culprit, accuse.proved) for accuse in talk.accused] == [(1, "two NEW-VIEWs for view 1")]
    assert talk.replica.agreement.base[0] == 0


@pytest.mark.covers("V05", "P21")
def test_a_new_view_is_passed_on() -> None:
    """Whoever asks for this view or an older one, or stands in one, gets it; from anyone; at a bounded rate."""
    talk = Conversation(me=3)
    frame = talk.new_view(1, {0: None, 1: None, 2: None})
    talk.deliver(frame, link=2)
    assert talk.view == (1, True), "its author need not have sent it to us"
    passed = of_kind(talk.ask_for_view(0, 1), Kind.NEW_VIEW)
    assert [item.to for item in passed] == [0]
    assert passed[0].frame == frame
    assert not of_kind(talk.ask_for_view(0, 1), Kind.NEW_VIEW)
    talk.tick(500)
    assert of_kind(talk.status(0, view=1, active=False), Kind.NEW_VIEW)


@pytest.mark.covers("P10", "P25")
@pytest.mark.parametrize("phase", [PREPARE, COMMIT])
def test_a_certificate_of_a_later_view_ends_this_one(phase: int) -> None:
    """TRAP 3: inactive in that view, asking for its NEW-VIEW; what is committed is committed all the same."""
    talk = Conversation()
    block = talk.block(view=5)
    talk.ask_for_view(3, 6, talk.certificate(phase, block, view=5))
    assert talk.view == (5, False)
    assert not voted(talk.propose(talk.block()), PREPARE)
    talk.tick(4 * TIMING.view_change_timeout_ms - 1)
    assert not asked_for(talk.said), "patience: its members have the NEW-VIEW"
    if phase == COMMIT:
        talk.answer_block(0, block)
        assert talk.height == 1
    else:
        assert [view for view, _ in asked_for(talk.tick(1))] == [6]


@pytest.mark.covers("P10", "D01")
def test_a_view_that_a_certificate_ended_is_over_after_a_crash() -> None:
    """Nothing else is written in that turn, and the certificate may not come again: it votes in no earlier view."""
    talk = Conversation()
    talk.step_behind = True
    talk.ask_for_view(3, 6, talk.certificate(PREPARE, talk.block(view=5), view=5))
    talk.restart()
    assert talk.view == (5, False)
    assert not voted(talk.propose(talk.block()), PREPARE)


@pytest.mark.covers("P10", "P25")
def test_what_it_asked_for_is_over_with_a_view_that_a_certificate_ends() -> None:
    """It has asked for view 1 and not for view 5, which it learns of: it repeats nothing, and as the primary of that
    view it opens nothing, for it has no VIEW-CHANGE of its own to do it with."""
    talk = Conversation(me=1)
    talk.submit(talk.transaction())
    assert asked_for(talk.tick(1000)) == [(1, None)]
    talk.ask_for_view(3, 6, talk.certificate(PREPARE, talk.block(view=5), view=5))
    assert talk.view == (5, False)
    assert not asked_for(talk.tick(2 * TIMING.status_interval_ms))
    said = [*talk.ask_for_view(0, 5), *talk.ask_for_view(2, 5)]
    assert not of_kind(said, Kind.NEW_VIEW)
    assert talk.view == (5, False)


@pytest.mark.covers("V02", "O12", "X03")
def test_hiding_a_commit_in_a_view_change_is_evidence() -> None:
    """Who sent COMMIT held a prepare certificate, and reports no lower one."""
    talk = Conversation()
    block = talk.block()
    talk.vote(COMMIT, 3, block)
    talk.vote(COMMIT, 0, block)
    talk.ask_for_view(3, 1, None)
    (accuse,) = talk.accused
    assert (accuse.culprit, accuse.proved) == check_accusation(accuse.accusation, talk.members, talk.keyring.verify)
    assert "hides its COMMIT" in accuse.proved
    talk.ask_for_view(0, 1, talk.certificate(PREPARE, block))
    assert len(talk.accused) == 1, "an honest report is none"


@pytest.mark.covers("O12", "X07", "N01")
def test_a_proposal_that_overtakes_its_new_view_accuses_nobody() -> None:
    """It has nothing to do with what another primary proposed in the view before; and it is kept (seeds 7, 12)."""
    talk = Conversation(me=3)
    talk.propose(talk.block())
    talk.ask_for_view(0, 1)
    talk.ask_for_view(2, 1)
    assert talk.view == (1, False)
    block = talk.block(view=1)
    assert not talk.propose(block, view=1)
    assert not talk.accused
    assert voted(talk.open_view(1), PREPARE) == [(1, 1, block.hash)]


@pytest.mark.covers("V10", "N13")
def test_a_proposal_of_a_view_that_has_not_begun_here_is_not_kept() -> None:
    """Every member is the primary of some later view: it could crowd out what the present one proposes, or stand in for
    it. It is sent again once its view has begun."""
    talk = Conversation(me=3)
    early, block = talk.block(view=1), talk.block()
    assert not talk.propose(early, view=1)
    assert voted(talk.propose(block), PREPARE) == [(0, 1, block.hash)]
    assert not voted(talk.open_view(1), PREPARE)
    assert voted(talk.propose(early, view=1), PREPARE) == [(1, 1, early.hash)]
    assert not talk.accused


@pytest.mark.covers("V06", "V10")
def test_proposals_that_wait_end_with_their_view() -> None:
    """A NEW-VIEW that comes unasked ends the old view too: what waited in it is not accepted in the next (seed 15)."""
    talk = Conversation(me=3)
    chain = talk.chain(2)
    talk.propose(chain[1])
    talk.open_view(1, talk.certificate(COMMIT, chain[0]))
    talk.answer_block(0, chain[0])
    assert talk.height == 1
    assert not voted(talk.said, PREPARE), "height 2 of view 0 stood on the base, and is nobody's proposal in view 1"


@pytest.mark.covers("V07", "V08", "P18")
def test_a_courtesy_is_for_the_next_view_only() -> None:
    """A liar that asks for a view far ahead is granted nothing; a lone one in the next view is, at a bounded rate.

    Else some correct replicas follow it, one by one, and the others are too few without them (seed 1026).
    """
    talk = Conversation()
    talk.ask_for_view(3, 2)
    talk.tick(60_000)
    assert talk.view == (0, True)
    talk = Conversation()
    talk.ask_for_view(3, 1)
    assert not asked_for(talk.tick(4999))
    assert asked_for(talk.tick(600))[0] == (1, None)
    talk.ask_for_view(0, 1)
    talk.ask_for_view(2, 1)
    assert talk.view == (1, True)
    talk.ask_for_view(3, 2)
    assert not asked_for(talk.tick(14_000)), "once in a while"


@pytest.mark.covers("P17", "P18")
def test_what_was_asked_before_i_might_vote_is_heeded_then() -> None:
    """A VIEW-CHANGE that is repeated is not looked at again; so it must be looked at now (seeds 587, 795, 61951)."""
    talk = Conversation(introduced=False)
    talk.ask_for_view(0, 2)
    talk.ask_for_view(3, 2)
    assert talk.view == (0, True)
    talk.status(0)
    said = talk.status(3)
    assert asked_for(said) == [(2, None)]


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10, 31])
def test_a_view_change_in_every_size(n: int) -> None:
    """The primary dies with a block prepared; the next primary carries it on."""
    talk = Conversation(n, me=1)
    block = talk.block()
    talk.propose(block)
    others = talk.others()
    talk.votes(PREPARE, others[: talk.quorum - 1], block)
    said = [said for member in others[1 : talk.quorum] for said in talk.ask_for_view(member, 1)]
    assert len(of_kind(said, Kind.NEW_VIEW)) == 1
    assert voted(said, PREPARE) == [(1, 1, block.hash)]
    talk.votes(PREPARE, others[1 : talk.quorum], block, view=1)
    talk.votes(COMMIT, others[1 : talk.quorum], block, view=1)
    assert talk.height == 1


@pytest.mark.covers("N18", "P22", "T12")
def test_a_primary_fetches_the_base_from_who_reported_it_before_it_opens_its_view() -> None:
    """Those who voted for it may have forgotten it in a power cut."""
    talk = Conversation(me=1)
    first = talk.block()
    base = talk.block([first])
    certificate = talk.certificate(PREPARE, base, senders=[0, 2, 3])
    talk.ask_for_view(0, 1)
    asked = talk.ask_for_view(3, 1, certificate)
    assert [(said.to, said.body.block) for said in of_kind(asked, Kind.FETCH_BLOCK)] == [(3, base.hash)]
    assert not of_kind(asked, Kind.NEW_VIEW)
    # With the block it is its parent that is missing; with both the view is opened.
    asked = talk.answer_block(3, base)
    assert [(said.to, said.body.block) for said in of_kind(asked, Kind.FETCH_BLOCK)] == [(3, first.hash)]
    said = talk.answer_block(3, first)
    assert len(of_kind(said, Kind.NEW_VIEW)) == 1
    assert voted(said, PREPARE) == [(1, 2, base.hash)]


@pytest.mark.covers("N18", "P22")
def test_a_primary_opens_its_view_at_half_time_without_the_base() -> None:
    """Others may have it; and where q others need nothing that is lacking, it is no reason to wait."""
    talk = Conversation(me=1)
    base = talk.block()
    talk.ask_for_view(0, 1)
    talk.ask_for_view(3, 1, talk.certificate(PREPARE, base, senders=[0, 2, 3]))
    assert not of_kind(talk.tick(TIMING.view_change_timeout_ms // 2 - 10), Kind.NEW_VIEW)
    assert len(of_kind(talk.tick(20), Kind.NEW_VIEW)) == 1
    talk = Conversation(me=1)
    talk.ask_for_view(0, 1)
    talk.ask_for_view(3, 1, talk.certificate(PREPARE, base, senders=[0, 2, 3]))
    assert len(of_kind(talk.ask_for_view(2, 1), Kind.NEW_VIEW)) == 1, "with another one there are q that need nothing"


@pytest.mark.covers("N18", "P17")
def test_a_base_that_is_lacking_is_nothing_to_the_next_view() -> None:
    """The others have gone on to a view of somebody else's: it has its whole timeout, and nothing is opened at half."""
    talk = Conversation(me=1)
    certificate = talk.certificate(PREPARE, talk.block(), senders=[0, 2, 3])
    talk.ask_for_view(0, 1)
    assert of_kind(talk.ask_for_view(2, 1, certificate), Kind.FETCH_BLOCK)
    talk.ask_for_view(3, 1, certificate)
    talk.ask_for_view(0, 2)
    talk.ask_for_view(3, 2, certificate)
    assert talk.view == (2, False)
    said = talk.tick(talk.replica.view_changes.timeout_ms - 1)
    assert not of_kind(said, Kind.NEW_VIEW)
    assert talk.view == (2, False)
    assert asked_for(talk.tick(1))[-1] == (3, None)
