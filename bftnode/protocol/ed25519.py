"""Ed25519, said once: the one library (libsodium by PyNaCl) that decides what a valid signature is.

Acceptance of odd signatures differs between libraries, versions and build flags (faults.md P48, R04). So keys
of small order are refused when they are registered, and `self_check` compares this build with a frozen table
of edge vectors before a node starts.
"""

from collections.abc import Callable

import nacl.bindings
import nacl.exceptions

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
