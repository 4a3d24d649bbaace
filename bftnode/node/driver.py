"""The driver: it carries out the replica's effects, in the order that effects.py promises.

A turn: take what is waiting, step the replica through it, write what it promises in one transaction in a worker
thread, and only then speak, and execute what it committed. What follows from that is part of the same turn. One
`await` stands between thinking and promising, and it is the promise itself (docs/protocol.md, "What must survive a
crash"). A turn that promises nothing speaks at once, and what it leaves behind goes into the next promise's
transaction, or into one of its own a little later (decision 009). What cannot matter yet is no reason for a turn
(decision 018). While the disk is full the promise waits: reads go on, and the same turn is written again until there is
room.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Protocol, assert_never

import trio

from bftnode.node.envelopes import INLINE_MAX, Envelopes
from bftnode.node.inbox import Inbox
from bftnode.node.writer import Writer
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.results import TransactionResult
from bftnode.replica.core import Replica
from bftnode.replica.effects import (
    Accuse,
    Answer,
    AppendBlock,
    Broadcast,
    DropBlocks,
    Effect,
    KeepCheckpoint,
    Note,
    Persist,
    ReadBlock,
    ReadRun,
    Send,
    StoreBlock,
)
from bftnode.replica.events import BlockRead, Event, Now, Received, RunRead, Stopping, Tick
from bftnode.storage.errors import DiskFull
from bftnode.storage.store import Committed, Storage, Turn

BEHIND_MS_MAX = 100
"""What is left behind is written when no promise takes it along for so long: longer than a round takes on a slow
machine, where a second synced write a block would make it slower still. A crash costs no more than fetching these
blocks again, and abstaining from some heights; who reads the log does not wait for it (`settle`)."""

BEHIND_BLOCKS_MAX = 64
"""Blocks left behind; at the bound the turn that reached it waits for its write."""

SUBMISSIONS_WAIT_MS_MAX = 50
"""So long an envelope waits for the next turn at a member that does not propose. It costs a view's timer, which runs
from when the replica knows of the envelope, a twentieth of its shortest."""

VERIFIED_A_TURN_MAX = 4096
"""Peers' envelopes whose client signatures are checked before a turn, a frame's more at most: two tenths of a second.
Beyond it the replica asks as it comes to them, for those that it accepts: a primary can send many proposals of one
height, and only one of them is opened."""

RUNS_READ_MAX = 4
"""Runs that are read at a time, each for another member; the next one waits."""

INLINE_OPERATIONS_MAX = 256
"""A turn's operations, up to so many, are executed in the event loop, in about a millisecond: a thread's round trip and
the switching would cost as much."""


Record = Callable[[Now, Sequence[tuple[Event, Sequence[Effect] | None]]], None]
"""Who is told of each turn, before anything of it is carried out; None for the effects of a step that raised."""


class Mouth(Protocol):
    """What the driver needs of the network."""

    def send(self, member: int, frame: bytes) -> None: ...

    def broadcast(self, frame: bytes) -> None: ...

    def together(self) -> AbstractContextManager[None]: ...


class Ears(Protocol):
    """Who is told what came of clients' envelopes, and what is worth telling."""

    def answered(self, answers: Sequence[Answer]) -> None: ...

    def executed(self, results: Sequence[TransactionResult], encoded: Sequence[bytes]) -> None: ...

    def noted(self, note: Note) -> None: ...

    def accused(self, accusation: Accuse) -> None: ...

    def checkpointed(self) -> None: ...

    def disk_full(self, full: bool) -> None: ...


