"""What became of an envelope: the bytes that f+1 replicas must send alike before a client believes them."""

from bftnode.protocol.codec import Hash32, UInt, Wire

OK = 0
REJECTED = 1


class OperationResult(Wire, frozen=True):
    """`code` is empty and `value` the application's answer, or `code` says why the operation did nothing."""

    code: str
    value: bytes


class TransactionResult(Wire, frozen=True):
    """The outcome of an ordered envelope: deterministic, kept in replicated state while its nonce is remembered.

    `code` is empty, or the Reason for which the whole envelope was rejected when its turn came.
    """

    transaction: Hash32
    seq: UInt
    index: UInt  # its leaf in the log
    code: str
    results: tuple[OperationResult, ...]
