"""What waits for the replica: nobody's flood is anybody else's wait."""

from typing import Any, cast

import pytest

from bftnode.node.inbox import Inbox
from bftnode.replica.events import Received

FRAMES_MAX, TURN_MAX = 100, 6


def inbox() -> Inbox:
    return Inbox((1, 2, 3), FRAMES_MAX, 1 << 20, 10, TURN_MAX)


@pytest.mark.covers("P33", "W14")
async def test_a_peer_that_floods_starves_nobody() -> None:
    """One at full rate fills its own queue and waits there; what others say is in the very next turn."""
    box = inbox()
    for number in range(FRAMES_MAX):
        assert box.receive(1, b"flood %d" % number) is None
    waiting = box.receive(1, b"one too many")
    assert waiting is not None
    cast(Any, waiting).close()  # its reader would wait here, and read nothing meanwhile
    assert box.receive(2, b"vote of 2") is None
    assert box.receive(3, b"vote of 3") is None
    heard = [(event.sender, event.frame) for event in box.take() if isinstance(event, Received)]
    assert heard[TURN_MAX:] == [(2, b"vote of 2"), (3, b"vote of 3")]
    assert heard[:TURN_MAX] == [(1, b"flood %d" % number) for number in range(TURN_MAX)]


async def test_what_one_peer_says_stays_in_order() -> None:
    """Over many turns, whoever else speaks."""
    box = inbox()
    for number in range(40):
        box.receive(1, b"%d" % number)
        box.receive(2, b"other")
    heard: list[bytes] = []
    for _ in range(40):
        heard += [event.frame for event in box.take() if isinstance(event, Received) and event.sender == 1]
    assert heard == [b"%d" % number for number in range(40)]
