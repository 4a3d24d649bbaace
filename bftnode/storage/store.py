"""The one durable write of a turn, and everything that is read back from it.

docs/protocol.md, "What must survive a crash": what a turn promises is durable before it is said. `commit` is that
write: journal, blocks, certificates and the log are on the disk when it returns. `execute` runs a block before it is
written (docs/decisions/009-one-sync-a-block.md); what that gives (state, digest, results, index, Merkle nodes) is
derived data, seen at once and written behind, many blocks in the transaction of a later turn
(docs/decisions/008-derived-data-is-written-behind.md). `execute`, `commit` and `flush` are called by one thread at a
time; reads come from any thread. They see the state after the last executed block, and the log as far as it is written.

A read needs an LMDB snapshot and what is pending of the same moment, and must not wait for a commit's fsync to get
them. So no lock: a commit announces what will be pending under the id of its transaction BEFORE LMDB commits it, and
a reader looks up the id of its snapshot. Whichever side of the commit the snapshot is on, its pending is there. What
is executed meanwhile is announced under the id of the last commit.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from bftnode.apps.contract import ReadableState
from bftnode.apps.execution import CLIENT_PREFIX, Executor, result_key
from bftnode.protocol import limits
from bftnode.protocol.blocks import Block, Packed, genesis_block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import decoder_of
from bftnode.protocol.codec import encode as encoded
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.membership import Membership
from bftnode.protocol.merkle import consistency_proof, inclusion_proof
from bftnode.protocol.nonces import ClientRecord, ClientWindow
from bftnode.protocol.receipts import Receipt
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.tlog.tiles import HEIGHT, WIDTH, Tile, bundle_level, entry_bundle, hash_tile
from bftnode.replica.effects import AppendBlock
from bftnode.replica.events import Executed, ExecutedTransaction
from bftnode.replica.recovery import Recovered
from bftnode.storage.derived import (
    Head,
    derived_height,
    execute,
    extend,
    flush,
    flush_first,
    replay,
)
from bftnode.storage.directory import (
    LMDB_NAME,
    VERSION_NAME,
    check_identity,
    create_directory,
    identity_of,
    lock_directory,
    write_version,
)
from bftnode.storage.environment import DATA_NAME, MAP_BYTES_INITIAL, MAP_BYTES_MAX, Environment
from bftnode.storage.errors import DiskFull, IntegrityError, StorageBroken
from bftnode.storage.log import Entry, LogReader, append, drop, keep_checkpoint, store
from bftnode.storage.pending import FLUSH_BLOCKS, LayeredState, Pending
from bftnode.storage.records import (
    IDENTITY,
    SCHEMA,
    Databases,
    Identity,
    Txn,
    get,
    items,
    open_identity,
    opened,
    put,
    put_many,
)
from bftnode.storage.state import StoredState, check_state, entries

__all__ = ["Committed", "DiskFull", "Found", "IntegrityError", "Storage", "StorageBroken", "Turn", "View"]

SCRUB_ENTRIES_MAX = 200_000
"""A state of at most so many entries is compared with its tally at start (half a second). A larger one is used as it
is: its entries are still checked one by one, as they are read."""
SNAPSHOTS_MAX = 1000
"""A reader that so many times finds no moment for its snapshot has not been overtaken by commits: somebody who does
not respect the directory's lock writes these data."""

T = TypeVar("T")

_open_client: Callable[[bytes], ClientRecord] = decoder_of(ClientRecord, 4096)
_open_result: Callable[[bytes], TransactionResult] = decoder_of(TransactionResult, limits.FRAME_BYTES_MAX)


@dataclass(slots=True)
class Turn:
    """What one turn of the replica makes durable, all of it or nothing.

    Blocks are stored before drops are carried out, so a block that is dropped and stored again in one turn must
    be in `blocks` only.
    """

    journal: dict[str, bytes] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    appends: list[AppendBlock] = field(default_factory=list)
    drops: list[bytes] = field(default_factory=list)
    checkpoints: list[Cosigned] = field(default_factory=list)


class Committed(NamedTuple):
    """A block of the turn, executed. `results` are of its envelopes, in order; `encoded` the same as they are sent."""

    executed: Executed
    results: list[TransactionResult]
    encoded: list[bytes]


class Found(NamedTuple):
    """A transaction in the log. `result` is None when its nonce has left the window and its result with it."""

    client: bytes
    nonce: int
    seq: int
    log_index: int
    result: TransactionResult | None


