"""One replica in the small world, driven exactly as effects.py says: step, make durable, then speak.

A turn takes everything that is waiting. While what it promises is on the way to the disk nothing else is stepped; a
crash in between loses the whole turn and what was left behind before it, a crash after it may lose any part of what
was to be said. A turn that promises nothing speaks at once; what it leaves behind is written some milliseconds later.
"""

import traceback
from collections.abc import Callable, Sequence
from typing import assert_never

from bftnode.apps.execution import Executor
from bftnode.protocol.cosigning import CheckpointSigner
from bftnode.protocol.ed25519 import Signer, Verifier
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.transactions import Transaction, open_transaction
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
from bftnode.replica.events import (
    BlockRead,
    Event,
    Executed,
    Linked,
    Now,
    Received,
    RunRead,
    Stopping,
    Submitted,
    Tick,
    Unlinked,
)
from bftnode.replica.position import Timing
from simulations.disks import Damaged, Disk
from simulations.judges import Judge
from simulations.network import Network
from simulations.words import in_words, note_in_words
from simulations.world import WALL_MS, Violation, World

BEHIND_MS_MAX = 20

# Looked up by type, ten thousand times a second: what comes in which step of a turn (effects.py).
_DECIDED = frozenset({AppendBlock, DropBlocks, KeepCheckpoint})
_READS = frozenset({ReadRun, ReadBlock})
_CARRIED_OUT_BEFORE = frozenset({Persist, StoreBlock, Send, Broadcast, AppendBlock, DropBlocks, KeepCheckpoint})

DISK_RETRY_MS = 250
"""How often a node tries again to write where the disk is full."""

PPM = 1_000_000

TURNS_A_MOMENT_MAX = 2000
TICKS_A_MOMENT_MAX = 3
"""Turns and ticks of one node within one ms. More of them is a machine that spins. (A tick may make the next one
due at once: the timeout of a view is the beginning of another.)"""


class Envelopes:
    """Opens clients' envelopes, each once for the whole world: opening is a pure function."""

    def __init__(self, members: Membership, executor: Executor, verify: Verifier) -> None:
        self._members = members
        self._executor = executor
        self._verify = verify
        self._opened: dict[bytes, Transaction] = {}

    def open(self, raw: bytes) -> Transaction:
        known = self._opened.get(raw)
        if known is not None:
            return known
        transaction = open_transaction(raw, self._members.chain_id)
        self._executor.validate(transaction)
        if not transaction.signature_valid(self._verify):
            raise Refused(Reason.TX_SIGNATURE, "not signed by the client that it names")
        self._opened[raw] = transaction
        return transaction


