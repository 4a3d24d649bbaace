"""Check a receipt with nothing but the cluster's policy: `python verify_receipt.py RECEIPT --policy POLICY`.

For a member, an auditor or a court, years later, with no node online. This file stands alone: Python 3.11 or later and
PyNaCl (and cryptography 48 or later, if the policy has ML-DSA-44 keys), nothing of bftnode; copy it, read it, run it.
Of the two files the policy is believed, the receipt is not. Receipts are of two kinds:

  c2sp.org/tlog-proof@v1  the standard one: a checkpoint that a log of the policy signed and its quorum cosigned, and
                          the path from the entry to its root (c2sp.org/tlog-proof, -checkpoint, -cosignature);
  bftnode/receipt@v1      the quick one: a block header that a quorum of members signed COMMITs for, and the path from
                          the entry to the log root in it (docs/receipts.md, "The quick receipt").

The entry is in the receipt, or it is what --record names. Otherwise what --record names has to be in the entry: the
record that it appends, or an operation's bytes, or the entry itself; with --salt, what the entry commits to.

Exit code 0: the entry is entry number INDEX of that log. 5: that is not proved, and one sentence says why. 2: usage.
"""

import argparse
import base64
import hashlib
import json
import re
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

PROOF, QUICK = "c2sp.org/tlog-proof@v1", "bftnode/receipt@v1"
RECEIPT_BYTES_MAX = 2 * 1024 * 1024
POLICY_BYTES_MAX = 1024 * 1024
POLICY_LINES_MAX, NOTE_BYTES_MAX, SIGNATURES_MAX, EXTENSIONS_MAX, NAME_BYTES_MAX = 1000, 1_000_000, 100, 16, 255
ENTRY_BYTES_MAX, QUICK_BYTES_MAX = 256 * 1024, 1024 * 1024  # as nodes have them: both say the same of every file
NUMBER_MAX = 2**63 - 1

NOTE, COSIGNED, COSIGNED_ML_DSA = 0x01, 0x04, 0x06
KEY_BYTES = {NOTE: 32, COSIGNED: 32, COSIGNED_ML_DSA: 1312}
SIGNATURE_BYTES = {NOTE: 64, COSIGNED: 64, COSIGNED_ML_DSA: 2420}
COMMIT = 3
LONG = {  # msgpack's tags of what is longer than its shortest form: type, bytes of its length or value, the least one
    **{0xCC: (int, 1, 0x80), 0xCD: (int, 2, 1 << 8), 0xCE: (int, 4, 1 << 16), 0xCF: (int, 8, 1 << 32)},
    **{0xC4: (bytes, 1, 0), 0xC5: (bytes, 2, 1 << 8), 0xC6: (bytes, 4, 1 << 16)},
    **{0xDC: (tuple, 2, 16), 0xDD: (tuple, 4, 1 << 16)},
}


class NotProved(Exception):
    """What is wrong, in words."""


class Key(NamedTuple):
    """A verifier key of c2sp.org/signed-note: name+id+base64(type, key)."""

    name: str
    key_id: bytes
    kind: int
    public: bytes


class Policy(NamedTuple):
    """`groups`: name -> (threshold, members), in the order of the file. `chain` and `members` are None and () where
    the policy has no lines of bftnode's."""

    logs: list[Key]
    witnesses: dict[str, Key]
    groups: dict[str, tuple[int, list[str]]]
    quorum: str
    chain: bytes | None
    members: tuple[bytes, ...]


@dataclass(frozen=True)
class Verdict:
    """What is proved. `signers` are witnesses of the policy with the times (seconds since 1970) at which they cosigned,
    or members' indices, each with the agreed time of the block. `client` signed the entry; None: of no cluster."""

    kind: str
    log: str
    index: int
    size: int
    root: bytes
    signers: dict[str, int]
    entry: bytes
    client: bytes | None