class View(NamedTuple):
    """One moment: the state after executing the block of `height`, and the log, which may not be written so far."""

    state: ReadableState
    height: int
    log: LogReader


class Storage:
    """The durable state of one node. Open exactly one a data directory; the directory's lock sees to it."""

    def __init__(
        self,
        environment: Environment,
        lock: int,
        membership: Membership,
        member: int,
        executor: Executor,
        contents: "_Contents",
    ) -> None:
        self._environment = environment
        self._databases = environment.databases
        self._lock = lock
        self._interval = membership.parameters.checkpoint_interval
        self._executor = executor
        self._head = contents.head
        self._pending = contents.pending
        self._unwritten: dict[int, tuple[AppendBlock, Committed]] = {}  # executed, not in the log yet, by height
        self._transaction = contents.transaction  # the last one that was committed
        self._moments = {contents.transaction: contents.pending}
        self._scrubbed = contents.scrubbed
        # Every member reaches the bound after as many blocks: begun apart, they flush one after the other, and a
        # quorum never waits for all of them at once.
        self._ahead_blocks = FLUSH_BLOCKS * member // membership.n
        self._broken: str | None = None

    @staticmethod
    def open(
        path: Path,
        membership: Membership,
        member: int,
        executor: Executor,
        *,
        map_bytes_initial: int = MAP_BYTES_INITIAL,
        map_bytes_max: int = MAP_BYTES_MAX,
    ) -> "Storage":
        """The storage in the data directory `path`, created where there is none.

        Raises Refused(FOREIGN_DATA | NEWER_DATA | OLDER_DATA | DATA_LOCKED), IntegrityError, DiskFull, StorageBroken,
        OSError.
        """
        identity = Identity(SCHEMA, membership.chain_id, member, membership.public_keys[member])
        create_directory(path)
        lock = lock_directory(path)
        try:
            environment = _open_environment(path, identity, map_bytes_initial, map_bytes_max, lock)
            try:
                contents = _open_contents(environment, path, identity, executor)
            except BaseException:
                environment.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        return Storage(environment, lock, membership, member, executor, contents)

    def close(self) -> None:
        """After the last commit has returned: flushes, and waits for readers. What a full disk does not take is
        executed again at the next start. Blocks that were executed and not committed here are left as a crash leaves
        them: without the journal of their turns they would say more than it. Raises StorageBroken, with everything
        closed all the same."""
        try:
            if self._broken is None and not self._unwritten:
                self.flush()
        except DiskFull:
            pass
        finally:
            self._environment.close()
            os.close(self._lock)

    # --- the past, at start

    def recover(self) -> Recovered:
        """What the replica wakes up with. Raises IntegrityError where the past cannot be believed."""
        assert not self._unwritten, "asked before anything is executed"
        databases = self._databases
        with self._moment() as (txn, pending):
            log = LogReader(txn, databases)
            if not self._scrubbed:
                _scrub(txn, databases)
            return Recovered(
                head=log.block(self._head.seq),
                frontier=self._head.frontier,
                certificate=log.last_certificate(),
                journal={name.decode(): value for name, value in items(txn, databases.journal)},
                blocks=log.stored_above(self._head.seq),
                clients=self._clients(self._state(txn, pending)),
            )

    def _clients(self, state: ReadableState) -> dict[bytes, ClientWindow]:
        end = bytes((CLIENT_PREFIX[0] + 1,))
        return {
            key[len(CLIENT_PREFIX) :]: ClientWindow.load(opened(self._databases.state, key, _open_client, raw))
            for key, raw in entries(state, CLIENT_PREFIX, end)
        }

    # --- the write

    def commit(self, turn: Turn) -> list[Committed]:
        """Make the turn durable, and all that was executed before; what each of the turn's blocks did, in order of
        height. Executes those that are not executed yet.

        Raises DiskFull (nothing was written; commit the same turn again later) and StorageBroken (nothing is known
        of the turn; the node must stop, and every later commit is refused).
        """
        for effect in turn.appends:
            if effect.block.seq > self._head.seq:
                self.execute(effect)
        committed = [self._unwritten[effect.block.seq][1] for effect in turn.appends]
        self._write(lambda txn: self._turn(txn, turn, flushing=self._pending.full(self._ahead_blocks)))
        return committed

    def flush(self) -> None:
        """Write all derived data that are pending: for an idle moment, so that a restart has less to do.

        Raises as `commit`; nothing is lost by DiskFull.
        """
        if self._pending.blocks:
            self._write(lambda txn: self._turn(txn, Turn(), flushing=True))

    def _write(self, work: Callable[[Txn], Pending]) -> None:
        """Do `work` in one durable transaction; what is pending after it becomes the storage's."""
        self._expect_whole()

        def attempt(txn: Txn) -> Pending:
            if txn.id() - 1 not in self._moments:
                raise StorageBroken("the data were written by somebody else")
            pending = work(txn)
            # LMDB keeps the number where nothing was written: then both are the same pending under either.
            self._moments = {txn.id() - 1: self._pending, txn.id(): pending}
            return pending

        try:
            with self._breaking():
                pending = self._environment.write(attempt)
        except DiskFull:
            self._moments = {self._transaction: self._pending}
            raise
        if pending.height != self._pending.height:
            self._ahead_blocks = 0
        self._pending = pending
        self._transaction = self._environment.last_transaction
        self._unwritten.clear()

    def _expect_whole(self) -> None:
        if self._broken is not None:
            raise StorageBroken(f"an earlier commit failed: {self._broken}")

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """What fails in here, other than for want of room, is the last that was done."""
        try:
            yield
        except DiskFull:
            raise
        except Exception as error:
            self._broken = str(error) or type(error).__name__
            raise

    def _turn(self, txn: Txn, turn: Turn, *, flushing: bool) -> Pending:
        databases = self._databases
        put_many(txn, databases.journal, sorted((name.encode(), value) for name, value in turn.journal.items()))
        for block in turn.blocks:
            store(txn, databases, block)
        for effect, _ in self._unwritten.values():
            append(txn, databases, effect.block, effect.certificate)
        appended = {effect.block.hash for effect, _ in self._unwritten.values()}  # only membership matters
        for block_hash in turn.drops:
            if block_hash not in appended:
                drop(txn, databases, block_hash)
        for cosigned in turn.checkpoints:
            keep_checkpoint(txn, databases, cosigned)
        return flush(txn, databases, self._pending, self._head.seq) if flushing else self._pending

    def execute(self, effect: AppendBlock) -> Committed:
        """Execute the block that follows the last one, ahead of the write that appends it; what it did.

        It is seen by readers at once, and written by the next `commit` or `flush`. Raises StorageBroken.
        """
        self._expect_whole()
        with self._breaking(), self._environment.read() as txn:
            done, head, pending = self._execute(txn, effect)
        self._unwritten[effect.block.seq] = (effect, done)
        # A reader of the snapshot before the last sees the pending of that one, or looks again. The height comes last:
        # whoever sees it sees the state.
        self._pending, self._moments = pending, {**self._moments, self._transaction: pending}
        self._head = head
        return done

    def _execute(self, txn: Txn, effect: AppendBlock) -> tuple[Committed, Head, Pending]:
        block, databases, head, pending = effect.block, self._databases, self._head, self._pending
        assert block.seq == head.seq + 1, "blocks are appended in order of height"
        assert block.parent == head.hash, "a block follows the head"
        assert len(effect.transactions) == len(block.transactions), "the opened envelopes are the block's"
        frontier, nodes = extend(head.frontier, block)
        assert (frontier.size, frontier.root()) == (block.header.log_size, block.header.log_root), (
            "agreement checked the log"
        )
        execution, pending = execute(
            txn, databases, self._executor, block, effect.transactions, head.frontier.size, nodes, pending
        )
        executed = Executed(
            block.seq,
            tuple(
                ExecutedTransaction(*transaction.key, result.code)
                for transaction, result in zip(effect.transactions, execution.results, strict=True)
            ),
            tuple(execution.clients.items()),
            pending.digest if block.seq % self._interval == 0 else None,
        )
        return Committed(executed, execution.results, execution.encoded), Head(block.seq, block.hash, frontier), pending

    # --- reads, from any thread

    @property
    def height(self) -> int:
        """Of the last block that is executed."""
        return self._head.seq

    @property
    def unwritten(self) -> int:
        """How many blocks are executed and not written."""
        return len(self._unwritten)

    @contextmanager
    def _moment(self) -> Iterator[tuple[Txn, Pending]]:
        """An LMDB snapshot, and what was pending when it was committed."""
        for _ in range(SNAPSHOTS_MAX):
            with self._environment.read() as txn:
                pending = self._moments.get(txn.id())
                if pending is not None:
                    yield txn, pending
                    return
            # Two commits have passed since the snapshot was taken, a few instructions ago: take another.
        raise StorageBroken("the data were written by somebody else")

    def _state(self, txn: Txn, pending: Pending) -> ReadableState:
        stored = StoredState(txn, self._databases, prove_absence=True)
        return LayeredState(stored, pending.layers) if pending.layers else stored

    @contextmanager
    def reading(self) -> Iterator[View]:
        """A moment of log and state, for queries. Held shortly and by one thread: LMDB keeps every page that it
        can see, and the map cannot grow beneath it.

        Raises IntegrityError, StorageBroken; also out of whatever is read inside.
        """
        with self._moment() as (txn, pending):
            log = LogReader(txn, self._databases, pending.layers)
            yield View(self._state(txn, pending), pending.height + pending.blocks, log)

    def read_run(self, first: int, last: int) -> tuple[tuple[Packed, ...], Certificate] | None:
        """Committed blocks from `first` to `last`, as far as they are written, the last certified (LogReader.run)."""
        with self.reading() as view:
            return view.log.run(first, last)

    def read_block(self, block: bytes) -> Packed | None:
        """The block of this hash, committed or stored."""
        with self.reading() as view:
            return view.log.find(block)

    def block_at(self, seq: int) -> tuple[bytes, bytes, Certificate | None] | None:
        """(header, payload, certificate where it has one of its own) of the committed block at `seq`."""
        with self.reading() as view:
            if not 0 <= seq <= view.log.height():
                return None
            packed = view.log.packed(seq)
            return packed.header, packed.payload, view.log.certificate(seq)

    def entries(self, first_index: int, limit: int) -> list[Entry]:
        """Entries of the log from `first_index` on, at most `limit` of them (LogReader.entries)."""
        with self.reading() as view:
            return view.log.entries(first_index, limit)

    def result_of(self, client: bytes, nonce: int) -> TransactionResult | None:
        """The result under a client's nonce, as long as the nonce is in the window."""
        with self.reading() as view:
            return self._result(view, client, nonce)

    def _result(self, view: View, client: bytes, nonce: int) -> TransactionResult | None:
        key = result_key(client, nonce)
        raw = view.state.get(key)
        return None if raw is None else opened(self._databases.state, key, _open_result, raw)

    def find_transaction(self, transaction: bytes) -> Found | None:
        """Where the envelope of this id stands: where it was executed, else where it was first rejected."""
        with self.reading() as view:
            placed = view.log.placed(transaction)
            if placed is None:
                return None
            if placed.code:
                result: TransactionResult | None = TransactionResult(
                    transaction, placed.seq, placed.log_index, placed.code, ()
                )
            else:
                result = self._result(view, placed.client, placed.nonce)
            return Found(placed.client, placed.nonce, placed.seq, placed.log_index, result)

    def node_at(self, level: int, index: int) -> bytes:
        """A complete subtree's hash, for proofs; see merkle.NodeAt. For many in one moment: `reading().log`."""
        with self.reading() as view:
            return view.log.node_at(level, index)

    def receipt(self, index: int) -> Receipt | None:
        """The proof of entry `index`, or None before a certificate covers it."""
        with self.reading() as view:
            return view.log.receipt(index)

    def checkpoint(self, size: int | None) -> Cosigned | None:
        """The smallest cosigned checkpoint of at least this size; None asks for the largest."""
        with self.reading() as view:
            return view.log.last_checkpoint() if size is None else view.log.checkpoint(size)

    def tile(self, tile: Tile) -> bytes | None:
        """A tile or entry bundle of what the largest cosigned checkpoint covers; None beyond it, and for a bundle of
        the kind (decision 017) that these entries are not served as."""
        with self.reading() as view:
            newest = view.log.last_checkpoint()
            size = 0 if newest is None else min(newest.log_size, view.log.size())
            first = tile.index * WIDTH
            if first + tile.width > size >> (HEIGHT * max(tile.level, 0)):
                return None
            if tile.level >= 0:
                return hash_tile(tile, view.log.node_at)
            envelopes: list[bytes] = []
            while len(envelopes) < tile.width:
                page = view.log.entries(first + len(envelopes), tile.width - len(envelopes))
                envelopes += [entry.envelope for entry in page]
            return entry_bundle(envelopes, tile.level) if bundle_level(envelopes) == tile.level else None

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...] | None:
        """The path from entry `index` to the root of the first `size` entries; None where the log is not so long."""
        with self.reading() as view:
            if not 0 <= index < size <= view.log.size():
                return None
            return tuple(inclusion_proof(index, size, view.log.node_at))

    def consistency(self, old: int, new: int) -> tuple[bytes, ...] | None:
        """That the first `old` entries are the beginning of the first `new`; None where the log is not so long."""
        with self.reading() as view:
            if not 0 <= old <= new <= view.log.size():
                return None
            return tuple(consistency_proof(old, new, view.log.node_at))

    def client_role(self, client: bytes) -> int:
        """nonces.CLIENT, nonces.ADMINISTRATOR, or 0 for a client that is not admitted (any more)."""
        key = CLIENT_PREFIX + client
        with self.reading() as view:
            raw = view.state.get(key)
        return 0 if raw is None else opened(self._databases.state, key, _open_client, raw).role

    def check_state(self) -> None:
        """Compare the whole state, as LMDB has it, with its tally, however large. Raises IntegrityError."""
        with self._moment() as (txn, _):
            check_state(txn, self._databases)

    def statistics(self) -> dict[str, int]:
        """For telemetry: sizes in bytes, read transactions open now, and what is not flushed yet."""
        environment, pending = self._environment, self._pending
        return {
            "map_bytes": environment.map_bytes,
            "used_bytes": environment.used_bytes,
            "readers": environment.readers,
            "height": self._head.seq,
            "log_size": self._head.frontier.size,
            "derived_height": pending.height,
            "pending_entries": pending.entries,
            "pending_bytes": pending.size_bytes,
        }

    def flags(self) -> dict[str, bool]:
        """LMDB's flags as they are in force."""
        return self._environment.flags()


