"""The verifier that stands alone agrees with the nodes' own idea of evidence, and no changed bundle passes it."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bftnode import verify_bundle
from bftnode.protocol.blocks import Block
from bftnode.protocol.bundle import write_bundle
from bftnode.protocol.certificates import PREPARE, Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.envelope import Frame, encode_frame, seal
from bftnode.protocol.errors import Refused
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.forensics import Culprit
from bftnode.protocol.genesis import Genesis, write_genesis
from bftnode.protocol.messages import Accusation, Body, Kind, NewView, PrePrepare, ViewChange
from bftnode.verify_bundle import NotProved, check_bundle, check_frames, read_genesis
from tests.protocol.cluster import Cluster, block_of
from tests.vectors.make import genesis

GENESIS: Genesis = genesis()
READ = read_genesis(write_genesis(GENESIS))
CLUSTER = Cluster(chain_id=GENESIS.chain_id())
X, Y = block_of((b"x",)), block_of((b"y",))
Y2 = block_of((b"y2",), 2, parent=Y.hash)
Y3 = block_of((b"y3",), 3, parent=Y2.hash)
CULPRIT = 2


def said(kind: Kind, body: Body, counter: int = 1) -> Frame:
    return CLUSTER.frame(kind, CULPRIT, encode(body), counter)


def vote(kind: Kind, block: Block, view: int = 3) -> Frame:
    return said(kind, Vote(0, view, block.seq, block.hash))


PREPARED = CLUSTER.certificate(PREPARE, 2, 9, Y.hash)
FRAMES = [
    vote(Kind.PREPARE, X),
    vote(Kind.PREPARE, Y),
    vote(Kind.COMMIT, X),
    vote(Kind.COMMIT, Y),
    vote(Kind.COMMIT, X, 4),
    said(Kind.PRE_PREPARE, PrePrepare(0, 3, X.header_raw)),
    said(Kind.PRE_PREPARE, PrePrepare(0, 3, Y.header_raw)),
    said(Kind.PRE_PREPARE, PrePrepare(0, 3, block_of((b"z",), 2).header_raw)),
    said(Kind.VIEW_CHANGE, ViewChange(0, 4, None)),
    said(Kind.VIEW_CHANGE, ViewChange(0, 4, PREPARED)),
    said(Kind.VIEW_CHANGE, ViewChange(0, 5, CLUSTER.certificate(PREPARE, 3, 1, X.hash))),
    said(Kind.NEW_VIEW, NewView(0, 4, (encode_frame(said(Kind.VIEW_CHANGE, ViewChange(0, 4, None))),))),
    said(Kind.NEW_VIEW, NewView(0, 4, ())),
    said(Kind.COMMIT, Vote(0, 3, 1, X.hash), counter=7),
    vote(Kind.PREPARE, Y3),
    vote(Kind.COMMIT, Y3),
]
HEADERS: list[tuple[bytes, ...]] = [(), (Y3.header_raw, Y2.header_raw), (Y2.header_raw,), (X.header_raw,), (b"",)]
LADDER = FRAMES[2], FRAMES[14]


def here(first: bytes, second: bytes, headers: tuple[bytes, ...] = ()) -> str | None:
    """What the node says of two frames of the culprit."""
    try:
        member, proved = check_accusation(Accusation(0, first, second, headers), CLUSTER.members, verify)
    except Refused:
        return None
    return proved if member == CULPRIT else None


def there(first: bytes, second: bytes, headers: tuple[bytes, ...] = ()) -> str | None:
    """What the verifier says."""
    try:
        return check_frames(first, second, list(headers), CULPRIT, READ)
    except NotProved:
        return None


def bundle_of(*pairs: tuple[Frame, Frame], headers: tuple[bytes, ...] = ()) -> str:
    culprits = []
    for first, second in pairs:
        raw = encode_frame(first), encode_frame(second)
        member, proved = check_accusation(Accusation(0, *raw, headers), CLUSTER.members, verify)
        culprits.append(Culprit(member, proved, *raw, headers))
    return write_bundle(culprits, GENESIS)


BUNDLE = bundle_of((FRAMES[2], FRAMES[3]))
HIDDEN = bundle_of((FRAMES[2], FRAMES[9]))
BRANCHES = bundle_of(LADDER, headers=HEADERS[1])


def test_a_bundle_is_json_with_all_that_is_needed() -> None:
    """Each field in its place, as text that people can look at too, and the verifier takes it."""
    text = bundle_of(LADDER, headers=HEADERS[1])
    bundle = json.loads(text)
    assert bundle["format"] == verify_bundle.FORMAT
    assert bundle["chain_id"] == GENESIS.chain_id().hex()
    (culprit,) = bundle["culprits"]
    assert (culprit["member"], culprit["name"]) == (CULPRIT, GENESIS.members[CULPRIT].name)
    assert [culprit["first"], culprit["second"]] == [encode_frame(frame).hex() for frame in LADDER]
    assert culprit["headers"] == [header.hex() for header in HEADERS[1]]
    assert check_bundle(text, READ) == [(culprit["name"], culprit["proved"])]
    assert text == json.dumps(bundle, indent=1) + "\n"


def test_it_reads_a_genesis_as_the_nodes_do() -> None:
    """The same chain id, names and keys; a missing parameter has the same default."""
    assert READ.chain_id == GENESIS.chain_id()
    assert READ.names == [member.name for member in GENESIS.members]
    assert tuple(READ.keys) == CLUSTER.members.public_keys
    short = write_genesis(GENESIS).replace("clients_max = 10000\n", "").replace("version = 1\n", "")
    assert read_genesis(short) == READ
    other = msgspec.structs.replace(GENESIS, parameters=msgspec.structs.replace(GENESIS.parameters, window=4))
    assert read_genesis(write_genesis(other)).chain_id == other.chain_id() != READ.chain_id


@pytest.mark.parametrize("deep", ["a = " + "[" * 3000, "a = " + "{a=" * 1500])
def test_a_genesis_of_any_kind_is_read_or_not_proved(deep: str) -> None:
    """Nested beyond the stack, and numbers that msgpack has no room for."""
    large = write_genesis(GENESIS).replace("window = 8", f"window = {2**64}")
    for text in (deep, large):
        with pytest.raises(NotProved, match="the genesis is not one"):
            read_genesis(text)


@pytest.mark.covers("O12")
def test_it_agrees_with_the_nodes_on_every_pair_of_frames() -> None:
    """In the same words, each contradiction and each pair that is none."""
    verdicts = [
        (here(*pair, headers), there(*pair, headers))
        for a in FRAMES
        for b in FRAMES
        for headers in HEADERS
        for pair in [(encode_frame(a), encode_frame(b))]
    ]
    assert [ours for ours, _ in verdicts] == [theirs for _, theirs in verdicts]
    proved = {ours for ours, _ in verdicts if ours}
    assert len(proved) == 12, "all seven kinds, hidden COMMITs of two heights, three votes on another branch"
    assert sum("another branch" in one for one in proved) == 3


@pytest.mark.covers("O12", "X07")
@given(st.sampled_from([(2, 3), (2, 9), (5, 6), (11, 12), (8, 9)]), st.booleans(), st.data())
def test_a_flipped_bit_proves_nothing(pair: tuple[int, int], which: bool, data: st.DataObject) -> None:
    """Anywhere in either frame; and the nodes say the same."""
    raw = [bytearray(encode_frame(FRAMES[place])) for place in pair]
    assert there(bytes(raw[0]), bytes(raw[1]))
    bit = data.draw(st.integers(0, len(raw[which]) * 8 - 1))
    raw[which][bit // 8] ^= 1 << bit % 8
    assert there(bytes(raw[0]), bytes(raw[1])) is None
    assert here(bytes(raw[0]), bytes(raw[1])) is None


@pytest.mark.covers("O12", "X07")
@given(st.integers(0, 1), st.data())
def test_a_flipped_bit_of_a_header_proves_nothing(which: int, data: st.DataObject) -> None:
    """Its hash is what the vote, or the header above it, names."""
    frames = encode_frame(LADDER[0]), encode_frame(LADDER[1])
    assert there(*frames, HEADERS[1])
    headers = [bytearray(raw) for raw in HEADERS[1]]
    bit = data.draw(st.integers(0, len(headers[which]) * 8 - 1))
    headers[which][bit // 8] ^= 1 << bit % 8
    changed = tuple(bytes(raw) for raw in headers)
    assert there(*frames, changed) is here(*frames, changed) is None


@given(st.binary(max_size=200), st.binary(max_size=200))
@example(b"\x97\x03\x02\x01\x01\xc4\x00\xc4\x00\xc4\x00", b"\x93" * 150)
def test_no_bytes_break_it(first: bytes, second: bytes) -> None:
    """Whatever the frames are, it is a verdict and not a traceback; signed nonsense as well."""
    assert there(first, second) is None
    signed = [encode_frame(CLUSTER.frame(kind, CULPRIT, first)) for kind in (Kind.COMMIT, Kind.VIEW_CHANGE)]
    assert there(*signed) == here(*signed)


@pytest.mark.covers("C01", "O12")
def test_a_statement_has_one_spelling() -> None:
    """Signed all the same: a number in more bytes than it needs, in the body or in the frame around it."""
    first = encode_frame(FRAMES[2])
    body = encode(Vote(0, 3, 1, Y.hash))
    wide = encode_frame(CLUSTER.frame(Kind.COMMIT, CULPRIT, body.replace(b"\x94\x00\x03", b"\x94\x00\xcc\x03", 1)))
    outer = encode_frame(FRAMES[3]).replace(b"\x97\x03\x02", b"\x97\xcc\x03\x02", 1)
    for second in (wide, outer):
        assert second != encode_frame(FRAMES[3])
        assert there(first, second) is here(first, second) is None


@pytest.mark.covers("O12")
def test_a_frame_in_anothers_name_is_nobodys() -> None:
    """Signed with the culprit's key, said to be of member 1."""
    pair = []
    for frame in FRAMES[2:4]:
        sign = CLUSTER.signers[CULPRIT]
        pair.append(encode_frame(seal(CLUSTER.members.chain_id, frame.kind, 1, 1, 1, frame.body, sign)))
    assert there(*pair) is here(*pair) is None


