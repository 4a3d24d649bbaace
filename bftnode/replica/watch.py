"""Is the primary as quick as it could be? (docs/protocol.md, "A primary that is slow"; decisions 019, 027.)

A timer alone leaves a primary that orders everything just before it runs out in office for ever (Clement et al., NSDI
2009; faults.md N04, P30). So a backup keeps account of the time in which its primary is late. It owes a proposal while
something waits that it must have and there is room for a block; it is late once it has owed it for longer than what
the rounds of now, in which everybody has a part, tell to be usual. A share of the time it may be late for good, and
once in a while for long. Beyond that the backup says SLOW; f+1 who say it of one view leave that view, and pass its
primary over for a while. The same is said of a primary whose connection has ended while something waits for it, and is
not made again soon: a machine that died is told from a slow one long before a timer is.

Nothing in here touches safety: it decides when `start_view_change` is called, and how far it goes. Nothing of it is
persisted: a restart forgets. Bounds: a window's worth of times, a block's worth of keys, one SLOW and one lost link a
member, f members passed over.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bftnode.protocol.codec import encode
from bftnode.protocol.limits import TRANSACTION_BYTES_MAX
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Kind, Relay, Slow
from bftnode.replica import agreement
from bftnode.replica.agreement import Agreement
from bftnode.replica.chain import Chain, Entry
from bftnode.replica.pool import Key, Pool
from bftnode.replica.position import Position, Timing
from bftnode.replica.voice import Voice

SMOOTHING = 16
"""Rounds, from a proposal to its commit, are the yardstick: their mean and how far they are from it, each a sixteenth
the newest, as RFC 6298 (2.3) has it for round trips. Where this machine or its network is restless, rounds are, too,
and more is allowed."""

ROUNDS_LEAST = 8
"""With fewer there is no yardstick yet; a quarter of a timeout is allowed."""

SLACK_OF_TIMEOUT = 200
"""A timeout / 200 (5 ms of 1000) is allowed beside the share of a round: clocks count whole ms, and threads wait."""

LONG_ROUND_OF_TIMEOUT = 16
"""Where a round takes a timeout / 16 (62 ms of 1000), a primary may be late to some, and withhold votes from all."""

LATE_SHARE = 16
"""A primary may be late for one sixteenth of the time, for ever. That is what a patient attacker can take."""

GONE_OF_TIMEOUT = 8
"""Without a link to it for a timeout / 8 (125 ms of 1000), a primary is gone; where only the connection broke, a new
one is there before that. Doubled with `level`, as what is allowed is."""

KEPT_OUT_TIMEOUTS = 60
KEPT_OUT_DOUBLINGS = 6
"""How long a slow primary is passed over: so many timeouts (a minute), twice as long with each time that it is found
slow within as long again after it came back, up to 64 times."""

MEMORY_TIMEOUTS = 600
LEVEL_MAX = 8
"""Of all that this replica found slow within so many timeouts (ten minutes), f may have been attackers. Each one more
doubles what is allowed: it is the world that is slow. After LEVEL_MAX doublings more than a whole timeout is allowed,
and nobody is found slow, or gone, any more: f + LEVEL_MAX in ten minutes is the most, whatever the world does."""

TOLD_AT_ONCE = 256
TOLD_BYTES_AT_ONCE = 512 * 1024
"""One RELAY, as in sync.py."""


@dataclass(slots=True)
class _Complaint:
    """What a member said of its primary last."""

    view: int
    since_ms: int  # without a pause
    last_ms: int


@dataclass(slots=True)
class Doors:
    """What watching asks of the rooms beside it; core.py introduces them."""

    leave_view: Callable[[], None]  # ask for the next view
    oldest_work_ms: Callable[[], int | None]  # since when something waits; None: nothing does


class Watch:
    """What a backup knows of its primary's pace."""

    def __init__(
        self,
        members: Membership,
        me: int,
        position: Position,
        timing: Timing,
        chain: Chain,
        pool: Pool,
        voice: Voice,
        agreement: Agreement,
    ) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._timing = timing
        self._chain = chain
        self._pool = pool
        self._voice = voice
        self._agreement = agreement
        self.doors: Doors | None = None
        # The view that is watched.
        self._view = -1
        self._watched = False
        self._seen_ms = 0  # when the account was settled last
        self._late = 0  # sixteenths of ms
        self.strict = False  # what the primary surely has is all that counts
        self.is_slow = False
        self.is_gone = False
        self._said_ms = 0  # when SLOW was said last
        self._owed_since_ms: int | None = None  # since when the primary owes a proposal
        self._tip, self._height = b"", 0
        self._accepted_ms: dict[int, int] = {}  # height in flight -> when its proposal was accepted
        self._told: dict[Key, None] = {}  # what I told the primary of, and it has not proposed
        # What lasts longer than a view.
        self._rounds = 0  # seen, up to ROUNDS_LEAST
        self._round = 0  # sixteenths of ms: their mean
        self._spread = 0  # sixteenths of ms: how far they are from it
        self._found_ms: deque[int] = deque(maxlen=members.f + LEVEL_MAX)  # when a view ended that I complained of
        self._complaints: dict[int, _Complaint] = {}
        self._unlinked_ms: dict[int, int] = {}  # member -> since when there is no link to it that was there
        self._kept_out: dict[int, int] = {}  # member -> until when it is passed over; the one that was found last, last
        self._sentences: dict[int, tuple[int, int]] = {}  # member -> (until when, how many in a row)
        self.allowed_ms = 0
        self._weigh()

    # ---- what is allowed

    @property
    def limit_ms(self) -> int:
        """So much of being late, beyond its share of the time, is too much: a timeout, so that no single pause is."""
        return self._timing.view_change_timeout_ms

    @property
    def level(self) -> int:
        """How often what is allowed is doubled."""
        since = self._position.now.monotonic_ms - MEMORY_TIMEOUTS * self._timing.view_change_timeout_ms
        while self._found_ms and self._found_ms[0] < since:
            self._found_ms.popleft()
        return max(0, len(self._found_ms) - self._members.f)

    @property
    def complains(self) -> bool:
        """Whether this view's primary is slow or gone."""
        return self.is_slow or self.is_gone

    @property
    def round_ms(self) -> int | None:
        """What a round takes; None: there were too few."""
        return self._round // SMOOTHING if self._rounds == ROUNDS_LEAST else None

    @property
    def late_ms(self) -> int:
        """How much the primary has been late, of late."""
        return self._late // LATE_SHARE

    def _weigh(self) -> None:
        timeout_ms, round_ms = self._timing.view_change_timeout_ms, self.round_ms
        if round_ms is None:
            allowed_ms = timeout_ms // 4
        else:
            spread_ms = self._spread // SMOOTHING
            allowed_ms = timeout_ms // SLACK_OF_TIMEOUT + round_ms // 2 + 2 * spread_ms
        self.allowed_ms = allowed_ms << self.level

    def _add_round(self, ms: int) -> None:
        if not self._rounds:
            self._round, self._spread = SMOOTHING * ms, SMOOTHING * ms // 2
        self._spread += abs(ms - self._round // SMOOTHING) - self._spread // SMOOTHING
        self._round += ms - self._round // SMOOTHING
        self._rounds = min(self._rounds + 1, ROUNDS_LEAST)

    # ---- the account

    @property
    def is_behind(self) -> bool:
        """Whether a proposal was accepted, or a block committed, since the last look."""
        return self._agreement.tip.block.hash != self._tip or self._chain.height != self._height

    def look(self) -> None:
        """After each step: what the primary owes, and whether it has owed too much for too long."""
        position, now_ms = self._position, self._position.now.monotonic_ms
        watches = self._watches()
        if position.view != self._view or not watches:
            if self._watched or position.view != self._view:
                self._begin(now_ms)
            self._watched, self._seen_ms, self._height = watches, now_ms, self._chain.height
            self._tip = self._agreement.tip.block.hash
            if not watches:
                return
        self._watched, self._height = True, self._chain.height
        self._settle(now_ms)
        self._follow(now_ms)
        self._demand(now_ms)
        self._conclude(now_ms)

    def was_asleep(self) -> None:
        """Time in which this replica did nothing does not count."""
        self._seen_ms = self._position.now.monotonic_ms
        self._owed_since_ms = None
        self._accepted_ms.clear()
        self._unlinked_ms = dict.fromkeys(self._unlinked_ms, self._seen_ms)

    def _watches(self) -> bool:
        position = self._position
        return (
            position.active
            and position.may_vote
            and self._agreement.settled
            and self._members.primary_of(position.view) != self._me
        )

    def _begin(self, now_ms: int) -> None:
        """Nothing is known of this view's primary, and nothing is owed."""
        position = self._position
        if self.complains and (position.view > self._view or not position.active):
            self._found_ms.append(now_ms)
        if self._view != position.view or not position.active:
            self._late, self.strict, self.is_slow, self.is_gone = 0, False, False, False
        self._view = position.view
        self._seen_ms = now_ms
        self._owed_since_ms = None
        self._tip = self._agreement.tip.block.hash
        self._accepted_ms.clear()
        self._told.clear()
        self._weigh()

    def _settle(self, now_ms: int) -> None:
        """Time has passed; as long as things were as they were at the last look."""
        elapsed = now_ms - self._seen_ms
        if not elapsed:
            return
        late = 0
        if self._owed_since_ms is not None:
            late = max(0, now_ms - max(self._seen_ms, self._owed_since_ms + self.allowed_ms))
        # A client that tells everybody but the primary can bring it under suspicion, and no further.
        most = LATE_SHARE * self.limit_ms // (1 if self.strict else 2)
        self._late = min(max(0, self._late + LATE_SHARE * late - elapsed), most)
        self._seen_ms = now_ms

    def _follow(self, now_ms: int) -> None:
        """What was accepted and committed in this step."""
        height, tip = self._chain.height, self._agreement.tip
        for seq in [seq for seq in self._accepted_ms if seq <= height]:
            self._add_round(now_ms - self._accepted_ms.pop(seq))
            self._weigh()
        if tip.block.hash == self._tip:
            return
        self._tip = tip.block.hash
        accepted = self._agreement.accepted
        self._accepted_ms = {seq: self._accepted_ms.get(seq, now_ms) for seq in accepted if seq > height}
        if not self._passes_over(tip, now_ms):
            self._owed_since_ms = None
        elif self._owed_since_ms is None:
            self._owed_since_ms = now_ms

    def _passes_over(self, entry: Entry, now_ms: int) -> bool:
        """Whether a proposal leaves out, without being full, what was there to be proposed."""
        parameters = self._members.parameters
        if len(entry.transactions) >= parameters.block_transactions_max:
            return False
        if len(entry.block.payload) > parameters.block_bytes_max - TRANSACTION_BYTES_MAX:
            return False
        first = self._pool.first_ready(entry.block.seq + 1)
        return (
            first is not None
            and now_ms - first[1] > 2 * self.allowed_ms
            and (not self.strict or first[0] in self._told)
        )

    def _demand(self, now_ms: int) -> None:
        """Since when the primary owes a proposal, if it does; under suspicion, tell it what it owes."""
        tip = self._agreement.tip.block.seq
        first = self._pool.first_ready(tip + 1) if self._pool.ready else None
        if first is None:
            self._owed_since_ms = None
            return
        if self._owed_since_ms is None and self._has_room(tip - self._chain.height):
            self._owed_since_ms = now_ms
        if self.strict and self._owed_since_ms is not None and first[0] not in self._told:
            self._tell(tip + 1)
            self._owed_since_ms = now_ms  # now it must have it

    def _has_room(self, in_flight: int) -> bool:
        """Whether the primary can be expected to propose: what waits here may not all have come there yet."""
        if self._agreement.blocked:
            return False
        window = self._members.parameters.window
        return not in_flight or (in_flight < window // 2 and self._pool.ready >= 2 * agreement.PIPELINE_TRANSACTIONS)

    def _tell(self, seq: int) -> None:
        """Relay to the primary what waits and a block at height `seq` could take."""
        parameters = self._members.parameters
        chosen = self._pool.choose(parameters.block_transactions_max, parameters.block_bytes_max, seq)
        waiting = {transaction.key: transaction.raw for transaction in chosen}
        raws = [raw for key, raw in waiting.items() if key not in self._told]
        self._told = dict.fromkeys(waiting)
        primary = self._members.primary_of(self._view)
        part: list[bytes] = []
        size = 0
        for raw in raws:
            if len(part) == TOLD_AT_ONCE or size + len(raw) > TOLD_BYTES_AT_ONCE:
                self._voice.send(primary, Kind.RELAY, Relay(self._members.epoch), encode(part))
                part, size = [], 0
            part.append(raw)
            size += len(raw)
        self._voice.send(primary, Kind.RELAY, Relay(self._members.epoch), encode(part))

    # ---- what follows from it

    def _conclude(self, now_ms: int) -> None:
        limit, primary, complained = LATE_SHARE * self.limit_ms, self._members.primary_of(self._view), self.complains
        if not self.strict and self._late >= limit // 2:
            self.strict = True
            self._told.clear()
            self._note("primary_suspected", primary)
        elif self.strict and not self._late:
            self.strict = False
        if self.strict and self._late >= limit and not self.is_slow:
            self.is_slow = True
            self._note("primary_slow", primary)
        elif self._late < limit // 2:
            self.is_slow = False
        gone_ms = self._gone_at_ms()
        is_gone = gone_ms is not None and now_ms >= gone_ms
        if is_gone and not self.is_gone:
            ms = now_ms - self._unlinked_ms[primary]
            self._voice.note("primary_gone", {"view": self._view, "member": primary, "ms": ms})
        self.is_gone = is_gone
        if self.complains and not complained:
            self._say(now_ms)
            self.judge()
        elif self.complains and now_ms - self._said_ms >= self._timing.status_interval_ms:
            self._say(now_ms)

    # ---- whose connection has ended

    def on_linked(self, member: int) -> None:
        """There is a link to this member."""
        self._unlinked_ms.pop(member, None)

    def on_unlinked(self, member: int) -> None:
        """There is none any more. One that was never there since this replica started says nothing: the timer does."""
        self._unlinked_ms.setdefault(member, self._position.now.monotonic_ms)

    def _gone_at_ms(self) -> int | None:
        """From when on the primary that is watched counts as gone; None: there is a link, or nothing waits for it."""
        assert self.doors is not None, "introduced by core"
        since_ms = self._unlinked_ms.get(self._members.primary_of(self._view))
        if since_ms is None or self.doors.oldest_work_ms() is None or self.level >= LEVEL_MAX:
            return None
        return since_ms + (self._timing.view_change_timeout_ms // GONE_OF_TIMEOUT << self.level)

    def deadline_ms(self) -> int | None:
        """When to look again, though nothing happens."""
        return self._gone_at_ms() if self._watched and not self.is_gone else None

    def _note(self, name: str, primary: int) -> None:
        figures = {"late_ms": self.late_ms, "allowed_ms": self.allowed_ms, "round_ms": self.round_ms or 0}
        self._voice.note(name, {"view": self._view, "member": primary, **figures})

    def _say(self, now_ms: int) -> None:
        self._said_ms = now_ms
        self._voice.broadcast(Kind.SLOW, Slow(self._members.epoch, self._view))

    def on_slow(self, sender: int, body: Slow) -> None:
        """A member finds its primary slow. What it said before is forgotten: one complaint a member."""
        held, now_ms = self._complaints.get(sender), self._position.now.monotonic_ms
        if body.view < self._position.view or (held is not None and held.view > body.view):
            return
        if held is not None and held.view == body.view and held.last_ms >= self._recently_ms():
            held.last_ms = now_ms
        else:
            self._complaints[sender] = _Complaint(body.view, now_ms, now_ms)
        self.judge()

    def _recently_ms(self) -> int:
        """A complaint is repeated each status interval; one that is not is over after three."""
        return self._position.now.monotonic_ms - 3 * self._timing.status_interval_ms

    def _heard(self) -> dict[int, _Complaint]:
        """Others' complaints of this view, as far as they last."""
        view, recently_ms = self._position.view, self._recently_ms()
        return {
            member: complaint
            for member, complaint in sorted(self._complaints.items())
            if complaint.view == view and complaint.last_ms >= recently_ms
        }

    def aggrieved(self) -> int | None:
        """A member whose complaint of this view has lasted for as long as courtesy waits, where rounds take long here,
        too. Where they do not, it is its own line that is bad, and nobody has to wait for it."""
        if self.round_ms is None or self.round_ms < self._timing.view_change_timeout_ms // LONG_ROUND_OF_TIMEOUT:
            return None
        since_ms = self._position.now.monotonic_ms - self._timing.courtesy_delay_ms
        return next((member for member, item in self._heard().items() if item.since_ms <= since_ms), None)

    def judge(self) -> None:
        """f+1 find the primary of my view slow, one of them is correct: leave it, and pass it over for a while."""
        position, now_ms = self._position, self._position.now.monotonic_ms
        if not position.active or not position.may_vote:
            return
        complaints = len(self._heard()) + (self.complains and self._view == position.view)
        if complaints < self._members.some_correct:
            return
        assert self.doors is not None, "introduced by core"
        primary = self._members.primary_of(position.view)
        ms = self._keep_out(primary, now_ms)
        self._voice.note(
            "primary_replaced", {"view": position.view, "member": primary, "complaints": complaints, "ms": ms}
        )
        self.doors.leave_view()

    # ---- who is passed over

    def _keep_out(self, member: int, now_ms: int) -> int:
        """For how long (ms)."""
        least = KEPT_OUT_TIMEOUTS * self._timing.view_change_timeout_ms
        until, times = self._sentences.get(member, (0, 0))
        times = min(times + 1, KEPT_OUT_DOUBLINGS + 1) if times and now_ms < until + (least << (times - 1)) else 1
        ms = least << (times - 1)
        self._sentences[member] = (now_ms + ms, times)
        self._kept_out.pop(member, None)
        self._kept_out[member] = now_ms + ms
        while len(self._kept_out) > self._members.f:
            del self._kept_out[next(iter(self._kept_out))]
        return ms

    def passes_by(self, member: int) -> bool:
        """Whether views of this member are passed over now, where somebody else will do: it was slow, or there is no
        link to it while all that would be passed over are f at most (else it is me who is cut off)."""
        now_ms = self._position.now.monotonic_ms
        kept_out = {slow for slow, until_ms in self._kept_out.items() if now_ms < until_ms}
        without = kept_out | self._unlinked_ms.keys()
        return member in (without if len(without) <= self._members.f else kept_out)
