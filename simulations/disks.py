"""A disk that honours the contract of effects.py: what is left behind and what is promised become durable together.

It keeps what storage keeps (journal, stored blocks, log with certificates, state, digest) in memory. `journal` and
`stored` are what is durable; the log and the state run ahead of it, as in production, until `sync`, and `lose` takes
back what was not written. It can be copied and put back (a machine restored from an old snapshot, faults.md D07) and
wiped (D08). It can be damaged (damage.py) and be full; what is damaged is found when it is read, as by the real
storage.
"""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple, assert_never

from bftnode.apps.execution import CLIENT_PREFIX, NO_STATE, Executor, digest_after
from bftnode.protocol import limits
from bftnode.protocol.blocks import Block, Packed, genesis_block, pack_block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import decode
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.membership import Membership
from bftnode.protocol.merkle import Frontier
from bftnode.protocol.nonces import ClientRecord, ClientWindow
from bftnode.protocol.results import TransactionResult
from bftnode.replica.effects import AppendBlock, DropBlocks, Effect, KeepCheckpoint, Persist, StoreBlock
from bftnode.replica.events import Executed, ExecutedTransaction
from bftnode.replica.recovery import Recovered
from simulations.damage import Damaged, Place, Seals, bytes_of, flipped, torn, with_bytes

__all__ = ["Committed", "Damaged", "Disk", "Image", "MapState", "Mark"]


class MapState:
    """An ordered map in memory."""

    def __init__(self, entries: dict[bytes, bytes] | None = None) -> None:
        self.entries = entries or {}

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        keys = sorted(key for key in self.entries if key >= start and (end is None or key < end))
        return [(key, self.entries[key]) for key in keys[:limit]]

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value


class Committed(NamedTuple):
    """A block that was executed."""

    effect: AppendBlock
    executed: Executed
    results: list[TransactionResult]
    digest: bytes


class _Before(NamedTuple):
    """What executing a block changed, as it was."""

    state: dict[bytes, bytes | None]
    digest: bytes
    frontier: Frontier


class Mark(NamedTuple):
    """How much was left behind at a moment: journal and block effects, and executed blocks."""

    effects: int
    blocks: int


NOTHING = Mark(0, 0)


class Image(NamedTuple):
    """Everything on a disk at one moment, durable."""

    journal: dict[str, bytes]
    stored: dict[bytes, Block]
    log: list[tuple[Block, Certificate | None]]
    state: dict[bytes, bytes]
    digest: bytes
    frontier: Frontier
    seals: dict[Place, bytes]


