"""Custody: every client envelope that this replica knows to be pending, until it is executed.

Kept across any number of views (docs/protocol.md, "View change"; faults.md P16, P22). Keyed by (client, nonce):
the first envelope for a nonce is the one that this replica keeps, whatever an equivocating client sends after it.
Bounds: PENDING_MAX envelopes, PENDING_BYTES_MAX bytes, PENDING_CLIENT_MAX envelopes a client; a submission beyond
them is answered BUSY, and the client tries again.
"""

from collections.abc import Iterable
from itertools import islice

from bftnode.protocol.errors import Reason
from bftnode.protocol.nonces import ClientWindow
from bftnode.protocol.transactions import Transaction

PENDING_MAX = 50_000
PENDING_BYTES_MAX = 64 * 1024 * 1024
PENDING_CLIENT_MAX = 10_000

HOPELESS_MAX = 64
"""Where so many of the oldest can never be proposed, nothing behind them is looked for; `drop_hopeless` is at work."""

Key = tuple[bytes, int]


class Pool:
    """Pending envelopes in order of arrival, and which of them no accepted block holds yet."""

    def __init__(self, clients: dict[bytes, ClientWindow]) -> None:
        self._clients = clients
        self._pending: dict[Key, Transaction] = {}
        self._by_raw: dict[bytes, Transaction] = {}
        self._ids: set[bytes] = set()
        self._ready: dict[Key, Transaction] = {}
        self._in_flight: dict[Key, int] = {}  # key -> height of the block on the current chain that holds it
        self._of_client: dict[bytes, int] = {}
        self._since_ms: dict[Key, int] = {}  # since when each pending envelope is here
        self._bytes = 0
        self._ready_bytes = 0
        self.oldest_since_ms = 0  # when the oldest pending envelope became the oldest
        self.head_since_ms = 0  # the same, or when the chain became another one since: the view's timer runs from here

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def ready_bytes(self) -> int:
        return self._ready_bytes

    def oldest(self) -> Transaction | None:
        return next(iter(self._pending.values()), None)

    def oldest_few(self, count: int, bytes_max: int) -> list[bytes]:
        """The oldest pending envelopes, within bounds."""
        chosen: list[bytes] = []
        for transaction in self._pending.values():
            bytes_max -= len(transaction.raw)
            if len(chosen) == count or bytes_max < 0:
                break
            chosen.append(transaction.raw)
        return chosen

    def known(self, raw: bytes) -> Transaction | None:
        """An envelope that was opened before, by its bytes."""
        return self._by_raw.get(raw)

    def holds(self, transaction: bytes) -> bool:
        """Whether the envelope of this id is pending."""
        return transaction in self._ids

    def client_known(self, client: bytes) -> bool:
        window = self._clients.get(client)
        return window is not None and window.role != 0

    def in_flight(self, key: Key) -> bool:
        """Whether a block of the current chain that is not executed yet holds this (client, nonce)."""
        return key in self._in_flight

    def spent(self, key: Key) -> bool:
        """Whether this (client, nonce) is executed."""
        window = self._clients.get(key[0])
        return window is not None and window.refusal(key[1]) == Reason.TX_NONCE_USED

    def add(self, transaction: Transaction, next_seq: int, now_ms: int) -> Reason | None:
        """Take an envelope into custody, or say why not. Taking the same one again is fine."""
        key = transaction.key
        refusal = self.refusal(transaction, next_seq)
        if refusal is not None or key in self._pending:
            return refusal
        size = len(transaction.raw)
        if not self._pending:
            self._another_is_oldest(now_ms)
        self._pending[key] = transaction
        self._since_ms[key] = now_ms
        self._by_raw[transaction.raw] = transaction
        self._ids.add(transaction.id)
        self._of_client[key[0]] = self._of_client.get(key[0], 0) + 1
        self._bytes += size
        if key not in self._in_flight:
            self._ready[key] = transaction
            self._ready_bytes += size
        return None

    def refusal(self, transaction: Transaction, next_seq: int) -> Reason | None:
        """Why an envelope, whoever signed it, cannot be taken into custody; None: it can, or it has been."""
        client, nonce = key = transaction.key
        held = self._pending.get(key)
        if held is not None:
            return None if held.id == transaction.id else Reason.BUSY
        window = self._clients.get(client)
        if window is None or window.role == 0:
            return Reason.TX_UNKNOWN_CLIENT
        refusal = window.refusal(nonce)
        if refusal is not None:
            return refusal
        if transaction.body.valid_until < next_seq:
            return Reason.TX_EXPIRED
        if len(self._pending) >= PENDING_MAX or self._bytes + len(transaction.raw) > PENDING_BYTES_MAX:
            return Reason.BUSY
        return Reason.BUSY if self._of_client.get(client, 0) >= PENDING_CLIENT_MAX else None

    def choose(self, count_max: int, bytes_max: int, seq: int) -> list[Transaction]:
        """What a block at height `seq` takes: the oldest that are ready, within bounds."""
        chosen: list[Transaction] = []
        for transaction in self._ready.values():
            if transaction.body.valid_until < seq or not self.client_known(transaction.key[0]):
                continue  # drop_hopeless lets go of it when it is the oldest
            bytes_max -= len(transaction.raw) + 5  # msgpack's header of a bin is at most 5 bytes
            if bytes_max < 0 or len(chosen) == count_max:
                break  # the genesis leaves room in a block for the largest envelope, so the first one always fits
            chosen.append(transaction)
        return chosen

    def first_ready(self, seq: int) -> tuple[Key, int] | None:
        """The oldest envelope that a block at height `seq` could take, and since when (ms) it is here."""
        for key, transaction in islice(self._ready.items(), HOPELESS_MAX):
            if transaction.body.valid_until >= seq and self.client_known(key[0]):
                return key, self._since_ms[key]
        return None

    def include(self, transactions: Iterable[Transaction], seq: int, now_ms: int) -> None:
        """A block at `seq` on the current chain holds these. They are taken into custody, where there is room."""
        pending, in_flight, ready = self._pending, self._in_flight, self._ready
        for transaction in transactions:
            key = transaction.key
            if key not in pending:
                self.add(transaction, seq, now_ms)
            in_flight[key] = seq
            waited = ready.pop(key, None)
            if waited is not None:
                self._ready_bytes -= len(waited.raw)

    def restart(self, blocks: Iterable[tuple[int, Iterable[Transaction]]], now_ms: int) -> None:
        """The chain is another one: exactly these (height, envelopes) are in flight on it. Timers start afresh."""
        self._in_flight = {item.key: seq for seq, transactions in blocks for item in transactions}
        self._ready = {key: item for key, item in self._pending.items() if key not in self._in_flight}
        self._ready_bytes = sum(len(item.raw) for item in self._ready.values())
        self.head_since_ms = now_ms

    def executed(self, transactions: Iterable[Transaction], now_ms: int) -> list[Transaction]:
        """These were executed (or rejected for good): custody ends. Those that were pending under the (client, nonce)
        of another one are returned: they can never be executed."""
        head = next(iter(self._pending), None)
        others = []
        for transaction in transactions:
            key = transaction.key
            self._in_flight.pop(key, None)
            held = self._drop(key)
            if held is not None and held is not transaction and held.id != transaction.id:
                others.append(held)
        if next(iter(self._pending), None) != head:
            self._another_is_oldest(now_ms)
        return others

    def shift(self, asleep_ms: int) -> None:
        """Time in which this replica did nothing does not count."""
        self._since_ms = {key: since + asleep_ms for key, since in self._since_ms.items()}
        self.oldest_since_ms += asleep_ms
        self.head_since_ms += asleep_ms

    def drop_hopeless(self, next_seq: int, now_ms: int) -> list[tuple[Transaction, Reason]]:
        """Let go of oldest envelopes that can never be executed any more: expired, or of a removed client."""
        gone: list[tuple[Transaction, Reason]] = []
        for key, transaction in self._pending.items():
            if key in self._in_flight:
                break
            if transaction.body.valid_until < next_seq:
                gone.append((transaction, Reason.TX_EXPIRED))
            elif not self.client_known(key[0]):
                gone.append((transaction, Reason.TX_UNKNOWN_CLIENT))
            elif (refusal := self._clients[key[0]].refusal(key[1])) is not None:
                gone.append((transaction, refusal))
            else:
                break
        for transaction, _ in gone:
            self._drop(transaction.key)
        if gone:
            self._another_is_oldest(now_ms)
        return gone

    def _another_is_oldest(self, now_ms: int) -> None:
        self.oldest_since_ms = self.head_since_ms = now_ms

    def _drop(self, key: Key) -> Transaction | None:
        """What was in custody under this key."""
        transaction = self._pending.pop(key, None)
        if transaction is None:
            return None
        del self._since_ms[key]
        del self._by_raw[transaction.raw]
        self._ids.discard(transaction.id)
        self._bytes -= len(transaction.raw)
        if self._ready.pop(key, None) is not None:
            self._ready_bytes -= len(transaction.raw)
        left = self._of_client[key[0]] - 1
        if left:
            self._of_client[key[0]] = left
        else:
            del self._of_client[key[0]]
        return transaction
