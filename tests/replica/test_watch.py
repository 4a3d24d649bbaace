"""When a backup finds its primary slow, what moves it, and who is passed over afterwards.

Rounds take ROUND_MS here, so 5 + half of that is what a primary may take from when it owes something.
"""

from collections.abc import Sequence
from typing import cast

import pytest

from bftnode.protocol.blocks import Block
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import unpack
from bftnode.protocol.messages import Kind, Slow
from bftnode.protocol.transactions import Transaction
from bftnode.replica import agreement, watch
from bftnode.replica.events import Linked, Unlinked
from bftnode.replica.watch import (
    GONE_OF_TIMEOUT,
    KEPT_OUT_DOUBLINGS,
    KEPT_OUT_TIMEOUTS,
    LATE_SHARE,
    LEVEL_MAX,
    MEMORY_TIMEOUTS,
)
from tests.replica.conversation import TIMING, Conversation, Said, of_kind
from tests.replica.test_view_changes import asked_for

pytestmark = pytest.mark.long
"""Minutes of a cluster's work each."""

ROUND_MS = 20
ALLOWED_MS = 5 + 10
TIMEOUT_MS = TIMING.view_change_timeout_ms
GRACE_MS = TIMEOUT_MS // GONE_OF_TIMEOUT


class Cluster(Conversation):
    """Everybody else, with a pace."""

    def __init__(self, n: int = 4, me: int = 1) -> None:
        super().__init__(n, me)
        self.blocks: list[Block] = []
        self.round_ms = ROUND_MS
        self.settle()

    def settle(self, view: int = 0) -> None:
        """Rounds enough for a yardstick."""
        for _ in range(64):
            self.serve(5, view=view)
        assert self.replica.watch.allowed_ms == ALLOWED_MS << self.replica.watch.level

    def serve(
        self,
        lag_ms: int,
        transactions: Sequence[Transaction] | None = None,
        *,
        view: int = 0,
    ) -> list[Said]:
        """Something waits; the primary proposes `lag_ms` later, and it is committed."""
        chosen = [self.transaction()] if transactions is None else list(transactions)
        said = [] if transactions is not None else self.submit(*chosen)
        said += self.tick(lag_ms)
        block = self.block(self.blocks, chosen, view=view)
        self.blocks.append(block)
        said += self.propose(block, view)
        said += self.votes(PREPARE, self.others(), block, view)
        said += self.tick(self.round_ms)
        said += self.votes(COMMIT, self.others(), block, view)
        assert self.height == block.seq
        return said

    def slow(self, member: int, view: int = 0) -> list[Said]:
        return self.hear(member, Kind.SLOW, Slow(0, view))

    def complaint(self, lag_ms: int, most: int = 1000, *, view: int = 0) -> int | None:
        """How many blocks with this lag it takes until SLOW is said; None: more than `most`."""
        for number in range(most):
            if of_kind(self.serve(lag_ms, view=view), Kind.SLOW):
                return number
        return None


@pytest.mark.covers("N04", "P30", "N19")
@pytest.mark.parametrize("lag_ms", [0, 5, ALLOWED_MS])
def test_who_keeps_pace_with_rounds_is_not_late(lag_ms: int) -> None:
    """However long it goes on."""
    talk = Cluster()
    assert talk.complaint(lag_ms, 100) is None
    assert talk.replica.watch.late_ms == 0
    assert talk.view == (0, True)


@pytest.mark.covers("N04", "P30")
@pytest.mark.parametrize("lag_ms", [30, 60, 200, 950])
def test_who_delays_each_proposal_is_found_slow(lag_ms: int) -> None:
    """Once it has been late for a timeout beyond its share of the time, however that is spread; and alone, who finds it
    moves nobody, itself least of all."""
    talk = Cluster()
    count = talk.complaint(lag_ms)
    assert count is not None
    late_ms = (lag_ms - ALLOWED_MS) - (lag_ms + ROUND_MS) / LATE_SHARE
    assert TIMEOUT_MS / late_ms <= count + 1 <= 1 + 1.6 * TIMEOUT_MS / late_ms + 1
    (note,) = [note for note in talk.notes if note.name == "primary_slow"]
    assert note.fields == {
        "view": 0,
        "member": 0,
        "late_ms": TIMEOUT_MS,
        "allowed_ms": ALLOWED_MS,
        "round_ms": ROUND_MS,
    }
    assert talk.view == (0, True)


