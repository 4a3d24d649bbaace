"""Validity and exactly-once: what is executed was signed by a client that was admitted, and no nonce is used twice."""

from collections.abc import Iterable

from bftnode.apps.execution import open_system_operation
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import Transaction
from simulations.disks import Committed
from simulations.judges.court import Court, Judged
from simulations.world import Violation

ADMINISTRATOR = 2
SYSTEM_BYTE = b"\x00"


class Validity:
    """Looks at each height once, when the first member executes it."""

    def __init__(self, court: Court, administrators: Iterable[bytes]) -> None:
        self._court = court
        self._valid: dict[bytes, None] = {}
        # client -> role, as of the highest height; whoever is not among the first is admitted by what is executed
        self._roles = dict.fromkeys(administrators, ADMINISTRATOR)

    def on_height(self, node: Judged, committed: Committed) -> None:
        """A block that nobody had executed before."""
        seq, executed = committed.effect.block.seq, self._court.executed
        for transaction, result in zip(committed.effect.transactions, committed.results, strict=True):
            if transaction.raw not in self._valid and not transaction.signature_valid(self._court.verify):
                raise Violation("validity", f"height {seq} holds an envelope that its client did not sign")
            self._valid[transaction.raw] = None
            if not result.code:
                if transaction.key in executed:
                    raise Violation("exactly-once", f"nonce {transaction.key[1]} is executed at height {seq} too")
                executed[transaction.key] = seq
                self._follow(seq, transaction, result)

    def _follow(self, seq: int, transaction: Transaction, result: TransactionResult) -> None:
        """Each operation in order: who may ask, and who may from here on."""
        for operation, done in zip(transaction.body.operations, result.results, strict=True):
            role = self._roles.get(transaction.body.client, 0)
            if done.code:
                continue
            if not role:
                raise Violation("permitted", f"height {seq} executes an operation of a client that is not admitted")
            if operation[:1] == SYSTEM_BYTE:
                if role != ADMINISTRATOR:
                    raise Violation("permitted", f"height {seq} executes an administrator's operation of somebody else")
                system = open_system_operation(operation)
                self._roles[system.client] = system.role
