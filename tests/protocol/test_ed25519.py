"""Ed25519, said once: the frozen table, and which keys may be registered."""

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol import ed25519
from bftnode.protocol import ed25519_vectors as frozen
from bftnode.protocol.ed25519 import check_public_key, public_key_of, self_check, signer, verify
from bftnode.protocol.errors import Reason, Refused

L = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.covers("R04", "P48")
def test_this_build_agrees_with_the_frozen_table() -> None:
    """RFC 8032's signatures, the twelve edge cases, and 196 pairs of small order."""
    self_check()
    assert len(frozen.VECTORS) == 12
    assert len(set(frozen.SMALL_ORDER)) == 14


@pytest.mark.covers("P48")
@pytest.mark.parametrize("vector", frozen.VECTORS, ids=lambda vector: vector.name.split(":")[0])
def test_a_build_that_answers_otherwise_is_named(vector: frozen.Vector) -> None:
    """As seen from a library that differs in this one case, the node does not start and says in which."""
    answer = "refuses what the protocol accepts" if not vector.valid else "accepts what the protocol refuses"
    with pytest.raises(RuntimeError, match=f"{answer}: {vector.name.split(':')[0]}"):
        self_check((vector._replace(valid=not vector.valid),))


@pytest.mark.covers("P48")
def test_a_build_that_signs_otherwise_is_named() -> None:
    """Signing is part of the replica's determinism."""
    with pytest.raises(RuntimeError, match="TEST 1"):
        self_check(signing=(frozen.SIGNING[0]._replace(signature=frozen.SIGNING[1].signature),))


@pytest.mark.covers("P48")
def test_a_build_that_makes_other_keys_is_named() -> None:
    """Or that refuses what it signs."""
    with pytest.raises(RuntimeError, match="signs differently: RFC 8032, TEST 1"):
        self_check(signing=(frozen.SIGNING[0]._replace(public_key=frozen.SIGNING[1].public_key),))


@pytest.mark.covers("R04", "P48")
def test_a_build_that_accepts_small_order_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As seen from a library that calls such a signature valid, or such a key a point like any other."""

    def accepts(public_key: bytes, message: bytes, signature: bytes) -> bool:
        small = message == frozen.SMALL_ORDER_MESSAGE and len(signature) == 64
        return small or verify(public_key, message, signature)

    with monkeypatch.context() as other:
        other.setattr(ed25519, "verify", accepts)
        with pytest.raises(
            RuntimeError, match=f"small order: {frozen.SMALL_ORDER[0]} with R = {frozen.SMALL_ORDER[0]}"
        ):
            self_check()
    with monkeypatch.context() as other:
        other.setattr(nacl.bindings, "crypto_core_ed25519_is_valid_point", lambda key: True)
        with pytest.raises(RuntimeError, match=f"small order valid: {frozen.SMALL_ORDER[0]}"):
            self_check()
    with monkeypatch.context() as other:
        other.setattr(ed25519, "verify", lambda *_: False)
        with pytest.raises(RuntimeError, match="refuses a valid signature: RFC 8032, TEST 1"):
            self_check()


@pytest.mark.covers("R04", "P48")
@pytest.mark.parametrize("encoding", frozen.SMALL_ORDER)
def test_a_key_of_small_order_is_refused(encoding: str) -> None:
    """One signature by it would be valid for many messages. In every encoding, canonical or not."""
    with pytest.raises(Refused) as caught:
        check_public_key(bytes.fromhex(encoding))
    assert caught.value.reason is Reason.AUTH_WEAK_KEY


@pytest.mark.covers("P48")
@pytest.mark.parametrize(
    "key",
    [
        frozen.VECTORS[2].public_key,  # on the curve, with a component of small order
        "02" + "00" * 31,  # y = 2 is not on the curve
        "f0" + "ff" * 30 + "7f",  # y = p + 3: not canonical
        "00" * 31,
        "",
    ],
)
def test_a_key_that_is_no_point_of_the_prime_order_group_is_refused(key: str) -> None:
    """Mixed order, off the curve, another encoding, another length."""
    with pytest.raises(Refused):
        check_public_key(bytes.fromhex(key))


@pytest.mark.covers("R04")
def test_a_shifted_scalar_is_refused() -> None:
    """S + L satisfies the equation; accepted, it would be a second signature of one message."""
    key = bytes(32)
    signature = signer(key)(b"message")
    shifted = int.from_bytes(signature[32:], "little") + L
    assert verify(public_key_of(key), b"message", signature)
    assert not verify(public_key_of(key), b"message", signature[:32] + shifted.to_bytes(32, "little"))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_what_is_signed_verifies(key: bytes, message: bytes) -> None:
    """And one bit of difference anywhere does not; every honest key may be registered."""
    public = public_key_of(key)
    check_public_key(public)
    signature = signer(key)(message)
    assert verify(public, message, signature)
    assert not verify(public, message + b"\x00", signature)
    assert not verify(public, message, signature[:-1] + bytes((signature[-1] ^ 1,)))


@pytest.mark.covers("C17")
@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70))
def test_verifying_never_raises(key: bytes, message: bytes, signature: bytes) -> None:
    """Whatever the bytes and their lengths."""
    assert verify(key, message, signature) is False


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_none(size: int) -> None:
    """Whatever it is made of."""
    with pytest.raises(Refused) as refusal:
        check_public_key(b"k" * size)
    assert refusal.value.reason is Reason.AUTH_WEAK_KEY
