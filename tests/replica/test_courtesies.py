"""A view change for the sake of one member: whom it is granted to, when, and how often."""

import pytest

from bftnode.protocol.messages import Kind, Slow
from bftnode.replica.watch import LONG_ROUND_OF_TIMEOUT
from tests.replica.conversation import TIMING, Conversation
from tests.replica.test_view_changes import asked_for

LONG_MS = TIMING.view_change_timeout_ms // LONG_ROUND_OF_TIMEOUT
"""What a round takes at least where a primary may be late to some."""


@pytest.mark.covers("P18", "V07")
def test_a_courtesy_is_granted_when_it_is_due() -> None:
    """A while after who stands alone has asked; and so long after the last one."""
    talk = Conversation()
    talk.tick(1000)
    talk.ask_for_view(3, 1)
    assert not asked_for(talk.tick(TIMING.courtesy_delay_ms - 1))
    assert [view for view, _ in asked_for(talk.tick(1))] == [1]
    granted_ms = talk.now_ms
    talk.open_view(1)
    assert talk.view == (1, True)
    talk.ask_for_view(3, 2)
    assert not asked_for(talk.tick(granted_ms + TIMING.courtesy_interval_ms - 1 - talk.now_ms))
    assert [view for view, _ in asked_for(talk.tick(1))] == [2]


def test_since_when_a_member_asks_for_a_later_view_than_mine() -> None:
    """Asking for a still later one begins nothing anew; but for who has asked for mine and goes on."""
    talk = Conversation()
    slots = talk.replica.view_changes._slots
    talk.ask_for_view(3, 2)
    talk.tick(700)
    talk.ask_for_view(3, 3)
    assert slots[3].since_ms == 0
    talk.open_view(3)
    assert talk.view == (3, True)
    talk.tick(700)
    talk.ask_for_view(3, 4)
    assert slots[3].since_ms == talk.now_ms


@pytest.mark.covers("N04", "V15")
@pytest.mark.parametrize(("round_ms", "expected"), [(LONG_MS, 2), (LONG_MS - 1, None)])
def test_who_has_complained_for_as_long_as_courtesy_waits(round_ms: int, expected: int | None) -> None:
    """Where rounds are long; without a pause, and of this view."""
    talk = Conversation()
    watching = talk.replica.watch
    for _ in range(8):
        watching._add_round(round_ms)
    assert watching.round_ms == round_ms
    began = talk.now_ms
    while talk.now_ms < began + TIMING.courtesy_delay_ms - 1:
        talk.hear(2, Kind.SLOW, Slow(0, 0))
        talk.now_ms = min(talk.now_ms + 500, began + TIMING.courtesy_delay_ms - 1)
    talk.hear(2, Kind.SLOW, Slow(0, 0))
    assert watching.aggrieved() is None
    talk.now_ms += 1
    talk.hear(2, Kind.SLOW, Slow(0, 0))
    assert watching.aggrieved() == expected


@pytest.mark.covers("V15", "P18")
def test_a_courtesy_for_who_is_served_late_says_for_whom() -> None:
    """And it is granted once in a courtesy interval, as that for who stands alone in the next view."""
    talk = Conversation()
    granted: list[tuple[int, dict[str, int | str]]] = []
    for _ in range(8):
        talk.replica.watch._add_round(LONG_MS)
    for _ in range(2 * TIMING.courtesy_interval_ms // 250):
        view = talk.view[0]
        talk.hear(3, Kind.SLOW, Slow(0, view))
        asked = asked_for(talk.tick(250))
        granted += [(talk.now_ms, note.fields) for note in talk.notes if note.name == "courtesy_view_change"]
        talk.notes.clear()
        if asked:
            talk.open_view(view + 1)
    first, second = TIMING.courtesy_delay_ms, TIMING.courtesy_delay_ms + TIMING.courtesy_interval_ms
    assert granted == [(first, {"member": 3, "view": 1}), (second, {"member": 3, "view": 2})]
