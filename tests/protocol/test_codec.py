"""The codec: one spelling for every value, and never another exception than Refused."""

import struct
import tracemalloc
from typing import Annotated, Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from bftnode.apps import kv
from bftnode.protocol.codec import Hash32, UInt, Wire, decode, decoder_of, encode, reader_of, unpack
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.limits import FRAME_BYTES_MAX
from tests.protocol.spellings import other_spellings
from tests.vectors import make

EXAMPLES = make.examples()
BYTES_MAX = 1_000_000


class Inner(Wire, frozen=True):
    flag: bool
    name: Annotated[str, Meta(max_length=40)]


class Sample(Wire, frozen=True):
    """Every kind of field that is in use."""

    number: UInt
    data: bytes
    digest: Hash32
    maybe: bytes | None
    inner: Inner
    many: tuple[UInt, ...]


samples = st.builds(
    Sample,
    number=st.integers(0, 2**63 - 1),
    data=st.binary(max_size=300),
    digest=st.binary(min_size=32, max_size=32),
    maybe=st.none() | st.binary(max_size=40),
    inner=st.builds(Inner, st.booleans(), st.text(max_size=10)),
    many=st.lists(st.integers(0, 2**63 - 1), max_size=20).map(tuple),
)


def read_sample(raw: bytes) -> Any:
    """By a decoder of its own: what makes decoders is part of what is tested."""
    return decoder_of(Sample, BYTES_MAX)(raw)


READERS = pytest.mark.parametrize(
    "read", [lambda raw: decode(raw, Sample, BYTES_MAX), read_sample], ids=["decode", "decoder_of"]
)


def verdict(read: Any, raw: bytes) -> Any:
    """The value, or that it was refused (which rule saw it first is not part of the agreement)."""
    try:
        return read(raw)
    except Refused:
        return Refused


@given(samples)
def test_round_trip(sample: Sample) -> None:
    """What is encoded is read back, by both readers."""
    raw = encode(sample)
    assert decode(raw, Sample, BYTES_MAX) == read_sample(raw) == sample


@given(samples)
def test_our_spelling_is_msgpacks_shortest(sample: Sample) -> None:
    """Two encoders that know nothing of each other write the same bytes."""
    raw = encode(sample)
    assert msgpack.packb(msgpack.unpackb(raw, use_list=False)) == raw


@pytest.mark.covers("C03", "C04", "C06", "C07", "C09", "P46")
@given(samples)
def test_every_second_spelling_is_refused(sample: Sample) -> None:
    """Wider integers and lengths, floats, bools for ints, str for bin, maps, extensions: none is the value."""
    raw = encode(sample)
    for spelt in other_spellings(msgpack.unpackb(raw, use_list=False)):
        assert spelt != raw
        assert verdict(lambda data: decode(data, Sample, BYTES_MAX), spelt) is Refused, spelt.hex()
        assert verdict(read_sample, spelt) is Refused, spelt.hex()


@pytest.mark.covers("P46", "C04", "C05")
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_second_spelling_of_the_golden_bytes_is_refused(name: str) -> None:
    """The same for one example of everything that is on the wire, and with bytes after it."""
    kind, raw = EXAMPLES[name]
    for spelt in [*other_spellings(msgpack.unpackb(raw, use_list=False)), raw + b"\xc0", raw + raw, raw[:-1]]:
        with pytest.raises(Refused):
            decode(spelt, kind, BYTES_MAX)


@pytest.mark.covers("C05")
@READERS
def test_trailing_bytes_are_refused(read: Any) -> None:
    """A second message does not hide behind the first."""
    raw = encode(Sample(1, b"", bytes(32), None, Inner(True, "x"), ()))
    assert read(raw)
    for tail in (b"\x00", b"\xc0", raw):
        with pytest.raises(Refused) as caught:
            read(raw + tail)
        assert caught.value.reason is Reason.CODEC_MALFORMED


