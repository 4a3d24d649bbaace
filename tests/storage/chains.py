"""Certified chains for storage tests: real keys, real signatures, real certificates, and a tiny application."""

import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import lmdb

from bftnode.apps.contract import Application, Context, ReadableState, State
from bftnode.apps.execution import ADMIT, Executor, SystemOperation, application_operation, system_operation
from bftnode.protocol.blocks import Block, Header, genesis_block, make_block
from bftnode.protocol.certificates import COMMIT, Certificate, VoteSignature, vote_body
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import Signer, public_key_of, signer
from bftnode.protocol.envelope import signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of
from bftnode.protocol.nonces import CLIENT
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.effects import AppendBlock
from bftnode.storage.pieces import PIECE_BYTES
from bftnode.storage.records import Logged, number, open_logged
from bftnode.storage.store import Storage, Turn

NEVER = 2**40


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


class Notes(Application):
    """b"name=text" sets, b"name=" deletes, b"=" is always rejected; the result is the old text."""

    def validate(self, operation: bytes) -> None:
        if b"=" not in operation:
            raise Refused(Reason.TX_INVALID_OPERATION, "no =")

    def apply(self, state: State, operation: bytes, context: Context) -> bytes:
        name, _, text = operation.partition(b"=")
        if not name:
            raise Refused(Reason.TX_DENIED)
        old = state.get(name)
        if text:
            state.put(name, text)
        else:
            state.delete(name)
        return old or b""

    def query(self, state: ReadableState, query: bytes) -> bytes:
        return state.get(query) or b""


def make_membership(name: str = "cluster", n: int = 4, checkpoint_interval: int = 4) -> tuple[Membership, list[Signer]]:
    """A cluster named `name` and its members' signers, by index."""
    seeds = sorted((seed(f"{name} {i}") for i in range(n)), key=public_key_of)
    parameters = Parameters(checkpoint_interval=checkpoint_interval)
    membership = Membership(seed(name), 0, tuple(public_key_of(item) for item in seeds), parameters)
    return membership, [signer(item) for item in seeds]


class Client:
    """Signs envelopes with rising nonces."""

    def __init__(self, name: str, membership: Membership) -> None:
        self.key = public_key_of(seed(name))
        self._sign = signer(seed(name))
        self._membership = membership
        self.nonce = 0

    def envelope(self, *operations: bytes, nonce: int | None = None) -> Transaction:
        if nonce is None:
            self.nonce += 1
            nonce = self.nonce
        body = TransactionBody(self._membership.chain_id, self.key, nonce, NEVER, operations)
        return sign_transaction(body, self._sign)

    def note(self, name: str, text: str, nonce: int | None = None) -> Transaction:
        return self.envelope(application_operation(f"{name}={text}".encode()), nonce=nonce)


class World:
    """A cluster, its first administrator, and the chain that it has built so far."""

    def __init__(self, name: str = "cluster", checkpoint_interval: int = 4) -> None:
        self.membership, self.signers = make_membership(name, checkpoint_interval=checkpoint_interval)
        self.admin = Client("admin", self.membership)
        self.head: Block = genesis_block(self.membership.chain_id)
        self.frontier = Frontier()

    def executor(self) -> Executor:
        return Executor(Notes(), [self.admin.key], 1000)

    def admit(self, client: Client) -> Transaction:
        return self.admin.envelope(system_operation(SystemOperation(ADMIT, client.key, CLIENT)))

    def certificate(self, block: Block, view: int = 0) -> Certificate:
        body = vote_body(0, view, block.seq, block.hash)
        votes = tuple(
            VoteSignature(i, 1, 7, self.signers[i](signing_bytes(self.membership.chain_id, COMMIT, i, 1, 7, body)))
            for i in range(self.membership.quorum)
        )
        return Certificate(COMMIT, 0, view, block.seq, block.hash, votes)

    def propose(self, transactions: Sequence[Transaction]) -> Block:
        """The next block; the chain does not grow by it."""
        leaves = [leaf_hash(item.raw) for item in transactions]
        after, _ = self.frontier.append(leaves)
        seq = self.head.seq + 1
        header = Header(
            self.membership.chain_id,
            0,
            seq,
            self.head.hash,
            1000 + seq,
            root_of(leaves),
            after.size,
            after.root(),
            0,
            0,
        )
        return make_block(header, tuple(item.raw for item in transactions), leaves)

    def append(self, *transactions: Transaction, certified: bool = True) -> AppendBlock:
        """The next block, committed."""
        block = self.propose(transactions)
        self.head = block
        self.frontier, _ = self.frontier.append(block.leaves)
        return AppendBlock(block, transactions, self.certificate(block) if certified else None)

    def notes(self, count: int, text: str = "text", *, certified: bool = True) -> AppendBlock:
        """The next block, of `count` notes by the administrator."""
        start = self.admin.nonce
        return self.append(
            *(self.admin.note(f"note {start + i}", f"{text} {start + i}") for i in range(count)), certified=certified
        )

    def turn(self, *appends: AppendBlock) -> Turn:
        """A turn as the replica asks for it: a journal record, the blocks, and their drops."""
        return Turn({"position": b"%d" % self.head.seq}, [], list(appends), [effect.block.hash for effect in appends])


def crash(storage: Storage) -> None:
    """End as kill -9 does: what is pending is lost with the process."""
    storage._environment.close()
    os.close(storage._lock)


def rewrite(path: Path, name: str, key: bytes, value: bytes) -> None:
    """Replace a record of a closed storage as root could, with a checksum that fits."""
    if name in ("blocks", "state"):
        record = zlib.crc32(key + value).to_bytes(4, "big") + (b"\x00" if name == "state" else b"") + value
    else:
        record = hashlib.blake2b(name.encode() + b"\x00" + key + value, digest_size=8).digest() + value
    with lmdb.open(str(path / "lmdb"), map_size=2**30, max_dbs=16) as env:
        db = env.open_db(name.encode())
        with env.begin(write=True) as txn:
            txn.put(key, record, db=db)


def read_raw(path: Path, name: str, key: bytes) -> bytes:
    """A record of a closed storage, without its seal; an empty key: the last one's key."""
    with lmdb.open(str(path / "lmdb"), map_size=2**30, max_dbs=16) as env:
        db = env.open_db(name.encode())
        with env.begin() as txn:
            cursor = txn.cursor(db=db)
            assert cursor.set_key(key) if key else cursor.last()
            return cursor.value()[8:] if key else cursor.key()


def rewrite_block(path: Path, seq: int, header: bytes, payload: bytes, certificate: bytes | None = None) -> None:
    """Replace the block at height `seq` of a closed storage as root could; None: its certificate stays."""
    first = int.from_bytes(read_raw(path, "blocks", b""), "big") + 1
    for at, start in enumerate(range(0, len(payload), PIECE_BYTES), first):
        rewrite(path, "blocks", number(at), payload[start : start + PIECE_BYTES])
    old = open_logged(read_raw(path, "log", number(seq)))
    proof = old.certificate if certificate is None else certificate
    rewrite(path, "log", number(seq), encode(Logged(header, first, len(payload), proof)))


def delete(path: Path, name: str, key: bytes) -> None:
    """Take a record out of a closed storage."""
    with lmdb.open(str(path / "lmdb"), map_size=2**30, max_dbs=16) as env:
        db = env.open_db(name.encode())
        with env.begin(write=True) as txn:
            assert txn.delete(key, db=db)
