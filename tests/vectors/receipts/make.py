"""Published examples of receipts: valid ones, and every way of being invalid. `python -m tests.vectors.receipts.make`.

For whoever writes a verifier: vectors.json names, for each case, the receipt, the policy, the record and the salt if
there is one, whether it is valid, and what bftnode/verify_receipt.py says. Fixed seeds, no clock: the same bytes on
every machine. ML-DSA-44 signatures are random: those that were made once are kept in ml-dsa-signatures.json and used
again.
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bftnode import verify_receipt
from bftnode.apps import log
from bftnode.apps.execution import application_operation
from bftnode.protocol import mldsa
from bftnode.protocol.blocks import hash_header
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.commitments import commitment_of
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.merkle import Frontier, inclusion_proof, leaf_hash
from bftnode.protocol.receipts import FORMAT, Receipt, write_receipt
from bftnode.protocol.tlog import cosignatures
from bftnode.protocol.tlog.checkpoints import Checkpoint
from bftnode.protocol.tlog.cosignatures import cosign
from bftnode.protocol.tlog.notes import Note, NoteSignature, VerifierKey, sign_text, write_note
from bftnode.protocol.tlog.policy import write_policy
from bftnode.protocol.tlog.proofs import SUFFIX, Proof, write_proof
from bftnode.protocol.transactions import SignedBody, TransactionBody, sign_transaction
from tests.protocol.cluster import CHAIN, OTHER_CHAIN, Cluster, block_of, seed
from tests.protocol.tlog.cosigners import WHEN, Cosigners

FOLDER = Path(__file__).parent
ML_DSA = FOLDER / "ml-dsa-signatures.json"
INDEX = 13
SALT = hashlib.sha256(b"a salt that everybody may know").digest()
SALT_FILE = SALT.hex().encode() + b"\n"
RECORDS = [f"record {number}: the door was opened".encode() for number in range(20)]


def entry(number: int, chain_id: bytes = CHAIN) -> bytes:
    """The envelope that appends one record."""
    key = seed(7, "client")
    operation = application_operation(log.append(RECORDS[number]))
    return sign_transaction(
        TransactionBody(chain_id, public_key_of(key), number + 1, 1000, (operation,)), signer(key)
    ).raw


class Signatures:
    """ML-DSA-44 signatures, each made once: a new one would be other bytes."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = json.loads(ML_DSA.read_text(encoding="ascii")) if ML_DSA.exists() else {}
        self.used: dict[str, str] = {}

    def signer(self, key: bytes, sign: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def signature_of(message: bytes) -> bytes:
            name = hashlib.sha256(key + message).hexdigest()
            signature = base64.b64decode(self.kept.get(name, ""))
            if not mldsa.verify(key, message, signature):
                signature = sign(message)
            self.used[name] = base64.b64encode(signature).decode()
            return signature

        return signature_of


SIGNATURES = Signatures()
VOTERS = Cluster()
CLUSTER = Cosigners()
QUANTUM = Cosigners(kinds=(cosignatures.ML_DSA_44,))
BOTH = Cosigners(kinds=(cosignatures.ED25519, cosignatures.ML_DSA_44))
STRANGERS = Cosigners(5, chain_id=OTHER_CHAIN)
for cosigners in (QUANTUM, BOTH):
    keys = [member.ml_dsa_44 or b"" for member in cosigners.keys]
    cosigners.ml_dsa = [SIGNATURES.signer(key, sign) for key, sign in zip(keys, cosigners.ml_dsa, strict=True)]

ENTRIES = tuple(entry(number) for number in range(len(RECORDS)))
SIZE = len(ENTRIES)
BLOCK = block_of(ENTRIES)
NODES = {(level, index): node for level, index, node in Frontier().append(BLOCK.leaves)[1]}
TREE = CLUSTER.checkpoint(SIZE, BLOCK.header.log_root)
PATH = tuple(inclusion_proof(INDEX, SIZE, lambda level, index: NODES[level, index]))
CERTIFICATE = VOTERS.certificate(COMMIT, 2, 1, BLOCK.hash)

POLICIES = {
    "ed25519": write_policy(CLUSTER.policy),
    "ml-dsa-44": write_policy(QUANTUM.policy),
    "both": write_policy(BOTH.policy),
    "without-members": write_policy(CLUSTER.policy._replace(consensus=None)),
    "another-cluster": write_policy(STRANGERS.policy),
    "log-only": f"log {CLUSTER.log_key(0).text}\nquorum none\n",
    "two-of-two-groups": "".join(
        [
            f"log {CLUSTER.log_key(0).text} https://log.example/\n",
            *(f"witness w{i}  {CLUSTER.policy.witnesses[i].key.text}\n" for i in range(4)),
            "group east any w0 w1\n group west\tany w2 w3\n# both\ngroup world all east west\nquorum world\n",
        ]
    ),
}


class Case(NamedTuple):
    receipt: bytes
    policy: str = "ed25519"
    record: bytes | None = None
    salt: bytes | None = None


def proof(**changes: Any) -> bytes:
    """A standard receipt; `checkpoint`, `index`, `path` and `extra` as said, and good ones otherwise."""
    parts = {"index": INDEX, "path": PATH, "checkpoint": CLUSTER.note(TREE), "extra": ENTRIES[INDEX]}
    return write_proof(Proof(**{**parts, **changes}))


def signed(*signatures: NoteSignature, text: str = TREE.text()) -> bytes:
    return write_note(Note(text, signatures))


def own(member: int = 0, tree: Checkpoint = TREE) -> NoteSignature:
    """The log's signature, by one member's log key."""
    return sign_text(tree.text(), CLUSTER.log_key(member), CLUSTER.log_signers[member])


def witnessed(*members: int, tree: Checkpoint = TREE, by: Cosigners = CLUSTER) -> list[NoteSignature]:
    return [one for member in members for one in by.cosigned(member, tree)]


def altered(signature: NoteSignature, place: int = -1) -> NoteSignature:
    value = bytearray(signature.value)
    value[place] ^= 1
    return signature._replace(value=bytes(value))


def quick(receipt: Receipt | None = None, envelope: bytes | None = ENTRIES[INDEX]) -> bytes:
    return write_receipt(receipt or Receipt(BLOCK.header_raw, INDEX, PATH, CERTIFICATE), envelope)


def voted(**changes: Any) -> bytes:
    """A quick receipt with another certificate."""
    return quick(Receipt(BLOCK.header_raw, INDEX, PATH, msgspec.structs.replace(CERTIFICATE, **changes)))


def headed(**changes: Any) -> bytes:
    """A quick receipt of another header, committed by a quorum all the same."""
    header = encode(msgspec.structs.replace(BLOCK.header, **changes))
    block = hash_header(header)
    height = changes.get("seq", 1)
    return quick(Receipt(header, INDEX, PATH, VOTERS.certificate(COMMIT, 2, height, block)))


def replaced(raw: bytes, old: str, new: str) -> bytes:
    """The first `old` as `new`: the bytes change, or the example is none."""
    changed = raw.replace(old.encode(), new.encode(), 1)
    assert changed != raw, old
    return changed


def forged_entry() -> bytes:
    """An envelope that its client did not sign."""
    opened = decode(ENTRIES[INDEX], SignedBody, 10_000)
    return encode(SignedBody(opened.body, bytes(64)))


def alone(envelope: bytes, **changes: Any) -> bytes:
    """A proof that is in order but for what the entry is: the only one of a log of one."""
    tree = CLUSTER.checkpoint(1, leaf_hash(envelope))
    return proof(index=0, path=(), extra=envelope, checkpoint=CLUSTER.note(tree), **changes)


def private(committed_to: str = "client", envelope_of: str = "client") -> bytes:
    """A quick receipt of a private record; of another's, if it is committed to for one key and signed by another."""
    key = seed(7, envelope_of)
    commitment = commitment_of(public_key_of(seed(7, committed_to)), SALT, RECORDS[0])
    body = TransactionBody(CHAIN, public_key_of(key), 1, 1000, (application_operation(log.commit(commitment)),))
    envelope = sign_transaction(body, signer(key)).raw
    block = block_of((envelope,))
    return quick(Receipt(block.header_raw, 0, (), VOTERS.certificate(COMMIT, 2, 1, block.hash)), envelope)


VOTE = CERTIFICATE.votes[1]
GOOD, QUICK = proof(), quick()
ONE = VerifierKey(CLUSTER.log_key(0).name, cosignatures.ED25519, CLUSTER.keys[0].log)
INDEX_LINE = f"index {INDEX}"
BAD_TREE = CLUSTER.checkpoint(SIZE, bytes(32))

VALID: dict[str, Case] = {
    "standard": Case(GOOD),
    "standard-and-its-record": Case(GOOD, record=RECORDS[INDEX]),
    "standard-and-its-entry": Case(GOOD, record=ENTRIES[INDEX]),
    "standard-without-the-entry": Case(proof(extra=None), record=ENTRIES[INDEX]),
    "standard-signed-by-another-member": Case(proof(checkpoint=CLUSTER.note(TREE, (1, 2, 3), 3))),
    "standard-cosigned-by-all": Case(proof(checkpoint=CLUSTER.note(TREE, range(4)))),
    "standard-with-strangers": Case(proof(checkpoint=signed(own(), *STRANGERS.cosigned(4, TREE), *witnessed(0, 1, 2)))),
    "standard-cosigned-twice-by-one": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1), *CLUSTER.cosigned(0, TREE, WHEN + 9), *witnessed(2)))
    ),
    "standard-of-a-log-of-one": Case(alone(ENTRIES[3]), record=RECORDS[3]),
    "standard-ml-dsa-44": Case(proof(checkpoint=QUANTUM.note(TREE)), "ml-dsa-44"),
    "standard-both-kinds": Case(proof(checkpoint=BOTH.note(TREE)), "both"),
    "standard-log-only": Case(proof(checkpoint=signed(own())), "log-only"),
    "standard-groups-of-groups": Case(proof(checkpoint=signed(own(), *witnessed(1, 2))), "two-of-two-groups"),
    "standard-entry-of-any-kind": Case(alone(b"anything"), "log-only"),
    "quick": Case(QUICK),
    "quick-and-its-record": Case(QUICK, record=RECORDS[INDEX]),
    "quick-without-the-entry": Case(quick(envelope=None), record=ENTRIES[INDEX]),
    "quick-private": Case(private()),
    "quick-private-and-its-record": Case(private(), record=RECORDS[0], salt=SALT_FILE),
    "quick-private-and-a-salt-without-a-line-end": Case(private(), record=RECORDS[0], salt=SALT_FILE[:64]),
    "quick-of-other-voters": Case(voted(votes=VOTERS.certificate(COMMIT, 2, 1, BLOCK.hash, (0, 2, 3)).votes)),
    "quick-of-a-late-view-and-height": Case(
        quick(
            Receipt(
                late := encode(msgspec.structs.replace(BLOCK.header, seq=70_000, view=300)),
                INDEX,
                PATH,
                VOTERS.certificate(COMMIT, 2**40, 70_000, hash_header(late)),
            )
        )
    ),
}

