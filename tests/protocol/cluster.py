"""A small cluster with real keys, for the tests of words and bytes: who its members are, and what they sign."""

import hashlib
from collections.abc import Iterable

from bftnode.protocol.blocks import Block, Header, make_block
from bftnode.protocol.certificates import COMMIT, Certificate, VoteSignature, vote_body
from bftnode.protocol.ed25519 import Signer, public_key_of, signer
from bftnode.protocol.envelope import Frame, seal, signing_bytes
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.merkle import EMPTY_ROOT, leaf_hash, root_of
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction

CHAIN = hashlib.sha256(b"a test cluster").digest()
OTHER_CHAIN = hashlib.sha256(b"another test cluster").digest()


def seed(number: int, purpose: str = "member") -> bytes:
    return hashlib.sha256(f"{purpose} {number}".encode()).digest()


class Cluster:
    """n members in order of their public keys; member i signs with `signers[i]`."""

    def __init__(self, n: int = 4, chain_id: bytes = CHAIN, epoch: int = 0) -> None:
        seeds = sorted((seed(i) for i in range(n)), key=public_key_of)
        self.signers: list[Signer] = [signer(one) for one in seeds]
        self.members = Membership(chain_id, epoch, tuple(public_key_of(one) for one in seeds), Parameters())

    def vote(self, phase: int, sender: int, view: int, seq: int, block: bytes, counter: int = 1) -> VoteSignature:
        body = vote_body(self.members.epoch, view, seq, block)
        message = signing_bytes(self.members.chain_id, phase, sender, 1, counter, body)
        return VoteSignature(sender, 1, counter, self.signers[sender](message))

    def certificate(
        self, phase: int = COMMIT, view: int = 0, seq: int = 1, block: bytes = b"b" * 32, senders: Iterable[int] = ()
    ) -> Certificate:
        """A valid one, of the first q members unless said otherwise."""
        chosen = list(senders) or range(self.members.quorum)
        votes = tuple(self.vote(phase, sender, view, seq, block) for sender in chosen)
        return Certificate(phase, self.members.epoch, view, seq, block, votes)

    def frame(self, kind: int, sender: int, body: bytes, counter: int = 1, payload: bytes = b"") -> Frame:
        return seal(self.members.chain_id, kind, sender, 1, counter, body, self.signers[sender], payload)


def transaction(nonce: int, operations: tuple[bytes, ...] = (b"\x01x",), client: int = 0) -> Transaction:
    key = seed(client, "client")
    return sign_transaction(TransactionBody(CHAIN, public_key_of(key), nonce, 1000, operations), signer(key))


def block_of(
    envelopes: tuple[bytes, ...], seq: int = 1, view: int = 0, parent: bytes = bytes(32), time_ms: int = 1_000
) -> Block:
    """A block whose log has nothing but its own envelopes."""
    leaves = [leaf_hash(envelope) for envelope in envelopes]
    root = root_of(leaves) if leaves else EMPTY_ROOT
    header = Header(CHAIN, 0, seq, parent, time_ms, root, len(leaves), root, 0, view)
    return make_block(header, envelopes, leaves)
