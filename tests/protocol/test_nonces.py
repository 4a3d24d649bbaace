"""Sliding windows, against a naive model that remembers everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol import limits
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.errors import Reason
from bftnode.protocol.nonces import CLIENT, ClientRecord, ClientWindow, ReplayWindow

WINDOW = limits.NONCE_WINDOW
JUMP = limits.NONCE_JUMP_MAX

# Around the highest, around the window's lower edge, around the furthest jump, and anywhere.
STEPS = st.lists(
    st.integers(-5, 5)
    | st.integers(-WINDOW - 2, -WINDOW + 2)
    | st.integers(JUMP - 2, JUMP + 2)
    | st.integers(-2 * WINDOW, 2 * WINDOW),
    max_size=60,
)


class Model:
    """What the rule says, with a set (docs/protocol.md, "Transactions"). Nonces start at 1: 0 is used already."""

    def __init__(self) -> None:
        self.used = {0}

    def refusal(self, nonce: int) -> Reason | None:
        highest = max(self.used)
        if nonce > highest + JUMP:
            return Reason.TX_NONCE_FAR
        if nonce <= highest - WINDOW:
            return Reason.TX_NONCE_OLD
        return Reason.TX_NONCE_USED if nonce in self.used else None

    def remembered(self) -> set[int]:
        return {nonce for nonce in self.used if nonce > max(self.used) - WINDOW}


@pytest.mark.covers("R09", "R11", "R12")
@given(STEPS)
def test_a_client_window_is_the_set_of_used_nonces(steps: list[int]) -> None:
    """The same verdict as the model at every step; what leaves the window is named exactly once."""
    window, model, forgotten = ClientWindow(CLIENT), Model(), set()
    for step in steps:
        nonce = max(0, window.highest + step)
        assert window.refusal(nonce) is model.refusal(nonce)
        if window.refusal(nonce) is None:
            gone = window.use(nonce)
            model.used.add(nonce)
            assert len(gone) == len(set(gone))
            assert model.used.issuperset(gone)
            assert forgotten.isdisjoint(gone)
            forgotten |= set(gone)
            assert model.used - forgotten == model.remembered()


@given(STEPS)
def test_a_client_window_survives_storage(steps: list[int]) -> None:
    """Recorded, encoded, decoded and loaded: the same window."""
    window = ClientWindow(CLIENT)
    for step in steps:
        nonce = max(0, window.highest + step)
        if window.refusal(nonce) is None:
            window.use(nonce)
    loaded = ClientWindow.load(decode(encode(window.record()), ClientRecord, 1000))
    assert (loaded.role, loaded.highest, loaded.used) == (window.role, window.highest, window.used)


@pytest.mark.covers("R12", "P43")
@given(st.permutations(range(1, 60)))
def test_late_ones_within_the_window_are_all_taken(order: list[int]) -> None:
    """Reordering loses nothing: each nonce is good once, in whatever order they come."""
    window, replay = ClientWindow(CLIENT), ReplayWindow()
    assert replay.accept(1, 0)
    for nonce in order:
        assert window.refusal(nonce) is None
        window.use(nonce)
        assert replay.accept(1, nonce)
    for nonce in order:
        assert window.refusal(nonce) is Reason.TX_NONCE_USED
        assert not replay.accept(1, nonce)


@pytest.mark.covers("R11")
def test_a_jump_is_bounded() -> None:
    """A thief of one signature cannot use the client's last nonce and lock it out."""
    window = ClientWindow(CLIENT)
    for nonce in (JUMP + 1, 2**62, 2**63 - 1):
        assert window.refusal(nonce) is Reason.TX_NONCE_FAR
    window.use(JUMP)
    assert window.refusal(2 * JUMP) is None


@pytest.mark.covers("R09", "R10", "R12")
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12_000) | st.integers(0, 5)), max_size=80))
def test_a_replay_window_accepts_nothing_twice(frames: list[tuple[int, int]]) -> None:
    """Against a set: older boots and counters below the window are dropped, all else is good exactly once."""
    window = ReplayWindow()
    latest, highest, seen = 0, 0, {0}
    for boot, counter in frames:
        fresh = boot > latest or (boot == latest and counter > highest - WINDOW and counter not in seen)
        assert window.accept(boot, counter) is fresh
        if boot > latest:
            latest, highest, seen = boot, counter, {counter}
        elif fresh:
            highest = max(highest, counter)
            seen.add(counter)


@pytest.mark.covers("R10")
def test_a_remembered_window_takes_nothing_at_or_below_its_counter() -> None:
    """After our restart, what the peer said before it is not believed again; what it says next is."""
    window = ReplayWindow(3, 100)
    assert not window.accept(3, 100)
    assert not window.accept(3, 99)
    assert not window.accept(2, 500)
    assert window.accept(3, 101)
    assert window.accept(4, 0)
    assert not window.accept(3, 102)