@pytest.mark.covers("N04", "P30")
@pytest.mark.parametrize("every", [2, 3, 5])
def test_delays_now_and_then_are_added_up(every: int) -> None:
    """A median would not see them."""
    talk = Cluster()
    for number in range(1000):
        if of_kind(talk.serve(5 if number % every else 150), Kind.SLOW):
            return
    pytest.fail("it is not found slow")


@pytest.mark.covers("N04", "P30")
def test_a_share_of_the_time_is_forgiven() -> None:
    """One pause of less than a timeout, now and then, is nobody's attack; half of it brings suspicion, which passes."""
    talk = Cluster()
    for _ in range(3):
        talk.serve(900)
        assert talk.replica.watch.strict
        talk.tick(LATE_SHARE * TIMEOUT_MS)
        assert not talk.replica.watch.strict
    assert not of_kind(talk.said, Kind.SLOW)


@pytest.mark.covers("P31", "N05")
def test_who_proposes_little_of_what_waits_is_found_slow() -> None:
    """A proposal with one envelope while ten wait is prompt, and the nine are owed all the same."""
    talk = Cluster()
    waiting = [talk.transaction() for _ in range(10)]
    talk.submit(*waiting)
    for _ in range(200):
        if of_kind(talk.serve(5, [waiting.pop(0)]), Kind.SLOW):
            return
        waiting.append(talk.transaction())
        talk.submit(waiting[-1])
    pytest.fail("it is not found slow")


@pytest.mark.covers("P31")
def test_who_proposes_all_that_waits_may_leave_out_what_just_came() -> None:
    """What came here a moment before the proposal came there a moment after it."""
    talk = Cluster()
    waiting = [talk.transaction() for _ in range(10)]
    talk.submit(*waiting)
    for _ in range(300):
        talk.tick(2)
        fresh = [talk.transaction() for _ in range(10)]
        talk.submit(*fresh)
        talk.serve(3, waiting)
        waiting = fresh
    assert talk.replica.watch.late_ms == 0


@pytest.mark.covers("N04", "P30", "V15")
def test_one_who_complains_for_long_is_granted_a_view_change_where_rounds_are_long() -> None:
    """A primary may be prompt to a quorum and late to one, and withhold its own vote, so that the quorum waits for that
    one. At most one in a courtesy interval: a liar's complaint looks the same."""
    talk = Cluster(me=3)
    talk.round_ms = 100
    for _ in range(40):
        talk.serve(5)
    began, asked = talk.now_ms, []
    for _ in range(200):
        view = talk.view[0]
        talk.slow(2, view)
        talk.tick(400)
        if talk.view[0] > view:
            asked.append(talk.now_ms - began)
            talk.open_view(view + 1, talk.certificate(COMMIT, talk.blocks[-1]))
    delay, interval = TIMING.courtesy_delay_ms, TIMING.courtesy_interval_ms
    assert delay <= asked[0] <= delay + 800
    assert len(asked) == 1 + (200 * 400 - delay) // interval


@pytest.mark.covers("N19", "W20")
def test_one_who_complains_alone_while_rounds_are_short_has_a_bad_line() -> None:
    """Nobody moves for it, however long it complains."""
    talk = Cluster()
    for _ in range(100):
        talk.slow(3)
        talk.tick(400)
    assert talk.view == (0, True)


@pytest.mark.covers("N04", "A03")
def test_a_client_that_withholds_from_the_primary_frames_nobody() -> None:
    """Suspicion makes this backup tell the primary at once; what counts from then on is what it was told."""
    talk = Cluster()
    suspected = 0
    for _ in range(300):
        transaction = talk.transaction()
        told = of_kind(talk.submit(transaction), Kind.RELAY)
        for _ in range(40):  # until somebody tells the primary
            if told:
                break
            told = of_kind(talk.tick(25), Kind.RELAY)
        assert told
        assert unpack(told[0].frame.payload, 10**6) == (transaction.raw,)
        if talk.replica.watch.strict:
            suspected += 1
            assert [item.to for item in told] == [0], "the primary alone"
        talk.serve(8, [transaction])
    assert suspected > 10
    assert not of_kind(talk.said, Kind.SLOW)
    assert talk.view == (0, True)


