"""The driver: it carries out the replica's effects, in the order that effects.py promises.

A turn: take what is waiting, step the replica through it, write everything durable in one transaction in a worker
thread, and only then speak, answer and report. One `await` stands between thinking and speaking, and it is
the promise itself (docs/protocol.md, "What must survive a crash"). While the disk is full the turn waits: nothing
is said that is not durable, reads go on, and the same turn is written again until there is room.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, assert_never

import trio

from bftnode.node.envelopes import INLINE_MAX, Envelopes
from bftnode.node.inbox import Inbox
from bftnode.node.writer import Writer
from bftnode.protocol.results import TransactionResult
from bftnode.replica.core import Replica
from bftnode.replica.effects import (
    Accuse,
    Answer,
    AppendBlock,
    Broadcast,
    DropBlocks,
    Effect,
    Note,
    Persist,
    ReadBlock,
    ReadRun,
    Send,
    StoreBlock,
)
from bftnode.replica.events import BlockRead, Event, Now, Received, RunRead, Tick
from bftnode.storage.errors import DiskFull
from bftnode.storage.store import Committed, Storage, Turn


class Mouth(Protocol):
    """What the driver needs of the network."""

    def send(self, member: int, frame: bytes) -> None: ...

    def broadcast(self, frame: bytes) -> None: ...

    def together(self) -> AbstractContextManager[None]: ...


class Ears(Protocol):
    """Who is told what came of clients' envelopes, and what is worth telling."""

    def answered(self, answers: Sequence[Answer]) -> None: ...

    def executed(self, results: Sequence[TransactionResult]) -> None: ...

    def noted(self, note: Note) -> None: ...

    def accused(self, accusation: Accuse) -> None: ...

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
    ) -> None:
        self.replica = replica
        self._storage = storage
        self._inbox = inbox
        self._envelopes = envelopes
        self._mouth = mouth
        self._ears = ears
        self._disk_retry_s = disk_retry_s
        self._now = now
        self._writer = Writer()
        self.turns = 0
        self.disk_full = False

    @property
    def log_size(self) -> int:
        """Entries in the committed log."""
        return self.replica.chain.head.block.header.log_size

    async def run(self) -> None:
        """For ever. Raises what means that this node must stop: a broken disk, a broken belief."""
        await self._turn([Tick()])
        while True:
            await self._inbox.wait(self.replica.next_deadline_ms() / 1000)
            events = self._inbox.take()
            if self._now().monotonic_ms >= self.replica.next_deadline_ms():
                events.append(Tick())
            if events:
                await self._verify_envelopes(events)
                await self._turn(events)
            # With everything in memory a turn may finish without waiting for anything: let connections have theirs.
            await trio.lowlevel.checkpoint()

    async def _verify_envelopes(self, events: list[Event]) -> None:
        """Client signatures in peers' messages are checked before the replica sees them, in a thread if many."""
        fresh: list[bytes] = []
        for event in events:
            if isinstance(event, Received):
                fresh += self._envelopes.fresh_in(event.frame)
        if len(fresh) > INLINE_MAX:
            self._envelopes.remember(await trio.to_thread.run_sync(self._envelopes.open_all, fresh))
        elif fresh:
            self._envelopes.remember(self._envelopes.open_all(fresh))

    async def _turn(self, events: Sequence[Event]) -> None:
        effects: list[Effect] = []
        now = self._now()
        for event in events:
            effects += self.replica.step(event, now)
        turn = Turn()
        out: list[Send | Broadcast] = []
        answers: list[Answer] = []
        reads: list[ReadRun | ReadBlock] = []
        told: list[Note | Accuse] = []
        for effect in effects:
            match effect:
                case Persist():
                    turn.journal[effect.name] = effect.value
                case StoreBlock():
                    turn.blocks.append(effect.block)
                    # Storage carries out drops last: what is stored again after a drop of this turn stays.
                    if effect.block.hash in turn.drops:
                        turn.drops.remove(effect.block.hash)
                case AppendBlock():
                    turn.appends.append(effect)
                case DropBlocks():
                    turn.drops.extend(effect.hashes)
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
        self.turns += 1
        committed = await self._persist(turn)
        if out:
            with self._mouth.together():
                for message in out:
                    if isinstance(message, Send):
                        self._mouth.send(message.to, message.frame)
                    else:
                        self._mouth.broadcast(message.frame)
        for item in told:
            if isinstance(item, Note):
                self._ears.noted(item)
            else:
                self._ears.accused(item)
        if answers:
            self._ears.answered(answers)
        for block in committed:
            self._ears.executed(block.results)
            self._inbox.put(block.executed)
        for append in turn.appends:
            self._envelopes.forget(append.block.transactions)
        for read in reads:
            await self._read(read)

    async def _persist(self, turn: Turn) -> list[Committed]:
        """Durable when it returns. Waits for room on the disk as long as it takes."""
        if not (turn.journal or turn.blocks or turn.appends or turn.drops):
            return []
        while True:
            try:
                committed = await self._writer.run(self._storage.commit, turn)
            except DiskFull as full:
                if not self.disk_full:
                    self.disk_full = True
                    self._ears.noted(Note("disk_full", {"detail": str(full)}))
                    self._ears.disk_full(True)
                await trio.sleep(self._disk_retry_s)
                continue
            if self.disk_full:
                self.disk_full = False
                self._ears.noted(Note("disk_writable_again", {}))
                self._ears.disk_full(False)
            return committed

    async def _read(self, read: ReadRun | ReadBlock) -> None:
        if isinstance(read, ReadBlock):
            self._inbox.put(BlockRead(read.to, self._storage.read_block(read.block)))
            return
        run = await trio.to_thread.run_sync(self._storage.read_run, read.first)
        if run is None:
            self._inbox.put(RunRead(read.to, read.first, (), None))
        else:
            self._inbox.put(RunRead(read.to, read.first, run[0], run[1]))
