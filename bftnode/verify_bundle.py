"""Check a proof bundle with nothing but the cluster's genesis: `python verify_bundle.py BUNDLE GENESIS`.

For a third party who trusts neither the node nor its operators. This file stands alone: Python 3.11 or later, msgpack
and PyNaCl, and nothing of bftnode; copy it, read it, run it. It computes everything again from the bytes: the chain id
from the genesis, each signature, each contradiction (docs/protocol.md, "Evidence"). A bundle, written by
`bftnode forensics --bundle`, is JSON: {"format", "chain_id", "culprits": [{"member", "name", "proved", "first",
"second", "headers"}]}, the frames and headers in hexadecimal digits.

A member is a culprit if it signed two statements that no correct member makes both of:
  two PRE-PREPAREs, PREPAREs or COMMITs of one view and height for different blocks;
  two different VIEW-CHANGEs, or two different NEW-VIEWs, for one view;
  a COMMIT at (view, height), and a VIEW-CHANGE for a later view that reports a certificate below it;
  a COMMIT, and a PREPARE or COMMIT of the same view at or above its height for a block that does not descend from its
  block: `headers` are those from that block down to the one above the COMMIT's height, each named by the one before.

Exit code 0: every culprit of the bundle is proved. 5: something in it is not. 2: usage.
"""

import base64
import hashlib
import json
import struct
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

FORMAT = "bftnode-proof/2"
FILE_BYTES_MAX = 256 * 1024 * 1024
FRAME_BYTES_MAX = 512 * 1024
"""Of one frame of evidence, as the nodes bound it (half of a signed body)."""
HEADERS_MAX = 512

PRE_PREPARE, PREPARE, COMMIT, VIEW_CHANGE, NEW_VIEW = 1, 2, 3, 5, 6
NAMES = {PREPARE: "PREPARE", COMMIT: "COMMIT"}
KEYS = ("public_key", "log_key", "ml_dsa_key")  # of a member: the first one votes, the others are the log's
PARAMETERS = {  # in the order in which they are hashed, with what a genesis leaves out
    "block_transactions_max": 2000,
    "block_bytes_max": 1024 * 1024,
    "window": 8,
    "checkpoint_interval": 128,
    "clock_skew_ms": 30_000,
    "clients_max": 10_000,
}


class NotProved(Exception):
    """What is wrong, in words."""


class Genesis(NamedTuple):
    chain_id: bytes
    names: list[str]
    keys: list[bytes]


class Frame(NamedTuple):
    kind: int
    sender: int
    boot: int
    counter: int
    body: bytes
    signature: bytes
    payload: bytes


def read_genesis(text: str) -> Genesis:
    """The members of a genesis file, and the chain id: a hash over all of it but the addresses."""
    try:
        file = tomllib.loads(text)
        members = [
            (item["name"], *(bytes.fromhex(item.get(key, "")) for key in KEYS), _pin(item)) for item in file["members"]
        ]
        parameters = {**PARAMETERS, **file.get("parameters", {})}
        _expect(list(parameters) == list(PARAMETERS), "the genesis has a parameter that is unknown here")
        administrators = [bytes.fromhex(key) for key in file["administrators"]]
        version = file.get("version", 1)
        content = [version, file["name"], file["application"], administrators, members, list(parameters.values())]
        content.append(file.get("cosignatures", ["ed25519"]))
        digest = hashlib.sha256(b"bftnode/v1/genesis\x00" + msgpack.packb(content)).digest()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise NotProved(f"the genesis is not one: {error!r:.300}") from None
    return Genesis(digest, [member[0] for member in members], [member[1] for member in members])


def _pin(member: dict[str, str]) -> bytes:
    lines = [line.strip() for line in member["tls_certificate"].strip().split("\n")]
    return hashlib.sha256(base64.b64decode("".join(lines[1:-1]), validate=True)).digest()