@pytest.mark.covers("N19", "P30")
@pytest.mark.parametrize(("n", "f"), [(4, 1), (7, 2)])
def test_f_complaints_move_nobody_and_f_plus_1_do(n: int, f: int) -> None:
    """Whoever repeats them; of this view; not of long ago."""
    talk = Cluster(n)
    others = [member for member in talk.others() if member]
    for _ in range(10):
        for liar in others[:f]:
            talk.slow(liar)
            talk.slow(liar, 10**9)
            talk.slow(liar)
    assert talk.view == (0, True)
    talk = Cluster(n)
    for liar in others[:f]:
        talk.slow(liar)
    talk.tick(3 * TIMING.status_interval_ms + 1)
    talk.slow(others[f])
    assert talk.view == (0, True), "the others' complaints are over"
    for liar in others[:f]:
        assert not asked_for(talk.slow(liar)) or liar == others[f - 1]
    assert talk.view == (1, False)
    (note,) = [note for note in talk.notes if note.name == "primary_replaced"]
    assert (note.fields["member"], note.fields["complaints"]) == (0, f + 1)
    assert note.fields["ms"] == KEPT_OUT_TIMEOUTS * TIMEOUT_MS


@pytest.mark.covers("N19", "P30")
def test_a_complaint_lasts_for_three_status_intervals() -> None:
    """One that is repeated by then is the same one, and has lasted since it began."""
    talk = Cluster()
    talk.slow(2)
    began = talk.now_ms
    talk.tick(3 * TIMING.status_interval_ms)
    talk.slow(2)
    complaint = talk.replica.watch._complaints[2]
    assert (complaint.since_ms, complaint.last_ms) == (began, talk.now_ms)
    talk.tick(3 * TIMING.status_interval_ms)
    assert talk.view == (0, True)
    talk.slow(3)
    assert talk.view == (1, False)


@pytest.mark.covers("N19", "P30")
def test_complaints_of_a_view_that_is_only_asked_for_move_nobody() -> None:
    """It has no primary yet that could be slow."""
    talk = Cluster()
    talk.slow(2)
    talk.slow(3)
    assert talk.view == (1, False)
    talk.slow(2, 1)
    talk.slow(3, 1)
    assert talk.view == (1, False)


@pytest.mark.covers("N19", "P30")
def test_who_has_complained_of_a_later_view_is_not_heard_of_an_earlier_one() -> None:
    """It has left it."""
    talk = Cluster(me=3)
    talk.open_view(1, talk.certificate(COMMIT, talk.blocks[-1]))
    talk.slow(2, 2)
    talk.slow(2, 1)
    talk.slow(0, 1)
    assert talk.view == (1, True)