INVALID: dict[str, Case] = {
    # the record and the entry
    "record-is-another": Case(GOOD, record=RECORDS[INDEX + 1]),
    "record-is-a-part": Case(GOOD, record=RECORDS[INDEX][:-1]),
    "record-is-empty": Case(GOOD, record=b""),
    "record-is-missing": Case(proof(extra=None)),
    "record-in-the-place-of-the-entry": Case(proof(extra=None), record=RECORDS[INDEX]),
    "entry-is-the-neighbours": Case(proof(extra=ENTRIES[INDEX + 1])),
    "entry-is-altered": Case(proof(extra=ENTRIES[INDEX][:-1] + bytes((ENTRIES[INDEX][-1] ^ 1,)))),
    "entry-is-a-node-of-the-tree": Case(proof(extra=PATH[0] + PATH[1], path=PATH[2:])),
    "entry-of-another-cluster": Case(alone(entry(3, OTHER_CHAIN))),
    "entry-not-signed-by-its-client": Case(alone(forged_entry())),
    "entry-of-no-kind": Case(alone(b"anything")),
    "entry-of-half-an-envelope": Case(alone(ENTRIES[3][:50])),
    "entry-with-more-behind-it": Case(alone(ENTRIES[3] + b"\x00")),
    "entry-without-operations": Case(
        alone(sign_transaction(TransactionBody(CHAIN, public_key_of(seed(7, "client")), 1, 1, ()), signer(seed(7))).raw)
    ),
    # the path
    "index-of-the-neighbour": Case(proof(index=INDEX + 1)),
    "index-of-the-size": Case(proof(index=SIZE)),
    "index-beyond": Case(proof(index=2**63 - 1)),
    "path-too-short": Case(proof(path=PATH[:-1])),
    "path-too-long": Case(proof(path=(*PATH, PATH[0]))),
    "path-empty": Case(proof(path=())),
    "path-swapped": Case(proof(path=(PATH[1], PATH[0], *PATH[2:]))),
    "path-altered": Case(proof(path=(bytes(32), *PATH[1:]))),
    "path-of-64-hashes": Case(proof(path=(bytes(32),) * 64)),
    "path-with-a-short-hash": Case(proof(path=(b"x", *PATH[1:]))),
    # the checkpoint
    "root-is-another": Case(proof(checkpoint=CLUSTER.note(BAD_TREE))),
    "size-is-another": Case(proof(checkpoint=replaced(CLUSTER.note(TREE), f"\n{SIZE}\n", f"\n{SIZE + 1}\n"))),
    "root-altered-after-signing": Case(proof(checkpoint=signed(own(), *witnessed(0, 1, 2), text=BAD_TREE.text()))),
    "origin-of-another-cluster": Case(proof(checkpoint=STRANGERS.note(STRANGERS.checkpoint(SIZE, TREE.root)))),
    "origin-altered": Case(proof(checkpoint=replaced(CLUSTER.note(TREE), "bftnode/", "bftnode-"))),
    "extension-line-added": Case(proof(checkpoint=signed(own(), *witnessed(0, 1, 2), text=TREE.text() + "more\n"))),
    "no-signature-of-the-log": Case(proof(checkpoint=signed(*witnessed(0, 1, 2, 3)))),
    "log-signature-of-another-log": Case(
        proof(
            checkpoint=signed(
                sign_text(TREE.text(), STRANGERS.log_key(4), STRANGERS.log_signers[4]), *witnessed(0, 1, 2)
            )
        )
    ),
    "log-signature-by-a-cosigning-key": Case(
        proof(checkpoint=signed(sign_text(TREE.text(), CLUSTER.log_key(0), CLUSTER.ed25519[0]), *witnessed(0, 1, 2)))
    ),
    "log-signature-of-another-type": Case(
        proof(checkpoint=signed(cosign(TREE, ONE, WHEN, CLUSTER.log_signers[0]), *witnessed(0, 1, 2)))
    ),
    "log-signature-altered": Case(proof(checkpoint=signed(altered(own()), *witnessed(0, 1, 2)))),
    "log-signature-of-another-size": Case(
        proof(checkpoint=signed(own(tree=CLUSTER.checkpoint(SIZE - 1, TREE.root)), *witnessed(0, 1, 2)))
    ),
    "no-signature-at-all": Case(proof(checkpoint=TREE.text().encode())),
    "no-cosignature": Case(proof(checkpoint=signed(own()))),
    "one-cosigner-short": Case(proof(checkpoint=CLUSTER.note(TREE, (1, 3)))),
    "one-cosigner-twice": Case(proof(checkpoint=signed(own(), *witnessed(0, 1), *CLUSTER.cosigned(0, TREE, WHEN + 1)))),
    "cosigners-of-another-cluster": Case(
        proof(checkpoint=signed(own(), *(one for i in range(4) for one in STRANGERS.cosigned(i, TREE))))
    ),
    "cosignature-altered": Case(proof(checkpoint=signed(own(), *witnessed(0, 1), altered(*witnessed(2))))),
    "cosignature-altered-beside-a-quorum": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1, 2), altered(*witnessed(3))))
    ),
    "cosignature-of-another-time": Case(proof(checkpoint=signed(own(), *witnessed(0, 1), altered(*witnessed(2), 7)))),
    "cosignature-of-a-time-that-is-none": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1), altered(witnessed(2)[0]._replace(value=b"\xff" * 72))))
    ),
    "cosignature-of-another-size": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1), *witnessed(2, tree=CLUSTER.checkpoint(SIZE - 1, TREE.root))))
    ),
    "cosignature-without-a-time": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1), witnessed(2)[0]._replace(value=witnessed(2)[0].value[8:])))
    ),
    "cosignature-with-a-tail": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1), witnessed(2)[0]._replace(value=witnessed(2)[0].value + b"x")))
    ),
    "cosigner-under-another-name": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1), witnessed(2)[0]._replace(name="example.com/w")))
    ),
    "cosigner-in-anothers-name": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1), NoteSignature(*witnessed(3)[0][:2], witnessed(2)[0].value)))
    ),
    "groups-not-reached": Case(proof(checkpoint=signed(own(), *witnessed(0, 1))), "two-of-two-groups"),
    "ml-dsa-44-altered": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1, by=QUANTUM), altered(*witnessed(2, by=QUANTUM)))), "ml-dsa-44"
    ),
    "ml-dsa-44-of-another-time": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1, by=QUANTUM), altered(*witnessed(2, by=QUANTUM), 7))),
        "ml-dsa-44",
    ),
    "ml-dsa-44-short": Case(proof(checkpoint=QUANTUM.note(TREE, (0, 1))), "ml-dsa-44"),
    "ml-dsa-44-of-a-cluster-that-cosigns-by-ed25519": Case(proof(checkpoint=QUANTUM.note(TREE))),
    "both-kinds-asked-and-one-given": Case(GOOD, "both"),
    "both-kinds-asked-and-one-missing-of-one": Case(
        proof(checkpoint=signed(own(), *witnessed(0, 1, by=BOTH), *witnessed(2))), "both"
    ),
    "checkpoint-with-a-bad-number": Case(proof(checkpoint=replaced(CLUSTER.note(TREE), f"\n{SIZE}\n", f"\n0{SIZE}\n"))),
    "checkpoint-with-an-empty-line": Case(
        proof(checkpoint=replaced(CLUSTER.note(TREE), f"\n{SIZE}\n", f"\n{SIZE}\n\n"))
    ),
    "checkpoint-with-a-short-root": Case(proof(checkpoint=CLUSTER.note(CLUSTER.checkpoint(SIZE, TREE.root[:31])))),
    "checkpoint-with-a-tail": Case(proof(checkpoint=CLUSTER.note(TREE) + b"tail\n")),
    "checkpoint-cut-short": Case(proof(checkpoint=CLUSTER.note(TREE)[:-1])),
    "checkpoint-not-utf-8": Case(proof(checkpoint=CLUSTER.note(TREE) + b"\xff")),
    "checkpoint-with-carriage-returns": Case(proof(checkpoint=CLUSTER.note(TREE).replace(b"\n", b"\r\n"))),
    "checkpoint-with-too-many-signatures": Case(proof(checkpoint=signed(own(), *witnessed(0, 1, 2) * 40))),
    "checkpoint-with-a-hyphen": Case(proof(checkpoint=replaced(CLUSTER.note(TREE), "\u2014", "-"))),
    # the file
    "file-empty": Case(b""),
    "file-of-a-later-version": Case(replaced(GOOD, "proof@v1", "proof@v2")),
    "file-with-a-space": Case(replaced(GOOD, INDEX_LINE, f"index  {INDEX}")),
    "file-with-a-leading-zero": Case(replaced(GOOD, INDEX_LINE, f"index 0{INDEX}")),
    "file-with-a-sign": Case(replaced(GOOD, INDEX_LINE, f"index +{INDEX}")),
    "file-with-a-huge-number": Case(replaced(GOOD, INDEX_LINE, f"index {2**64}")),
    "file-without-an-index": Case(replaced(GOOD, INDEX_LINE + "\n", "")),
    "file-with-two-indices": Case(replaced(GOOD, INDEX_LINE, f"{INDEX_LINE}\n{INDEX_LINE}")),
    "file-with-two-extras": Case(replaced(GOOD, INDEX_LINE, f"extra AAAA\n{INDEX_LINE}")),
    "file-with-base64-of-another-spelling": Case(alone(b"a").replace(b"extra YQ==", b"extra YR=="), "log-only"),
    "file-with-carriage-returns": Case(GOOD.replace(b"\n", b"\r\n")),
    "file-cut-in-the-path": Case(GOOD[:300]),
    # the policy
    "policy-of-another-cluster": Case(GOOD, "another-cluster"),
    "policy-empty": Case(GOOD, "broken-empty"),
    "policy-without-a-quorum": Case(GOOD, "broken-no-quorum"),
    "policy-with-two-quorums": Case(GOOD, "broken-two-quorums"),
    "policy-with-a-bad-key-id": Case(GOOD, "broken-key-id"),
    "policy-with-a-group-of-strangers": Case(GOOD, "broken-group"),
    "policy-with-a-threshold-of-nothing": Case(GOOD, "broken-threshold"),
    "policy-with-a-witness-twice": Case(GOOD, "broken-witness-twice"),
    "policy-with-an-unknown-line": Case(GOOD, "broken-line"),
    "policy-with-an-unknown-remark": Case(GOOD, "broken-remark"),
    # the quick receipt
    "quick-without-members-in-the-policy": Case(QUICK, "without-members"),
    "quick-by-another-clusters-policy": Case(QUICK, "another-cluster"),
    "quick-record-is-another": Case(QUICK, record=RECORDS[INDEX + 1]),
    "quick-record-is-missing": Case(quick(envelope=None)),
    "quick-entry-is-the-neighbours": Case(quick(envelope=ENTRIES[INDEX - 1])),
    "quick-private-record-without-its-salt": Case(private(), record=RECORDS[0]),
    "quick-private-salt-without-its-record": Case(private(), salt=SALT_FILE),
    "quick-private-record-is-another": Case(private(), record=RECORDS[1], salt=SALT_FILE),
    "quick-private-salt-is-another": Case(private(), record=RECORDS[0], salt=b"0" * 64),
    "quick-private-salt-in-capitals": Case(private(), record=RECORDS[0], salt=SALT_FILE.upper()),
    "quick-private-salt-is-short": Case(private(), record=RECORDS[0], salt=SALT_FILE[:62]),
    "quick-private-salt-and-record-shifted": Case(private(), record=SALT[-1:] + RECORDS[0], salt=SALT_FILE[:62]),
    "quick-private-copied-by-another-client": Case(private(envelope_of="copycat"), record=RECORDS[0], salt=SALT_FILE),
    "quick-salt-of-a-record-that-is-not-private": Case(QUICK, record=RECORDS[INDEX], salt=SALT_FILE),
    "quick-index-of-the-neighbour": Case(quick(Receipt(BLOCK.header_raw, INDEX - 1, PATH, CERTIFICATE))),
    "quick-path-too-short": Case(quick(Receipt(BLOCK.header_raw, INDEX, PATH[1:], CERTIFICATE))),
    "quick-header-is-another": Case(
        quick(Receipt(encode(msgspec.structs.replace(BLOCK.header, time_ms=1)), INDEX, PATH, CERTIFICATE))
    ),
    "quick-header-of-another-cluster": Case(headed(chain_id=OTHER_CHAIN)),
    "quick-header-of-another-root": Case(headed(log_root=bytes(32))),
    "quick-header-of-another-size": Case(headed(log_size=2 * SIZE)),
    "quick-header-with-a-long-number": Case(
        quick(Receipt(BLOCK.header_raw.replace(b"\x00\x01", b"\x00\xcc\x01", 1), INDEX, PATH, CERTIFICATE))
    ),
    "quick-votes-of-another-height": Case(voted(seq=2)),
    "quick-votes-of-another-block": Case(voted(block=bytes(32))),
    "quick-votes-that-are-prepares": Case(
        quick(Receipt(BLOCK.header_raw, INDEX, PATH, VOTERS.certificate(PREPARE, 2, 1, BLOCK.hash)))
    ),
    "quick-prepares-called-commits": Case(voted(votes=VOTERS.certificate(PREPARE, 2, 1, BLOCK.hash).votes)),
    "quick-votes-of-another-view": Case(voted(view=3)),
    "quick-votes-of-another-epoch": Case(voted(epoch=1)),
    "quick-votes-of-the-first-block": Case(headed(seq=0)),
    "quick-one-vote-short": Case(voted(votes=CERTIFICATE.votes[:2])),
    "quick-one-vote-too-many": Case(voted(votes=VOTERS.certificate(COMMIT, 2, 1, BLOCK.hash, range(4)).votes)),
    "quick-a-vote-twice": Case(voted(votes=(VOTE, VOTE, CERTIFICATE.votes[2]))),
    "quick-votes-in-another-order": Case(voted(votes=CERTIFICATE.votes[::-1])),
    "quick-a-vote-of-nobody": Case(voted(votes=(*CERTIFICATE.votes[:2], msgspec.structs.replace(VOTE, sender=4)))),
    "quick-a-vote-in-anothers-name": Case(
        voted(votes=(*CERTIFICATE.votes[:2], msgspec.structs.replace(VOTE, sender=3)))
    ),
    "quick-a-vote-of-another-boot": Case(
        voted(votes=(*CERTIFICATE.votes[:2], msgspec.structs.replace(CERTIFICATE.votes[2], boot=2)))
    ),
    "quick-a-vote-of-another-count": Case(
        voted(votes=(*CERTIFICATE.votes[:2], msgspec.structs.replace(CERTIFICATE.votes[2], counter=2)))
    ),
    "quick-a-vote-altered": Case(
        voted(votes=(*CERTIFICATE.votes[:2], msgspec.structs.replace(CERTIFICATE.votes[2], signature=bytes(64))))
    ),
    "quick-without-a-certificate": Case(QUICK[: QUICK.index(b"certificate")]),
    "quick-with-a-tail": Case(QUICK + b"tail\n"),
    "quick-of-a-later-version": Case(replaced(QUICK, "receipt@v1", "receipt@v2")),
    "quick-with-the-other-kinds-words": Case(replaced(QUICK, "entry ", "extra ")),
}

