"""Checking a whole log offline, believing nothing on the disk: the judge of bit rot and of tampering by root.

What is believed is the genesis alone: certificates are checked against its members, every block must lead by its
hash to a certified one, every envelope by the Merkle root to its block and by its signature to its client
(faults.md D06, D14, D16). With an executor the log is executed again in memory and the state compared. The first
fault ends the walk: behind it nothing is proved.

Derived data (state, hashes, index, Merkle nodes) are on the disk as of the derived height, some blocks below the head
of a node that is alive or was killed (docs/decisions/008-derived-data-is-written-behind.md). They are compared as of
that height, and the report names it; above it there is nothing yet to compare, and the blocks prove themselves.
"""

import os
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lmdb

from bftnode.apps.execution import NO_STATE, Executor, digest_after
from bftnode.protocol.blocks import Block, Header, genesis_block, hash_header, open_block, open_header
from bftnode.protocol.certificates import COMMIT, Certificate, check_certificate
from bftnode.protocol.codec import unpack as unpack_value
from bftnode.protocol.ed25519 import verify as verify_signature
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.merkle import Frontier, leaf_hash
from bftnode.protocol.transactions import Transaction, open_transaction
from bftnode.storage import metas, pieces
from bftnode.storage.derived import derived_height
from bftnode.storage.directory import LMDB_NAME, LOCK_NAME, identity_of, lock_directory
from bftnode.storage.environment import DATA_NAME, check_structure, opened_read_only
from bftnode.storage.errors import IntegrityError, StorageBroken
from bftnode.storage.log import LogReader
from bftnode.storage.records import Databases, Identity, Txn, get, items, number
from bftnode.storage.state import StoredState, check_state, load_state_record

__all__ = ["Fault", "Identity", "VerifyReport", "identity_of", "verify_log"]

BLOCKS_PER_READ = 64
"""Blocks in one read transaction: short, because a live node's file grows while one is open (D11)."""

Progress = Callable[[int, int], None]
"""(blocks verified, blocks in the log)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong. `log_index` is the first entry that is not proved by what is before it.

    None and None: it is not in the log but in what belongs to it (state, journal, pages).
    """

    height: int | None
    log_index: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """`height`, `log_size` and `head` are of the last block that is proved; `state_checked`: by execution.

    `derived_height` is what state, index and Merkle nodes on the disk are as of, and were compared as of.
    """

    height: int
    log_size: int
    head: bytes
    fault: Fault | None
    state_checked: bool
    records_checked: bool
    derived_height: int

    @property
    def ok(self) -> bool:
        return self.fault is None


class _Bad(Exception):
    """Ends the walk. No log index: the first entry of the block where the walk stands."""

    def __init__(self, height: int | None, log_index: int | None, detail: str) -> None:
        super().__init__(detail)
        self.height = height
        self.log_index = log_index
        self.detail = detail


def verify_log(
    path: Path, membership: Membership, progress: Progress | None = None, executor: Executor | None = None
) -> VerifyReport:
    """Verify the log in the data directory `path`, of a node that is stopped or alive in another process.

    Nothing on the disk makes it raise, except that this is not the data directory that was meant: Refused(NOT_FOUND
    | NEWER_DATA | OLDER_DATA | FOREIGN_DATA | DATA_LOCKED). While a stopped one is verified its node cannot start; of
    one that is alive the log is verified up to where it ended at the beginning, and pages are not walked beforehand.
    """
    identity = identity_of(path)
    if identity.chain_id != membership.chain_id:
        raise Refused(Reason.FOREIGN_DATA, f"data of the cluster {identity.chain_id.hex()[:16]}")
    walk = _Walk(membership, executor)
    fault = None
    try:
        with held(path) as alive:
            if not alive:
                _check_noted(path)
                check_structure(path / LMDB_NAME, None)
            with opened_read_only(path / LMDB_NAME, lock=alive) as (env, databases):
                walk.run(env, databases, progress or (lambda done, total: None))
    except _Bad as bad:
        index = walk.next_index if bad.log_index is None and bad.height is not None else bad.log_index
        fault = Fault(bad.height, index, bad.detail)
    except IntegrityError as error:
        fault = Fault(walk.next, walk.next_index, str(error)) if walk.started else Fault(None, None, str(error))
    except (StorageBroken, OSError) as error:
        fault = Fault(None, None, f"cannot be read: {error}")
    return VerifyReport(
        walk.proved,
        walk.proved_size,
        walk.proved_hash,
        fault,
        walk.state_checked,
        walk.records_checked,
        walk.derived,
    )


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Keep the node from starting meanwhile; whether it is alive already."""
    lock = None
    if (path / LOCK_NAME).exists():
        try:
            lock = lock_directory(path, shared=True)
        except Refused:
            yield True
            return
    try:
        yield False
    finally:
        if lock is not None:
            os.close(lock)


def _check_noted(path: Path) -> None:
    """That no commit is missing, as far as LOCK knows. Raises IntegrityError."""
    try:
        lock = os.open(path / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        metas.check(path / LMDB_NAME / DATA_NAME, lock)
    finally:
        os.close(lock)


class _MemoryState:
    """A map in memory, in order: what the log's execution makes of it is compared with the disk."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        first = bisect_left(self._keys, start)
        last = len(self._keys) if end is None else bisect_left(self._keys, end)
        return [(key, self.entries[key]) for key in self._keys[first : min(last, first + max(limit, 0))]]

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                if self.entries.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if key not in self.entries:
                    insort(self._keys, key)
                self.entries[key] = value