def verify(receipt: bytes, policy: bytes, record: bytes | None = None, salt: bytes | None = None) -> Verdict:
    """What the receipt proves to who believes the policy. Raises NotProved, and nothing else, whatever the bytes."""
    _expect(len(receipt) <= RECEIPT_BYTES_MAX, "the receipt is too long")
    trusted = read_policy(policy)
    head, blank, rest = receipt.partition(b"\n\n")
    _expect(blank and head.isascii(), "the receipt is neither a proof of c2sp.org/tlog-proof nor a quick receipt")
    first, *lines = head.decode("ascii").split("\n")
    if first == PROOF:
        carried = _take(lines, "extra")
        _expect(carried is None or len(carried) <= ENTRY_BYTES_MAX, "the entry is too long")
        index, path = _index_and_path(lines)
        log, size, root, signers = check_checkpoint(rest, trusted)
    elif first == QUICK:
        _expect(len(receipt) <= QUICK_BYTES_MAX, "the receipt is too long")
        carried = _take(lines, "entry")
        index, path = _index_and_path(lines)
        log, size, root, signers = check_commit(rest, trusted)
    else:
        raise NotProved("the receipt is neither a proof of c2sp.org/tlog-proof nor a quick receipt")
    entry = record if carried is None else carried
    if entry is None:
        raise NotProved("the receipt does not hold the entry: name it by --record")
    leaf = hashlib.sha256(b"\x00" + entry).digest()
    _expect(included(leaf, index, size, path, root), "the path does not lead from the entry to the root of the log")
    client, operations = (None, []) if trusted.chain is None else open_entry(entry, trusted.chain)
    if salt is not None:
        _expect(re.fullmatch(b"[0-9a-f]{64}\n?", salt), "the salt is not 64 hexadecimal digits")
        hidden = b"bftnode/v1/commitment\x00" + (client or b"") + bytes.fromhex(salt.decode()) + (record or b"")
        commit = b"\x01\x92\x02\xc4\x20" + hashlib.sha256(hidden).digest()
        _expect(record is not None and commit in operations, "the entry is no commitment to this record with this salt")
    elif record is not None and record != entry:
        append = b"\x01\x92\x01" + _pack_bytes(record)
        _expect(record in operations or append in operations, "the entry does not hold this record")
    return Verdict(first, log, index, size, root, signers, entry, client)


# ---- the policy (c2sp.org/tlog-policy)


def read_policy(raw: bytes) -> Policy:
    """The policy in a file. Raises NotProved."""
    _expect(len(raw) <= POLICY_BYTES_MAX and raw.count(b"\n") < POLICY_LINES_MAX, "the policy is too long")
    text = _text(raw, "the policy")
    _expect(not re.search("[\x00-\x08\x0b-\x1f\x7f]", text), "the policy has control characters")
    logs: list[Key] = []
    witnesses: dict[str, Key] = {}
    groups: dict[str, tuple[int, list[str]]] = {}
    quorum: str | None = None
    grouped: set[str] = set()
    remarks: list[tuple[str, bytes]] = []
    for line in text.split("\n"):
        words = [word for word in re.split("[ \t]+", line) if word]
        match words:
            case ["#bftnode", ("chain" | "member") as what, digits] if re.fullmatch("[0-9a-f]{64}", digits):
                remarks.append((what, bytes.fromhex(digits)))
            case ["#bftnode", *_]:
                raise NotProved("the policy has a line of bftnode's that is unknown here")
            case [word, *_] if word.startswith("#"):
                pass
            case []:
                pass
            case ["log", vkey, *url] if len(url) <= 1:
                key = _key(vkey)
                _expect(all(key.public != other.public for other in logs), "the policy has a log's key twice")
                logs.append(key)
            case ["witness", name, vkey, *url] if len(url) <= 1:
                key = _key(vkey)
                _expect(key.kind != NOTE, "a witness of the policy has a key that cosigns nothing")
                known = {other.public for other in witnesses.values()}
                _expect(key.public not in known, "the policy has a witness's key twice")
                _expect(name not in {"none", *witnesses, *groups}, "the policy gives a name two meanings")
                witnesses[name] = key
            case ["group", name, threshold, *members] if members:
                size = len(members)
                least = {"any": 1, "all": size}.get(threshold) or _number(threshold, "a threshold")
                _expect(1 <= least <= size, "a group of the policy can never be reached, or always is")
                _expect(name not in {"none", *witnesses, *groups}, "the policy gives a name two meanings")
                defined = {*witnesses, *groups} - grouped
                _expect(len(set(members)) == size and defined.issuperset(members), "a group has members that it cannot")
                grouped.update(members)
                groups[name] = (least, members)
            case ["quorum", name] if quorum is None and name in {"none", *witnesses, *groups}:
                quorum = name
            case _:
                raise NotProved("the policy has a line that is none")
    if quorum is None:
        raise NotProved("the policy has no quorum line")
    return Policy(logs, witnesses, groups, quorum, *_voters(remarks))


def _voters(remarks: list[tuple[str, bytes]]) -> tuple[bytes | None, tuple[bytes, ...]]:
    """The chain and its members' keys, by their indices."""
    chains = [value for what, value in remarks if what == "chain"]
    members = [value for what, value in remarks if what == "member"]
    if not remarks:
        return None, ()
    _expect(len(chains) == 1 and 4 <= len(members) <= 64, "the policy names not one chain and 4 to 64 members")
    _expect(members == sorted(set(members)), "the members of the policy are not sorted by their keys")
    return chains[0], tuple(members)


