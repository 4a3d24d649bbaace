"""Frames that come again, from elsewhere, under another name, or from a past that the replica may have forgotten."""

import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE, Vote
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.envelope import Frame, encode_frame, seal
from bftnode.protocol.errors import Reason
from bftnode.protocol.limits import REPLAY_WINDOW
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind, Seen, Status, ViewChange
from bftnode.replica.events import Received
from bftnode.replica.nonces import QuarantineRecord
from bftnode.replica.position import Quarantine
from bftnode.replica.voice import RESERVED, BootRecord
from tests.replica.conversation import CHAIN, Conversation, of_kind, voted


def quarantine_of(talk: Conversation) -> QuarantineRecord:
    """As it is on record."""
    return decode(talk.disk.journal["quarantine"], QuarantineRecord, 64)


@pytest.mark.covers("R09", "P50")
def test_a_frame_counts_once() -> None:
    """The same bytes again are dropped, and that is noted."""
    talk = Conversation()
    frame = talk.seal(3, Kind.PREPARE, Vote(0, 0, 1, bytes(32)))
    talk.deliver(frame)
    talk.deliver(frame)
    assert talk.refusals() == [Reason.REPLAY]


@pytest.mark.covers("R12")
def test_frames_may_come_in_any_order_within_the_window() -> None:
    """Late ones are accepted once; those below the window never."""
    talk = Conversation()
    frames = [talk.seal(3, Kind.STATUS, Status(0, 0, True, 0, 0, 0, ())) for _ in range(REPLAY_WINDOW + 2)]
    talk.deliver(frames[5])
    talk.deliver(frames[2])
    assert not talk.refusals()
    talk.deliver(frames[-1])
    talk.deliver(frames[0])
    assert talk.refusals() == [Reason.REPLAY]
    talk.deliver(frames[3])
    assert len(talk.refusals()) == 1, "just within it"


@pytest.mark.covers("R10", "P44")
def test_a_new_boot_makes_the_old_one_old_also_after_my_own_restart() -> None:
    """The later boot epoch is durable: frames of the earlier are replays for ever."""
    talk = Conversation()
    old = talk.seal(3, Kind.STATUS, Status(0, 0, True, 0, 0, 0, ()))
    talk.boots[3] = 2
    talk.status(3)
    talk.deliver(old)
    assert talk.refusals() == [Reason.REPLAY]
    talk.restart(introduced=False)
    talk.deliver(old)
    assert len(talk.refusals()) == 2


@pytest.mark.covers("R11")
def test_a_nonce_jump_locks_nobody_out_but_its_owner() -> None:
    """The highest boot and counter that there are: the sender has burnt its own, and only its own."""
    talk = Conversation()
    body = encode(Status(0, 0, True, 0, 0, 0, ()))
    last = 2**63 - 1
    talk.deliver(seal(CHAIN, Kind.STATUS, 3, last, last, body, talk.keyring.member_signer(3)))
    assert not talk.refusals()
    talk.status(3)
    assert talk.refusals() == [Reason.REPLAY]
    talk.status(2)
    assert len(talk.refusals()) == 1


@pytest.mark.covers("R03", "R14", "R02")
def test_who_speaks_is_who_the_link_says() -> None:
    """Another's frame, my own back to me, a member that there is not: refused before anything is remembered."""
    talk = Conversation()
    frame = talk.seal(2, Kind.PREPARE, Vote(0, 0, 1, bytes(32)))
    talk.deliver(frame, link=3)
    own = talk.said[-1].frame
    talk.step(Received(3, encode_frame(own)))
    talk.step(Received(talk.me, encode_frame(own)))
    assert talk.refusals() == [Reason.ID_MISMATCH] * 3
    talk.deliver(frame)
    assert len(talk.refusals()) == 3, "its own link may still say it"
    stranger = Frame(Kind.NEW_VIEW, 200, 1, 1, encode(ViewChange(0, 1, None)), bytes(64), b"")
    talk.deliver(stranger, link=3)
    assert talk.refusals()[-1] == Reason.AUTH_UNKNOWN_KEY


