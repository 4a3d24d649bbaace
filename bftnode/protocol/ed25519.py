"""Ed25519, said once: the one library (libsodium by PyNaCl) that decides what a valid signature is.

Acceptance of odd signatures differs between libraries, versions and build flags (faults.md P48, R04). So keys
of small order are refused when they are registered, and `self_check` compares this build with a frozen table
of edge vectors before a node starts.
"""

from collections.abc import Callable, Sequence
from itertools import product

import nacl.bindings
import nacl.exceptions

from bftnode.protocol import ed25519_vectors as frozen
from bftnode.protocol.errors import Reason, Refused

Signer = Callable[[bytes], bytes]
"""message -> 64-byte signature. Deterministic (RFC 8032), so a replica that holds one stays a function."""

Verifier = Callable[[bytes, bytes, bytes], bool]
"""(32-byte public key, message, 64-byte signature) -> whether it is valid. Pure."""


def public_key_of(seed: bytes) -> bytes:
    """The 32-byte public key of a 32-byte secret seed."""
    return nacl.bindings.crypto_sign_seed_keypair(seed)[0]


def signer(seed: bytes) -> Signer:
    """A signing function over a 32-byte secret seed."""
    _, secret = nacl.bindings.crypto_sign_seed_keypair(seed)
    sign = nacl.bindings.crypto_sign

    def signature_of(message: bytes) -> bytes:
        return sign(message, secret)[:64]

    return signature_of


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is libsodium's idea of a valid one. Never raises on any content."""
    if len(public_key) != 32 or len(signature) != 64:
        return False  # the binding reads 32 bytes of key whatever it is given
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except (nacl.exceptions.BadSignatureError, nacl.exceptions.ValueError):
        return False
    return True


def check_public_key(public_key: bytes) -> None:
    """Refuse a key that could sign two messages with one signature (small order) or is not on the curve.

    Raises Refused(AUTH_WEAK_KEY).
    """
    if len(public_key) != 32:
        raise Refused(Reason.AUTH_WEAK_KEY, "an Ed25519 public key has 32 bytes")
    if not nacl.bindings.crypto_core_ed25519_is_valid_point(public_key):
        raise Refused(Reason.AUTH_WEAK_KEY, "not a point of the prime-order subgroup")


def self_check(
    vectors: Sequence[frozen.Vector] = frozen.VECTORS, signing: Sequence[frozen.Signing] = frozen.SIGNING
) -> None:
    """Compare this build of the library with the frozen table; some milliseconds.

    Raises RuntimeError naming the first difference: a node whose idea of validity is its own must not run.
    """
    for number, known in enumerate(signing, 1):
        seed, message = bytes.fromhex(known.seed), bytes.fromhex(known.message)
        if public_key_of(seed).hex() != known.public_key or signer(seed)(message).hex() != known.signature:
            raise RuntimeError(f"this Ed25519 library signs differently: RFC 8032, TEST {number}")
        if not verify(bytes.fromhex(known.public_key), message, bytes.fromhex(known.signature)):
            raise RuntimeError(f"this Ed25519 library refuses a valid signature: RFC 8032, TEST {number}")
    for name, public_key, message_hex, signature, valid in vectors:
        if verify(bytes.fromhex(public_key), bytes.fromhex(message_hex), bytes.fromhex(signature)) is not valid:
            answer = "refuses what the protocol accepts" if valid else "accepts what the protocol refuses"
            raise RuntimeError(f"this Ed25519 library {answer}: {name}")
    small = [bytes.fromhex(encoding) for encoding in frozen.SMALL_ORDER]
    for key, r in product(small, small):
        if verify(key, frozen.SMALL_ORDER_MESSAGE, r + bytes(32)):
            raise RuntimeError(f"this Ed25519 library accepts a key of small order: {key.hex()} with R = {r.hex()}")
    for key in small:
        if nacl.bindings.crypto_core_ed25519_is_valid_point(key):
            raise RuntimeError(f"this Ed25519 library calls a point of small order valid: {key.hex()}")
