"""Custody by itself: what is chosen, what is told, what is let go, and that its books are right at every step."""

import pytest

from bftnode.protocol.errors import Reason
from bftnode.protocol.nonces import ClientWindow
from bftnode.protocol.transactions import Transaction
from bftnode.replica import pool as pool_room
from bftnode.replica.pool import HOPELESS_MAX, Pool
from tests.replica.conversation import Conversation

TALK = Conversation()


def holding(*transactions: Transaction) -> Pool:
    """A pool whose clients are admitted, with these, which came a millisecond apart."""
    pool = Pool({item.key[0]: ClientWindow(1) for item in transactions})
    for at_ms, item in enumerate(transactions):
        assert pool.add(item, 1, at_ms) is None
    return pool


def same_size(count: int) -> tuple[list[Transaction], int]:
    """So many envelopes, and how long each is."""
    made = [TALK.transaction(nonce=nonce) for nonce in range(1, count + 1)]
    (size,) = {len(item.raw) for item in made}
    return made, size


@pytest.mark.parametrize(
    ("count", "bytes_for", "spare", "expected"), [(9, 3, 0, 3), (9, 3, -1, 2), (2, 9, 0, 2), (9, 9, 0, 4)]
)
def test_the_oldest_few_are_within_both_bounds(count: int, bytes_for: int, spare: int, expected: int) -> None:
    """Of number and of bytes, to the last byte."""
    made, size = same_size(4)
    pool = holding(*made)
    assert pool.oldest_few(count, bytes_for * size + spare) == [item.raw for item in made[:expected]]


@pytest.mark.parametrize(
    ("count", "bytes_for", "spare", "expected"), [(9, 3, 0, 3), (9, 3, -1, 2), (2, 9, 0, 2), (9, 9, 0, 4)]
)
def test_what_a_block_takes_is_within_both_bounds(count: int, bytes_for: int, spare: int, expected: int) -> None:
    """Five bytes beside each envelope are for its head."""
    made, size = same_size(4)
    pool = holding(*made)
    assert pool.choose(count, bytes_for * (size + 5) + spare, 1) == made[:expected]


def test_a_block_takes_what_it_may_hold() -> None:
    """Up to its last height, of clients that are admitted."""
    late, last, good = TALK.transaction(valid_until=4), TALK.transaction(valid_until=5), TALK.transaction()
    stranger = TALK.transaction(client=1)
    pool = holding(late, last, stranger, good)
    pool._clients[stranger.key[0]].role = 0
    assert pool.choose(9, 10**6, 5) == [last, good]
    assert pool.first_ready(5) == (last.key, 1)


def test_what_is_hopeless_is_let_go_with_its_reason() -> None:
    """The oldest, one after the other, up to one that has hope; then the clock of that one runs from now on."""
    expired, last = TALK.transaction(valid_until=4), TALK.transaction(valid_until=5)
    stranger, used = TALK.transaction(client=1), TALK.transaction()
    pool = holding(expired, stranger, used, last)
    pool._clients[stranger.key[0]].role = 0
    pool._clients[used.key[0]].use(used.key[1])
    gone = [(expired, Reason.TX_EXPIRED), (stranger, Reason.TX_UNKNOWN_CLIENT), (used, Reason.TX_NONCE_USED)]
    assert pool.drop_hopeless(5, 77) == gone
    assert (pool.oldest(), pool.oldest_since_ms, pool.head_since_ms) == (last, 77, 77)
    assert pool.drop_hopeless(5, 99) == []
    assert pool.oldest_since_ms == 77


def test_the_books_are_right_when_something_leaves() -> None:
    """Ready ones and their bytes, in flight or not; each client's own count."""
    made, size = same_size(3)
    other = TALK.transaction(client=1)
    pool = holding(*made, other)
    assert (pool.ready, pool.ready_bytes) == (4, 3 * size + len(other.raw))
    pool.include(made[:1], 1, 0)
    assert (pool.ready, pool.ready_bytes) == (3, 2 * size + len(other.raw))
    pool.executed(made[:2], 0)
    assert (pool.ready, pool.ready_bytes, len(pool)) == (2, size + len(other.raw), 2)
    assert pool._of_client == {made[0].key[0]: 1, other.key[0]: 1}
    pool.executed([made[2], other], 0)
    assert (pool.ready, pool.ready_bytes, len(pool), pool._of_client) == (0, 0, 0, {})


def test_an_envelope_of_a_block_is_in_custody_too() -> None:
    """Whoever brought it; it is not ready, and its clock runs."""
    (first, second), _ = same_size(2)
    pool = holding(first)
    assert (Pool({}).oldest_since_ms, Pool({}).head_since_ms, Pool({}).ready_bytes) == (0, 0, 0)
    pool.include([first, second], 3, 9)
    assert (len(pool), pool.ready, pool.ready_bytes) == (2, 0, 0)
    assert pool.in_flight(first.key)
    assert pool.in_flight(second.key)
    assert pool._since_ms == {first.key: 0, second.key: 9}


def test_custody_is_bounded_to_the_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits is taken; a byte less of room, and it is not."""
    made, size = same_size(3)
    for room, expected in ((3 * size, None), (3 * size - 1, Reason.BUSY)):
        monkeypatch.setattr(pool_room, "PENDING_BYTES_MAX", room)
        pool = holding(*made[:2])
        assert pool.refusal(made[2], 1) is expected


def test_behind_so_many_that_are_hopeless_nothing_is_looked_for() -> None:
    """They are let go soon; to look at all of them in each step would take long."""
    for count in (HOPELESS_MAX - 1, HOPELESS_MAX):
        hopeless = [TALK.transaction(valid_until=1) for _ in range(count)]
        good = TALK.transaction()
        found = holding(*hopeless, good).first_ready(2)
        assert found == ((good.key, count) if count < HOPELESS_MAX else None)