@pytest.mark.covers("R01", "R06", "R07", "R08")
def test_a_signature_is_for_one_thing() -> None:
    """Of another cluster, for another kind, of another epoch: refused."""
    talk = Conversation()
    body = encode(ViewChange(0, 1, None))
    sign = talk.keyring.member_signer(3)
    talk.deliver(seal(bytes(32), Kind.VIEW_CHANGE, 3, 1, 100, body, sign))
    as_status = seal(CHAIN, Kind.STATUS, 3, 1, 101, body, sign)
    talk.deliver(Frame(Kind.VIEW_CHANGE, 3, 1, 101, body, as_status.signature, b""))
    talk.hear(3, Kind.VIEW_CHANGE, ViewChange(1, 1, None))
    assert talk.refusals() == [Reason.AUTH_SIGNATURE, Reason.AUTH_SIGNATURE, Reason.WRONG_EPOCH]
    assert not talk.replica.view_changes._slots


@pytest.mark.covers("C01", "C02", "C05")
@pytest.mark.parametrize("raw", [b"", b"\xc0", b"\x97\x01", bytes(1000), b"\xff" * 100, b"\x91" * 2000])
def test_bytes_that_are_no_frame_are_refused(raw: bytes) -> None:
    """Whatever they are: a note, and nothing else."""
    talk = Conversation()
    assert not talk.step(Received(3, raw))
    assert len(talk.refusals()) == 1


@pytest.mark.covers("P13", "R10")
def test_a_boot_epoch_grows_with_each_start() -> None:
    """Numbers are never used twice: not after a crash, not beyond the reserve without a record."""
    talk = Conversation()
    talk.restart()
    talk.restart()
    assert {item.frame.boot for item in talk.said} == {1, 2, 3}
    talk.replica.voice.counter = RESERVED
    talk.tick(500)
    assert decode(talk.disk.journal["boot"], BootRecord, 64) == BootRecord(3, 2 * RESERVED + 1)


@pytest.mark.covers("D07", "D08", "R13", "O02")
@pytest.mark.parametrize(
    "seen", [Seen(2, 1, 0), Seen(1, 10**6, 0)], ids=["a later boot", "a number that was never used"]
)
def test_who_has_forgotten_its_past_is_silent(seen: Seen) -> None:
    """f+1 members have seen what it does not remember: no votes, no proposals, no views; a later boot; it follows."""
    talk = Conversation(me=2)
    talk.status(0, seen=seen)
    assert talk.replica.position.may_vote, "one may lie"
    talk.status(3, seen=seen)
    assert talk.replica.position.quarantine == Quarantine.WAITING
    block = talk.block()
    said = [*talk.propose(block), *talk.votes(PREPARE, (0, 1, 3), block)]
    assert not voted(said, PREPARE)
    assert not voted(said, COMMIT)
    talk.votes(COMMIT, (0, 1, 3), block)
    assert talk.height == 1, "it follows"
    talk.submit(talk.transaction())
    assert not of_kind(talk.tick(10_000), Kind.VIEW_CHANGE)
    talk.restart()
    assert not voted(talk.propose(talk.block([block])), PREPARE), "a restart is no decision"


@pytest.mark.covers("D07", "O02")
def test_a_certificate_with_a_forgotten_vote_is_proof() -> None:
    """The replica's own signature under a vote that its disk does not have: it stops voting at once."""
    talk = Conversation(me=2)
    block = talk.block()
    talk.ask_for_view(3, 1, talk.certificate(PREPARE, block, senders=(0, 1, 3)))
    assert talk.replica.position.quarantine == Quarantine.NONE
    talk = Conversation(me=2)
    blocks = talk.chain(1)
    talk.status(0, committed=1)
    talk.tick(600)
    talk.status(0, committed=1)
    talk.run(0, blocks, talk.certificate(COMMIT, blocks[0], senders=(0, 1, 2)))
    assert talk.height == 1
    assert talk.replica.position.quarantine == Quarantine.WAITING
    assert quarantine_of(talk) == QuarantineRecord(Quarantine.WAITING, 0, 0)
    talk.replica.nonces.on_own_vote(2)
    assert [note.fields for note in talk.notes if note.name == "quarantined"] == [{"boot": 1, "height": 1}], "once"