class Disk:
    """One machine's disk."""

    def __init__(self, members: Membership, executor: Executor, run_blocks_max: int = limits.RUN_BLOCKS_MAX) -> None:
        self._members = members
        self._executor = executor
        self._run_blocks_max = run_blocks_max
        self.journal: dict[str, bytes] = {}
        self.stored: dict[bytes, Block] = {}
        self.checkpoints: dict[int, Cosigned] = {}  # by size; neither damaged nor put back
        self.log: list[tuple[Block, Certificate | None]] = []
        self._state = MapState()
        self._digest = NO_STATE
        self._frontier = Frontier()
        self._behind: list[Persist | StoreBlock | DropBlocks | KeepCheckpoint] = []
        self._ahead: list[_Before] = []  # one for each block of the log that is not durable yet
        self._seals = Seals()
        self._tear: Random | None = None
        self.full = False  # nothing can be written; `sync` is not called until there is room
        self.torn = False  # the last write broke off in the middle, with the machine
        self.wipe()

    def wipe(self) -> None:
        """A new disk."""
        self._behind, self._ahead = [], []
        self._seals, self._tear, self.full, self.torn = Seals(), None, False, False
        self.journal = {}
        self.stored, self.checkpoints = {}, {}
        self.log = [(genesis_block(self._members.chain_id), None)]
        self._state, self._frontier = MapState(), Frontier()
        changes = self._executor.initial_state()
        self._digest = digest_after(NO_STATE, changes)
        self._state.apply(changes)

    @property
    def height(self) -> int:
        """Of the last block that was executed."""
        return self.log[-1][0].seq

    @property
    def settled(self) -> bool:
        """Whether everything is durable."""
        return not self._behind and not self._ahead

    @property
    def written(self) -> int:
        """Height of the last block that was executed and is durable."""
        return self.log[-1 - len(self._ahead)][0].seq

    def durable(self, block: bytes, seq: int) -> bool:
        """Whether this block would be found after a crash, or its height is decided in the log as it is written."""
        return block in self.stored or seq <= self.written

    def waiting(self) -> list[str]:
        """What the next write writes: names of journal records, and "store", "drop", "checkpoint" and "append"."""
        words = {StoreBlock: "store", DropBlocks: "drop", KeepCheckpoint: "checkpoint"}
        names = [effect.name if isinstance(effect, Persist) else words[type(effect)] for effect in self._behind]
        return names + ["append"] * len(self._ahead)

    # ---- the durable write

    def commit(self, effects: Iterable[Effect]) -> list[Committed]:
        """Execute the blocks of a turn and make all of it durable; what the blocks did, in order of height."""
        committed = self.leave(effects)
        self.sync()
        return committed

    def leave(self, effects: Iterable[Effect]) -> list[Committed]:
        """Execute the blocks of a turn; what it makes durable waits for `sync`."""
        committed: list[Committed] = []
        for effect in effects:
            match effect:
                case Persist() | StoreBlock() | DropBlocks() | KeepCheckpoint():
                    self._behind.append(effect)
                case AppendBlock():
                    committed.append(self._execute(effect))
                case _:
                    pass
        return committed

    def sync(self) -> None:
        """Write all that waits."""
        assert not self.full, "there is room for it"
        if self._seals:
            self._reseal()
        for effect in self._behind:
            match effect:
                case Persist():
                    self.journal[effect.name] = effect.value
                case StoreBlock():
                    self.stored[effect.block.hash] = effect.block
                case DropBlocks():
                    for block in effect.hashes:
                        self.stored.pop(block, None)
                case KeepCheckpoint():
                    self.checkpoints[effect.cosigned.log_size] = effect.cosigned
                case _:
                    assert_never(effect)
        if self._tear is not None and (self._behind or self._ahead):
            self._torn_apart(self._tear)
        self._behind, self._ahead = [], []

    def mark(self) -> Mark:
        """How much is left behind now."""
        return Mark(len(self._behind), len(self._ahead))

    def lose(self, since: Mark = NOTHING) -> None:
        """A crash: what was not written is gone; of what waits, what was left behind since then (the rest a write that
        came earlier may have taken)."""
        del self._behind[since.effects :]
        self.torn = False
        for before in reversed(self._ahead[since.blocks :]):
            self.log.pop()
            self._state.apply(before.state)
            self._digest, self._frontier = before.digest, before.frontier
        del self._ahead[since.blocks :]

    def _execute(self, effect: AppendBlock) -> Committed:
        block, head = effect.block, self.log[-1][0]
        assert (block.seq, block.parent) == (head.seq + 1, head.hash), "a block follows the head"
        assert effect.certificate is None or (effect.certificate.seq, effect.certificate.block) == (
            block.seq,
            block.hash,
        ), "a block is stored with its certificate"
        assert tuple(item.raw for item in effect.transactions) == block.transactions, "the opened are the block's"
        frontier = self._frontier.grown(block.leaves)
        assert (frontier.size, frontier.root()) == (block.header.log_size, block.header.log_root), "the log adds up"
        execution = self._executor.execute(
            block.seq, block.header.time_ms, self._frontier.size, effect.transactions, self._state
        )
        before = {key: self._state.get(key) for key in execution.changes}
        self._ahead.append(_Before(before, self._digest, self._frontier))
        self._digest = digest_after(self._digest, execution.changes)
        self._state.apply(execution.changes)
        self.log.append((block, effect.certificate))
        self._frontier = frontier
        due = block.seq % self._members.parameters.checkpoint_interval == 0
        executed = Executed(
            block.seq,
            tuple(
                ExecutedTransaction(transaction.body.client, transaction.body.nonce, result.code)
                for transaction, result in zip(effect.transactions, execution.results, strict=True)
            ),
            tuple(execution.clients.items()),
            self._digest if due else None,
        )
        return Committed(effect, executed, execution.results, self._digest)

    # ---- reads

    def recover(self) -> Recovered:
        """What the replica wakes up with. Raises Damaged: the journal, the head of the log, the blocks above it and
        the state are looked at, as the daemon does."""
        assert self.settled, "what was not written was lost"
        self.torn = False
        if self._seals:
            self._scrub()
        clients = {
            key[len(CLIENT_PREFIX) :]: ClientWindow.load(decode(value, ClientRecord, 4096))
            for key, value in self._state.scan(CLIENT_PREFIX, bytes((CLIENT_PREFIX[0] + 1,)), 1_000_000)
        }
        certificate = next((item for _, item in reversed(self.log) if item is not None), None)
        above = {key: block for key, block in self.stored.items() if block.seq > self.height}
        return Recovered(self.log[-1][0], self._frontier, certificate, dict(self.journal), above, clients)

    def read_run(self, first: int, last: int) -> tuple[tuple[Packed, ...], Certificate] | None:
        """Blocks from `first` to the last certified one up to `last` and within the limits, else to the first one past
        them. Raises Damaged."""
        best: tuple[int, Certificate] | None = None
        size = 0
        for seq in range(max(first, 1), self.height + 1):
            block, certificate = self.log[seq]
            if self._seals:
                self._seals.check(_log_place(seq), bytes_of(block))
            size += len(block.header_raw) + len(block.payload)
            past = size > limits.RUN_BYTES_TARGET or seq - first >= self._run_blocks_max or seq > last
            if past and best is not None:
                break
            if certificate is not None:
                best = (seq, certificate)
        if best is None:
            return None
        return tuple(pack_block(self.log[seq][0]) for seq in range(first, best[0] + 1)), best[1]

    def read_block(self, block: bytes) -> Packed | None:
        """The block of this hash, stored or in the log. Raises Damaged."""
        stored = self.stored.get(block)
        if stored is None:
            stored = next((item for item, _ in self.log[1:] if item.hash == block), None)
        if stored is not None and self._seals:
            self._seals.check(_stored_place(block), bytes_of(stored))
            self._seals.check(_log_place(stored.seq), bytes_of(stored))
        return None if stored is None else pack_block(stored)

    # ---- an old copy

    def image(self) -> Image:
        """A copy of what is durable."""
        written = len(self.log) - len(self._ahead)
        state = MapState(dict(self._state.entries))
        for before in reversed(self._ahead):
            state.apply(before.state)
        last = self._ahead[0] if self._ahead else _Before({}, self._digest, self._frontier)
        return Image(
            dict(self.journal),
            dict(self.stored),
            self.log[:written],
            state.entries,
            last.digest,
            last.frontier,
            self._seals.copy(),
        )

    def put_back(self, image: Image) -> None:
        """An old copy in place of what is there."""
        self._behind, self._ahead = [], []
        self.journal = dict(image.journal)
        self.stored = dict(image.stored)
        self.log = list(image.log)
        self._state = MapState(dict(image.state))
        self._digest = image.digest
        self._frontier = image.frontier
        self._seals = Seals(image.seals)

    # ---- damage

    def places(self, database: str) -> list[Place]:
        """The records of "journal", "blocks", "log" or "state" that are durable."""
        match database:
            case "journal":
                return [("journal", name) for name in sorted(self.journal)]
            case "blocks":
                return [_stored_place(block) for block in sorted(self.stored)]
            case "log":
                return [_log_place(seq) for seq in range(1, len(self.log) - len(self._ahead))]
            case _:
                return [("state", key.hex()) for key in sorted(self._state.entries)]

    def flip(self, place: Place, dice: Random) -> None:
        """A bit of this record is another from now on."""
        self._damage(place, flipped(self._record(place), dice))

    def misdirect(self, source: Place, target: Place) -> None:
        """What was written as `source` lies where `target` should be."""
        value = self._record(source)
        self._damage(target, value)
        self._seals.moved(source, target, value)

    def tear_next(self, dice: Random) -> None:
        """The next write ends in the middle of a record, and with it the machine."""
        self._tear = dice

    def _torn_apart(self, dice: Random) -> None:
        written: list[Place] = [("journal", item.name) for item in self._behind if isinstance(item, Persist)]
        written += [
            _stored_place(item.block.hash)
            for item in self._behind
            if isinstance(item, StoreBlock) and item.block.hash in self.stored
        ]
        written += [_log_place(len(self.log) - 1 - above) for above in range(len(self._ahead))]
        if written:
            place = dice.choice(written)
            self._damage(place, torn(self._record(place), dice))
            self._tear, self.torn = None, True

    def _record(self, place: Place) -> bytes:
        database, key = place
        match database:
            case "journal":
                return self.journal[key]
            case "blocks":
                return bytes_of(self.stored[bytes.fromhex(key)])
            case "log":
                return bytes_of(self.log[int(key)][0])
            case _:
                return self._state.entries[bytes.fromhex(key)]

    def _damage(self, place: Place, value: bytes) -> None:
        self._seals.keep(place, self._record(place))
        database, key = place
        match database:
            case "journal":
                self.journal[key] = value
            case "blocks":
                self.stored[bytes.fromhex(key)] = with_bytes(self.stored[bytes.fromhex(key)], value)
            case "log":
                block, certificate = self.log[int(key)]
                self.log[int(key)] = (with_bytes(block, value), certificate)
            case _:
                self._state.entries[bytes.fromhex(key)] = value

    def _reseal(self) -> None:
        """Records that are written anew are whole again."""
        for effect in self._behind:
            match effect:
                case Persist():
                    self._seals.rewritten(("journal", effect.name))
                case StoreBlock():
                    self._seals.rewritten(_stored_place(effect.block.hash))
                case DropBlocks():
                    for block in effect.hashes:
                        self._seals.rewritten(_stored_place(block))
                case KeepCheckpoint():
                    pass
                case _:
                    assert_never(effect)

    def _scrub(self) -> None:
        places = [*self.places("journal"), *self.places("blocks"), *self.places("state"), *self.places("log")[-1:]]
        for place in places:
            self._seals.check(place, self._record(place))


def _stored_place(block: bytes) -> Place:
    return "blocks", block.hex()


def _log_place(seq: int) -> Place:
    return "log", str(seq)