def check_bundle(text: str, genesis: Genesis) -> list[tuple[str, str]]:
    """(member's name, what is proved) of every culprit. Raises NotProved with the first thing that is not."""
    try:
        bundle = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotProved(f"the bundle is not JSON: {error}") from None
    _expect(json.dumps(bundle, indent=1) + "\n" == text, "the bundle is not in its one spelling")
    _fields(bundle, {"format": str, "chain_id": str, "culprits": list})
    _expect(bundle["format"] == FORMAT, f"the bundle is not of format {FORMAT}")
    _expect(bundle["chain_id"] == genesis.chain_id.hex(), "the bundle is of another cluster than the genesis")
    _expect(bundle["culprits"], "the bundle names nobody")
    verdicts, last = [], -1
    for culprit in bundle["culprits"]:
        _fields(culprit, {"member": int, "name": str, "proved": str, "first": str, "second": str, "headers": list})
        _expect(all(type(header) is str for header in culprit["headers"]), "a header has another type")
        member = culprit["member"]
        _expect(last < member < len(genesis.keys), "culprits are members, each once, in ascending order")
        last = member
        _expect(culprit["name"] == genesis.names[member], f"member {member} is not called {culprit['name']!r}")
        headers = [_unhex(header) for header in culprit["headers"]]
        proved = check_frames(_unhex(culprit["first"]), _unhex(culprit["second"]), headers, member, genesis)
        _expect(culprit["proved"] == proved, f"what is proved of member {member} is: {proved}")
        verdicts.append((culprit["name"], proved))
    return verdicts


def check_frames(first: bytes, second: bytes, headers: list[bytes], member: int, genesis: Genesis) -> str:
    """What two frames of this member prove, with the headers between their blocks. Raises NotProved."""
    _expect(len(headers) <= HEADERS_MAX, "there are too many headers")
    frames = [_frame(raw) for raw in (first, second)]
    for frame in frames:
        _expect(frame.sender == member, f"a frame is not of member {member}")
        _expect(not frame.payload, "a frame of a proof has no payload")
        header = struct.pack(">BBQQ", frame.kind, frame.sender, frame.boot, frame.counter)
        try:
            message = b"bftnode/v1/peer\x00" + genesis.chain_id + header + frame.body
            VerifyKey(genesis.keys[member]).verify(message, frame.signature)
        except (CryptoError, ValueError):
            raise NotProved(f"a frame is not signed by member {member}") from None
    proved = _contradiction(frames[0], frames[1], headers)
    if proved is None:
        raise NotProved(f"the two frames of member {member} do not contradict each other")
    return proved


def _contradiction(first: Frame, second: Frame, headers: list[bytes]) -> str | None:
    one, two = _body(first), _body(second)
    _expect(one[0] == two[0] == 0, "a statement of another membership epoch")
    kinds = (first.kind, second.kind)
    if kinds == (COMMIT, PREPARE) or (kinds == (COMMIT, COMMIT) and one[2] != two[2]):
        return _two_branches(one, NAMES[second.kind], two, headers)
    _expect(not headers, "headers that belong to no such proof")
    if kinds in {(PREPARE, PREPARE), (COMMIT, COMMIT)} and one[1:3] == two[1:3] and one[3] != two[3]:
        return f"two {NAMES[first.kind]}s for different blocks at view {one[1]}, height {one[2]}"
    if kinds == (PRE_PREPARE, PRE_PREPARE) and one[1] == two[1] and one[2] != two[2]:
        height = _header(one[2])[2]
        if height == _header(two[2])[2]:
            return f"two PRE-PREPAREs for different blocks at view {one[1]}, height {height}"
    if kinds == (NEW_VIEW, NEW_VIEW) and one[1] == two[1] and one[2] != two[2]:
        return f"two NEW-VIEWs for view {one[1]}"
    if kinds == (VIEW_CHANGE, VIEW_CHANGE) and one[1] == two[1] and one[2] != two[2]:
        return f"two VIEW-CHANGEs for view {one[1]} with different certificates"
    if kinds == (COMMIT, VIEW_CHANGE):
        # Who sends COMMIT(view, height) holds a prepare certificate of that rank, and reports none below it ever after.
        certificate = two[2]
        rank = (-1, 0, 0) if certificate is None else (certificate[2], certificate[3], certificate[0])
        if two[1] > one[1] and rank < (one[1], one[2], PREPARE):
            return f"a VIEW-CHANGE for view {two[1]} that hides its COMMIT at view {one[1]}, height {one[2]}"
    return None


def _two_branches(commit: tuple[Any, ...], name: str, vote: tuple[Any, ...], headers: list[bytes]) -> str | None:
    # Who sends COMMIT has sent PREPARE for the same block, and votes for nothing but descendants in that view.
    _, view, height, block = vote
    for raw in headers:
        _expect(
            hashlib.sha256(b"bftnode/v1/block\x00" + raw).digest() == block, "a header is not the one that is named"
        )
        header = _header(raw)
        _expect(header[2] == height, "a header is of another height")
        height, block = height - 1, header[3]
    if (view, height) != commit[1:3] or block == commit[3]:
        return None
    return f"a {name} at view {view}, height {vote[2]}, on another branch than its COMMIT at height {height}"


