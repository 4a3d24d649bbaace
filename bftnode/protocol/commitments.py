"""A salted commitment: what stands in the log in the place of a record that is kept beside it (decision 020). Pure.

It binds (nobody finds another payload for it) and hides (without the salt, guesses at the payload cannot be checked).
The client's key is in it, so that a commitment which somebody copies into a record of their own opens for nobody.
"""

import hashlib

DOMAIN = b"bftnode/v1/commitment\x00"

SALT_BYTES = 32
"""From the operating system's randomness, a fresh one for each record: a salt that is used twice shows which payloads
are equal."""

PAYLOAD_BYTES_MAX = 192 * 1024
"""As long as a record in the log may be; a longer one is malformed."""


def commitment_of(client: bytes, salt: bytes, payload: bytes) -> bytes:
    """SHA-256 over domain, key of the client (32 bytes), salt (32 bytes) and payload: 32 bytes."""
    assert len(client) == len(salt) == SALT_BYTES, "keys and salts are 32 bytes"
    return hashlib.sha256(DOMAIN + client + salt + payload).digest()
