"""The pure parts of the room: back-off, the door, notices, and what a link does at its bounds."""

import pytest
import structlog
import trio

from bftnode.net.backoff import Backoff
from bftnode.net.door import Door
from bftnode.net.limits import NetLimits
from bftnode.net.notices import Notices
from bftnode.net.peer import Peer, PeerInfo
from tests.net.members import Said


def test_backoff_doubles_to_its_bound_and_starts_again() -> None:
    """Each pause lies between half of its step and the step, so that peers do not return together."""
    backoff = Backoff(0.05, 5.0)
    for step_s in [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]:
        assert step_s / 2 <= backoff.next_s() <= step_s
    backoff.reset()
    assert backoff.next_s() <= 0.05
    assert len({Backoff(1.0, 1.0).next_s() for _ in range(10)}) > 1


@pytest.mark.covers("W09")
async def test_the_door_has_room_for_so_many_strangers() -> None:
    """The oldest goes; who has shown a certificate is not among them; one per member stays, the newest."""
    door = Door(2)
    first, second, third, fourth, fifth = scopes = [trio.CancelScope() for _ in range(5)]
    door.knock(first)
    door.prove(first, 7)
    for scope in (second, third, fourth):
        door.knock(scope)
    assert [scope.cancel_called for scope in scopes] == [False, True, False, False, False]
    door.knock(fifth)
    door.prove(fifth, 7)
    assert [scope.cancel_called for scope in scopes] == [True, True, True, False, False]
    door.leave(first, 7)  # its successor is not put out by its leaving
    assert len(door) == 2
    for scope in scopes:
        door.leave(scope, 7)
    assert len(door) == 0
    door.evict_oldest()


@pytest.mark.covers("A19")
def test_a_notice_is_said_once_in_an_interval(said: Said) -> None:
    """Then it is counted, and the next line says how many it stands for; other peers and reasons have their own."""
    notices = Notices(60.0)
    for now in (0.0, 1.0, 59.0):
        notices.say(now, "peer.refused", 1, "tls.expired")
    notices.say(2.0, "peer.refused", 2, "tls.expired")
    notices.say(2.0, "peer.refused", 1, "id.mismatch")
    notices.say(60.0, "peer.refused", 1, "tls.expired", detail="x")
    same = said.of("peer.refused", peer=1, reason="tls.expired")
    assert [line.get("unsaid") for line in same] == [None, 2]
    assert len(said.lines) == 4


def test_notices_have_levels() -> None:
    """A link that comes up is no warning."""
    with structlog.testing.capture_logs() as lines:
        Notices(1.0).say(0.0, "peer.link_up", 1, level=20)
        Notices(1.0).say(0.0, "peer.refused", 1)
    assert [line["log_level"] for line in lines] == ["info", "warning"]


def test_faults_count_within_a_window() -> None:
    """A few faults an hour are an odd peer; as many in a minute are too many, and counting starts again."""
    peer = Peer(PeerInfo(1, "m1", b"", "", ("", 0)), NetLimits(faults_max=3, faults_window_s=60.0))
    assert [peer.fault(now) for now in (0.0, 50.0, 61.0, 62.0, 63.0, 64.0, 65.0)] == [False] * 3 + [True] + [
        False,
        False,
        True,
    ]
    assert peer.statistics().faults == 7


def test_limits_that_cannot_work_are_our_own_mistake() -> None:
    """An outbox smaller than one legal frame would drop it for ever."""
    for wrong in ({"outbox_bytes_max": 1000}, {"strangers_max": 0}, {"backoff_first_s": 9.0}):
        with pytest.raises(AssertionError):
            NetLimits(**wrong)  # type: ignore[arg-type]  # a dict of one
