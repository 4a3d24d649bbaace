"""STATUS: what it says, what it is answered with and how often, and what a member learns of itself from the others'."""

from dataclasses import replace

import pytest

from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import PREPARE
from bftnode.protocol.codec import encode
from bftnode.protocol.messages import FetchBlock, Kind, PrePrepare, Seen, Status
from bftnode.replica import agreement, sync
from bftnode.replica.nonces import REPORTING_INTERVALS, QuarantineRecord
from bftnode.replica.position import Quarantine
from bftnode.replica.sync import WANTED_MAX
from bftnode.replica.voice import RESERVED
from tests.replica import conversation
from tests.replica.conversation import TIMING, Conversation, Said, of_kind, voted

INTERVAL_MS = TIMING.status_interval_ms
HALF_MS = INTERVAL_MS // 2


def own(talk: Conversation) -> Status:
    """What it says of itself next."""
    (said,) = of_kind(talk.tick(INTERVAL_MS), Kind.STATUS)
    assert isinstance(said.body, Status)
    return said.body


def test_what_it_says_of_itself() -> None:
    """Its log, its tip, its highest certificate; and for which view it holds a VIEW-CHANGE of whom."""
    talk = Conversation()
    blocks = talk.chain(2)
    status = own(talk)
    assert (status.committed, status.tip, status.certified) == (0, 0, 0)
    assert [seen.asked for seen in status.seen] == [0] * talk.n
    talk.commit(blocks[0])
    talk.propose(blocks[1])
    talk.ask_for_view(3, 7)
    status = own(talk)
    assert (status.committed, status.tip, status.certified) == (1, 2, 1)
    assert [seen.asked for seen in status.seen] == [0, 0, 0, 7]
    talk.votes(PREPARE, (0, 2), blocks[1])
    assert own(talk).certified == 2


@pytest.mark.parametrize("beyond", [0, 1])
def test_who_is_further_ahead_than_the_window_is_asked_at_once(beyond: int) -> None:
    """Of all others votes may be on their way."""
    talk = Conversation()
    said = talk.status(3, committed=talk.members.parameters.window + beyond)
    assert len(of_kind(said, Kind.FETCH_RUN)) == beyond


@pytest.mark.covers("A04", "A18")
def test_what_a_member_may_ask_for_is_counted_anew_twice_an_interval() -> None:
    """However often it says where it is."""
    talk = Conversation()
    block = talk.block()
    talk.propose(block)

    def served(after_ms: int) -> int:
        talk.tick(after_ms)
        talk.status(3)
        return sum(len(talk.hear(3, Kind.FETCH_BLOCK, FetchBlock(0, block.hash))) for _ in range(WANTED_MAX))

    talk.tick(INTERVAL_MS)
    assert [served(after) for after in (0, HALF_MS - 1, 1)] == [WANTED_MAX, 0, WANTED_MAX]


@pytest.mark.covers("P21", "A04")
def test_who_stands_still_gets_again_what_it_lacks_twice_an_interval() -> None:
    """The votes for the block in flight."""
    talk = Conversation(me=2)
    talk.propose(talk.block())

    def repeated(after_ms: int) -> int:
        talk.tick(after_ms)
        return len([item for item in of_kind(talk.status(3), Kind.PREPARE) if item.to == 3])

    assert [repeated(after) for after in (INTERVAL_MS, HALF_MS - 1, 1)] == [1, 0, 1]


@pytest.mark.covers("K06", "P38")
def test_who_gave_nothing_in_time_is_not_asked_again_soon() -> None:
    """Who is one block ahead is asked instead."""
    talk = Conversation()
    talk.commit(talk.block())
    for member in (0, 2):
        talk.status(member, committed=2)
    talk.tick(INTERVAL_MS)
    said = [item for member in (0, 2) for item in talk.status(member, committed=2)]
    assert [item.to for item in of_kind(said, Kind.FETCH_RUN)] == [0]
    assert [item.to for item in of_kind(talk.tick(TIMING.fetch_timeout_ms), Kind.FETCH_RUN)] == [2]
    assert list(talk.replica.sync._shunned_until_ms) == [0]


def test_when_it_wants_to_be_woken_for_what_waits() -> None:
    """To tell the others of it, which is due between two STATUSes."""
    talk = Conversation(me=3)
    talk.tick(100)
    talk.submit(talk.transaction())
    talk.tick(INTERVAL_MS - 50)
    assert talk.replica.next_deadline_ms() == 100 + TIMING.view_change_timeout_ms // 2


