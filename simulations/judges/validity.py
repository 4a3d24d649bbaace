"""Validity and exactly-once: what is executed was signed by its client, and no nonce is executed twice."""

from simulations.disks import Committed
from simulations.judges.court import Court, Judged
from simulations.world import Violation


class Validity:
    """Looks at each height once, when the first member executes it."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self._valid: dict[bytes, None] = {}

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
