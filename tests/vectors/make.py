"""Golden bytes of the wire: one example of everything that is signed, sent or kept. `python -m tests.vectors.make`.

Fixed seeds, no clock: the same bytes on every machine. tests/protocol/test_vectors.py compares them with wire.json;
changing the wire on purpose is running this script, in a commit that says so.
"""

import json
from pathlib import Path
from typing import NamedTuple

from bftnode.apps import kv, log
from bftnode.apps.execution import ADMIT, SystemOperation, application_operation, system_operation
from bftnode.protocol import messages
from bftnode.protocol.blocks import Header, Packed, genesis_block, pack_block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.commitments import commitment_of
from bftnode.protocol.ed25519 import public_key_of
from bftnode.protocol.envelope import Frame, encode_frame
from bftnode.protocol.evidence import without_payload
from bftnode.protocol.genesis import Genesis, Member, ParametersFile, make_genesis, write_genesis
from bftnode.protocol.merkle import Frontier, inclusion_proof
from bftnode.protocol.messages import Kind
from bftnode.protocol.nonces import CLIENT, ClientRecord, ClientWindow
from bftnode.protocol.receipts import Receipt
from bftnode.protocol.results import OperationResult, TransactionResult
from bftnode.protocol.transactions import SignedBody, TransactionBody
from tests.protocol.cluster import CHAIN, Cluster, block_of, seed, transaction

FOLDER = Path(__file__).parent


class Example(NamedTuple):
    kind: object  # what the bytes decode to
    raw: bytes


def member(number: int) -> Member:
    pem = f"-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGUg{number:04d}\n-----END CERTIFICATE-----\n"
    key, log_key = public_key_of(seed(number)).hex(), public_key_of(seed(number, "log")).hex()
    return Member(f"org-{number}", key, log_key, pem, f"node{number}.example:7000", f"node{number}.example:7001")


def genesis() -> Genesis:
    administrator = public_key_of(seed(0, "client")).hex()
    return make_genesis("example", "kv", [administrator], [member(i) for i in range(4)], ParametersFile())


def bodies(cluster: Cluster) -> dict[Kind, tuple[messages.Body, bytes]]:
    """One body of every kind, with the payload that belongs to it."""
    block = block_of((transaction(1).raw, transaction(2).raw))
    prepared = cluster.certificate(PREPARE, 0, 1, block.hash)
    changes = tuple(
        encode_frame(cluster.frame(Kind.VIEW_CHANGE, i, encode(messages.ViewChange(0, 1, prepared)), 9))
        for i in range(cluster.members.quorum)
    )
    above = block_of((transaction(3).raw,), seq=2, parent=block.hash)
    votes = [
        cluster.frame(Kind.COMMIT, 3, encode(Vote(0, 0, 1, b"x" * 32)), 5),
        cluster.frame(Kind.PREPARE, 3, encode(Vote(0, 0, 2, above.hash)), 6),
    ]
    accused = (encode_frame(without_payload(vote)) for vote in votes)
    run = encode((pack_block(block),))
    other = block_of((transaction(3).raw,), seq=2, parent=block_of((transaction(4).raw,)).hash)
    fork = (cluster.certificate(COMMIT, 0, 1, block.hash), cluster.certificate(COMMIT, 2, 2, other.hash))
    return {
        Kind.PRE_PREPARE: (messages.PrePrepare(0, 0, block.header_raw), block.payload),
        Kind.PREPARE: (Vote(0, 0, 1, block.hash), b""),
        Kind.COMMIT: (Vote(0, 0, 1, block.hash), b""),
        Kind.CHECKPOINT: (messages.Checkpoint(0, 128, block.hash, 2, block.header.log_root, b"d" * 32), b""),
        Kind.VIEW_CHANGE: (messages.ViewChange(0, 1, prepared), b""),
        Kind.NEW_VIEW: (messages.NewView(0, 1, changes), b""),
        Kind.STATUS: (messages.Status(0, 1, True, 128, 130, 129, tuple(messages.Seen(1, i, 0) for i in range(4))), b""),
        Kind.FETCH_RUN: (messages.FetchRun(0, 129, 384), b""),
        Kind.RUN: (messages.Run(0, 1, cluster.certificate(COMMIT, 0, 1, block.hash)), run),
        Kind.FETCH_BLOCK: (messages.FetchBlock(0, block.hash), b""),
        Kind.BLOCK: (messages.BlockAnswer(0, block.header_raw), block.payload),
        Kind.RELAY: (messages.Relay(0), encode((transaction(3).raw,))),
        Kind.EVIDENCE: (messages.Accusation(0, *accused, (above.header_raw,)), b""),
        Kind.COSIGNATURE: (messages.Cosignature(0, 128, 2, block.header.log_root, (b"s" * 64,), True), b""),
        Kind.FORK: (messages.ForkProof(0, fork, (other.header_raw,)), b""),
        Kind.SLOW: (messages.Slow(0, 1), b""),
    }


