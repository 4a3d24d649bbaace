"""What a backup expects of its primary and whom it passes over, each rule by itself: test_watch.py has them at work."""

import pytest

from bftnode.apps.execution import ADMIT, SystemOperation, system_operation
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind, Slow
from bftnode.protocol.nonces import CLIENT
from bftnode.protocol.transactions import TransactionBody, sign_transaction
from bftnode.replica import agreement
from bftnode.replica.events import Unlinked
from bftnode.replica.watch import KEPT_OUT_TIMEOUTS
from tests.replica.conversation import CHAIN, STRANGER, TIMING, Conversation, of_kind
from tests.replica.test_view_changes import asked_for

TIMEOUT_MS = TIMING.view_change_timeout_ms


def test_the_yardstick_is_what_rounds_take_and_how_far_they_are_from_it() -> None:
    """Each new one counts for a sixteenth, as RFC 6298 (2.3) has it; with fewer than eight there is none."""
    watching = Conversation().replica.watch
    rounds = [160, 160, 320, 160, 160, 160, 160, 16]
    for ms in rounds[:-1]:
        watching._add_round(ms)
    assert watching.round_ms is None
    watching._add_round(rounds[-1])
    # In sixteenths: 16 * 160 and 8 * 160, then one after the other by hand.
    mean, spread = 2560, 1280
    for ms in rounds:
        spread += abs(ms - mean // 16) - spread // 16
        mean += ms - mean // 16
    assert (watching._round, watching._spread) == (mean, spread)
    assert watching.round_ms == 158
    watching._add_round(16)
    assert watching.round_ms == 149


def test_a_finding_without_a_yardstick_says_so() -> None:
    """No round was measured yet: a quarter of the timeout is allowed, and 0 stands for what is not known."""
    talk = Conversation()
    talk.submit(talk.transaction())
    talk.tick(TIMEOUT_MS - 1)
    (note,) = [note for note in talk.notes if note.name == "primary_suspected"]
    assert note.fields["round_ms"] == 0
    assert note.fields["allowed_ms"] == TIMEOUT_MS // 4


@pytest.mark.covers("N04", "P30")
@pytest.mark.parametrize(("ready", "in_flight", "expected"), [(1, 0, True), (4, 2, True), (4, 3, False), (3, 2, False)])
def test_when_the_primary_can_be_expected_to_propose(
    ready: int, in_flight: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing in flight; or with less than half a window, where so much waits that not all can be on its way."""
    monkeypatch.setattr(agreement, "PIPELINE_TRANSACTIONS", 2)
    talk = Conversation(parameters=Parameters(window=7))
    talk.submit(*(talk.transaction() for _ in range(ready)))
    assert talk.replica.watch._has_room(in_flight) is expected


@pytest.mark.covers("N04", "P30")
def test_nothing_is_expected_while_a_block_may_change_who_the_clients_are() -> None:
    """It has to be executed first."""
    talk = Conversation()
    operation = system_operation(SystemOperation(ADMIT, talk.keyring.clients[STRANGER], CLIENT))
    body = TransactionBody(CHAIN, talk.keyring.clients[0], 1, 10**6, (operation,))
    talk.propose(talk.block((), [sign_transaction(body, talk.keyring.client_signer(0))]))
    assert talk.replica.agreement.blocked
    assert not talk.replica.watch._has_room(0)


@pytest.mark.covers("N04")
def test_a_primary_is_not_late_to_itself() -> None:
    """Whatever it waits for."""
    talk = Conversation(me=0)
    talk.submit(talk.transaction())
    for _ in range(100):
        talk.tick(10)
    assert not talk.replica.watch.strict
    assert talk.replica.watch.late_ms == 0
    assert not of_kind(talk.said, Kind.SLOW)


@pytest.mark.covers("N19")
def test_what_is_remembered_of_slow_primaries_is_bounded() -> None:
    """f + LEVEL_MAX findings: nobody is found slow after that."""
    watching = Conversation().replica.watch
    for _ in range(100):
        watching._found_ms.append(0)
    assert watching.level == len(watching._found_ms) - 1 == 8


@pytest.mark.covers("N03", "N19")
def test_who_is_passed_over_is_away_or_was_slow() -> None:
    """Until its time is over; who is away only where no more than f would be passed over, else it is me who is cut
    off."""
    talk = Conversation()
    watching = talk.replica.watch
    talk.step(Unlinked(2))
    assert [member for member in range(4) if watching.passes_by(member)] == [2]
    talk.step(Unlinked(3))
    assert not [member for member in range(4) if watching.passes_by(member)]
    watching._keep_out(0, talk.now_ms)
    assert [member for member in range(4) if watching.passes_by(member)] == [0]
    talk.now_ms += KEPT_OUT_TIMEOUTS * TIMEOUT_MS - 1
    talk.hear(2, Kind.SLOW, Slow(0, 0))
    assert watching.passes_by(0)
    talk.now_ms += 1
    talk.hear(2, Kind.SLOW, Slow(0, 0))
    assert not watching.passes_by(0)


@pytest.mark.covers("P19", "P30")
@pytest.mark.parametrize("fruitless", [0, 1])
def test_nobody_is_passed_over_after_a_view_that_brought_nothing(fruitless: int) -> None:
    """Members that pass over different ones meet all the same."""
    talk = Conversation(me=3)
    talk.replica.watch._keep_out(1, talk.now_ms)
    talk.replica.view_changes.fruitless = fruitless
    talk.submit(talk.transaction())
    assert [view for view, _ in asked_for(talk.tick(TIMEOUT_MS << fruitless))][:1] == [2 - fruitless]
