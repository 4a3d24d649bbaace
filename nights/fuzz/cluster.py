"""A cluster whose secrets are known here, so that a changed frame can be signed again: otherwise all would end at the
signature. Its keys are those of the golden vectors (tests/vectors), which are read as data."""

import base64
import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

from bftnode.protocol import transactions
from bftnode.protocol.blocks import hash_header
from bftnode.protocol.certificates import vote_body
from bftnode.protocol.cosigning import CheckpointKeys, CheckpointSigner
from bftnode.protocol.ed25519 import Signer, public_key_of, signer
from bftnode.protocol.envelope import signing_bytes
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.merkle import leaf_hash, root_of
from bftnode.protocol.tlog import notes
from bftnode.protocol.tlog.notes import Note, sign_text, write_note
from bftnode.protocol.tlog.policy import MemberKeys, cluster_policy
from nights.fuzz.trees import Inner, nodes, pack

CHECKOUT = Path(__file__).parent.parent.parent
VECTORS = CHECKOUT / "tests" / "vectors"
CHAIN = hashlib.sha256(b"a test cluster").digest()


def seed_of(number: int, purpose: str = "member") -> bytes:
    """The secret of a member, of its log key, or of a client."""
    return hashlib.sha256(f"{purpose} {number}".encode()).digest()


_SEEDS = sorted((seed_of(i) for i in range(4)), key=public_key_of)
SIGNERS: list[Signer] = [signer(one) for one in _SEEDS]
MEMBERS = Membership(CHAIN, 0, tuple(public_key_of(one) for one in _SEEDS), Parameters())
CLIENTS: dict[bytes, Signer] = {public_key_of(seed_of(i, "client")): signer(seed_of(i, "client")) for i in range(3)}


def golden(prefix: str) -> list[bytes]:
    """The golden bytes whose names begin so."""
    known: dict[str, str] = json.loads((VECTORS / "wire.json").read_text(encoding="ascii"))
    return [bytes.fromhex(raw) for name, raw in known.items() if name.startswith(prefix)]


def sign_again(tree: Any, dice: Random) -> None:
    """Frames, certificates and envelopes anywhere in a tree are signed by whom they name, inner ones first; blocks are
    named by the header beside them. One in eight is left as it is."""
    for parent, place in reversed(nodes([tree])):
        node = parent[place]
        if dice.random() < 0.125:
            continue
        inner = node.value if isinstance(node, Inner) else node
        if isinstance(inner, list):
            _sign(inner)


def _sign(node: list[Any]) -> None:
    match node:
        case [int(kind), int(sender), int(boot), int(counter), body, bytes(), payload]:
            if isinstance(body, Inner):
                _name_body(body.value, payload)
            if _small(kind, sender) and _numbers(boot, counter) and sender < MEMBERS.n:
                raw = _bytes(body)
                node[5] = SIGNERS[sender](signing_bytes(CHAIN, kind, sender, boot, counter, raw))
        case [int(phase), int(epoch), int(view), int(seq), bytes(block), list(votes)]:
            if _small(phase) and _numbers(epoch, view, seq):
                for vote in votes:
                    _sign_vote(vote, phase, vote_body(epoch, view, seq, block))
        case [Inner() as body, bytes()]:
            match body.value:
                case [bytes(), bytes(client), _, _, _] if client in CLIENTS:
                    node[1] = CLIENTS[client](transactions.SIGNING_DOMAIN + pack(body.value))


def _sign_vote(vote: Any, phase: int, body: bytes) -> None:
    match vote:
        case [int(sender), int(boot), int(counter), bytes()]:
            if _small(sender) and sender < MEMBERS.n and _numbers(boot, counter):
                vote[3] = SIGNERS[sender](signing_bytes(CHAIN, phase, sender, boot, counter, body))