@pytest.mark.covers("P24", "V14")
def test_a_base_that_is_missing_is_asked_of_the_primary_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has built on it; then of the others, one after the other."""
    monkeypatch.setattr(conversation, "TIMING", replace(TIMING, view_change_timeout_ms=60_000))
    talk = Conversation(me=0)
    said = talk.open_view(2, talk.certificate(PREPARE, talk.block()))
    for _ in range(3):
        said += talk.tick(INTERVAL_MS)
    assert [item.to for item in of_kind(said, Kind.FETCH_BLOCK)] == [2, 1, 3, 2]


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_base_beyond_the_window_is_fetched_in_a_run(beyond: int) -> None:
    """And by its hash as well, as all others are."""
    talk = Conversation(me=3)
    window = talk.members.parameters.window
    talk.status(2, committed=window)
    said = talk.open_view(1, talk.certificate(PREPARE, talk.chain(window + beyond)[-1]))
    assert [len(of_kind(said, kind)) for kind in (Kind.FETCH_BLOCK, Kind.FETCH_RUN)] == [1, beyond]


@pytest.mark.covers("D01", "V10")
def test_votes_for_a_view_that_it_waits_for_are_kept_after_a_restart() -> None:
    """It has asked for it, and has accepted nothing in it."""
    talk = Conversation(me=2)
    talk.ask_for_view(0, 1)
    talk.ask_for_view(3, 1)
    assert talk.view == (1, False)
    talk.restart()
    block = talk.block(view=1)
    talk.vote(PREPARE, 0, block, view=1)
    assert talk.replica.votes.seen(PREPARE, 1, 1, block.hash) == (0,)


@pytest.mark.covers("C17", "N13")
@pytest.mark.parametrize("allowed", [False, True])
def test_a_status_that_does_not_speak_of_it_says_nothing_of_it(allowed: bool) -> None:
    """Its list ends just before this member."""
    talk = Conversation(me=2)
    if allowed:
        talk.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
        talk.restart(introduced=False)
    for member in talk.others():
        talk.hear(member, Kind.STATUS, Status(0, 0, True, 0, 0, 0, (Seen(9, 9, 9),) * talk.me))
    assert talk.refusals() == []
    assert talk.replica.position.quarantine == (Quarantine.ALLOWED if allowed else Quarantine.NONE)
    if allowed:
        assert set(talk.replica.nonces._reports.values()) == {(0, 0)}


@pytest.mark.covers("D07")
@pytest.mark.parametrize(("more", "expected"), [(0, Quarantine.NONE), (1, Quarantine.WAITING)])
@pytest.mark.parametrize("before", [False, True])
def test_what_it_has_said_is_not_forgotten(before: bool, more: int, expected: Quarantine) -> None:
    """The last frame of this boot, or the last that the one before may have sent."""
    talk = Conversation(me=2)
    if before:
        talk.restart()
        seen = Seen(1, RESERVED + more, 0)
    else:
        seen = Seen(1, talk.replica.voice.counter + more, 0)
    for member in (0, 3):
        talk.status(member, seen=seen)
    assert talk.replica.position.quarantine == expected


@pytest.mark.covers("D07", "D08")
@pytest.mark.parametrize("field", ["committed", "tip", "certified"])
def test_the_highest_that_a_member_knows_of_is_what_it_reports(field: str) -> None:
    """For as long as the others are given; to the millisecond."""
    talk = Conversation(me=2)
    talk.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
    talk.tick(1300)
    talk.restart(introduced=False)
    heights = {"committed": 0, "tip": 0, "certified": 0, field: 9}

    def report(member: int) -> None:
        body = Status(0, 0, True, heights["committed"], heights["tip"], heights["certified"], (Seen(0, 0, 0),) * talk.n)
        talk.hear(member, Kind.STATUS, body)

    for member in talk.others():
        report(member)
    talk.tick(REPORTING_INTERVALS * INTERVAL_MS - 1)
    report(0)
    assert talk.replica.position.quarantine == Quarantine.ALLOWED
    talk.tick(1)
    report(0)
    assert talk.replica.position.quarantine == Quarantine.PROBATION
    assert talk.replica.nonces._barrier == 9 + 4 * talk.members.parameters.window


@pytest.mark.covers("P21")
@pytest.mark.parametrize("tip", [0, 2])
def test_a_backup_that_stands_still_gets_again_what_is_above_its_tip(tip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the primary, and of this view: the base of a view is in its NEW-VIEW."""
    monkeypatch.setattr(agreement, "PIPELINE_TRANSACTIONS", 1)
    talk = Conversation(me=1)
    base = talk.block()
    talk.propose(base)
    for member in (0, 2, 3):
        talk.ask_for_view(member, 1, talk.certificate(PREPARE, base))
    assert talk.view == (1, True)
    for _ in range(2):
        talk.submit(talk.transaction(client=1))
    assert proposed(talk.said) == [2, 3]
    talk.status(3, tip=tip, view=1)
    talk.tick(TIMING.status_interval_ms)
    said = talk.status(3, tip=tip, view=1)
    assert proposed(said) == [seq for seq in (2, 3) if seq > tip]
    assert {item.to for item in of_kind(said, Kind.PRE_PREPARE)} == {3}


def proposed(said: list[Said]) -> list[int]:
    """At which heights."""
    bodies = [item.body for item in of_kind(said, Kind.PRE_PREPARE)]
    return [open_header(body.header).seq for body in bodies if isinstance(body, PrePrepare)]


@pytest.mark.covers("P21", "A04")
@pytest.mark.parametrize(("blocks_for", "spare", "expected"), [(2, 0, 2), (2, -1, 2), (1, 1, 2), (1, 0, 1)])
def test_what_is_sent_again_at_once_is_bounded(
    blocks_for: int, spare: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many proposals as fill it, the last one whole; votes come all the same."""
    monkeypatch.setattr(agreement, "PIPELINE_TRANSACTIONS", 1)
    talk = Conversation(me=0)
    for _ in range(4):
        talk.submit(talk.transaction())
    assert proposed(talk.said) == [1, 2, 3, 4]
    (size,) = {len(item.frame.payload) for item in of_kind(talk.said, Kind.PRE_PREPARE)}
    monkeypatch.setattr(sync, "RESENT_BYTES_TARGET", blocks_for * size + spare)
    talk.status(3)
    talk.tick(TIMING.status_interval_ms)
    said = talk.status(3)
    assert proposed(said) == list(range(1, expected + 1))
    assert [seq for _, seq, _ in voted(said, PREPARE)] == [1, 2, 3, 4]