@pytest.mark.covers("C07")
@READERS
@pytest.mark.parametrize(
    "fields",
    [
        (True, b"", bytes(32), None, (True, "x"), ()),
        (-1, b"", bytes(32), None, (True, "x"), ()),
        (2**63, b"", bytes(32), None, (True, "x"), ()),
        (1.0, b"", bytes(32), None, (True, "x"), ()),
        (None, b"", bytes(32), None, (True, "x"), ()),
        (1, "", bytes(32), None, (True, "x"), ()),
        (1, b"", bytes(31), None, (True, "x"), ()),
        (1, b"", bytes(33), None, (True, "x"), ()),
        (1, b"", bytes(32), 0, (True, "x"), ()),
        (1, b"", bytes(32), None, (1, "x"), ()),
        (1, b"", bytes(32), None, (True, b"x"), ()),
        (1, b"", bytes(32), None, (True,), ()),
        (1, b"", bytes(32), None, (True, "x", 1), ()),
        (1, b"", bytes(32), None, (True, "x"), (False,)),
        (1, b"", bytes(32), None, (True, "x"), (), 1),
        (1, b"", bytes(32), None, (True, "x")),
        (1, b"", bytes(32), None, {0: True, 1: "x"}, ()),
    ],
)
def test_a_wrong_type_range_or_number_of_fields_is_refused(read: Any, fields: tuple[Any, ...]) -> None:
    """True is an int to Python, never to the wire."""
    with pytest.raises(Refused):
        read(msgpack.packb(fields))


@pytest.mark.covers("C08")
@READERS
@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"])
def test_invalid_utf8_is_refused(read: Any, text: bytes) -> None:
    """Broken, surrogate and overlong sequences."""
    head = encode(Sample(1, b"", bytes(32), None, Inner(True, ""), ()))[:-2]
    with pytest.raises(Refused):
        read(head + bytes((0xA0 | len(text),)) + text + b"\x90")


@pytest.mark.covers("C01", "P47")
@READERS
@pytest.mark.parametrize("code", [0xC6, 0xC9, 0xDB, 0xDD, 0xDF])
def test_a_giant_declared_length_is_refused_without_room_for_it(read: Any, code: int) -> None:
    """Four gigabytes are declared in five bytes; nothing is allocated for them (the test would not survive it)."""
    giant = bytes((code,)) + struct.pack(">I", 2**32 - 1)
    for raw in (giant, b"\x96" + giant, b"\x96\x01" + giant, b"\x96\x01\xc4\x00\xc4\x20" + bytes(32) + giant):
        with pytest.raises(Refused):
            read(raw)


@pytest.mark.covers("C02", "P47")
@READERS
@pytest.mark.parametrize(
    "opener", [b"\x91", b"\x81\x00", b"\x96\x01\xc4\x00\xc4\x20" + bytes(32) + b"\xc0\x92\xc3\x91"]
)
@pytest.mark.parametrize("depth", [10, 600, 100_000])
def test_deep_nesting_is_refused(read: Any, opener: bytes, depth: int) -> None:
    """No RecursionError escapes, however deep."""
    with pytest.raises(Refused):
        read(opener * depth + b"\x90")


@READERS
def test_more_bytes_than_allowed_are_refused_first(read: Any) -> None:
    """The size is looked at before the content."""
    with pytest.raises(Refused) as caught:
        read(b"\xc1" * (BYTES_MAX + 1))
    assert caught.value.reason is Reason.CODEC_SIZE


@READERS
def test_as_many_bytes_as_allowed_are_looked_at(read: Any) -> None:
    """The bound itself is within it."""
    with pytest.raises(Refused) as caught:
        read(b"\xc1" * BYTES_MAX)
    assert caught.value.reason is Reason.CODEC_MALFORMED