def _name_body(body: Any, payload: Any) -> None:
    """The roots in the header of a block are those of its envelopes, as of a log that begins with them."""
    match body:
        case [*_, Inner() as header] if isinstance(header.value, list) and len(header.value) == 10:
            if isinstance(payload, Inner) and isinstance(payload.value, list):
                items = [_bytes(item) for item in payload.value]
                root = root_of([leaf_hash(item) for item in items])
                header.value[5:8] = [root, len(items), root]
        case [_, _, [_, _, _, _, bytes(), _] as certificate]:
            if isinstance(payload, Inner) and isinstance(payload.value, list) and payload.value:
                last = payload.value[-1]
                if isinstance(last, list) and last:
                    certificate[4] = hash_header(_bytes(last[0]))


def _bytes(node: Any) -> bytes:
    if isinstance(node, Inner):
        return pack(node.value)
    return node if isinstance(node, bytes) else pack(node)


def _small(*numbers: int) -> bool:
    return all(0 <= number < 256 for number in numbers)


def _numbers(*numbers: int) -> bool:
    return all(0 <= number < 1 << 63 for number in numbers)


# ---- the log: checkpoints and cosignatures

LOG_SEEDS = [seed_of(i, "log") for i in range(MEMBERS.n)]
NAMES = [f"org-{i}" for i in range(MEMBERS.n)]
MEMBER_KEYS = [
    MemberKeys(NAMES[i], MEMBERS.public_keys[i], public_key_of(LOG_SEEDS[i]), public_key_of(LOG_SEEDS[i]))
    for i in range(MEMBERS.n)
]
CHECKPOINT_KEYS = CheckpointKeys(CHAIN, MEMBER_KEYS)
POLICY = cluster_policy(CHAIN, MEMBER_KEYS)
_BY_LINE = {
    (key.name, key.key_id): (key, signer(LOG_SEEDS[i]))
    for i in range(MEMBERS.n)
    for key in (CHECKPOINT_KEYS.log_keys[i], *CHECKPOINT_KEYS.cosigning_keys[i])
}


def checkpoint_signer(member: int) -> CheckpointSigner:
    """What this member signs checkpoints with."""
    log = signer(LOG_SEEDS[member])
    return CheckpointSigner(CHECKPOINT_KEYS, member, log, (log,))


def signed_note(size: int, root: bytes, time_s: int = 1_700_000_000, cosigners: int = 3) -> bytes:
    """A checkpoint of this cluster's log, with the log's signature and some cosignatures."""
    lines = [
        sign_text(CHECKPOINT_KEYS.checkpoint(size, root).text(), CHECKPOINT_KEYS.log_keys[0], signer(LOG_SEEDS[0]))
    ]
    for member in range(cosigners):
        lines += checkpoint_signer(member).witness(CHECKPOINT_KEYS.checkpoint(size, root), time_s)
    return write_note(Note(CHECKPOINT_KEYS.checkpoint(size, root).text(), tuple(lines)))


def sign_note_again(raw: bytes, dice: Random) -> bytes:
    """The lines of a note, at the end of a text, that name keys which are known here are signed again."""
    head, blank, tail = raw.rpartition(b"\n\n")
    text = (head.rpartition(b"\n\n")[2] + b"\n").decode(errors="replace")
    if not blank:
        return raw
    lines = [_signed_line(line, text) if dice.random() < 0.9 else line for line in tail.split(b"\n")]
    return head + blank + b"\n".join(lines)


def _signed_line(line: bytes, text: str) -> bytes:
    words = line.split(b" ")
    try:
        _, name, encoded = words
        value = base64.b64decode(encoded)
        key, sign = _BY_LINE[name.decode(), value[:4]]
    except (ValueError, KeyError):
        return line
    if key.kind == notes.ED25519:
        made = sign(text.encode())
    else:
        time_s = int.from_bytes(value[4:12], "big")
        made = value[4:12] + sign(f"cosignature/v1\ntime {time_s}\n{text}".encode())
    return b" ".join((*words[:2], base64.b64encode(value[:4] + made)))
