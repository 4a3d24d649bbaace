"""Blocks: the header names the body, the hash names the header."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol.blocks import HEADER_BYTES_MAX, genesis_block, hash_header, open_block, open_header, pack_block
from bftnode.protocol.codec import encode
from bftnode.protocol.errors import Reason, Refused
from tests.protocol.cluster import CHAIN, OTHER_CHAIN, block_of
from tests.protocol.spellings import other_spellings

ENVELOPES = (b"one", b"two", b"three")
BLOCK = block_of(ENVELOPES)


def test_a_block_survives_the_wire() -> None:
    """Packed and opened: the same hash, envelopes and leaves."""
    packed = pack_block(BLOCK)
    opened = open_block(packed.header, packed.payload)
    assert (opened.hash, opened.transactions, opened.leaves) == (BLOCK.hash, ENVELOPES, BLOCK.leaves)
    assert (opened.seq, opened.parent, opened.header) == (1, bytes(32), BLOCK.header)


@pytest.mark.covers("N08")
@pytest.mark.parametrize(
    "other",
    [
        (),
        ENVELOPES[:2],
        (*ENVELOPES, b"four"),
        (b"two", b"one", b"three"),
        (b"One", b"two", b"three"),
        (*ENVELOPES, b"three"),
    ],
)
def test_a_body_that_the_header_does_not_name_is_refused(other: tuple[bytes, ...]) -> None:
    """Missing, added, reordered, changed or repeated envelopes."""
    with pytest.raises(Refused) as caught:
        open_block(BLOCK.header_raw, encode(other))
    assert caught.value.reason is Reason.BAD_BLOCK


@pytest.mark.covers("N08", "P46")
def test_a_body_has_one_spelling() -> None:
    """The payload is not signed itself, so a second spelling of it would be a second block of one hash."""
    for spelt in [*other_spellings(ENVELOPES), BLOCK.payload + b"\xc0", BLOCK.payload[:-1], b"", b"\x93\x01\x02\x03"]:
        with pytest.raises(Refused) as refusal:
            open_block(BLOCK.header_raw, spelt)
        assert refusal.value.reason in {Reason.CODEC_MALFORMED, Reason.BAD_BLOCK}
    with pytest.raises(Refused) as refusal:
        open_block(BLOCK.header_raw, b"\x93\x01\x02\x03")
    assert refusal.value.reason is Reason.BAD_BLOCK


@pytest.mark.covers("N08")
@pytest.mark.parametrize("field", ["epoch", "seq", "time_ms", "log_size", "proposer", "view"])
def test_every_field_is_under_the_hash(field: str) -> None:
    """A header with another field is another block."""
    other = msgspec.structs.replace(BLOCK.header, **{field: getattr(BLOCK.header, field) + 1})
    assert hash_header(encode(other)) != BLOCK.hash


def test_the_largest_header_fits() -> None:
    """HEADER_BYTES_MAX is a bound, not a hope."""
    most = 2**63 - 1
    largest = msgspec.structs.replace(
        BLOCK.header, epoch=most, seq=most, time_ms=most, log_size=most, proposer=255, view=most
    )
    assert open_header(encode(largest)) == largest
    assert len(encode(largest)) <= HEADER_BYTES_MAX


@pytest.mark.covers("R06")
def test_every_cluster_has_its_own_genesis_block() -> None:
    """Height 0 is computed, not sent, and differs with the chain id."""
    assert genesis_block(CHAIN).hash == genesis_block(CHAIN).hash != genesis_block(OTHER_CHAIN).hash
    assert genesis_block(CHAIN).header.log_size == 0


@pytest.mark.covers("C17")
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_opening_is_total(header: bytes, payload: bytes) -> None:
    """Random bytes in either place are refused and nothing else."""
    for one, two in ((header, payload), (BLOCK.header_raw, payload), (header, BLOCK.payload)):
        with pytest.raises(Refused):
            open_block(one, two)
