"""Changes to msgpack that leave it msgpack: taken apart, changed in one to three nodes, packed again.

Byte strings that hold an array themselves (a frame's body, an envelope in a block) are part of the tree. A changed node
may also be spelt in another way, which every reader has to refuse.
"""

import struct
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack

DEPTH_MAX = 24
NODES_MAX = 4000
"""An input with more is changed byte by byte only."""

DONOR_BYTES_MAX = 8192

INTEGERS = (0, 1, 2, 3, 4, 5, 7, 63, 64, 65, 127, 128, 255, 256, 511, 4095, 4096, 65_535, 65_536, 2**31, 2**32 - 1)
EDGES = (2**32, 2**63 - 1, 2**63, 2**64 - 1, -1, -32, -33, -(2**63))
SIZES = (0, 1, 31, 32, 33, 63, 64, 65, 255, 256, 512, 513)


class Inner:
    """A byte string that holds an array."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Spelt:
    """A node's bytes as they are to stand."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw


class NoTree(ValueError):
    """Not msgpack, or too much of it."""


def parse(raw: bytes) -> Any:
    """The tree in these bytes: lists, numbers, bytes, Inner. Raises NoTree."""
    return _opened(_unpacked(raw), [NODES_MAX], 0)


def _unpacked(raw: bytes) -> Any:
    try:
        return msgpack.unpackb(raw, use_list=True, raw=False, strict_map_key=False)
    except Exception as error:
        raise NoTree from error