BROKEN = {
    "broken-empty": "",
    "broken-no-quorum": POLICIES["ed25519"].replace("quorum cluster.quorum\n", ""),
    "broken-two-quorums": POLICIES["ed25519"] + "quorum none\n",
    "broken-key-id": POLICIES["ed25519"].replace(CLUSTER.log_key(0).key_id.hex(), "00000000"),
    "broken-group": POLICIES["ed25519"].replace("org-3.ed25519\n", "org-4.ed25519\n"),
    "broken-threshold": POLICIES["ed25519"].replace("cluster.quorum 3", "cluster.quorum 0"),
    "broken-witness-twice": POLICIES["ed25519"] + f"witness more {CLUSTER.policy.witnesses[0].key.text}\n",
    "broken-line": POLICIES["ed25519"] + "trust everybody\n",
    "broken-remark": POLICIES["ed25519"] + "#bftnode trust everybody\n",
}


def files() -> dict[str, bytes]:
    """Every file of this folder that is made here, by its name."""
    made = {f"policies/{name}.policy": text.encode() for name, text in {**POLICIES, **BROKEN}.items()}
    rows = []
    for valid, cases in ((True, VALID), (False, INVALID)):
        for name, case in cases.items():
            quick_one = case.receipt.startswith(FORMAT.encode())
            place = f"{'valid' if valid else 'invalid'}/{name}{'.receipt' if quick_one else SUFFIX}"
            row = {"name": name, "receipt": place, "policy": f"policies/{case.policy}.policy", "valid": valid}
            made[place] = case.receipt
            if case.record is not None:
                row["record"] = f"{'valid' if valid else 'invalid'}/{name}.record"
                made[row["record"]] = case.record
            if case.salt is not None:
                row["salt"] = f"{'valid' if valid else 'invalid'}/{name}.salt"
                made[row["salt"]] = case.salt
            rows.append({**row, "says": said(case)})
    made["vectors.json"] = (json.dumps(rows, indent=1) + "\n").encode()
    made[ML_DSA.name] = (json.dumps(SIGNATURES.used, indent=1) + "\n").encode()
    return made


def said(case: Case) -> str:
    """What the verifier says of a case: what it proves, or why it does not."""
    policy = {**POLICIES, **BROKEN}[case.policy].encode()
    try:
        return verify_receipt.sentence(verify_receipt.verify(case.receipt, policy, case.record, case.salt))
    except verify_receipt.NotProved as error:
        return str(error)


def main() -> None:
    for folder in ("policies", "valid", "invalid"):
        shutil.rmtree(FOLDER / folder, ignore_errors=True)
        (FOLDER / folder).mkdir()
    for name, raw in files().items():
        (FOLDER / name).write_bytes(raw)


if __name__ == "__main__":
    main()