@pytest.mark.covers("N13")
@pytest.mark.parametrize("by", ["number", "bytes"])
def test_the_primary_is_told_in_parts(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so many envelopes, and of so many bytes, at most."""
    talk = Cluster()
    waiting = [talk.transaction() for _ in range(7)]
    (size,) = {len(item.raw) for item in waiting}
    monkeypatch.setattr(watch, "TOLD_AT_ONCE", 2 if by == "number" else 100)
    monkeypatch.setattr(watch, "TOLD_BYTES_AT_ONCE", 2 * size if by == "bytes" else 100 * size)
    talk.submit(*waiting)
    told = [item for _ in range(120) for item in of_kind(talk.tick(5), Kind.RELAY) if item.to == 0]
    assert talk.replica.watch.strict
    parts = [cast(tuple[bytes, ...], unpack(item.frame.payload, 10**7)) for item in told]
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    assert [raw for part in parts for raw in part] == [item.raw for item in waiting]


@pytest.mark.covers("P30")
def test_each_time_within_a_while_a_slow_primary_is_passed_over_for_twice_as_long() -> None:
    """The while is as long as the last time; up to a bound."""
    talk = Cluster(n=7, me=6)
    least, keep_out = KEPT_OUT_TIMEOUTS * TIMEOUT_MS, talk.replica.watch._keep_out
    assert keep_out(1, 0) == least
    assert keep_out(1, 2 * least - 1) == 2 * least
    assert keep_out(1, 2 * least - 1 + 4 * least) == least, "it has been back for as long as it was away"
    assert keep_out(1, 8 * least) == least
    again_ms = 8 * least
    for doublings in range(1, KEPT_OUT_DOUBLINGS + 3):
        again_ms += (least << min(doublings, KEPT_OUT_DOUBLINGS + 1)) - 1
        assert keep_out(1, again_ms) == least << min(doublings, KEPT_OUT_DOUBLINGS)


@pytest.mark.covers("P30")
def test_who_is_slow_again_is_the_last_to_be_let_back_in() -> None:
    """Of more than f the one whose turn is longest ago."""
    talk = Cluster(n=7, me=6)
    watching = talk.replica.watch
    for member in (1, 2, 1, 3):
        watching._keep_out(member, talk.now_ms)
    assert [member for member in range(7) if watching.passes_by(member)] == [1, 3]


@pytest.mark.covers("N19", "P30")
def test_a_complaint_is_about_one_view() -> None:
    """What was said of the primary before says nothing of this one, be it a moment ago; nor what is said of the next
    one, ahead of time."""
    talk = Cluster(me=3)
    talk.slow(2, 0)
    talk.open_view(1, talk.certificate(COMMIT, talk.blocks[-1]))
    talk.slow(0, 1)
    assert talk.view == (1, True)
    talk.slow(2, 2)
    assert talk.view == (1, True)
    talk = Cluster(me=3)
    talk.open_view(1, talk.certificate(COMMIT, talk.blocks[-1]))
    talk.slow(0, 1)
    assert [view for view, _ in asked_for(talk.slow(2, 1))] == [2], "two of this view are enough"


@pytest.mark.covers("N19", "P30")
def test_my_complaint_and_f_others_end_the_view() -> None:
    """And it is repeated while it lasts, for a SLOW may be lost."""
    talk = Cluster()
    assert talk.complaint(100) is not None
    said = [item for _ in range(20) for item in talk.serve(100)]
    assert len(of_kind(said, Kind.SLOW)) == 20 * (100 + ROUND_MS) // TIMING.status_interval_ms
    assert [view for view, _ in asked_for(talk.slow(2))] == [1]


@pytest.mark.covers("N19")
def test_a_complaint_ends_when_the_primary_is_quick_again() -> None:
    """Half of the account has to be worked off."""
    talk = Cluster()
    assert talk.complaint(100) is not None
    for _ in range(LATE_SHARE * TIMEOUT_MS // 2 // (5 + ROUND_MS) + 1):
        talk.serve(5)
    assert not talk.replica.watch.complains
    talk.slow(2)
    assert talk.view == (0, True)


@pytest.mark.covers("N19")
def test_each_finding_beyond_f_doubles_what_is_allowed_for_a_while() -> None:
    """Replacing that does not help is the world's fault: a strictly bounded number of findings in a memory's time."""
    talk = Cluster(me=3)
    levels = []
    for view in range(8):
        if view % 4 == 3:
            talk.ask_for_view(0, view + 1)
            talk.ask_for_view(1, view + 1)
            talk.open_view(view + 1, talk.certificate(COMMIT, talk.blocks[-1], view - 1))
            continue
        talk.settle(view)
        lag_ms = 2 * talk.replica.watch.allowed_ms + 100
        assert talk.complaint(lag_ms, view=view) is not None
        levels.append(talk.replica.watch.level)
        talk.slow(0 if view % 4 else 1, view)
        assert not talk.view[1]
        talk.replica.view_changes.fruitless = 0
        talk.open_view(view + 1, talk.certificate(COMMIT, talk.blocks[-1], view))
    assert levels == [0, 0, 1, 2, 3, 4]
    assert ALLOWED_MS << LEVEL_MAX > TIMEOUT_MS, "at the last level nobody is slow that the timer does not catch"
    talk.tick(MEMORY_TIMEOUTS * TIMEOUT_MS + 1)
    assert talk.replica.watch.level == 0


@pytest.mark.covers("P30")
def test_a_slow_primary_is_passed_over_for_a_while() -> None:
    """Where the view that is left was worth its time; longer with each time; never more than f members."""
    talk = Cluster(n=7, me=6)
    kept = KEPT_OUT_TIMEOUTS * TIMEOUT_MS
    watching = talk.replica.watch
    assert [watching._keep_out(member, talk.now_ms) for member in (1, 2, 3)] == [kept] * 3
    assert [member for member in range(7) if watching.passes_by(member)] == [2, 3], "f of them: the last two"
    assert watching._keep_out(2, talk.now_ms) == 2 * kept
    for member in (4, 5):
        watching._keep_out(member, talk.now_ms)
    talk.tick(kept)
    assert not any(watching.passes_by(member) for member in range(7))
    assert watching._keep_out(2, talk.now_ms) == 4 * kept, "it had come back less than that ago"
    talk.tick(20 * kept)
    assert watching._keep_out(2, talk.now_ms) == kept, "long ago"


@pytest.mark.covers("P30", "P19")
def test_who_is_passed_over_is_the_next_primary_all_the_same_where_nothing_helps() -> None:
    """Members that pass over different ones meet: a view that brought nothing is followed by the next one."""
    talk = Cluster()
    talk.replica.watch._keep_out(1, talk.now_ms)
    talk.submit(talk.transaction())
    assert [view for view, _ in asked_for(talk.tick(TIMEOUT_MS))] == [2]
    talk.ask_for_view(0, 2)
    talk.ask_for_view(3, 2)
    talk.replica.watch._keep_out(3, talk.now_ms)
    assert 3 in [view for view, _ in asked_for(talk.tick(2 * TIMEOUT_MS))]


@pytest.mark.covers("N04", "P30")
def test_what_no_block_can_take_keeps_nobody_from_telling_the_primary() -> None:
    """A block's worth of envelopes that were for the block in flight: what waits behind is told, once, and counts."""
    talk = Cluster()
    late = [talk.transaction(valid_until=talk.height + 1, data=bytes(180_000)) for _ in range(8)]
    waiting = [talk.transaction() for _ in range(2 * agreement.PIPELINE_TRANSACTIONS)]
    talk.submit(*late)
    talk.submit(*waiting)
    talk.tick(TIMEOUT_MS // 2 + 100)  # under suspicion
    assert talk.replica.watch.strict
    said = talk.propose(talk.block(talk.blocks, [talk.transaction(client=1)]))
    before = talk.replica.watch.late_ms
    said += [item for _ in range(50) for item in talk.tick(1)]
    relays = [cast(tuple[bytes, ...], unpack(item.frame.payload, 10**7)) for item in of_kind(said, Kind.RELAY)]
    assert [raw for relay in relays for raw in relay] == [item.raw for item in waiting]
    assert all(relays)
    assert talk.replica.watch.late_ms > before


@pytest.mark.covers("N03")
def test_a_primary_whose_link_ended_is_gone_after_a_moment_and_its_timer_is_not_waited_for() -> None:
    """Where something waits. One more who misses it, and the view is left; and it is passed over."""
    talk = Cluster()
    talk.step(Unlinked(0))
    talk.submit(talk.transaction())
    assert not of_kind(talk.tick(GRACE_MS - 1), Kind.SLOW)
    assert talk.replica.next_deadline_ms() == talk.now_ms + 1
    assert of_kind(talk.tick(1), Kind.SLOW)
    (note,) = [note for note in talk.notes if note.name == "primary_gone"]
    assert note.fields == {"view": 0, "member": 0, "ms": GRACE_MS}
    assert talk.replica.next_deadline_ms() > talk.now_ms, "said once, and then each status interval"
    assert talk.view == (0, True), "alone it moves nobody, itself least of all"
    assert [view for view, _ in asked_for(talk.slow(2))] == [1]
    assert talk.replica.watch.passes_by(0)


@pytest.mark.covers("N19", "T04")
def test_a_connection_that_was_gone_before_a_sleep_is_waited_for_anew() -> None:
    """It may have been made again meanwhile by whoever was awake."""
    talk = Cluster()
    talk.submit(talk.transaction())
    talk.step(Unlinked(0))
    talk.now_ms += 1000 * TIMEOUT_MS
    assert not of_kind(talk.step(Linked(3)), Kind.SLOW)
    assert not of_kind(talk.tick(GRACE_MS - 1), Kind.SLOW)
    assert of_kind(talk.tick(1), Kind.SLOW)


@pytest.mark.covers("N19", "W11")
def test_a_link_that_is_made_again_is_nobodys_fault() -> None:
    """Neither at once, nor after a complaint, which ends with it."""
    talk = Cluster()
    talk.submit(talk.transaction())
    talk.step(Unlinked(0))
    talk.tick(GRACE_MS - 1)
    talk.step(Linked(0))
    assert not of_kind(talk.tick(2 * GRACE_MS), Kind.SLOW)
    talk.step(Unlinked(0))
    assert of_kind(talk.tick(GRACE_MS), Kind.SLOW)
    talk.step(Linked(0))
    talk.slow(2)
    assert talk.view == (0, True)


@pytest.mark.covers("N19")
def test_of_a_primary_for_which_nothing_waits_nobody_complains() -> None:
    """A member that is stopped while nothing is asked costs no view change; when something is asked, it is known."""
    talk = Cluster()
    talk.step(Unlinked(0))
    assert not of_kind(talk.tick(50 * TIMEOUT_MS), Kind.SLOW)
    assert of_kind(talk.submit(talk.transaction()), Kind.SLOW)


@pytest.mark.covers("N19")
def test_who_is_no_primary_may_go() -> None:
    """And where more than f are gone, it is this one that is cut off."""
    talk = Cluster()
    talk.submit(talk.transaction())
    talk.step(Unlinked(2))
    assert talk.replica.watch.passes_by(2)
    talk.step(Unlinked(3))
    assert not of_kind(talk.tick(TIMEOUT_MS - 1), Kind.SLOW)
    assert not talk.replica.watch.passes_by(2)


@pytest.mark.covers("N19", "W11")
def test_links_that_break_again_and_again_are_the_worlds_fault() -> None:
    """Each view that is left beyond f doubles the patience with the next one: the bound is that of slow primaries."""
    talk = Cluster(me=3)
    waited = []
    for view in range(12):
        primary, other = view % 4, (view + 1) % 4 % 3
        if primary == 3:
            talk.ask_for_view(0, view + 1)
            talk.ask_for_view(1, view + 1)
        else:
            talk.submit(talk.transaction())
            talk.step(Unlinked(primary))
            began = talk.now_ms
            while talk.view == (view, True):
                if of_kind(talk.tick(5), Kind.SLOW):
                    waited.append(talk.now_ms - began)
                    talk.slow(other, view)
            talk.step(Linked(primary))
        talk.replica.view_changes.fruitless = 0
        talk.replica.watch._kept_out.clear()
        talk.open_view(view + 1, talk.certificate(COMMIT, talk.blocks[-1], view))
    assert waited == [GRACE_MS, GRACE_MS, 2 * GRACE_MS, 4 * GRACE_MS], "and then the timer comes first"


@pytest.mark.covers("T04", "D13")
def test_time_asleep_is_nobodys_fault() -> None:
    """A suspended machine owes its primary an apology, not the other way round."""
    talk = Cluster()
    for _ in range(30):
        transaction = talk.transaction()
        talk.submit(transaction)
        talk.now_ms += 990
        talk.wall_ms += 990
        talk.serve(5, [transaction])
    assert not talk.replica.watch.strict


@pytest.mark.covers("T04", "D13")
def test_what_came_just_before_a_sleep_may_be_left_out_just_after_it() -> None:
    """It has not waited for long, of the time in which anybody could have done something about it."""
    talk = Cluster()
    talk.round_ms = 450
    for _ in range(64):
        talk.serve(5)
    assert 2 * talk.replica.watch.allowed_ms > TIMING.status_interval_ms, "which counts of any sleep"
    waiting = [talk.transaction() for _ in range(10)]
    talk.submit(*waiting, *(talk.transaction() for _ in range(10)))
    talk.now_ms += 3_600_000
    talk.wall_ms += 3_600_000
    talk.serve(3, waiting)
    assert (talk.view, talk.replica.watch.late_ms) == ((0, True), 0)