class Node:
    """One place with one replica and its disk."""

    def __init__(
        self,
        world: World,
        network: Network,
        judge: Judge,
        members: Membership,
        member: int,
        sign: Signer,
        verify: Verifier,
        envelopes: Envelopes,
        disk: Disk,
        timing: Timing,
        *,
        place: int | None = None,
        wall_offset_ms: int = 0,
    ) -> None:
        self.world = world
        self.network = network
        self.judge = judge
        self.members = members
        self.member = member
        self.place = member if place is None else place
        self.name = f"n{self.place}"
        self.disk = disk
        self.timing = timing
        self.up = False
        self.writes = 0
        self.behind_ms = BEHIND_MS_MAX  # how long what is left behind waits for its write, at most
        self.sync_delay_ms: Callable[[], int] = _at_once
        self.crash_after_sends: int | None = None  # the next turn speaks so many messages and dies
        self.cosigner: CheckpointSigner | None = None  # none: this world cosigns nothing
        self.answers: Callable[[Node, Answer], None] | None = None
        self._others = tuple(other for other in range(members.n) if other != member)
        self._placed = bytes((self.place,))
        self._sign = sign
        self._verify = verify
        self._envelopes = envelopes
        self.wall_offset_ms = wall_offset_ms
        self._replica: Replica | None = None
        self.life = 0  # grows with each crash: what an earlier life scheduled does not happen
        self._inbox: list[Event] = []
        self._writing = False
        self._paused = False
        self._running = False
        self.refused = ""  # why it does not run, where its disk told it not to
        self._drift_ppm = 0
        self._born_ms = 0  # when its monotonic clock showed nothing, if it never drifted
        self._since_ms = 0  # when it began to drift as it does
        self._wake_ms: int | None = None
        self._moment = (-1, 0)
        self._ticks = (-1, 0)
        network.settle_at(self.place, member, self.hear, self.linked, self.unlinked)

    @property
    def replica(self) -> Replica:
        assert self._replica is not None, "the node is up"
        return self._replica

    # ---- life and death

    def start(self) -> None:
        """Wake up with what the disk remembers; the monotonic clock starts anew, as after a reboot."""
        assert not self.up, "started once a life"
        self.refused = ""
        try:
            recovered = self.disk.recover()
        except Damaged as damaged:
            self._refuse(damaged)
            return
        self.up = True
        self._born_ms = self._since_ms = self.world.now_ms
        self._replica = Replica(
            self.members,
            self.member,
            self._sign,
            self._verify,
            self._envelopes.open,
            recovered,
            self._now(),
            self.timing,
            self.cosigner,
        )
        self.judge.on_start(self)
        self.world.tell(self.name, f"starts in view {self._replica.position.view} at height {self.disk.height}")
        self.network.link(self.place)
        self.put(Tick())

    def crash(self) -> None:
        """kill -9: everything that is not on the disk is gone, a write under way included."""
        if not self.up:
            return
        self.world.tell(self.name, "crashes" + (" during a write" if self._writing else ""))
        self.world.note(b"crash", bytes((self.place,)))
        self.disk.lose()
        self._die()

    def stop(self) -> None:
        """SIGTERM: what was left behind is written, and a word that this is all."""
        if not self.up or self._writing or self.disk.full:
            self.crash()
            return
        self.world.tell(self.name, "stops")
        self.world.note(b"stop", bytes((self.place,)))
        self.disk.commit(self._step(self.replica, Stopping(), self._now()))
        self._die()

    def _refuse(self, damaged: Damaged) -> None:
        """The disk is not what was written: the node ends, and says so (faults.md D06, D14)."""
        self.refused = str(damaged)
        self.world.tell(self.name, f"refuses to run: {damaged}")
        self.world.note(b"refuse", bytes((self.place,)))

    def drift(self, ppm: int) -> None:
        """From now on its clocks run so many millionths fast (or slow)."""
        drifted = self._drifted()
        self._born_ms -= drifted
        self.wall_offset_ms += drifted
        self._since_ms = self.world.now_ms
        self._drift_ppm = ppm
        if self.up:
            self._wake_ms = None
            self._set_alarm()

    def _drifted(self) -> int:
        return (self.world.now_ms - self._since_ms) * self._drift_ppm // PPM

    def pause(self) -> None:
        """SIGSTOP: what comes in waits; what is on its way to the disk gets there."""
        self.world.tell(self.name, "is paused")
        self._paused = True

    def resume(self) -> None:
        """SIGCONT."""
        self.world.tell(self.name, "is resumed")
        self._paused = False
        if self.up and not self._running:
            self._run()

    def _die(self) -> None:
        self.life += 1
        self._paused = False
        self.up = self._writing = False
        self._inbox = []
        self._replica = None
        self._wake_ms = None
        self.crash_after_sends = None
        self.network.unlink(self.place)

    def _now(self) -> Now:
        now_ms = self.world.now_ms
        if self._drift_ppm:
            drifted = self._drifted()
            return Now(now_ms - self._born_ms + drifted, max(0, WALL_MS + now_ms + self.wall_offset_ms + drifted))
        return Now(now_ms - self._born_ms, max(0, WALL_MS + now_ms + self.wall_offset_ms))

    # ---- events

    def hear(self, sender: int, frame: bytes) -> None:
        """A frame arrives over the link of member `sender`."""
        if self.up:
            self.put(Received(sender, frame))

    def linked(self, member: int) -> None:
        """There is a new link to this member."""
        if self.up:
            self.put(Linked(member))

    def unlinked(self, member: int) -> None:
        """The link to this member has ended."""
        if self.up:
            self.put(Unlinked(member))

    def submit(self, *transactions: Transaction) -> None:
        """Clients' envelopes, checked as the daemon checks them."""
        if self.up:
            self.put(Submitted(transactions))

    def put(self, event: Event) -> None:
        self._inbox.append(event)
        if not self._running:
            self._run()

    def _run(self) -> None:
        """Turns, until nothing is waiting or a write is on its way."""
        self._running = True
        try:
            while self._inbox and not self._writing and not self._paused and self.up:
                self._turn()
        finally:
            self._running = False

    def _turn(self) -> None:
        events, self._inbox = self._inbox, []
        now, replica, now_ms = self._now(), self.replica, self.world.now_ms
        count = self._moment[1] + 1 if self._moment[0] == now_ms else 1
        self._moment = (now_ms, count)
        if count > TURNS_A_MOMENT_MAX:
            raise Violation("spinning", f"{self.name} takes {count} turns in one ms")
        effects: list[Effect] = []
        for event in events:
            self._record(event)
            effects += self._step(replica, event, now)
        self._set_alarm()
        if not effects:
            self.judge.on_turn(self)
            return
        kept: list[Effect] = []
        promise = False
        for effect in effects:
            if isinstance(effect, Persist):
                kept.append(effect)
                promise = promise or not effect.behind
            elif isinstance(effect, StoreBlock):
                kept.append(effect)
        if kept:
            settled = self.disk.settled
            self.disk.leave(kept)
            if not promise and settled:
                self.world.after(self.behind_ms, self._write_behind, self.life, self.writes)
        if promise:
            self._write(self._say, effects)
        else:
            self._say(effects)

    def _write_behind(self, life: int, writes: int) -> None:
        """Nothing was written since: nobody took along what was left behind."""
        if life == self.life and writes == self.writes and not self._writing:
            self._write(self._carry_out, ())

    def _write(self, then: Callable[[Sequence[Effect]], None], effects: Sequence[Effect]) -> None:
        """Write everything; nothing is stepped until it is there."""
        self._writing = True
        self.writes += 1
        delay = self.sync_delay_ms()
        if delay:
            self.world.after(delay, self._written, self.life, then, effects)
        else:
            self._written(self.life, then, effects)

    def _step(self, replica: Replica, event: Event, now: Now) -> list[Effect]:
        try:
            return replica.step(event, now)
        except Exception as error:
            # Nothing that comes from outside makes a replica raise; and what it asserts of itself is true.
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.world.tell(self.name, "".join(traceback.format_exception(error)))
            where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
            raise Violation("raised", f"{self.name}: {type(error).__name__} at {where}: {error}") from error

    def _set_alarm(self) -> None:
        deadline, now_ms = self.replica.next_deadline_ms() + self._born_ms, self.world.now_ms
        if self._drift_ppm:
            deadline = self._since_ms - (self._since_ms - deadline) * PPM // (PPM + self._drift_ppm)
        deadline = max(deadline, now_ms)
        if self._wake_ms is None or deadline < self._wake_ms:
            self._wake_ms = deadline
            self.world.at(deadline, self._wake, self.life, deadline)

    def _wake(self, life: int, at_ms: int) -> None:
        if life != self.life or at_ms != self._wake_ms:
            return
        self._wake_ms = None
        if self.replica.next_deadline_ms() <= self._now().monotonic_ms:
            self._ticks = (at_ms, self._ticks[1] + 1 if self._ticks[0] == at_ms else 1)
            if self._ticks[1] > TICKS_A_MOMENT_MAX:
                raise Violation("spinning", f"{self.name} asks for a tick at once after a tick, again and again")
            self.put(Tick())
        else:
            self._set_alarm()

    def _record(self, event: Event) -> None:
        world, place = self.world, self._placed
        match event:
            case Received():
                # The signature is the last but one thing in a frame: it stands for all of it.
                world.note(b"hear", place, event.frame[-72:])
                world.delivered += 1
                if world.telling:
                    world.tell(self.name, f"<- n{event.sender} {in_words(event.frame)}")
            case Submitted():
                world.note(b"submit", place, *(item.id for item in event.transactions))
                if world.telling:
                    names = ", ".join(f"{item.key[0].hex()[:4]}/{item.key[1]}" for item in event.transactions)
                    world.tell(self.name, f"<- client {names}")
            case Tick():
                world.note(b"tick", place)
            case Linked() | Unlinked() | Executed() | RunRead() | BlockRead() | Stopping():
                pass
            case _:
                assert_never(event)

    # ---- effects

    def _written(self, life: int, then: Callable[[Sequence[Effect]], None], effects: Sequence[Effect]) -> None:
        """Everything is durable."""
        if life != self.life:
            return
        if self.disk.full:
            self.world.after(DISK_RETRY_MS, self._written, life, then, effects)
            return
        self.disk.sync()
        if self.disk.torn:
            self.crash()  # the power went while it was written
            return
        self._writing = False
        then(effects)

    def _say(self, effects: Sequence[Effect]) -> None:
        """What was promised is spoken; then what was committed is executed, and left behind with what is dropped."""
        if not self._speak(effects):
            self.crash()
            return
        decided = [effect for effect in effects if type(effect) in _DECIDED]
        if decided:
            settled = self.disk.settled
            for committed in self.disk.leave(decided):
                block = committed.effect.block
                self.world.note(b"append", self._placed, block.hash)
                if self.world.telling:
                    self.world.tell(self.name, f"appends height {block.seq} {block.hash.hex()[:6]}")
                self.judge.on_committed(self, committed)
                self._inbox.append(committed.executed)
            if settled:
                self.world.after(self.behind_ms, self._write_behind, self.life, self.writes)
        if not self.disk.settled and any(type(effect) in _READS for effect in effects):
            self._write(self._carry_out, effects)
        else:
            self._carry_out(effects)

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        """What is read goes back in; the rest is told."""
        self.judge.on_turn(self)
        for effect in effects:
            if type(effect) in _CARRIED_OUT_BEFORE:
                continue
            match effect:
                case ReadRun() | ReadBlock():
                    if not self._read(effect):
                        return
                case Answer():
                    if self.answers is not None:
                        self.answers(self, effect)
                case Accuse():
                    self.world.tell(self.name, f"accuses n{effect.culprit}: {effect.proved}")
                    self.judge.on_accuse(self, effect)
                case Note():
                    if self.world.telling:
                        self.world.tell(self.name, note_in_words(effect))
                    self.judge.on_note(self, effect)
                case _:
                    pass
        if not self._running:
            self._run()

    def _read(self, effect: ReadRun | ReadBlock) -> bool:
        """What is asked for, from the disk; whether the node still runs: it does not on a damaged one."""
        try:
            if isinstance(effect, ReadRun):
                run = self.disk.read_run(effect.first, effect.last)
                blocks, certificate = run if run is not None else ((), None)
                self._inbox.append(RunRead(effect.to, effect.first, blocks, certificate))
            else:
                self._inbox.append(BlockRead(effect.to, self.disk.read_block(effect.block)))
        except Damaged as damaged:
            self._refuse(damaged)
            self.crash()
            return False
        return True

    def _speak(self, effects: Sequence[Effect]) -> bool:
        """Send what the turn says; whether the node is still alive after it."""
        left, spoken = self.crash_after_sends, False
        to: tuple[int, ...]
        for effect in effects:
            if isinstance(effect, Broadcast):
                to = self._others
            elif isinstance(effect, Send):
                to = (effect.to,)
            else:
                continue
            if not spoken:
                self.crash_after_sends, spoken = None, True
            frame = effect.frame
            self.judge.on_frame(self, frame)
            for member in to:
                if left is not None:
                    if left == 0:
                        return False
                    left -= 1
                self.utter(member, frame)
        return left is None or not spoken

    def utter(self, to: int, frame: bytes) -> None:
        """One frame leaves for one member. Adversaries change what happens here."""
        self.network.send(self.place, to, frame)


def _at_once() -> int:
    return 0