def clock() -> Now:
    """The two clocks of production. The wall clock never drives a timer (faults.md T01, P51)."""
    return Now(int(trio.current_time() * 1000), time.time_ns() // 1_000_000)


class Driver:
    """Runs one replica on the real disk, network and clocks."""

    def __init__(
        self,
        replica: Replica,
        storage: Storage,
        inbox: Inbox,
        envelopes: Envelopes,
        mouth: Mouth,
        ears: Ears,
        disk_retry_s: float,
        now: Callable[[], Now] = clock,
        record: Record | None = None,
    ) -> None:
        self.replica = replica
        self._storage = storage
        self._inbox = inbox
        self._envelopes = envelopes
        self._mouth = mouth
        self._ears = ears
        self._disk_retry_s = disk_retry_s
        self._now = now
        self._record = record
        self._writer = Writer()
        # Of its own: trio's common ones are queued for by all that clients ask, and a turn waits for nobody's query.
        self._verifying = trio.CapacityLimiter(1)
        self._reading = trio.CapacityLimiter(RUNS_READ_MAX)
        self._behind = Turn()
        self._outside: list[Cosigned] = []  # for the next write: one may be under way
        self._behind_until: float | None = None  # when what is left behind is to be written; None: nothing is
        self._settled = trio.Event()
        self._alarm = trio.CancelScope()
        self._nursery: trio.Nursery
        self.disk_full = False

    @property
    def log_size(self) -> int:
        """Entries in the committed log."""
        return self.replica.chain.head.block.header.log_size

    async def run(self) -> None:
        """For ever. Raises what means that this node must stop: a broken disk, a broken belief."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._ring)
            try:
                await self._live()
            except trio.Cancelled:
                self._end_in_order()
                raise

    async def _ring(self) -> None:
        """One alarm clock for all turns, which is set again instead of made again: a scope a turn would cost as much
        as a vote."""
        while True:
            with self._alarm:
                await trio.sleep_forever()
            self._alarm = trio.CancelScope()
            self._inbox.wake()

    async def _live(self) -> None:
        await self._turn([Tick()])
        while True:
            tick_ms = self.replica.next_deadline_ms()
            due_s = tick_ms / 1000 if self._behind_until is None else min(tick_ms / 1000, self._behind_until)
            self._alarm.deadline = min(due_s, self._alarm.deadline)  # that it may ring too early does no harm
            self._inbox.expect(self.replica.votes_wanted(), None if self.replica.proposes else self._remind)
            await self._inbox.wait()
            if self._behind_until is not None and trio.current_time() >= self._behind_until:
                await self._write_behind()
            events = self._inbox.take()
            if self._now().monotonic_ms >= tick_ms:
                events.append(Tick())
            if events:
                await self._verify_envelopes(events)
                await self._turn(events)

    def _remind(self) -> None:
        """Envelopes have come that another member proposes: mostly they are in its proposal before this rings."""
        self._alarm.deadline = min(trio.current_time() + SUBMISSIONS_WAIT_MS_MAX / 1000, self._alarm.deadline)

    def _end_in_order(self) -> None:
        """Leave on record all that was said, so that the next life need not abstain (replica/agreement.py)."""
        for effect in self._take([Stopping()]):
            if isinstance(effect, Persist):
                self._behind.journal[effect.name] = effect.value
        with suppress(DiskFull):  # then it is as after a crash
            self._storage.commit(self._behind)

    def keep(self, cosigned: Cosigned) -> None:
        """A checkpoint with cosignatures from outside: written with what is left behind."""
        self._outside.append(cosigned)
        if self._behind_until is None:
            self._behind_until = trio.current_time() + BEHIND_MS_MAX / 1000
        self._inbox.wake()

    async def settle(self) -> None:
        """Return when the log is written as far as it is executed, or the disk is full: then it is read as it is."""
        if self._storage.unwritten and not self.disk_full:
            if self._behind_until is not None:
                self._behind_until = 0.0
            self._inbox.wake()
            await self._settled.wait()

    async def _verify_envelopes(self, events: list[Event]) -> None:
        """Client signatures in peers' messages are checked before the replica sees them, in a thread if many; those
        that it would not ask for never."""
        fresh: list[bytes] = []
        for event in events:
            if isinstance(event, Received) and len(fresh) < VERIFIED_A_TURN_MAX:
                fresh += self._envelopes.fresh(self.replica.carried(event.sender, event.frame))
        if len(fresh) > INLINE_MAX:
            opened = await trio.to_thread.run_sync(self._envelopes.open_all, fresh, limiter=self._verifying)
            self._envelopes.remember(opened)
        elif fresh:
            self._envelopes.remember(self._envelopes.open_all(fresh))

    async def _turn(self, events: Sequence[Event]) -> None:
        """Take the replica through these events, and at once through what follows from executing what it committed:
        the next block may have waited for that."""
        while events:
            events = await self._step(events)

    async def _step(self, events: Sequence[Event]) -> Sequence[Event]:
        """Carry out what follows from these events; the ones that follow from that."""
        effects = self._take(events)
        promises = False
        drops: list[bytes] = []
        appends: list[AppendBlock] = []
        out: list[Send | Broadcast] = []
        answers: list[Answer] = []
        reads: list[ReadRun | ReadBlock] = []
        told: list[Note | Accuse] = []
        for effect in effects:
            match effect:
                case Persist():
                    self._behind.journal[effect.name] = effect.value
                    promises = promises or not effect.behind
                case StoreBlock():
                    self._behind.blocks.append(effect.block)
                    # Storage carries out drops last: what is stored again after a drop stays.
                    for dropped in (drops, self._behind.drops):
                        if effect.block.hash in dropped:
                            dropped.remove(effect.block.hash)
                case DropBlocks():
                    drops.extend(effect.hashes)
                case AppendBlock():
                    appends.append(effect)
                case KeepCheckpoint():
                    self._behind.checkpoints.append(effect.cosigned)
                case Send() | Broadcast():
                    out.append(effect)
                case Answer():
                    answers.append(effect)
                case ReadRun() | ReadBlock():
                    reads.append(effect)
                case Note() | Accuse():
                    told.append(effect)
                case _:
                    assert_never(effect)
        if promises:
            await self._write_behind()
        self._speak(out)
        self._tell(told, answers)
        # After the write: my own COMMIT may be one of those that make these blocks durable.
        followed = await self._execute(appends) if appends else ()
        # Behind their appends: a block that is voted for and committed in one turn is on the disk all the time.
        self._behind.drops.extend(drops)
        await self._read(reads)
        if len(self._behind.blocks) > BEHIND_BLOCKS_MAX or self._storage.unwritten > BEHIND_BLOCKS_MAX:
            await self._write_behind()
        if self._behind_until is None and not self._is_settled():
            self._behind_until = trio.current_time() + BEHIND_MS_MAX / 1000
        return followed

    def _take(self, events: Sequence[Event]) -> list[Effect]:
        """Step the replica through these events."""
        effects: list[Effect] = []
        now = self._now()
        if self._record is None:
            for event in events:
                effects += self.replica.step(event, now)
            return effects
        steps: list[tuple[Event, Sequence[Effect] | None]] = []
        try:
            for event in events:
                steps.append((event, None))
                found = self.replica.step(event, now)
                steps[-1] = (event, found)
                effects += found
        finally:
            self._record(now, steps)
        return effects

    def _tell(self, told: Sequence[Note | Accuse], answers: Sequence[Answer]) -> None:
        for item in told:
            if isinstance(item, Note):
                self._ears.noted(item)
            else:
                self._ears.accused(item)
        if answers:
            self._ears.answered(answers)

    def _speak(self, out: Sequence[Send | Broadcast]) -> None:
        if out:
            with self._mouth.together():
                for message in out:
                    if isinstance(message, Send):
                        self._mouth.send(message.to, message.frame)
                    else:
                        self._mouth.broadcast(message.frame)

    async def _execute(self, appends: Sequence[AppendBlock]) -> list[Event]:
        """Execute committed blocks and tell whoever waits for them: a quorum has made them durable."""
        operations = sum(len(item.body.operations) for append in appends for item in append.transactions)
        if operations > INLINE_OPERATIONS_MAX:
            executed = await self._writer.run(self._execute_all, appends)
        else:
            executed = self._execute_all(appends)
        for append, done in zip(appends, executed, strict=True):
            self._ears.executed(done.results, done.encoded)
            self._envelopes.forget(append.block.transactions)
        return [done.executed for done in executed]

    def _execute_all(self, appends: Sequence[AppendBlock]) -> list[Committed]:
        return [self._storage.execute(append) for append in appends]

    def _is_settled(self) -> bool:
        behind = self._behind
        return not self._storage.unwritten and not (
            behind.journal or behind.blocks or behind.drops or behind.checkpoints or self._outside
        )

    async def _write_behind(self) -> None:
        """Everything so far is durable when it returns. Waits for room on the disk as long as it takes."""
        if self._is_settled():
            self._behind_until = None
            return
        self._behind.checkpoints += self._outside
        self._outside = []
        while True:
            try:
                await self._writer.run(self._storage.commit, self._behind)
            except DiskFull as full:
                if not self.disk_full:
                    self.disk_full = True
                    self._let_go()
                    self._ears.noted(Note("disk_full", {"detail": str(full)}))
                    self._ears.disk_full(True)
                await trio.sleep(self._disk_retry_s)
                continue
            if self.disk_full:
                self.disk_full = False
                self._ears.noted(Note("disk_writable_again", {}))
                self._ears.disk_full(False)
            if self._behind.checkpoints:
                self._ears.checkpointed()
            self._behind = Turn()
            self._behind_until = trio.current_time() + BEHIND_MS_MAX / 1000 if self._outside else None
            self._let_go()
            return

    def _let_go(self) -> None:
        self._settled.set()
        self._settled = trio.Event()

    async def _read(self, reads: Sequence[ReadRun | ReadBlock]) -> None:
        written = self._storage.height - self._storage.unwritten
        if any(isinstance(read, ReadBlock) or read.last > written for read in reads):
            await self._write_behind()
        for read in reads:
            if isinstance(read, ReadBlock):
                self._inbox.put(BlockRead(read.to, self._storage.read_block(read.block)))
            else:
                # Beside the turns: who catches up holds up nobody. The replica asks for one a member at a time.
                self._nursery.start_soon(self._read_run, read)

    async def _read_run(self, read: ReadRun) -> None:
        run = await trio.to_thread.run_sync(self._storage.read_run, read.first, read.last, limiter=self._reading)
        blocks, certificate = run or ((), None)
        self._inbox.put(RunRead(read.to, read.first, blocks, certificate))