# ---- bytes: each value has one spelling, and each place one type


def _unpack(raw: bytes) -> Any:
    try:
        value = msgpack.unpackb(raw, use_list=False, max_map_len=0, max_ext_len=0)
        _expect(msgpack.packb(value) == raw, "a value is not in its one spelling")
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise NotProved(f"a frame cannot be read: {type(error).__name__}") from None
    return value


def _frame(raw: bytes) -> Frame:
    _expect(len(raw) <= FRAME_BYTES_MAX, "a frame is too long")
    fields = _typed(_unpack(raw), (int, int, int, int, bytes, bytes, bytes))
    _expect(fields[0] < 256 and fields[1] < 256 and len(fields[5]) == 64, "a frame is not one")
    return Frame(*fields)


def _body(frame: Frame) -> tuple[Any, ...]:
    value = _unpack(frame.body)
    if frame.kind in (PREPARE, COMMIT):
        vote = _typed(value, (int, int, int, bytes))
        _expect(len(vote[3]) == 32, "a vote is not one")
        return vote
    if frame.kind == PRE_PREPARE:
        return _typed(value, (int, int, bytes))
    if frame.kind == NEW_VIEW:
        body = _typed(value, (int, int, tuple))
        _expect(len(body[2]) <= 64 and all(type(item) is bytes for item in body[2]), "a NEW-VIEW is not one")
        return body
    _expect(frame.kind == VIEW_CHANGE, "frames of this kind prove nothing")
    if type(value) is tuple and len(value) == 3 and value[2] is None:
        return (*_typed(value[:2], (int, int)), None)
    body = _typed(value, (int, int, tuple))
    certificate = _typed(body[2], (int, int, int, int, bytes, tuple))
    _expect(certificate[0] in (PREPARE, COMMIT) and len(certificate[4]) == 32, "a certificate is not one")
    _expect(len(certificate[5]) <= 64, "a certificate is not one")
    for vote in certificate[5]:
        sender, _, _, signature = _typed(vote, (int, int, int, bytes))
        _expect(sender < 256 and len(signature) == 64, "a vote of a certificate is not one")
    return body


def _header(raw: bytes) -> tuple[Any, ...]:
    _expect(len(raw) <= 512, "a header is too long")
    fields = _typed(_unpack(raw), (bytes, int, int, bytes, int, bytes, int, bytes, int, int))
    _expect(all(len(fields[place]) == 32 for place in (0, 3, 5, 7)) and fields[8] < 256, "a header is not one")
    return fields


def _typed(value: Any, types: tuple[type, ...]) -> tuple[Any, ...]:
    _expect(type(value) is tuple and len(value) == len(types), "a structure has other fields")
    for item, wanted in zip(value, types, strict=True):
        _expect(type(item) is wanted, "a field has another type")
        _expect(wanted is not int or 0 <= item < 2**63, "a number is out of range")
    return tuple(value)


def _fields(value: Any, types: dict[str, type]) -> None:
    _expect(type(value) is dict and value.keys() == types.keys(), f"the fields are not {', '.join(types)}")
    for name, wanted in types.items():
        _expect(type(value[name]) is wanted, f"{name} has another type")


def _unhex(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise NotProved("a frame is not in hexadecimal digits") from None
    _expect(raw.hex() == text, "a frame is not in plain lower-case hexadecimal digits")
    return raw


def _expect(holds: Any, otherwise: str) -> None:
    if not holds:
        raise NotProved(otherwise)


def _read(path: str) -> str:
    file = Path(path)
    _expect(file.stat().st_size <= FILE_BYTES_MAX, f"{path} is too long")
    return file.read_text(encoding="utf-8")


def main(arguments: list[str]) -> int:
    """The command; its exit code."""
    if len(arguments) != 2:
        print("usage: verify_bundle.py BUNDLE GENESIS", file=sys.stderr)
        return 2
    try:
        verdicts = check_bundle(_read(arguments[0]), read_genesis(_read(arguments[1])))
    except (NotProved, OSError, UnicodeDecodeError) as error:
        print(f"NOT PROVED: {error}", file=sys.stderr)
        return 5
    for name, proved in verdicts:
        print(f"proved: {name}: {proved}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