@pytest.mark.covers("D07", "O02")
def test_what_it_may_have_said_before_its_probation_proves_nothing_afterwards() -> None:
    """Up to the barrier its forgotten votes were reckoned with; above it there must be none."""
    talk = Conversation(me=2)
    blocks = talk.chain(3)
    for block in blocks:
        talk.commit(block)
    talk.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.NONE, 2, 0))
    talk.restart()
    talk.replica.nonces.on_own_vote(2)
    assert talk.replica.position.quarantine == Quarantine.NONE
    talk.replica.nonces.on_own_vote(3)
    assert talk.replica.position.quarantine == Quarantine.WAITING


@pytest.mark.covers("D07", "O02", "D01")
def test_that_it_has_forgotten_is_not_forgotten_in_a_crash() -> None:
    """The certificate that proves it may not come a second time."""
    talk = Conversation(me=2)
    blocks = talk.chain(1)
    talk.status(0, committed=1)
    talk.tick(600)
    talk.status(0, committed=1)
    talk.step_behind = True
    talk.run(0, blocks, talk.certificate(COMMIT, blocks[0], senders=(0, 1, 2)))
    talk.restart()
    assert talk.replica.position.quarantine == Quarantine.WAITING


@pytest.mark.covers("D08", "R13")
@pytest.mark.parametrize(
    ("reports", "boot"),
    [({0: Seen(9, 1, 0), 3: Seen(5, 1, 0)}, 6), ({0: Seen(1, 10**6, 0), 3: Seen(1, 10**6, 0)}, 2)],
    ids=["one may lie", "the boot that it has now"],
)
def test_a_life_that_has_forgotten_begins_another_boot(reports: dict[int, Seen], boot: int) -> None:
    """Above what a correct member has seen of it, and no further: a liar cannot use up the epochs. It counts anew."""
    talk = Conversation(me=2)
    for member, seen in reports.items():
        talk.status(member, seen=seen)
    assert quarantine_of(talk) == QuarantineRecord(Quarantine.WAITING, 0, 0)
    assert [note.fields for note in talk.notes if note.name == "quarantined"] == [{"boot": boot}]
    talk.tick(500)
    assert {item.frame.boot for item in talk.said} == {1, boot}
    assert min(item.frame.counter for item in talk.said if item.frame.boot == boot) == 1


@pytest.mark.covers("D07", "D08")
@pytest.mark.parametrize(
    ("reports", "height", "asked"),
    [
        ({0: (3, 1), 1: (9, 7), 3: (5, 2)}, 9, 7),
        ({0: (3, 1), 1: (9, 7), 3: (5, 2), 4: (4, 0), 5: (4, 0), 6: (2, 4)}, 5, 4),
        ({0: (3, 1), 1: (9, 7), 3: (5, 2), 4: (4, 0), 5: (4, 0), 6: (2, 4), 7: (8, 1), 8: (0, 0), 9: (1, 1)}, 8, 4),
    ],
    ids=["n = 4", "n = 7", "n = 10"],
)
def test_probation_is_as_long_as_two_say(reports: dict[int, tuple[int, int]], height: int, asked: int) -> None:
    """The second highest report counts; with f = 1 the highest, for the one that may lie is who has forgotten."""
    talk = Conversation(len(reports) + 1, me=2)
    talk.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
    talk.restart(introduced=False)
    for _ in range(6):
        for member, (committed, view) in reports.items():
            talk.status(member, committed=committed, tip=committed, seen=Seen(0, 0, view))
        talk.tick(500)
    barrier = height + 4 * talk.members.parameters.window
    assert quarantine_of(talk) == QuarantineRecord(Quarantine.PROBATION, barrier, asked)
    assert [note.fields for note in talk.notes if note.name == "probation"] == [{"until": barrier}]


