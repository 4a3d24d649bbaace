"""Length-prefixed frames: any chunking gives the same frames; a lie about the length ends the connection."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import FrameReader, join_frames

FRAMES = st.lists(st.binary(min_size=1, max_size=50), max_size=10)


@pytest.mark.covers("W10", "W13")
@given(FRAMES, st.lists(st.integers(0, 600), max_size=12), st.binary(max_size=3))
def test_any_chunking_gives_the_same_frames(frames: list[bytes], cuts: list[int], rest: bytes) -> None:
    """However TCP cuts the stream; what is left of an unfinished frame is never given out."""
    stream = join_frames(frames) + rest
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    reader, got = FrameReader(50), []
    for start, end in zip([0, *ends], ends, strict=False):
        got += reader.feed(stream[start:end])
    assert got == frames


@pytest.mark.covers("W10", "C01")
@pytest.mark.parametrize("length", [0, 51, 2**31, 2**32 - 1])
def test_a_length_of_nothing_or_too_much_is_refused_at_once(length: int) -> None:
    """With the four bytes that declare it, before anything that it declares has come."""
    reader = FrameReader(50)
    assert reader.feed(join_frames([b"fine"])) == [b"fine"]
    with pytest.raises(Refused) as caught:
        reader.feed(struct.pack(">I", length))
    assert caught.value.reason is Reason.FRAME_LENGTH


def test_the_largest_frame_is_read() -> None:
    """The bound itself is allowed."""
    assert FrameReader(50).feed(join_frames([bytes(50)])) == [bytes(50)]


@pytest.mark.covers("W10")
def test_a_length_that_is_less_than_what_was_meant_shifts_the_stream_and_is_caught() -> None:
    """Frames are opaque here: what follows is read as a length, and refused when it cannot be one."""
    with pytest.raises(Refused):
        FrameReader(50).feed(struct.pack(">I", 2) + b"\x93\xff\xff\xff\xff\xff")
