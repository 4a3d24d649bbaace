"""Client envelopes: signed for one cluster, named without their signature, refused when malformed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol import limits
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import public_key_of, signer, verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.transactions import SignedBody, TransactionBody, open_transaction, sign_transaction
from tests.protocol.cluster import CHAIN, OTHER_CHAIN, seed, transaction


def refusal(raw: bytes, chain: bytes = CHAIN) -> Reason:
    with pytest.raises(Refused) as caught:
        open_transaction(raw, chain)
    return caught.value.reason


def test_an_envelope_opens_to_what_was_signed() -> None:
    """The same body, id and key on both sides, and a valid signature."""
    made = transaction(5)
    opened = open_transaction(made.raw, CHAIN)
    assert (opened, opened.id, opened.key, opened.body) == (made, made.id, made.key, made.body)
    assert (made.validated, opened.validated) == (False, False), "nobody has asked the application yet"
    assert opened.signature_valid(verify)


@pytest.mark.covers("R06")
def test_an_envelope_of_another_cluster_is_refused() -> None:
    """The chain id is inside what is signed."""
    assert refusal(transaction(1).raw, OTHER_CHAIN) is Reason.WRONG_CHAIN


@pytest.mark.covers("R04")
def test_the_id_does_not_depend_on_the_signature() -> None:
    """Nothing is keyed by signature bytes; but the log's entry is the whole envelope, so they are not equal."""
    made = transaction(1)
    other = open_transaction(encode(SignedBody(made.signed, bytes(64))), CHAIN)
    assert other.id == made.id
    assert other.key == made.key
    assert other != made
    assert not other.signature_valid(verify)


@pytest.mark.parametrize(
    "change", [{"nonce": 2}, {"valid_until": 1}, {"operations": (b"\x01y",)}, {"client": b"k" * 32}]
)
def test_a_changed_body_is_not_signed(change: dict[str, object]) -> None:
    """Every field is under the signature."""
    made = transaction(1)
    changed = encode(msgspec.structs.replace(made.body, **change))
    assert not open_transaction(encode(SignedBody(changed, made.signature)), CHAIN).signature_valid(verify)


def test_sizes_are_bounded() -> None:
    """A larger envelope is refused before it is looked at; one operation is the least, 4096 are the most."""
    assert refusal(bytes(limits.TRANSACTION_BYTES_MAX + 1)) is Reason.TX_SIZE
    for more in (0, 1):
        operation = bytes(limits.TRANSACTION_BYTES_MAX - len(transaction(1, (bytes(70_000),)).raw) + 70_000 + more)
        largest = transaction(1, (operation,)).raw
        assert len(largest) == limits.TRANSACTION_BYTES_MAX + more
        if more:
            assert refusal(largest) is Reason.TX_SIZE
        else:
            assert open_transaction(largest, CHAIN).body.operations == (operation,)
    assert refusal(transaction(1, ()).raw) is Reason.TX_MALFORMED
    assert open_transaction(transaction(1, (b"",) * limits.OPERATIONS_MAX).raw, CHAIN)
    assert refusal(transaction(1, (b"",) * (limits.OPERATIONS_MAX + 1)).raw) is Reason.TX_MALFORMED


@pytest.mark.covers("C17")
@given(st.binary(max_size=300))
def test_opening_is_total(raw: bytes) -> None:
    """Random bytes, outside or inside the signed part, are refused and nothing else."""
    for data in (raw, encode(SignedBody(raw, bytes(64)))):
        assert refusal(data) in (Reason.TX_MALFORMED, Reason.WRONG_CHAIN)


def test_the_largest_nonce_is_an_integer_of_the_wire() -> None:
    """2**63 - 1 opens; whether it may be used is the window's business."""
    key = seed(0, "client")
    body = TransactionBody(CHAIN, public_key_of(key), 2**63 - 1, 2**63 - 1, (b"\x01",))
    assert open_transaction(sign_transaction(body, signer(key)).raw, CHAIN).body == body


def test_envelopes_are_equal_when_their_bytes_are() -> None:
    """So they can be members of sets, and a signature that is another makes another one."""
    one = transaction(1)
    again = open_transaction(one.raw, CHAIN)
    assert (again, hash(again), len({one, again})) == (one, hash(one), 1)
    assert hash(one) != hash(transaction(2))
    assert one != transaction(2)
    assert one != one.raw