def _key(vkey: str) -> Key:
    parts = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+(\S+)", vkey)
    if parts is None or len(parts[1].encode()) > NAME_BYTES_MAX:
        raise NotProved("a key of the policy is not one")
    raw = _base64(parts[3], "a key of the policy")
    key_id = hashlib.sha256(parts[1].encode() + b"\n" + raw).digest()[:4]
    _expect(parts[2] == key_id.hex(), "a key of the policy has another id")
    _expect(KEY_BYTES.get(raw[0]) == len(raw) - 1, "a key of the policy is of a type that is unknown here")
    return Key(parts[1], key_id, raw[0], raw[1:])


# ---- the standard receipt: a signed and cosigned checkpoint


def check_checkpoint(raw: bytes, policy: Policy) -> tuple[str, int, bytes, dict[str, int]]:
    """(origin, size, root, witnesses with their times) of a checkpoint that is valid. Raises NotProved."""
    whole = _text(raw, "the checkpoint")
    _expect(not re.search("[\x00-\x09\x0b-\x1f]", whole), "the checkpoint has control characters")
    text, blank, rest = whole.rpartition("\n\n")
    _expect(len(raw) <= NOTE_BYTES_MAX and blank and text and rest[-1:] == "\n", "the checkpoint is not a signed note")
    signatures = [_signature(line) for line in rest[:-1].split("\n")]
    _expect(len(signatures) <= SIGNATURES_MAX, "the checkpoint has too many signatures")
    lines = text.split("\n")
    _expect(3 <= len(lines) <= 3 + EXTENSIONS_MAX and all(lines), "the checkpoint is not an origin, a size and a root")
    origin, size = lines[0], _number(lines[1], "the size of the checkpoint")
    root = _base64(lines[2], "the root of the checkpoint")
    _expect(len(root) == 32, "the root of the checkpoint is not 32 bytes")

    def signed(key: Key) -> int | None:
        times = [
            _check_signature(key, value, text + "\n", (origin, size, root))
            for made, value in signatures
            if made == (key.name, key.key_id)
        ]
        return max(times, default=None)

    logs = [key for key in policy.logs if key.name == origin]
    _expect(logs, "the policy has no log of the checkpoint's origin")
    _expect([key for key in logs if signed(key) is not None], "no log of the policy signed the checkpoint")
    times = {name: signed(key) for name, key in policy.witnesses.items()}
    cosigned = {name: time for name, time in times.items() if time is not None}
    reached = {"none", *cosigned}
    for name, (threshold, members) in policy.groups.items():
        if len(reached.intersection(members)) >= threshold:
            reached.add(name)
    _expect(policy.quorum in reached, f"{len(cosigned)} of {len(times)} witnesses cosigned, which is no quorum")
    return origin, size, root, cosigned


def _signature(line: str) -> tuple[tuple[str, bytes], bytes]:
    parts = re.fullmatch(r"\N{EM DASH} ([^\s+]+) (\S+)", line)
    if parts is None or len(parts[1].encode()) > NAME_BYTES_MAX:
        raise NotProved("a line of the checkpoint is no signature")
    raw = _base64(parts[2], "a signature of the checkpoint")
    _expect(len(raw) > 4, "a signature of the checkpoint is empty")
    return (parts[1], raw[:4]), raw[4:]


def _check_signature(key: Key, value: bytes, text: str, tree: tuple[str, int, bytes]) -> int:
    """When it was made; 0 for a signature without a time. A wrong one of a known key refutes the whole checkpoint."""
    time, message = 0, text.encode()
    if key.kind != NOTE:
        time, value = int.from_bytes(value[:8], "big"), value[8:]
        _expect(time <= NUMBER_MAX, f"{key.name!a} signed at a time that is none")
    if key.kind == COSIGNED:
        message = f"cosignature/v1\ntime {time}\n".encode() + message
    if key.kind == COSIGNED_ML_DSA:
        origin, size, root = tree
        names = [name.encode() for name in (key.name, origin)]
        parts = [bytes((len(name),)) + name for name in names]
        message = (
            b"subtree/v1\n\x00" + parts[0] + struct.pack(">Q", time) + parts[1] + struct.pack(">QQ", 0, size) + root
        )
    valid = len(value) == SIGNATURE_BYTES[key.kind] and (
        _ml_dsa(key.public, message, value) if key.kind == COSIGNED_ML_DSA else _ed25519(key.public, message, value)
    )
    _expect(valid, f"the signature of {key.name!a} is not valid")
    return time


