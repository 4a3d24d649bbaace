"""Every other way in which msgpack can spell a value: what a strict reader has to refuse."""

import struct
from collections.abc import Iterator
from typing import Any

import msgpack

INTEGERS = ((0xCC, "B"), (0xCD, "H"), (0xCE, "I"), (0xCF, "Q"), (0xD0, "b"), (0xD1, "h"), (0xD2, "i"), (0xD3, "q"))
LENGTHS = {"bin": (0xC4, 0xC5, 0xC6), "str": (0xD9, 0xDA, 0xDB)}


def canonical(value: Any) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def other_spellings(value: Any) -> Iterator[bytes]:
    """Encodings of `value`, or of what a careless reader takes for it, with exactly one node spelt otherwise."""
    match value:
        case bool():
            yield bytes((int(value),))
        case int():
            yield from _integers(value)
        case bytes():
            yield from _with_lengths(value, "bin")
            yield from _with_lengths(value, "str")
            if len(value) in (1, 2, 4, 8, 16):
                yield bytes((0xD3 + len(value).bit_length(), 5)) + value  # fixext
            yield struct.pack(">BIB", 0xC9, len(value), 5) + value  # ext32
        case str():
            yield from (spelt for spelt in _with_lengths(value.encode(), "str") if spelt != canonical(value))
            yield from _with_lengths(value.encode(), "bin")
            yield canonical(value.encode())
        case None:
            yield b"\xc2"
            yield b"\x90"
        case tuple() | list():
            yield from _arrays(value)


def _integers(value: int) -> Iterator[bytes]:
    for code, width in INTEGERS:
        try:
            spelt = bytes((code,)) + struct.pack(">" + width, value)
        except struct.error:
            continue
        if spelt != canonical(value):
            yield spelt
    yield b"\xcb" + struct.pack(">d", value)
    yield b"\xca" + struct.pack(">f", value)
    if value in (0, 1):
        yield bytes((0xC2 + value,))
    if value == 0:
        yield b"\xcb" + struct.pack(">d", -0.0)
        yield b"\xc0"


def _with_lengths(data: bytes, kind: str) -> Iterator[bytes]:
    for code, width in zip(LENGTHS[kind], "BHI", strict=True):
        if len(data) < 1 << 8 * struct.calcsize(width):
            spelt = bytes((code,)) + struct.pack(">" + width, len(data)) + data
            if spelt != canonical(data):
                yield spelt
    if kind == "str" and len(data) < 32:
        yield bytes((0xA0 | len(data),)) + data


def _arrays(value: tuple[Any, ...] | list[Any]) -> Iterator[bytes]:
    n, content = len(value), [canonical(item) for item in value]
    whole = b"".join(content)
    for code, width in ((0xDC, "H"), (0xDD, "I")):
        spelt = bytes((code,)) + struct.pack(">" + width, n) + whole
        if spelt != canonical(value):
            yield spelt
    head = canonical(value)[: len(canonical(value)) - len(whole)]
    yield b"\xdf" + struct.pack(">I", n) + b"".join(canonical(i) + one for i, one in enumerate(content))  # map32
    if n < 16:
        yield bytes((0x80 | n,)) + b"".join(canonical(i) + one for i, one in enumerate(content))  # fixmap
    for place, item in enumerate(value):
        for spelt in other_spellings(item):
            yield head + b"".join([*content[:place], spelt, *content[place + 1 :]])
