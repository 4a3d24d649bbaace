"""Client envelopes: the unit of ordering, of the log (one leaf), of exactly-once and of signing.

Wire form: msgpack [body, signature] with body = msgpack [chain id, client public key, nonce, valid-until block,
operations]. The signature is over DOMAIN || body as received. The id is a hash of the body alone: nothing is
keyed by signature bytes (faults.md R04); the log's leaf is the whole envelope, so that a signature cannot be
exchanged under a committed entry. docs/protocol.md, "Transactions".
"""

import hashlib
from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from bftnode.protocol import limits
from bftnode.protocol.codec import Hash32, PublicKey, Signature, UInt, Wire, decoder_of, encode
from bftnode.protocol.ed25519 import Signer, Verifier
from bftnode.protocol.errors import Reason, Refused

SIGNING_DOMAIN = b"bftnode/v1/transaction\x00"
ID_DOMAIN = b"bftnode/v1/transaction-id\x00"

Operation = Annotated[bytes, Meta(max_length=limits.TRANSACTION_BYTES_MAX)]


class TransactionBody(Wire, frozen=True):
    chain_id: Hash32
    client: PublicKey
    nonce: UInt
    valid_until: UInt
    operations: Annotated[tuple[Operation, ...], Meta(min_length=1, max_length=limits.OPERATIONS_MAX)]


class SignedBody(Wire, frozen=True):
    body: bytes
    signature: Signature


_open_signed: Callable[[bytes], SignedBody] = decoder_of(SignedBody, limits.TRANSACTION_BYTES_MAX)
_open_body: Callable[[bytes], TransactionBody] = decoder_of(TransactionBody, limits.TRANSACTION_BYTES_MAX)


class Transaction:
    """A decoded envelope. Immutable by convention; equal when their bytes are.

    `validated`: the application has found all its operations valid, which is a pure function of their bytes. It
    spares execution the same question, and changes no answer.
    """

    __slots__ = ("body", "id", "key", "raw", "signature", "signed", "validated")

    def __init__(
        self, raw: bytes, signed: bytes, signature: bytes, body: TransactionBody, name: bytes | None = None
    ) -> None:
        """`name`: its id, where that is known already."""
        self.raw = raw
        self.signed = signed
        self.signature = signature
        self.body = body
        self.id = name or transaction_id(signed)
        self.key = (body.client, body.nonce)
        self.validated = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def signature_valid(self, verify: Verifier) -> bool:
        """Whether the client signed it. The caller remembers the answer by `raw`, not by signature."""
        return verify(self.body.client, SIGNING_DOMAIN + self.signed, self.signature)


def transaction_id(signed: bytes) -> bytes:
    """The id that a client knows before it sends: a hash of the signed body."""
    return hashlib.sha256(ID_DOMAIN + signed).digest()


def sign_transaction(body: TransactionBody, sign: Signer) -> Transaction:
    """Envelope of `body`, signed."""
    signed = encode(body)
    signature = sign(SIGNING_DOMAIN + signed)
    return Transaction(encode(SignedBody(signed, signature)), signed, signature, body)


def open_transaction(raw: bytes, chain_id: bytes, name: bytes | None = None) -> Transaction:
    """The envelope in `raw`, of this chain; its signature is not checked here. `name`: its id, where that is known.

    Raises Refused(TX_SIZE | TX_MALFORMED | WRONG_CHAIN).
    """
    if len(raw) > limits.TRANSACTION_BYTES_MAX:
        raise Refused(Reason.TX_SIZE, f"an envelope is at most {limits.TRANSACTION_BYTES_MAX} bytes")
    try:
        outer = _open_signed(raw)
        body = _open_body(outer.body)
    except Refused as error:
        raise Refused(Reason.TX_MALFORMED, str(error)) from None
    if body.chain_id != chain_id:
        raise Refused(Reason.WRONG_CHAIN, "signed for another cluster")
    return Transaction(raw, outer.body, outer.signature, body, name)