def change_of(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda bundle: bundle.update({field: value})


def in_culprit(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda bundle: bundle["culprits"][0].update({field: value})


ELSE = encode_frame(FRAMES[0]).hex()
LOADED = encode_frame(msgspec.structs.replace(FRAMES[2], payload=b"x")).hex()
RENAMED = encode_frame(msgspec.structs.replace(FRAMES[2], sender=1)).hex()
CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another format": change_of("format", "bftnode-proof/1"),
    "another cluster": change_of("chain_id", bytes(32).hex()),
    "a chain id that is none": change_of("chain_id", None),
    "nobody": change_of("culprits", []),
    "no list": change_of("culprits", {}),
    "one more field": change_of("more", 1),
    "another member": in_culprit("member", 1),
    "no member": in_culprit("member", 4),
    "a negative member": in_culprit("member", -2),
    "a member that is a truth": in_culprit("member", True),
    "another name": in_culprit("name", GENESIS.members[1].name),
    "other words": in_culprit("proved", "two PREPAREs for different blocks at view 3, height 1"),
    "another frame": in_culprit("second", ELSE),
    "the same frame twice": in_culprit("second", encode_frame(FRAMES[2]).hex()),
    "a payload": in_culprit("first", LOADED),
    "another sender": in_culprit("first", RENAMED),
    "upper case": in_culprit("first", encode_frame(FRAMES[2]).hex().upper()),
    "no digits": in_culprit("first", "zz"),
    "a field more of a culprit": in_culprit("more", 1),
    "twice the same culprit": lambda bundle: bundle["culprits"].append(bundle["culprits"][0]),
    "a field missing": lambda bundle: bundle.pop("format"),
    "no headers": in_culprit("headers", []),
    "headers that are none": in_culprit("headers", {}),
    "one header": in_culprit("headers", [Y3.header_raw.hex()]),
    "a header more": in_culprit("headers", [raw.hex() for raw in (*HEADERS[1], Y.header_raw)]),
    "headers the other way round": in_culprit("headers", [raw.hex() for raw in HEADERS[1][::-1]]),
    "a header that is a number": in_culprit("headers", [1, 2]),
    "a header in capitals": in_culprit("headers", [raw.hex().upper() for raw in HEADERS[1]]),
    "a thousand headers": in_culprit("headers", [Y3.header_raw.hex()] * 1000),
}


@pytest.mark.covers("X07", "O11", "O12")
@pytest.mark.parametrize("what", CHANGES)
def test_every_change_of_a_bundle_is_refused(what: str) -> None:
    """Each field, one at a time; unchanged it is proved."""
    assert [name for name, _ in check_bundle(BRANCHES, READ)] == [GENESIS.members[CULPRIT].name]
    bundle = json.loads(BRANCHES)
    CHANGES[what](bundle)
    with pytest.raises(NotProved):
        check_bundle(json.dumps(bundle, indent=1) + "\n", READ)


@pytest.mark.parametrize("text", [BUNDLE.replace("{", '{"format": "x",', 1), BUNDLE + " ", "[" * 10_000, "", "null"])
def test_a_bundle_has_one_spelling(text: str) -> None:
    """Two readers of a name that occurs twice would see two bundles."""
    with pytest.raises(NotProved):
        check_bundle(text, READ)


def test_the_command_says_what_is_proved(tmp_path: Path) -> None:
    """As a file on its own, isolated from every installed bftnode: exit code 0, 5 or 2."""
    (tmp_path / "genesis.toml").write_text(write_genesis(GENESIS), encoding="utf-8")
    (tmp_path / "good").write_text(HIDDEN, encoding="utf-8")
    (tmp_path / "bad").write_text(HIDDEN.replace("hides", "shows"), encoding="utf-8")
    copy = tmp_path / "verify_bundle.py"
    copy.write_bytes(Path(verify_bundle.__file__).read_bytes())
    codes = {}
    (tmp_path / "branches").write_text(BRANCHES, encoding="utf-8")
    for name in ("good", "branches", "bad", "missing"):
        command = [sys.executable, "-P", str(copy), str(tmp_path / name), str(tmp_path / "genesis.toml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        codes[name] = (done.returncode, done.stdout.startswith("proved: "), done.stderr.startswith("NOT PROVED: "))
    assert codes.pop("branches") == (0, True, False)
    assert codes == {"good": (0, True, False), "bad": (5, False, True), "missing": (5, False, True)}
    assert verify_bundle.main([]) == 2


def test_it_stands_alone() -> None:
    """It imports nothing of the node, and only two libraries; and it can be read in one sitting."""
    text = Path(verify_bundle.__file__).read_text(encoding="utf-8")
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert names - sys.stdlib_module_names == {"msgpack", "nacl"}
    assert len(text.splitlines()) < 300
