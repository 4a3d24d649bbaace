"""Members that cosign, with real keys, and a small log for them to cosign."""

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.merkle import Frontier, inclusion_proof, leaf_hash
from bftnode.protocol.tlog import cosignatures
from bftnode.protocol.tlog.checkpoints import Checkpoint, origin_of
from bftnode.protocol.tlog.cosignatures import cosign
from bftnode.protocol.tlog.notes import Note, NoteSignature, VerifierKey, sign_text, write_note
from bftnode.protocol.tlog.policy import MemberKeys, Policy, cluster_policy
from bftnode.protocol.tlog.proofs import Proof
from tests.protocol.cluster import CHAIN, seed

WHEN = 1_700_000_000


class Cosigners:
    """n members, of whom member i signs checkpoints, and cosigns by the kinds of keys that the cluster has."""

    def __init__(self, n: int = 4, kinds: Iterable[int] = (cosignatures.ED25519,), chain_id: bytes = CHAIN) -> None:
        self.chain_id, self.kinds = chain_id, tuple(kinds)
        consensus = sorted(public_key_of(seed(i)) for i in range(n))
        self.log_signers = [signer(seed(i, "log")) for i in range(n)]
        self.ed25519 = [signer(seed(i, "cosigning")) for i in range(n)]
        ml_dsa = [MLDSA44PrivateKey.from_seed_bytes(seed(i, "ml-dsa")) for i in range(n)]
        self.ml_dsa = [key.sign for key in ml_dsa]
        self.keys = [
            MemberKeys(
                f"org-{i}",
                consensus[i],
                public_key_of(seed(i, "log")),
                public_key_of(seed(i, "cosigning")) if cosignatures.ED25519 in self.kinds else None,
                ml_dsa[i].public_key().public_bytes_raw() if cosignatures.ML_DSA_44 in self.kinds else None,
            )
            for i in range(n)
        ]
        self.policy: Policy = cluster_policy(chain_id, self.keys)

    def log_key(self, member: int) -> VerifierKey:
        return self.keys[member].log_key(self.chain_id)

    def cosigned(self, member: int, checkpoint: Checkpoint, when: int = WHEN) -> list[NoteSignature]:
        """By every key that the member has."""
        return [
            cosign(
                checkpoint,
                key,
                when,
                self.ed25519[member] if key.kind == cosignatures.ED25519 else self.ml_dsa[member],
            )
            for key in self.keys[member].cosigning_keys(self.chain_id)
        ]

    def checkpoint(self, size: int, root: bytes) -> Checkpoint:
        return Checkpoint(origin_of(self.chain_id), size, root)

    def note(self, checkpoint: Checkpoint, members: Iterable[int] = (0, 1, 2), signed_by: int = 0) -> bytes:
        text = checkpoint.text()
        own = sign_text(text, self.log_key(signed_by), self.log_signers[signed_by])
        return write_note(Note(text, (own, *(one for i in members for one in self.cosigned(i, checkpoint)))))


ENTRIES = [f"entry {i}".encode() * (i % 4 + 1) for i in range(300)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
NODES = {(level, index): digest for level, index, digest in Frontier().append(LEAVES)[1]}


def node_at(level: int, index: int) -> bytes:
    return NODES[level, index]


def root_at(size: int) -> bytes:
    return Frontier.load(size, node_at).root()


def proof_of(cosigners: Cosigners, index: int, size: int, members: Iterable[int] = (0, 1, 2)) -> Proof:
    """That entry `index` is in the log of `size` entries, by a checkpoint that these members cosigned."""
    note = cosigners.note(cosigners.checkpoint(size, root_at(size)), members)
    return Proof(index, tuple(inclusion_proof(index, size, node_at)), note, ENTRIES[index])
