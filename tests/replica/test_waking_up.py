"""A replica that did nothing for long: its machine was suspended, or its disk kept it waiting."""

from dataclasses import replace

import pytest

from bftnode.protocol.certificates import PREPARE
from bftnode.protocol.messages import Kind
from tests.replica import conversation
from tests.replica.conversation import TIMING, Conversation, of_kind
from tests.replica.test_view_changes import asked_for

ASLEEP_MS = 3_600_000
COUNTED_MS = 500
"""Of any sleep a status interval counts: a replica that runs takes a step that often."""


def sleep(talk: Conversation) -> None:
    """Nobody tells it that time passes, until it wakes up."""
    talk.now_ms += ASLEEP_MS
    talk.wall_ms += ASLEEP_MS
    talk.tick()


def sleep_and_leave(talk: Conversation, passed_ms: int) -> None:
    """After so much of the view's time it sleeps; it leaves the view when what was left has passed."""
    view, timeout_ms = talk.view, talk.replica.view_changes.timeout_ms
    sleep(talk)
    assert not asked_for(talk.tick(timeout_ms - passed_ms - COUNTED_MS - 1))
    assert talk.view == view
    assert [asked for asked, _ in asked_for(talk.tick(1))] == [view[0] + 1]


BEGUN = pytest.mark.parametrize("begun_ms", [0, 1300])
"""When the clock stands so: what is counted from a moment, and not from the clock's beginning, is the same."""


@pytest.mark.covers("T04", "D13")
@BEGUN
def test_the_primary_is_given_what_was_left_of_its_time(begun_ms: int) -> None:
    """That nothing was heard of it meanwhile says nothing about it."""
    talk = Conversation()
    talk.tick(begun_ms)
    talk.submit(talk.transaction())
    talk.tick(400)
    sleep_and_leave(talk, 400)
    assert [note.fields for note in talk.notes if note.name == "was_asleep"] == [{"ms": ASLEEP_MS - COUNTED_MS}]


@pytest.mark.covers("T04", "D13")
@BEGUN
def test_who_waits_for_a_view_gives_its_primary_what_was_left_of_its_time(begun_ms: int) -> None:
    """Where it left the view after that at once, it would be alone there: the others are in the one that it awaits."""
    talk = Conversation(me=3)
    talk.tick(begun_ms)
    talk.submit(talk.transaction())
    talk.tick(1000)
    for member in (0, 2):
        talk.ask_for_view(member, 1)
    talk.tick(400)
    sleep(talk)
    talk.tick(600 - COUNTED_MS - 1)
    assert talk.view == (1, False)
    talk.tick(1)
    assert talk.view == (2, False)


@pytest.mark.covers("T04", "D13")
@BEGUN
def test_what_waits_is_told_to_the_others_after_what_was_left_of_its_time(
    begun_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a timeout after it came, of the time in which anybody could have done something about it."""
    monkeypatch.setattr(conversation, "TIMING", replace(TIMING, view_change_timeout_ms=4000))
    talk = Conversation()
    talk.tick(begun_ms)
    talk.submit(talk.transaction())
    talk.tick(100)
    sleep(talk)
    assert not of_kind(talk.tick(2000 - 100 - COUNTED_MS - 1), Kind.RELAY)
    assert of_kind(talk.tick(1), Kind.RELAY)


@pytest.mark.covers("T04", "D13")
@BEGUN
def test_a_view_that_was_just_opened_has_what_was_left_of_its_time(begun_ms: int) -> None:
    """Its timer runs from its NEW-VIEW: what waits came before."""
    talk = Conversation(me=3)
    talk.tick(begun_ms)
    talk.submit(talk.transaction())
    talk.tick(300)
    talk.open_view(1)
    assert talk.view == (1, True)
    talk.tick(400)
    sleep_and_leave(talk, 400)


@pytest.mark.covers("T04", "D13")
@BEGUN
def test_what_waits_in_a_view_that_was_just_opened_is_told_after_what_was_left_of_its_time(
    begun_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new primary is given half a timeout, of the time in which anybody could have done something."""
    monkeypatch.setattr(conversation, "TIMING", replace(TIMING, view_change_timeout_ms=4000))
    talk = Conversation(me=3)
    talk.tick(begun_ms)
    talk.submit(talk.transaction())
    talk.tick(300)
    talk.open_view(1)
    half_ms = talk.replica.view_changes.timeout_ms // 2
    talk.tick(50)
    sleep(talk)
    assert not of_kind(talk.tick(half_ms - 50 - COUNTED_MS - 1), Kind.RELAY)
    assert of_kind(talk.tick(1), Kind.RELAY)


@pytest.mark.covers("T04", "D13")
@BEGUN
def test_a_view_whose_base_holds_nothing_that_is_in_custody_has_what_was_left_of_its_time(begun_ms: int) -> None:
    """A quorum has prepared what is expired, and nothing else waits: the timer runs from when the base was here."""
    talk = Conversation(me=3)
    talk.tick(begun_ms)
    base = talk.block(transactions=[talk.transaction(valid_until=0)])
    talk.open_view(1, talk.certificate(PREPARE, base))
    talk.tick(300)
    talk.answer_block(0, base)
    assert talk.view == (1, True)
    talk.tick(400)
    sleep_and_leave(talk, 400)
