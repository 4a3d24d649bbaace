"""The keys of real homes, as the simulator takes them: for another cluster whose members have the same ones.

A liar that repeats what was said there (adversaries/other_cluster.py) needs words with the others' true signatures, so
that other world is played in small, once, with their real keys; and nothing but the keys joins it to this one.
"""

from collections.abc import Sequence

from bftnode.protocol.ed25519 import public_key_of
from simulations.crypto import Keyring


class RealKeys(Keyring):
    """Members in the order of their public keys, from their seeds; one client."""

    def __init__(self, members: Sequence[bytes], client: bytes) -> None:
        super().__init__(0, real=True)
        pairs = sorted((public_key_of(seed), seed) for seed in members)
        self.members = tuple(public for public, _ in pairs)
        self._member_seeds = [seed for _, seed in pairs]
        self.clients = (public_key_of(client),)
        self._client_seeds = [client]