class _Walk:
    """The walk from the genesis block to the head. `proved` is behind `next` by the blocks not yet certified."""

    def __init__(self, membership: Membership, executor: Executor | None) -> None:
        genesis = genesis_block(membership.chain_id)
        self.started = False
        self.next = 0
        self.proved, self.proved_size, self.proved_hash = 0, 0, genesis.hash
        self.state_checked = False
        self.records_checked = False
        self.derived = 0
        self._members = membership
        self._executor = executor
        self._genesis = genesis
        self._last = genesis
        self._frontier = Frontier()
        self._state = _MemoryState()
        self._digest = NO_STATE

    @property
    def next_index(self) -> int:
        return self._frontier.size

    def run(self, env: lmdb.Environment, databases: Databases, progress: Progress) -> None:
        """Raises _Bad, IntegrityError."""
        with env.begin() as txn:
            target = LogReader(txn, databases).height()
            self.derived = derived_height(txn, databases)
        if self.derived > target:
            raise _Bad(None, None, f"meta/derived: data of height {self.derived}, derived from a log of {target}")
        if self._executor is not None:
            self._execute_changes(self._executor.initial_state())
        self.started = True
        while self.next <= target:
            with env.begin() as txn:
                log = LogReader(txn, databases)
                for seq in range(self.next, min(self.next + BLOCKS_PER_READ, target + 1)):
                    self._block(txn, databases, log, seq)
                    self.next = seq + 1
            progress(self.proved, target)
        if self.proved < target:
            raise _Bad(self.proved + 1, self.proved_size, "no certificate at or above this block")
        self.started = False
        with env.begin() as txn:
            self._other_records(txn, databases)
            self.records_checked = True
            # A live node may have flushed meanwhile: then only the log is judged.
            if self._executor is not None and derived_height(txn, databases) == self.derived:
                self._compare_state(txn, databases)
                self.state_checked = True

    def _block(self, txn: Txn, databases: Databases, log: LogReader, seq: int) -> None:
        raw = log.header_raw(seq)
        header = self._header(raw, log, seq)
        block = self._body(txn, databases, log, seq)
        frontier, nodes = self._frontier.append(block.leaves)
        if (header.log_size, header.log_root) != (frontier.size, frontier.root()):
            raise _Bad(seq, None, "the header names another log than its blocks make")
        transactions = self._envelopes(block)
        derived = seq <= self.derived
        for level, index, digest in nodes if derived else ():
            if log.node_at(level, index) != digest:
                raise _Bad(seq, None, f"the Merkle node {index} of level {level} is another one")
        if derived:
            if get(txn, databases.hashes, block.hash) != number(seq):
                raise _Bad(seq, None, "the block is not found by its hash")
            self._indexed(log, block, transactions)
        certificate = log.certificate(seq)
        if certificate is not None:
            self._certified(certificate, block.hash, seq)
        if certificate is not None or seq == 0:
            self.proved, self.proved_size, self.proved_hash = seq, frontier.size, block.hash
        if self._executor is not None and seq and derived:
            first = self._frontier.size
            execution = self._executor.execute(seq, header.time_ms, first, transactions, self._state)
            self._execute_changes(execution.changes)
        self._last, self._frontier = block, frontier

    def _header(self, raw: bytes, log: LogReader, seq: int) -> Header:
        """The header at `seq`, in its place in the chain."""
        try:
            header = open_header(raw)
        except Refused as refused:
            raise _Bad(seq, None, f"the header does not decode: {refused}") from None
        if seq == 0:
            if raw != self._genesis.header_raw:
                raise _Bad(0, None, "not the genesis block of this cluster")
            return header
        if header.chain_id != self._members.chain_id or header.epoch != self._members.epoch or header.seq != seq:
            raise _Bad(seq, None, f"the header of height {header.seq} of another chain or place")
        if header.parent != self._last.hash:
            self._blame(log, seq)
        if header.time_ms < self._last.header.time_ms:
            raise _Bad(seq, None, "the agreed time goes backwards")
        return header

    def _blame(self, log: LogReader, seq: int) -> None:
        """`seq` does not follow the block before it. Which of the two was changed is what certificates say."""
        if self.proved < seq - 1 and self._leads_to_certificate(log, seq):
            first = self._frontier.size - len(self._last.transactions)
            raise _Bad(seq - 1, first, "not the block that a certificate above it names as an ancestor")
        raise _Bad(seq, self._frontier.size, "the block does not follow the one before it")

    def _leads_to_certificate(self, log: LogReader, seq: int) -> bool:
        """Whether the block at `seq` is an ancestor of the next certified one, or that one."""
        try:
            certificate = log.certificate_from(seq)
            if certificate is None:
                return False
            expected = certificate.block
            for at in range(certificate.seq, seq - 1, -1):
                raw = log.header_raw(at)
                if hash_header(raw) != expected:
                    return False
                expected = open_header(raw).parent
            self._certified(certificate, certificate.block, certificate.seq)
        except (Refused, IntegrityError, _Bad):
            return False
        return True

    def _certified(self, certificate: Certificate, block: bytes, seq: int) -> None:
        try:
            check_certificate(certificate, self._members, verify_signature)
        except Refused as refused:
            raise _Bad(seq, None, str(refused)) from None
        if certificate.phase != COMMIT or certificate.block != block:
            raise _Bad(seq, None, "the block is not the one that a quorum signed: its certificate commits another")

    def _body(self, txn: Txn, databases: Databases, log: LogReader, seq: int) -> Block:
        """The block, whose body is the one that its header names, or the first entry that is not."""
        try:
            packed = log.packed(seq)
            return open_block(packed.header, packed.payload)
        except (Refused, IntegrityError) as error:
            logged = log.logged(seq)
            payload = pieces.read_unchecked(txn, databases.blocks, logged.first, logged.size)
            raise _Bad(seq, self._first_strange_entry(payload, log), str(error)) from None

    def _first_strange_entry(self, payload: bytes, log: LogReader) -> int:
        """The first envelope that is not the one whose leaf hash stands in the Merkle tree, if that is written."""
        index = self._frontier.size
        try:
            for offset, item in enumerate(unpack_value(payload, len(payload))):
                if leaf_hash(item) != log.node_at(0, index + offset):
                    return index + offset
        except (Refused, IntegrityError, TypeError):
            pass  # no list of entries, or no leaf hashes yet: the first of the block is as far as the proof goes
        return index

    def _envelopes(self, block: Block) -> tuple[Transaction, ...]:
        opened = []
        for index, envelope in enumerate(block.transactions, self._frontier.size):
            try:
                transaction = open_transaction(envelope, self._members.chain_id)
            except Refused as refused:
                raise _Bad(block.seq, index, str(refused)) from None
            if not transaction.signature_valid(verify_signature):
                raise _Bad(block.seq, index, "the client's signature is not valid")
            opened.append(transaction)
        return tuple(opened)

    def _indexed(self, log: LogReader, block: Block, transactions: tuple[Transaction, ...]) -> None:
        """Every transaction is found by its id: here, or where it was ordered before or executed later."""
        for index, transaction in enumerate(transactions, self._frontier.size):
            placed = log.placed(transaction.id)
            if placed is None or (placed.client, placed.nonce) != transaction.key:
                raise _Bad(block.seq, index, "the transaction is not found by its id")

    def _execute_changes(self, changes: dict[bytes, bytes | None]) -> None:
        self._digest = digest_after(self._digest, changes)
        self._state.apply(changes)

    def _other_records(self, txn: Txn, databases: Databases) -> None:
        """Every seal of what is not the log; that was read already."""
        for db in (databases.meta, databases.journal, databases.stored):
            for _ in items(txn, db):
                pass  # being read is being checked
        for _ in StoredState(txn, databases, prove_absence=False).items():
            pass
        load_state_record(txn, databases)
        self._checkpoints(LogReader(txn, databases))

    def _checkpoints(self, log: LogReader) -> None:
        """What was cosigned is of this log. By whom, and whether a quorum, is for who has the checkpoint in hand."""
        checkpoint = log.checkpoint(0)
        while checkpoint is not None and checkpoint.seq <= self.proved:
            header = log.header(checkpoint.seq)
            if (checkpoint.log_size, checkpoint.log_root) != (header.log_size, header.log_root):
                raise _Bad(checkpoint.seq, None, "members cosigned another log of this height")
            checkpoint = log.checkpoint(checkpoint.log_size + 1)

    def _compare_state(self, txn: Txn, databases: Databases) -> None:
        """The stored state is what executing the log up to the derived height gives, entry by entry; so is its digest,
        and its tally is its own."""
        stored = dict(StoredState(txn, databases, prove_absence=False).items())
        computed = self._state.entries
        if stored != computed:
            strange = min(key for key in stored.keys() | computed.keys() if stored.get(key) != computed.get(key))
            raise _Bad(None, None, f"state/{strange.hex()}: not what executing the log gives")
        if load_state_record(txn, databases).digest != self._digest:
            raise _Bad(None, None, "meta/state: not the digest of the state")
        check_state(txn, databases)
