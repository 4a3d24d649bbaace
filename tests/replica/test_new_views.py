"""VIEW-CHANGE and NEW-VIEW: which are kept, what is believed of one, what a view that opens says, who is given it."""

import msgspec
import pytest

from bftnode.protocol.certificates import PREPARE
from bftnode.protocol.envelope import encode_frame
from bftnode.protocol.errors import Reason
from bftnode.protocol.messages import Kind, NewView, ViewChange
from tests.replica.conversation import TIMING, Conversation, of_kind


@pytest.mark.covers("V11", "O12")
def test_each_view_of_a_primary_has_a_new_view_of_its_own() -> None:
    """The next one of the same primary, in the view that is open, is no second one."""
    talk = Conversation(me=3)
    talk.open_view(1)
    talk.deliver(talk.new_view(5, dict.fromkeys((0, 1, 2))))
    assert talk.view == (5, True)
    talk.deliver(talk.new_view(1, dict.fromkeys((0, 1, 2))))
    assert not talk.accused


@pytest.mark.covers("V01", "V09")
def test_a_view_change_in_a_new_view_is_verified_unless_it_is_the_one_that_was() -> None:
    """Whoever has signed another one; and a member that does not exist has signed none."""
    talk = Conversation(me=2)
    talk.ask_for_view(3, 1)
    frames = [talk.seal(member, Kind.VIEW_CHANGE, ViewChange(0, 1, None)) for member in (0, 1, 3)]
    for change in ({"signature": bytes(64)}, {"sender": talk.n}):
        forged = [*frames[:2], msgspec.structs.replace(frames[2], **change)]
        body = NewView(0, 1, tuple(encode_frame(frame) for frame in forged))
        talk.deliver(talk.seal(1, Kind.NEW_VIEW, body))
        assert talk.view == (0, True)
    assert talk.refusals() == [Reason.BAD_NEW_VIEW] * 2


@pytest.mark.parametrize("prepared", [False, True])
def test_a_view_that_opens_is_noted_with_what_it_stands_on(prepared: bool) -> None:
    """0 is the log."""
    talk = Conversation(me=3)
    block = talk.block()
    talk.open_view(1, talk.certificate(PREPARE, block) if prepared else None)
    (note,) = [note for note in talk.notes if note.name == "new_view"]
    assert note.fields == {"view": 1, "base": int(prepared), "fruitless": 0}


@pytest.mark.covers("A04", "P21")
def test_who_is_behind_gets_the_new_view_now_and_then() -> None:
    """Twice a status interval at most; where the view is the first there is none."""
    talk = Conversation(me=3)
    assert not of_kind(talk.status(2, active=False), Kind.NEW_VIEW)
    talk.open_view(1)

    def given(after_ms: int) -> int:
        talk.tick(after_ms)
        return len(of_kind(talk.status(2), Kind.NEW_VIEW))

    half_ms = TIMING.status_interval_ms // 2
    assert [given(after) for after in (0, half_ms - 1, 1, half_ms)] == [1, 0, 1, 1]


@pytest.mark.covers("V10", "V06")
def test_which_view_change_of_a_member_is_kept() -> None:
    """The latest view; below mine none; another certificate later on is no lie, and the same one again is nothing."""
    talk = Conversation(me=0)
    certificate = talk.certificate(PREPARE, talk.block())
    talk.ask_for_view(3, 1)
    talk.ask_for_view(3, 2, certificate)
    talk.ask_for_view(3, 1)
    assert talk.replica.view_changes.asked() == {3: 2}
    talk.ask_for_view(3, 2, certificate)
    assert not talk.accused
    talk.ask_for_view(3, 2)
    (accuse,) = talk.accused
    assert (accuse.culprit, accuse.proved) == (3, "two VIEW-CHANGEs for view 2 with different certificates")
    talk.open_view(5)
    assert talk.view == (5, True)
    said = talk.ask_for_view(3, 6)
    assert not of_kind(said, Kind.NEW_VIEW), "it is ahead"
    assert [item.to for item in of_kind(talk.ask_for_view(2, 4), Kind.NEW_VIEW)] == [2]
    assert talk.replica.view_changes.asked() == {3: 6}


def test_nobody_changes_to_view_0() -> None:
    """Everybody begins there."""
    talk = Conversation()
    talk.ask_for_view(3, 0)
    assert talk.refusals() == [Reason.BAD_VIEW_CHANGE]
