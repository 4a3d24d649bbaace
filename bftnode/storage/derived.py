"""Derived data: executing blocks onto what is pending, and writing what is pending behind (decision 008).

`execute` is what a commit and a restart do alike: a block's changes become a layer in memory. `flush` carries the
layers into LMDB, in the write transaction of some later turn, and with them in meta the height that they are as of.
`replay` is the way back after a crash: it executes the blocks above that height again. It writes nothing, so a crash
in the middle of it is one more crash before it; and execution being deterministic, it gives what was pending.
"""

from functools import cache
from typing import NamedTuple

from bftnode.apps.contract import ReadableState
from bftnode.apps.execution import NO_STATE, Execution, Executor, digest_after
from bftnode.protocol.blocks import Block
from bftnode.protocol.codec import encode
from bftnode.protocol.errors import Refused
from bftnode.protocol.merkle import Frontier
from bftnode.protocol.transactions import Transaction, open_transaction
from bftnode.storage.errors import IntegrityError
from bftnode.storage.log import LogReader, node_records
from bftnode.storage.pending import Layer, LayeredState, Pending, merged
from bftnode.storage.records import (
    DERIVED,
    STATE,
    Databases,
    Placed,
    Txn,
    need,
    nodes_before,
    number,
    put,
    put_many,
    record_name,
)
from bftnode.storage.state import NO_TALLY, StateRecord, StoredState, apply_changes, load_state_record, references


class Head(NamedTuple):
    """Where the log ends."""

    seq: int
    hash: bytes
    frontier: Frontier


def derived_height(txn: Txn, databases: Databases) -> int:
    """The height that the derived data in LMDB are as of. Raises IntegrityError."""
    return int.from_bytes(need(txn, databases.meta, DERIVED), "big")


def extend(frontier: Frontier, block: Block) -> tuple[Frontier, list[bytes]]:
    """The frontier after a block, and the Merkle nodes that it completes."""
    after, nodes = frontier.append(block.leaves)
    return after, [digest for _, _, digest in nodes]


def execute(
    txn: Txn,
    databases: Databases,
    executor: Executor,
    block: Block,
    transactions: tuple[Transaction, ...],
    first_index: int,
    nodes: list[bytes],
    pending: Pending,
) -> tuple[Execution, Pending]:
    """Execute the block that follows what is pending, whose first entry is `first_index`."""
    state = LayeredState(StoredState(txn, databases, prove_absence=False), pending.layers)
    execution = executor.execute(block.seq, block.header.time_ms, first_index, transactions, state)
    executed, rejected = dict[bytes, bytes](), dict[bytes, bytes]()
    for transaction, result in zip(transactions, execution.results, strict=True):
        client, nonce = transaction.key
        placed = encode(Placed(client, nonce, result.seq, result.index, result.code))
        if result.code:
            rejected.setdefault(transaction.id, placed)
        else:
            executed[transaction.id] = placed
    named = references(block.seq, block.payload, execution.changes)
    layer = Layer(
        execution.changes, named, executed, rejected, nodes_before(first_index), nodes, {block.hash: block.seq}
    )
    return execution, pending.extended(layer, digest_after(pending.digest, execution.changes))


def flush(txn: Txn, databases: Databases, pending: Pending, seq: int) -> Pending:
    """Write all that is pending, which is as of height `seq`; what is pending then: nothing."""
    tally = load_state_record(txn, databases).tally
    if pending.layers:
        layer = merged(pending.layers)
        log = LogReader(txn, databases)
        first_piece = cache(lambda height: log.logged(height).first)
        tally = apply_changes(txn, databases.state, layer.changes, layer.named, first_piece, tally)
        # An envelope may be ordered again; then execution rejects it, its nonce being used. An id means the place
        # where it was executed, and until there is one the first place where it was rejected.
        places = databases.transactions
        put_many(txn, places, ((key, layer.executed[key]) for key in sorted(layer.executed)))
        fresh = sorted(layer.rejected.keys() - layer.executed.keys())
        put_many(txn, places, ((key, layer.rejected[key]) for key in fresh), overwrite=False)
        put_many(txn, databases.hashes, ((key, number(layer.blocks[key])) for key in sorted(layer.blocks)))
        put_many(txn, databases.nodes, node_records(layer.first_node, layer.nodes), append=True)
    put(txn, databases.meta, STATE, encode(StateRecord(pending.digest, tally)))
    put(txn, databases.meta, DERIVED, number(seq))
    return Pending(seq, pending.digest)


def flush_first(txn: Txn, databases: Databases, genesis: Block, state: dict[bytes, bytes | None]) -> None:
    """The derived data of height 0, in an empty environment."""
    tally = apply_changes(txn, databases.state, state, dict.fromkeys(state, 0), lambda height: 0, NO_TALLY)
    put(txn, databases.hashes, genesis.hash, number(genesis.seq))
    put(txn, databases.meta, STATE, encode(StateRecord(digest_after(NO_STATE, state), tally)))
    put(txn, databases.meta, DERIVED, number(0))


def replay(txn: Txn, databases: Databases, executor: Executor) -> tuple[Head, Pending]:
    """The head of the log, and what is pending at it: the blocks above the derived height, executed again.

    Memory is bounded by what the process that committed them allowed to be pending. Raises IntegrityError.
    """
    log = LogReader(txn, databases)
    height, seq = log.height(), derived_height(txn, databases)
    if seq > height:
        raise IntegrityError(record_name(databases.meta, DERIVED), f"derived data of height {seq}, a log of {height}")
    block = log.block(seq)
    chain_id = block.header.chain_id
    frontier = log.frontier(block.header.log_size)
    if frontier.root() != block.header.log_root:
        raise IntegrityError("nodes", f"the right edge of the Merkle tree does not lead to the log root of block {seq}")
    pending = Pending(seq, load_state_record(txn, databases).digest)
    while seq < height:
        seq, parent = seq + 1, block
        block = log.block(seq)
        if (block.seq, block.parent) != (seq, parent.hash):
            raise IntegrityError(f"{databases.log.name}/{seq}", "the block does not follow the one before it")
        try:
            transactions = tuple(open_transaction(envelope, chain_id) for envelope in block.transactions)
        except Refused as refused:
            raise IntegrityError(f"{databases.log.name}/{seq}", str(refused)) from refused
        first = frontier.size
        frontier, nodes = extend(frontier, block)
        if (frontier.size, frontier.root()) != (block.header.log_size, block.header.log_root):
            raise IntegrityError(f"{databases.log.name}/{seq}", "the header names another log than its blocks make")
        _, pending = execute(txn, databases, executor, block, transactions, first, nodes, pending)
    return Head(block.seq, block.hash, frontier), pending


def state_at_head(txn: Txn, databases: Databases, executor: Executor) -> ReadableState:
    """The state after the head, for who looks at a data directory from outside, its node alive or not.

    Raises IntegrityError.
    """
    _, pending = replay(txn, databases, executor)
    return LayeredState(StoredState(txn, databases, prove_absence=True), pending.layers)
