"""Keys and signatures of the small world: modelled ones by default, the real Ed25519 where it is asked for.

A modelled signature is a keyed BLAKE2b of the message under a secret that belongs to the public key; `verify` knows
the secrets. It has what the protocol relies on (nobody signs for another, one message has one signature) and costs
a fiftieth. Public keys are real points in both cases, because a membership refuses others.
"""

import hashlib
from collections.abc import Iterable
from functools import cache

from bftnode.protocol import ed25519
from bftnode.protocol.ed25519 import Signer


@cache
def _pair(name: str) -> tuple[bytes, bytes]:
    """(public key, secret seed) of whoever is called `name`."""
    seed = hashlib.sha256(name.encode()).digest()
    return ed25519.public_key_of(seed), seed


class Keyring:
    """Everybody's keys: members in the order of their public keys, and clients."""

    def __init__(self, n: int, clients: int = 0, *, real: bool = False) -> None:
        self.real = real
        pairs = sorted(_pair(f"member {i}") for i in range(n))
        self.members = tuple(public for public, _ in pairs)
        self._member_seeds = [secret for _, secret in pairs]
        client_pairs = [_pair(f"client {i}") for i in range(clients)]
        self.clients = tuple(public for public, _ in client_pairs)
        self._client_seeds = [secret for _, secret in client_pairs]
        self._secrets = dict([*pairs, *client_pairs])

    def member_signer(self, member: int) -> Signer:
        return self._signer(self._member_seeds[member])

    def client_signer(self, client: int) -> Signer:
        return self._signer(self._client_seeds[client])

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if self.real:
            return ed25519.verify(public_key, message, signature)
        secret = self._secrets.get(public_key)
        return secret is not None and _modelled(secret, message) == signature

    def _signer(self, seed: bytes) -> Signer:
        return ed25519.signer(seed) if self.real else lambda message: _modelled(seed, message)


def _modelled(secret: bytes, message: bytes) -> bytes:
    return hashlib.blake2b(message, key=secret).digest()


def digest_of(parts: Iterable[bytes]) -> bytes:
    """A short name for bytes, for traces."""
    hasher = hashlib.blake2b(digest_size=8)
    for part in parts:
        hasher.update(part)
    return hasher.digest()