def _ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


def _ml_dsa(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - only where needed
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey  # noqa: PLC0415
    except ImportError:
        raise NotProved("to check ML-DSA-44 signatures, install cryptography 48 or later") from None
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    except UnsupportedAlgorithm:
        raise NotProved("this build of cryptography cannot check ML-DSA-44 signatures") from None
    return True


# ---- the quick receipt: a header and a quorum of COMMITs


def check_commit(raw: bytes, policy: Policy) -> tuple[str, int, bytes, dict[str, int]]:
    """(log, size, root, members with the block's time) of a header that a quorum committed. Raises NotProved."""
    if policy.chain is None:
        raise NotProved("the policy does not say by which keys the members vote, so it proves no quick receipt")
    _expect(raw.isascii(), "the receipt has bytes that are no text")
    lines = raw.decode("ascii").split("\n")
    header_raw, certificate_raw = _take(lines, "header"), _take(lines, "certificate")
    if header_raw is None or certificate_raw is None or lines != [""]:
        raise NotProved("the receipt is not a path, a header and a certificate")
    _expect(len(header_raw) <= 512, "the header is too long")
    header = _typed(_unpack(header_raw), (bytes, int, int, bytes, int, bytes, int, bytes, int, int), "the header")
    _expect(all(len(header[place]) == 32 for place in (0, 3, 5, 7)), "the header has a hash that is none")
    _expect(header[8] < 256, "the header has a proposer that is none")
    _expect(header[0] == policy.chain, "the receipt is of another cluster than the policy")
    phase, epoch, view, height, block, votes = _typed(
        _unpack(certificate_raw), (int, int, int, int, bytes, tuple), "the certificate"
    )
    named = hashlib.sha256(b"bftnode/v1/block\x00" + header_raw).digest()
    _expect((phase, height, block) == (COMMIT, header[2], named), "the certificate does not commit this header")
    _expect(epoch == 0 and height > 0, "the certificate is of another membership, or of the first block")
    n = len(policy.members)
    quorum = (n + (n - 1) // 3) // 2 + 1
    _expect(len(votes) == quorum, f"the certificate has {len(votes)} votes where a quorum is {quorum}")
    body = b"\x94" + _pack_number(epoch) + _pack_number(view) + _pack_number(height) + _pack_bytes(block)
    last = -1
    for vote in votes:
        sender, boot, counter, signature = _typed(vote, (int, int, int, bytes), "a vote")
        _expect(last < sender < n, "the votes are not of different members in ascending order")
        last = sender
        signed = struct.pack(">BBQQ", COMMIT, sender, boot, counter) + body
        valid = len(signature) == 64 and _ed25519(
            policy.members[sender], b"bftnode/v1/peer\x00" + policy.chain + signed, signature
        )
        _expect(valid, f"the vote of member {sender} is not signed by it")
    log = f"bftnode/{policy.chain[:16].hex()}"
    return log, header[6], header[7], {f"member {vote[0]}": header[4] // 1000 for vote in votes}


# ---- the entry: a client's signed envelope


def open_entry(entry: bytes, chain: bytes) -> tuple[bytes, list[bytes]]:
    """(client's key, operations) of an entry of this cluster, signed by the client. Raises NotProved."""
    body, signature = _typed(_unpack(entry), (bytes, bytes), "the entry")
    of, client, _, _, operations = _typed(_unpack(body), (bytes, bytes, int, int, tuple), "the entry")
    _expect(of == chain, "the entry is of another cluster than the policy")
    _expect(operations and all(type(one) is bytes for one in operations), "the entry's operations are none")
    valid = len(client) == 32 and len(signature) == 64
    valid = valid and _ed25519(client, b"bftnode/v1/transaction\x00" + body, signature)
    _expect(valid, "the entry is not signed by its client")
    return client, list(operations)


# ---- trees (RFC 6962; RFC 9162, section 2.1.3.2)


def included(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    """Whether `leaf` is leaf `index` of the tree of `size` leaves with that root."""
    node, last, digest = index, size - 1, leaf
    if index > last:
        return False
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            digest = hashlib.sha256(b"\x01" + sibling + digest).digest()
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            digest = hashlib.sha256(b"\x01" + digest + sibling).digest()
        node, last = node >> 1, last >> 1
    return last == 0 and digest == root


# ---- text and bytes: each value has one spelling, and each place one type


def _take(lines: list[str], word: str) -> bytes | None:
    """The bytes on the next line, if it begins with this word."""
    if not lines or not lines[0].startswith(word + " "):
        return None
    return _base64(lines.pop(0).removeprefix(word + " "), f"the line {word!r}")


def _index_and_path(lines: list[str]) -> tuple[int, list[bytes]]:
    _expect(lines and lines[0].startswith("index "), "the receipt names no index")
    index = _number(lines[0].removeprefix("index "), "the index")
    path = [_base64(line, "a hash of the path") for line in lines[1:]]
    _expect(len(path) <= 63 and all(len(node) == 32 for node in path), "the path is not one")
    return index, path


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise NotProved(f"{what} is not UTF-8") from None


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise NotProved(f"{what} is not base64") from None
    _expect(base64.b64encode(raw).decode() == text, f"{what} is not in its one spelling")
    return raw


def _number(text: str, what: str) -> int:
    _expect(re.fullmatch("0|[1-9][0-9]{0,18}", text) and int(text) <= NUMBER_MAX, f"{what} is not a decimal number")
    return int(text)


def _unpack(raw: bytes) -> Any:
    """A number, bytes or an array (a tuple) in msgpack's shortest spelling; this log has nothing else in it."""
    value, at = _value(raw, 0, 0)
    _expect(at == len(raw), "there is more than a value where a value is due")
    return value


def _value(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    _expect(at < len(raw) and depth < 4, "a value ends before its end")
    tag, at = raw[at], at + 1
    if tag < 0x80:
        return tag, at
    if 0x90 <= tag <= 0x9F:
        return _array(raw, at, tag & 15, depth)
    _expect(tag in LONG, "a value is of a type that this log does not have")
    kind, width, least = LONG[tag]
    size, at = int.from_bytes(raw[at : at + width], "big"), at + width
    _expect(least <= size <= NUMBER_MAX, "a value is not in its shortest spelling, or out of range")
    if kind is int:
        return size, at
    if kind is tuple:
        return _array(raw, at, size, depth)
    return raw[at : at + size], at + size  # too short a slice leaves `at` beyond the end, which is refused


def _array(raw: bytes, at: int, count: int, depth: int) -> tuple[tuple[Any, ...], int]:
    items = []
    for _ in range(count):
        item, at = _value(raw, at, depth + 1)
        items.append(item)
    return tuple(items), at


def _pack_number(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    place = next(place for place in range(4) if value < 1 << 8 * (1 << place))
    return bytes((0xCC + place,)) + value.to_bytes(1 << place, "big")


def _pack_bytes(value: bytes) -> bytes:
    place = next(place for place in range(3) if len(value) < 1 << 8 * (1 << place))
    return bytes((0xC4 + place,)) + len(value).to_bytes(1 << place, "big") + value


def _typed(value: Any, types: tuple[type, ...], what: str) -> tuple[Any, ...]:
    _expect(type(value) is tuple and len(value) == len(types), f"{what} has other fields")
    _expect([type(item) for item in value] == list(types), f"{what} has a field of another type")
    return tuple(value)


def _expect(holds: Any, otherwise: str) -> None:
    if not holds:
        raise NotProved(otherwise)


def sentence(verdict: Verdict) -> str:
    """What is proved, in words."""
    done = "cosigned" if verdict.kind == PROOF else "committed"
    who = f"{done} by {', '.join(verdict.signers)}" if verdict.signers else "signed by the log"
    return f"valid: entry {verdict.index} of {verdict.log}, as of {verdict.size} entries, {who}"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """What is proved, for machines."""
    hashes = {"root": verdict.root.hex(), "entry": verdict.entry.hex()}
    return {**asdict(verdict), **hashes, "client": verdict.client.hex() if verdict.client else None}


def main(arguments: list[str]) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser("verify_receipt.py", description="Check a receipt of a transparency log, offline.")
    parser.add_argument("receipt", type=Path)
    parser.add_argument("--policy", type=Path, required=True, help="what is believed: c2sp.org/tlog-policy")
    parser.add_argument("--record", type=Path, help="what the receipt is to be for")
    parser.add_argument("--salt", type=Path, help="what opens a private record: 64 hexadecimal digits")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        record, salt = (one and one.read_bytes() for one in (given.record, given.salt))
        verdict = verify(given.receipt.read_bytes(), given.policy.read_bytes(), record, salt)
    except (NotProved, OSError) as error:
        print(f"NOT PROVED: {error}", file=sys.stderr)
        return 5
    print(json.dumps(as_json(verdict)) if given.json else sentence(verdict))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