@READERS
def test_each_refusal_has_its_reason(read: Any) -> None:
    """What is no msgpack, what has another type, and what is spelt otherwise."""
    raw = encode(Sample(1, b"", bytes(32), None, Inner(True, "x"), ()))
    wrong = {
        Reason.CODEC_MALFORMED: raw[:-1],
        Reason.CODEC_TYPE: encode(("1", b"", bytes(32), None, (True, "x"), ())),
        Reason.CODEC_NONCANONICAL: raw[:1] + b"\xcc\x01" + raw[2:],
    }
    for reason, spelt in wrong.items():
        with pytest.raises(Refused) as caught:
            read(spelt)
        assert caught.value.reason is reason


def test_what_was_accepted_before_is_read_without_asking() -> None:
    """The same value, of the type that is asked for."""
    sample = Sample(1, b"x", bytes(32), None, Inner(True, "x"), (2,))
    assert reader_of(Sample)(encode(sample)) == sample
    with pytest.raises(msgspec.ValidationError):
        reader_of(Sample)(encode((1,)))


KINDS = [Sample, kv.Operation, *{example.kind for example in EXAMPLES.values()}]


@pytest.mark.covers("C17")
@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_reading_is_total(kind: Any, raw: bytes) -> None:
    """Random bytes are refused, or are the one spelling of a value; both readers say the same."""
    value = verdict(lambda data: decode(data, kind, BYTES_MAX), raw)
    assert value is Refused or encode(value) == raw
    assert verdict(decoder_of(kind, BYTES_MAX), raw) == value


@pytest.mark.covers("C17")
@given(st.data())
def test_reading_is_total_around_valid_bytes(data: st.DataObject) -> None:
    """The same one or two changed bytes away from something real."""
    example = EXAMPLES[data.draw(st.sampled_from(sorted(EXAMPLES)))]
    raw = bytearray(example.raw)
    for _ in range(data.draw(st.integers(1, 2))):
        raw[data.draw(st.integers(0, min(len(raw) - 1, 200)))] = data.draw(st.integers(0, 255))
    value = verdict(lambda changed: decode(changed, example.kind, BYTES_MAX), bytes(raw))
    assert value is Refused or encode(value) == bytes(raw)
    assert verdict(decoder_of(example.kind, BYTES_MAX), bytes(raw)) == value


MEMORY_FACTOR_MAX = 60
"""Bytes of memory for a byte of the wire, at worst: arrays of one in arrays of one, a tuple for each byte. The largest
frame of all (16 MiB, which only a member may send) is then under 1 GiB for a moment, before its shape is refused."""


@pytest.mark.long
@pytest.mark.covers("C16")
@pytest.mark.parametrize(
    "element", [b"\xc0", b"\x91\xc0", b"\xcd\xff\xff", b"\xa1x", b"\xc4\x01x", b"\x91" * 100 + b"\xc0"]
)
def test_what_is_read_is_not_much_larger_than_what_came(element: bytes) -> None:
    """The smallest spellings of objects, as many as fit: each costs its slot and itself."""
    size = 1024 * 1024
    assert size < FRAME_BYTES_MAX
    count = size // len(element)
    raw = b"\xdd" + struct.pack(">I", count) + element * count
    tracemalloc.start()
    try:
        value = unpack(raw, len(raw))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(value) == count
    assert peak <= MEMORY_FACTOR_MAX * len(raw)


@pytest.mark.covers("C09")
def test_values_that_no_message_is_made_of_are_refused() -> None:
    """Maps, extensions and long texts; a text of 4096 bytes is a value."""
    for raw in (b"\x81\x01\x01", b"\xd4\x01\x00", msgpack.packb("x" * 4097)):
        with pytest.raises(Refused) as caught:
            unpack(raw, BYTES_MAX)
        assert caught.value.reason is Reason.CODEC_MALFORMED
    assert unpack(msgpack.packb("x" * 4096), BYTES_MAX) == "x" * 4096
    assert unpack(b"\x92\x01\x90", BYTES_MAX) == (1, ())