def _open_environment(
    path: Path, identity: Identity, map_bytes_initial: int, map_bytes_max: int, lock: int
) -> Environment:
    """Refuse by VERSION what LMDB should not even look at, then open it."""
    directory = path / LMDB_NAME
    if (path / VERSION_NAME).exists():
        check_identity(identity_of(path), identity)
        data = directory / DATA_NAME
        # LMDB makes a new environment of either, and the member would begin again with nothing.
        if not data.exists() or not data.stat().st_size:
            raise IntegrityError(str(data), "the data file is gone or empty, although VERSION is there")
    return Environment(directory, map_bytes_initial, map_bytes_max, lock)


class _Contents(NamedTuple):
    """What an environment holds, and the id of its last transaction."""

    head: Head
    pending: Pending
    transaction: int
    scrubbed: bool


def _open_contents(environment: Environment, path: Path, identity: Identity, executor: Executor) -> _Contents:
    """The head of the log, with what executing it made pending; writes the first contents into an empty environment.

    VERSION comes last: a crash before it leaves an environment without or with its first contents, and both are
    taken up here again.
    """
    databases = environment.databases
    with environment.read() as txn:
        raw = get(txn, databases.meta, IDENTITY)
        if raw is None and any(txn.stat(db.handle)["entries"] for db in databases):
            raise IntegrityError("meta/identity", "the record is missing")
    if raw is None:
        environment.write(lambda txn: _write_first(environment, txn, identity, executor))
        raw = encoded(identity)
    check_identity(opened(databases.meta, IDENTITY, open_identity, raw), identity)
    if not (path / VERSION_NAME).exists():
        write_version(path, identity)
    with environment.read() as txn:
        log = LogReader(txn, databases)
        header = log.header(log.height())
        if header.chain_id != identity.chain_id:
            raise IntegrityError(f"log/{header.seq}", "not a block of this chain")
        # Blocks are not executed onto a state that is not what it was.
        behind = derived_height(txn, databases) < header.seq
        if behind:
            _scrub(txn, databases)
        head, pending = replay(txn, databases, executor)
        return _Contents(head, pending, txn.id(), behind)


def _write_first(environment: Environment, txn: Txn, identity: Identity, executor: Executor) -> None:
    """Identity, genesis block, the state at height 0 and its digest."""
    databases = environment.databases
    put(txn, databases.meta, IDENTITY, encoded(identity))
    genesis = genesis_block(identity.chain_id)
    append(txn, databases, genesis, None)
    flush_first(txn, databases, genesis, executor.initial_state())


def _scrub(txn: Txn, databases: Databases) -> None:
    if txn.stat(databases.state.handle)["entries"] <= SCRUB_ENTRIES_MAX:
        check_state(txn, databases)
