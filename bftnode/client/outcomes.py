"""How what a client asked for can end. Pure."""

from typing import NamedTuple

from bftnode.protocol.results import TransactionResult


class Believed(NamedTuple):
    """f+1 members sent this result, so a correct one did."""

    result: TransactionResult
    raw: bytes  # the bytes that they sent
    members: tuple[int, ...]  # who had sent it by then
    dissenters: tuple[int, ...]  # who had sent another: they lie (faults.md A07)


class NeverOrdered(NamedTuple):
    """Enough members rejected it before ordering that it cannot be executed any more."""

    transaction: bytes
    code: str  # of errors.Reason


class ExecutedLongAgo(NamedTuple):
    """f+1 members say that it is entry `log_index`, in block `seq`; its result is not kept any more."""

    transaction: bytes
    seq: int
    log_index: int


Outcome = Believed | NeverOrdered | ExecutedLongAgo


class OutcomeUnknown(Exception):
    """Time is up: the transaction may be executed or not, now or later, until its valid-until block has passed.

    `transaction` is its id: `Client.wait(transaction)` tells, and submitting the same envelope again is safe.
    """

    def __init__(self, transaction: bytes, detail: str) -> None:
        super().__init__(f"the outcome of {transaction.hex()} is not known yet: {detail}")
        self.transaction = transaction
        self.detail = detail


class ResultForgotten(Exception):
    """The transaction was executed, so long ago that its result is not kept (docs/protocol.md, "Transactions")."""

    def __init__(self, found: ExecutedLongAgo) -> None:
        super().__init__(f"{found.transaction.hex()} was executed in block {found.seq}; its result is not kept")
        self.transaction = found.transaction
        self.seq = found.seq
        self.log_index = found.log_index
