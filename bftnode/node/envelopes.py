"""Client envelopes, opened and verified once, however many messages carry them (docs/protocol.md, "Transactions").

What was verified is remembered by its bytes, never by its signature. The memory is bounded: what is forgotten
is verified again.
"""

from collections.abc import Iterable, Sequence

from bftnode.apps.execution import Executor
from bftnode.protocol import ed25519
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.transactions import Transaction, open_transaction

REMEMBERED_MAX = 50_000
REMEMBERED_BYTES_MAX = 32 * 1024 * 1024

INLINE_MAX = 3
"""Up to so many fresh envelopes are verified in the event loop: a thread's round trip costs as much."""


class Envelopes:
    """Opens envelopes for the replica. `open` may be called from worker threads: every step of it is atomic."""

    def __init__(self, chain_id: bytes, executor: Executor) -> None:
        self._chain_id = chain_id
        self._executor = executor
        self._verified: dict[bytes, Transaction] = {}
        self._bytes = 0

    def open(self, raw: bytes) -> Transaction:
        """An envelope that is well-formed, of this chain, valid for the application and signed by its client.

        Raises Refused(TX_*, WRONG_CHAIN).
        """
        known = self._verified.get(raw)
        if known is not None:
            return known
        transaction = self.read(raw)
        if not transaction.signature_valid(ed25519.verify):
            raise Refused(Reason.TX_SIGNATURE, "not signed by the client that it names")
        return transaction

    def read(self, raw: bytes, name: bytes | None = None) -> Transaction:
        """As `open`, but for the signature: a few per cent of the cost. `name`: the envelope's id, where that is known.

        Raises Refused(TX_*, WRONG_CHAIN).
        """
        transaction = open_transaction(raw, self._chain_id, name)
        self._executor.validate(transaction)
        return transaction

    def verified(self, raw: bytes) -> Transaction | None:
        """An envelope that was opened before, or nothing."""
        return self._verified.get(raw)

    def remember(self, transactions: Iterable[Transaction]) -> None:
        """Called in the event loop only."""
        for transaction in transactions:
            if transaction.raw not in self._verified:
                self._verified[transaction.raw] = transaction
                self._bytes += len(transaction.raw)
        while len(self._verified) > REMEMBERED_MAX or self._bytes > REMEMBERED_BYTES_MAX:
            oldest = next(iter(self._verified))
            del self._verified[oldest]
            self._bytes -= len(oldest)

    def forget(self, raws: Iterable[bytes]) -> None:
        """These are executed."""
        for raw in raws:
            if self._verified.pop(raw, None) is not None:
                self._bytes -= len(raw)

    def fresh(self, raws: Iterable[bytes]) -> list[bytes]:
        """Those that have not been verified yet."""
        return [raw for raw in raws if raw not in self._verified]

    @staticmethod
    def signed(transactions: Sequence[Transaction]) -> Sequence[Transaction]:
        """Those before the first that is not signed by the client that it names. For worker threads."""
        for place, transaction in enumerate(transactions):
            if not transaction.signature_valid(ed25519.verify):
                return transactions[:place]
        return transactions

    def open_all(self, raws: Iterable[bytes]) -> list[Transaction]:
        """Those of `raws` that are valid; stops at the first that is not. For worker threads."""
        opened = []
        for raw in raws:
            try:
                opened.append(self.open(raw))
            except Refused:
                break
        return opened