def examples() -> dict[str, Example]:
    """By name, in the order of the protocol's document."""
    cluster = Cluster()
    made = {f"frame.{kind.name}": _frame(cluster, kind, *content) for kind, content in bodies(cluster).items()}
    made |= {f"body.{kind.name}": Example(type(body), encode(body)) for kind, (body, _) in bodies(cluster).items()}
    one = transaction(1, (application_operation(kv.put(b"key", b"value")),))
    admit = system_operation(SystemOperation(ADMIT, public_key_of(seed(1, "client")), CLIENT))
    block = block_of((one.raw, transaction(2, (admit,)).raw))
    window = ClientWindow(CLIENT)
    window.use(3)
    result = TransactionResult(one.id, 1, 0, "", (OperationResult("", b"\x91\x01"), OperationResult("tx.denied", b"")))
    _, nodes = Frontier().append(block.leaves)
    complete = {(level, index): digest for level, index, digest in nodes}
    path = inclusion_proof(1, 2, lambda level, index: complete[level, index])
    made |= {
        "genesis.header": Example(Header, genesis_block(CHAIN).header_raw),
        "block.header": Example(Header, block.header_raw),
        "block.packed": Example(Packed, encode(pack_block(block))),
        "transaction": Example(SignedBody, one.raw),
        "transaction.body": Example(TransactionBody, one.signed),
        "certificate": Example(Certificate, encode(cluster.certificate(COMMIT, 0, 1, block.hash))),
        "receipt": Example(
            Receipt, encode(Receipt(block.header_raw, 1, tuple(path), cluster.certificate(COMMIT, 0, 1, block.hash)))
        ),
        "result": Example(TransactionResult, encode(result)),
        "client": Example(ClientRecord, encode(window.record())),
        "kv.batch": Example(
            kv.Batch, kv.batch([kv.Put(b"a", b"1"), kv.Delete(b"b"), kv.CompareAndSwap(b"c", None, b"2")])
        ),
        "kv.scan": Example(kv.Scan, kv.scan(b"a", b"ab", 10)),
        "log.append": Example(log.Append, log.append(b"record")),
        "log.commit": Example(log.Commit, log.commit(commitment_of(b"k" * 32, b"s" * 32, b"payload"))),
        "log.erase": Example(log.Erase, log.erase(1)),
    }
    return made


def _frame(cluster: Cluster, kind: Kind, body: messages.Body, payload: bytes) -> Example:
    return Example(Frame, encode_frame(cluster.frame(kind, 3, encode(body), 7, payload)))


def names() -> dict[str, str]:
    """Hashes that have a meaning of their own."""
    one = transaction(1, (application_operation(kv.put(b"key", b"value")),))
    return {
        "genesis.chain_id": genesis().chain_id().hex(),
        "genesis.block": genesis_block(CHAIN).hash.hex(),
        "transaction.id": one.id.hex(),
    }


def golden() -> dict[str, str]:
    """What wire.json holds."""
    return {name: example.raw.hex() for name, example in examples().items()} | names()


if __name__ == "__main__":
    (FOLDER / "wire.json").write_text(json.dumps(golden(), indent=1) + "\n", encoding="ascii")
    (FOLDER / "genesis.toml").write_text(write_genesis(genesis()), encoding="utf-8")
