"""The bytes that f+1 replicas must send alike."""

from bftnode.protocol.codec import decode, encode
from bftnode.protocol.results import OperationResult, TransactionResult


def test_equal_results_have_equal_bytes() -> None:
    """A client compares bytes: a result decoded and encoded again is the same one."""
    result = TransactionResult(bytes(32), 7, 9, "", (OperationResult("", b"x"), OperationResult("tx.denied", b"")))
    assert decode(encode(result), TransactionResult, 1000) == result
    assert encode(decode(encode(result), TransactionResult, 1000)) == encode(result)