@pytest.mark.covers("D07", "D08")
def test_probation_ends_above_everything_that_may_have_been_said() -> None:
    """Allowed by the operator: it asks around, waits for four windows of blocks, and votes again."""
    talk = Conversation(me=2)
    talk.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
    talk.restart(introduced=False)
    for _ in range(6):
        for member in talk.others():
            talk.status(member, committed=1, tip=1)
        talk.tick(500)
    assert talk.replica.position.quarantine == Quarantine.PROBATION
    barrier = 1 + 4 * talk.members.parameters.window
    blocks = []
    talk.submit(talk.transaction(client=1))
    talk.tick(700)
    while talk.height < barrier:
        blocks.append(talk.block(blocks))
        talk.commit(blocks[-1])
        assert not voted(talk.said, PREPARE)
    blocks.append(talk.block(blocks))
    talk.commit(blocks[-1])
    assert talk.replica.position.quarantine == Quarantine.NONE
    assert quarantine_of(talk) == QuarantineRecord(Quarantine.NONE, barrier, 0)
    assert talk.replica.pool.head_since_ms == talk.now_ms, "who is waited for is given its time from now on"
    following = talk.block(blocks)
    assert voted(talk.propose(following), PREPARE) == [(0, barrier + 2, following.hash)]


@pytest.mark.covers("D07", "D08", "V10")
def test_after_its_probation_it_asks_for_the_view_that_it_had_asked_for() -> None:
    """For the one above it, as it may not vote below: f+1 others remember that it asked for view 5."""
    talk = Conversation(me=2, parameters=Parameters(window=2, checkpoint_interval=1000))
    talk.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
    talk.restart(introduced=False)
    for _ in range(6):
        for member in talk.others():
            talk.status(member, committed=1, tip=1, seen=Seen(0, 0, 5))
        talk.tick(500)
    for block in talk.chain(1 + 4 * 2 + 1):
        assert talk.replica.position.quarantine == Quarantine.PROBATION
        talk.commit(block)
    assert talk.replica.position.quarantine == Quarantine.NONE
    assert talk.view == (6, False)


@pytest.mark.covers("D07", "D08", "V10")
def test_probation_does_not_end_before_a_view_could_be_asked_for() -> None:
    """It had asked for view 5 and forgotten: what brings it past the barrier before it is introduced is not enough."""
    talk = Conversation(me=2)
    talk.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.PROBATION, 1, 5))
    talk.restart(introduced=False)
    blocks = talk.chain(3)
    for block in blocks[:2]:
        talk.commit(block)
    assert (talk.height, talk.replica.position.quarantine) == (2, Quarantine.PROBATION)
    talk.introduce()
    talk.commit(blocks[2])
    assert talk.replica.position.quarantine == Quarantine.NONE
    assert talk.view == (6, False)


@pytest.mark.covers("D07", "D08", "N01")
def test_probation_is_not_over_while_a_crash_can_take_the_log_that_ended_it() -> None:
    """A run brings it past the barrier, the power fails before that is appended: it may have voted for other blocks
    at the heights that it is shown next, before it lost its disk."""
    talk = Conversation(me=2, parameters=Parameters(window=2, checkpoint_interval=1000))
    talk.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.PROBATION, 9, 0))
    talk.restart()
    blocks = talk.chain(12)
    talk.status(0, committed=4)
    talk.run(0, blocks[:4], talk.certificate(COMMIT, blocks[3], senders=(0, 1, 3)))
    talk.step_behind = True
    talk.status(0, committed=10)
    talk.run(0, blocks[4:10], talk.certificate(COMMIT, blocks[9], senders=(0, 1, 3)))
    assert (talk.height, talk.replica.position.quarantine) == (10, Quarantine.NONE)
    talk.restart()
    assert (talk.height, talk.replica.position.quarantine) == (4, Quarantine.PROBATION)
    assert not [item for block in blocks[4:10] for item in voted(talk.propose(block), PREPARE)]


@pytest.mark.covers("D07", "D08")
@pytest.mark.parametrize("phase", [PREPARE, COMMIT])
def test_a_certificate_with_a_vote_that_it_does_not_remember_proves_that_it_has_forgotten(phase: int) -> None:
    """A COMMIT where only a PREPARE is on record, or a PREPARE of a view that it was never in: its disk is not what it
    was."""
    talk = Conversation()
    block = talk.block()
    talk.propose(block)
    view = 0 if phase == COMMIT else 1
    talk.ask_for_view(3, 2, talk.certificate(phase, block, view, senders=(0, talk.me, 2)))
    assert talk.replica.position.quarantine == Quarantine.WAITING
