"""What the API needs of the node behind it. The node implements it; tests have one in memory.

Everything here is called in the event loop's thread. Nothing that a client sends is believed to be well-formed:
envelopes and queries are bytes as they came, of bounded size.
"""

from collections.abc import Sequence
from typing import Protocol

from bftnode.protocol.certificates import Certificate
from bftnode.protocol.client_messages import Entry, NodeStatus
from bftnode.protocol.receipts import Receipt


class Subscriber(Protocol):
    """A connection, as the backend sees it: a place to put answers. Hashable by identity."""

    def deliver(self, answers: Sequence[bytes], *, now: bool = False) -> None:
        """Queue encoded `TransactionAnswer`s. Never waits, never raises, does nothing once the client is gone.
        `now`: that is all for the moment, so that they need not wait for others to share a write with.

        A client that does not read is disconnected when its outbox is full (`forget` follows).
        """


class Backend(Protocol):
    """One node."""

    def client_role(self, public_key: bytes) -> int:
        """nonces.CLIENT, nonces.ADMINISTRATOR, or 0 for whoever is not admitted (any more). Asked for each request."""

    def highest_nonce(self, public_key: bytes) -> int:
        """The highest nonce of this client that was executed; 0 before the first."""

    def height(self) -> int:
        """Height of the last executed block."""

    async def submit(self, envelopes: Sequence[bytes], names: Sequence[bytes], subscriber: Subscriber) -> int:
        """Take envelopes; answers go to the subscriber by `names`, each its `envelope_id`. Awaiting holds up this
        client only. Returns how many it rejected at once.

        For each, in this order: if it was executed, RESULT (or FORGOTTEN) and nothing else; if it can never be,
        REJECT; if it is not taken, NACK; else RESULT when it is executed, whoever had it ordered, and ACK before it
        where that takes long; or REJECT if custody ends without it. After NACK and REJECT nothing more is owed. To
        submit what is pending again may be ACK again, and one RESULT.

        Raises Refused(TX_SIGNATURE) at the first that is not signed by whom it names: its sender lies, or passes on
        what it did not check, and those after it are not looked at.
        """

    async def wait(self, transactions: Sequence[bytes], subscriber: Subscriber) -> None:
        """RESULT or FORGOTTEN for what was executed; else ACK (in custody) or UNKNOWN now, and RESULT when it is."""

    def forget(self, subscriber: Subscriber) -> None:
        """The client is gone: owe it nothing. What it submitted stays in custody. Called once per connection."""

    async def query(self, query: bytes, min_height: int, timeout_s: float) -> tuple[int, bytes]:
        """(height, answer) of the application in one state of at least `min_height`.

        Raises Refused: NOT_READY when that height is not reached in time, or what the application says.
        """

    async def entries(self, first: int, limit: int) -> tuple[int, Sequence[Entry]]:
        """Size of the log, and entries from `first` on: at most `limit`, and ENTRIES_BYTES_TARGET reached at most once.

        None where `first` is beyond the end. Raises Refused.
        """

    async def receipt(self, index: int) -> Receipt:
        """The proof of an entry. Raises Refused(NOT_FOUND), also before a certificate covers it."""

    async def checkpoint(self, size: int | None, timeout_s: float) -> bytes:
        """The smallest cosigned checkpoint of at least `size` entries, or the largest, as a signed note.

        Raises Refused(NOT_FOUND) when there is none in time.
        """

    async def inclusion(self, index: int, size: int) -> Sequence[bytes]:
        """The path from an entry to the root of the log of `size` entries. Raises Refused(NOT_FOUND)."""

    async def consistency(self, old: int, new: int) -> Sequence[bytes]:
        """The proof that one size of the log is the beginning of another. Raises Refused(NOT_FOUND)."""

    async def block(self, seq: int) -> tuple[bytes, bytes, Certificate | None]:
        """(header, payload, certificate) of a committed block. Raises Refused(NOT_FOUND)."""

    async def keep_payload(self, record: int, salt: bytes, payload: bytes, min_height: int, timeout_s: float) -> None:
        """Keep what opens a private record, once the height is reached; durable when it returns.

        Raises Refused(NOT_FOUND | NOT_READY | INTEGRITY | DISK_FULL | BUSY).
        """

    async def payload(self, record: int) -> tuple[bytes, bytes]:
        """(salt, payload) of a private record. Raises Refused(NOT_FOUND)."""

    def status(self) -> NodeStatus:
        """Where this node is."""
