"""A map and a chain of executed blocks in memory, for the tests of applications and execution."""

import hashlib

from bftnode.apps.contract import Application, Context
from bftnode.apps.execution import (
    NO_STATE,
    Execution,
    Executor,
    Scoped,
    SystemOperation,
    application_operation,
    digest_after,
    system_operation,
)
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.nonces import CLIENT
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction

CHAIN = bytes(32)
CONTEXT = Context(seq=7, log_index=70, time_ms=7_000, client=b"c" * 32, role=CLIENT)


class Map:
    """An ordered map, slow and plain."""

    def __init__(self, entries: dict[bytes, bytes] | None = None) -> None:
        self.entries = dict(entries or {})

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        inside = [key for key in sorted(self.entries) if key >= start and (end is None or key < end)]
        return [(key, self.entries[key]) for key in inside[:limit]]

    def put(self, key: bytes, value: bytes) -> None:
        self.entries[key] = value

    def delete(self, key: bytes) -> None:
        self.entries.pop(key, None)

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.delete(key)
            else:
                self.put(key, value)


class Person:
    """Somebody with a key who signs envelopes."""

    def __init__(self, name: str) -> None:
        self._seed = hashlib.sha256(name.encode()).digest()
        self.key = public_key_of(self._seed)
        self._nonce = 0

    def signs(self, *operations: bytes, nonce: int | None = None, valid_until: int = 10**6) -> Transaction:
        """An envelope of whole operations (with their first byte); the next nonce unless said otherwise."""
        self._nonce = nonce if nonce is not None else self._nonce + 1
        return sign_transaction(
            TransactionBody(CHAIN, self.key, self._nonce, valid_until, operations), signer(self._seed)
        )

    def asks(self, *operations: bytes, nonce: int | None = None, valid_until: int = 10**6) -> Transaction:
        """An envelope of an application's operations."""
        whole = (application_operation(operation) for operation in operations)
        return self.signs(*whole, nonce=nonce, valid_until=valid_until)


ADMIN = "admin"


class Chain:
    """Blocks executed one after the other, with the digest kept beside the map as a node does."""

    def __init__(self, application: Application, clients_max: int = 10) -> None:
        self.executor = Executor(application, [Person(ADMIN).key], clients_max)
        self.state, self.digest = Map(), NO_STATE
        self._keep(self.executor.initial_state())
        self.seq = self.size = 0

    def block(self, *transactions: Transaction) -> Execution:
        self.seq += 1
        done = self.executor.execute(self.seq, 1000 * self.seq, self.size, transactions, self.state)
        self.size += len(transactions)
        self._keep(done.changes)
        return done

    def one(self, transaction: Transaction) -> TransactionResult:
        """The result of a block with one envelope."""
        return self.block(transaction).results[0]

    def query(self, query: bytes) -> bytes:
        return self.executor.application.query(Scoped(self.state), query)

    def _keep(self, changes: dict[bytes, bytes | None]) -> None:
        self.digest = digest_after(self.digest, changes)
        self.state.apply(changes)


def system(action: int, client: bytes, role: int) -> bytes:
    return system_operation(SystemOperation(action, client, role))