def _opened(value: Any, left: list[int], depth: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth > DEPTH_MAX:
        raise NoTree
    if type(value) is list:
        return [_opened(item, left, depth + 1) for item in value]
    if type(value) is bytes and len(value) > 2 and (0x90 <= value[0] <= 0x9F or value[0] in (0xDC, 0xDD)):
        try:
            held = _unpacked(value)
        except NoTree:
            return value
        if type(held) is list and msgpack.packb(held) == value:
            return Inner(_opened(held, left, depth + 1))
    return value


def pack(node: Any) -> bytes:
    """The bytes of a tree."""
    try:
        return bytes(msgpack.packb(node, default=_plain))
    except _OddlySpelt:
        return _packed(node)


class _OddlySpelt(Exception):
    """There is a node that msgpack does not write as it is to stand."""


def _plain(node: Any) -> Any:
    """What msgpack writes in the place of what it does not know."""
    match node:
        case Inner():
            return pack(node.value)
        case int():
            return min(max(node, -(2**63)), 2**64 - 1)
        case _:
            raise _OddlySpelt


def _packed(node: Any) -> bytes:
    match node:
        case Inner():
            return bytes(msgpack.packb(pack(node.value)))
        case Spelt():
            return node.raw
        case list():
            return _header(len(node)) + b"".join(map(_packed, node))
        case _:
            return bytes(msgpack.packb(node, default=_plain))


def _header(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + struct.pack(">H", count) if count < 1 << 16 else b"\xdd" + struct.pack(">I", count)


def nodes(tree: Any) -> list[tuple[list[Any], int]]:
    """Every node that stands in a list, as (list, place), each before what stands in it."""
    found: list[tuple[list[Any], int]] = []
    left = [tree]
    while left:
        node = left.pop()
        if type(node) is Inner:
            node = node.value
        if type(node) is list:
            for place, item in enumerate(node):
                found.append((node, place))
                if type(item) is list or type(item) is Inner:
                    left.append(item)
    return found


def is_short(raw: bytes) -> bool:
    """Whether others get parts of it: the longest are for one rule each."""
    return len(raw) <= DONOR_BYTES_MAX


def is_donor(raw: bytes) -> bool:
    """Whether others get parts of this tree, if it is one."""
    try:
        parse(raw)
    except NoTree:
        return False
    return is_short(raw)


Mend = Callable[[Any, Random], None]
"""Makes a changed tree consistent again, as far as the dice say: hashes, signatures by known keys."""


def leave(tree: Any, dice: Random) -> None:
    """Where nothing has to be consistent."""


def mutator(mend: Mend, donors: Callable[[], list[bytes]]) -> Callable[[bytes, Random], bytes]:
    """Changes trees; nodes of the `donors` take the place of others. What is no tree is a donor's mutant instead."""
    gift: list[tuple[list[Any], int]] = []
    given: list[bytes] = []

    def mutate(data: bytes, dice: Random) -> bytes:
        if not gift:
            given.extend(raw for raw in donors() if is_donor(raw))
            gift.extend(nodes([parse(raw) for raw in given]))
        try:
            tree = parse(data)
        except NoTree:
            tree = parse(dice.choice(given))
        whole = [tree]
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            _change(whole, dice, gift)
        if dice.random() < 0.75:
            mend(whole[0], dice)
        return pack(whole[0])

    return mutate


def tree_change(tree: Any, dice: Random) -> bytes:
    """The bytes of a tree with one node changed, all by itself. Raises NoTree for what is no array."""
    if not isinstance(tree, list):
        raise NoTree
    whole = [tree]
    _change(whole, dice, nodes(whole))
    return pack(whole[0])


def _change(whole: list[Any], dice: Random, gift: list[tuple[list[Any], int]]) -> None:
    places = nodes(whole)
    parent, place = dice.choice(places)
    node = parent[place]
    match dice.randrange(8):
        case 0:
            parent[place] = Spelt(_other_spelling(node, dice))
        case 1:
            parent[place] = dice.choice((None, True, False, "", "x", 1.5, [], {}, b"", 0))
        case 2:
            other, at = dice.choice(places)
            parent[place] = other[at] if not _within(other[at], parent) else None
        case 3:
            other, at = dice.choice(gift)
            parent[place] = parse(pack(other[at]))
        case _:
            parent[place] = _altered(node, dice)


def _within(node: Any, parent: list[Any]) -> bool:
    """Whether a list stands in a node: the node may not take a place in it."""
    return node is parent or any(one is parent or one[at] is parent for one, at in nodes(node))


def _altered(node: Any, dice: Random) -> Any:
    """Another value of the same type."""
    match node:
        case bool() | None:
            return dice.choice((True, False, None, 0, 1))
        case int():
            step = node + dice.choice((-2, -1, 1, 1, 2))
            return dice.choice((step, step, dice.choice(INTEGERS), dice.choice(EDGES)))
        case bytes():
            return altered_bytes(node, dice)
        case str():
            return dice.choice((node + "x", node[:-1], "x" * dice.choice(SIZES), "\x00", "\N{EM DASH}", "tx.denied"))
        case list() if node:
            at = dice.randrange(len(node))
            match dice.randrange(5):
                case 0:
                    return node[:at] + node[at + 1 :]
                case 1:
                    return [*node[:at], node[at], *node[at:]]
                case 2:
                    return node[::-1]
                case 3:
                    return [*node, dice.choice((0, b"", None))]
                case _:
                    return node * dice.choice((2, 3, 17))
        case list():
            return [dice.choice((0, b"", b"x" * 32, None))]
        case Inner():
            return dice.choice((altered_bytes(pack(node.value), dice), node.value, b""))
        case _:
            return node


def altered_bytes(raw: bytes, dice: Random) -> bytes:
    """A bit flipped, cut, grown, or all of it drawn."""
    match dice.randrange(5):
        case 0:
            return dice.randbytes(dice.choice(SIZES))
        case 1:
            return raw[: dice.randrange(len(raw) + 1)]
        case 2:
            return raw + dice.randbytes(dice.choice((1, 1, 32)))
        case 3:
            return bytes(len(raw))
    if not raw:
        return b"\x00"
    place = dice.randrange(len(raw))
    return raw[:place] + bytes((raw[place] ^ 1 << dice.randrange(8),)) + raw[place + 1 :]


WIDTHS = ((0xCC, "B"), (0xCD, "H"), (0xCE, "I"), (0xCF, "Q"), (0xD0, "b"), (0xD1, "h"), (0xD2, "i"), (0xD3, "q"))


def _other_spelling(node: Any, dice: Random) -> bytes:
    """Bytes of the same value, or of what a careless reader takes for it, that are not its canonical ones."""
    match node:
        case bool():
            return bytes((int(node),))
        case int():
            code, width = dice.choice(WIDTHS)
            try:
                return bytes((code,)) + struct.pack(">" + width, node)
            except struct.error:
                return b"\xcb" + struct.pack(">d", node)
        case bytes() | Inner() | str():
            raw = node.encode() if isinstance(node, str) else node if isinstance(node, bytes) else pack(node.value)
            code, width = dice.choice(((0xC5, "H"), (0xC6, "I"), (0xDA, "H"), (0xDB, "I"), (0xC8, "H"), (0xC9, "I")))
            kind = b"\x05" if code in (0xC8, 0xC9) else b""
            return bytes((code,)) + struct.pack(">" + width, len(raw) % (1 << 16)) + kind + raw
        case list():
            code, width = dice.choice(((0xDC, "H"), (0xDD, "I"), (0xDE, "H"), (0xDF, "I")))
            return bytes((code,)) + struct.pack(">" + width, len(node) // (2 if code > 0xDD else 1)) + pack(node)[1:]
        case _:
            return dice.choice((b"\xc1", b"\xc2", b"\x90", b"\x80", b"\xc7\x00\x05", b"\xdd\xff\xff\xff\xff"))
