"""What waits for the replica: nobody's flood is anybody else's wait."""

from typing import Any, cast

import pytest
import trio
import trio.testing

from bftnode.node.inbox import Inbox
from bftnode.protocol import ed25519
from bftnode.protocol.messages import Kind
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.events import Received, Submitted

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


async def is_awake(box: Inbox) -> bool:
    """Whether who waits for something to do has something to do."""
    woken = False

    async def wait() -> None:
        nonlocal woken
        await box.wait()
        woken = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return woken


def vote(number: int = 0) -> bytes:
    """What begins as a PREPARE does."""
    return bytes((0x97, Kind.PREPARE, number))


def transaction(nonce: int) -> Transaction:
    seed = b"c" * 32
    body = TransactionBody(b"a chain of 32 bytes, that's what!", ed25519.public_key_of(seed), nonce, 10, (b"o",))
    return sign_transaction(body, ed25519.signer(seed))


async def test_votes_wait_for_as_many_as_can_matter() -> None:
    """Fewer wake nobody, and are taken in the turn of whatever comes next; where fewer suffice now, they wake."""
    box = inbox()
    box.expect(3, None)
    box.receive(1, vote(1))
    box.receive(2, vote(2))
    assert not await is_awake(box)
    box.receive(3, vote(3))
    assert await is_awake(box)
    assert len(box.take()) == 3
    box.receive(1, vote(4))
    box.receive(2, vote(5))
    assert not await is_awake(box)
    box.receive(2, bytes((0x97, Kind.PRE_PREPARE)))
    assert await is_awake(box)
    assert len(box.take()) == 3
    box.receive(1, vote(6))
    assert not await is_awake(box)
    box.expect(1, None)
    assert await is_awake(box)


@pytest.mark.covers("P33")
async def test_what_waits_for_company_is_within_the_bounds() -> None:
    """Votes that wake nobody fill their sender's queue and no more; a full one has room after the next turn."""
    box = inbox()
    box.expect(10 * FRAMES_MAX, None)
    for number in range(FRAMES_MAX):
        assert box.receive(1, vote(number)) is None
    waiting = box.receive(1, vote())
    assert waiting is not None
    cast(Any, waiting).close()
    assert await is_awake(box)


async def test_envelopes_that_others_propose_wait_and_somebody_is_reminded() -> None:
    """Once, of the first; where they are to be proposed here they wake."""
    box = inbox()
    reminded: list[int] = []
    box.expect(1, lambda: reminded.append(1))
    for nonce in range(1, 4):
        assert box.submit([transaction(nonce)])
    assert reminded == [1]
    assert not await is_awake(box)
    box.receive(1, bytes((0x97, Kind.PRE_PREPARE)))
    events = box.take()
    assert isinstance(events[-1], Submitted)
    assert len(events[-1].transactions) == 3
    assert box.submit([transaction(4)])
    assert reminded == [1, 1]
    box.expect(1, None)
    assert await is_awake(box)
