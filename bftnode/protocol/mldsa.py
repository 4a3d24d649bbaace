"""ML-DSA-44 (FIPS 204), for cosignatures that are to outlive Ed25519: verified by the cryptography package.

Signing is not here: it draws on randomness (the hedged variant), so whoever signs has a function handed in.
"""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

PUBLIC_KEY_BYTES = 1312
SIGNATURE_BYTES = 2420


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is valid with an empty context. Never raises on any content.

    Raises RuntimeError where the installed cryptography cannot tell: that is this machine's fault, not the message's.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        MLDSA44PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    except UnsupportedAlgorithm:
        raise RuntimeError("this build of the cryptography package has no ML-DSA-44") from None
    return True
