"""Blocks: a header whose hash is the block's name, and the client envelopes that it orders.

A block is immutable; a new view certifies the same block again and never rewraps it (docs/protocol.md,
"Terms"). The header commits to the body twice: by the root over its own envelopes and by the size and root of
the whole log after them (RFC 6962).
"""

import hashlib
from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from bftnode.protocol import limits
from bftnode.protocol.codec import Hash32, MemberIndex, UInt, Wire, decoder_of, encode, unpack
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import EMPTY_ROOT, leaf_hash, root_of

HASH_DOMAIN = b"bftnode/v1/block\x00"
HEADER_BYTES_MAX = 512
NO_PARENT = bytes(32)


class Header(Wire, frozen=True):
    chain_id: Hash32
    epoch: UInt
    seq: UInt
    parent: Hash32
    time_ms: UInt  # agreed time: milliseconds since 1970, never decreasing along the chain
    transactions_root: Hash32
    log_size: UInt  # leaves in the log after this block
    log_root: Hash32  # RFC 6962 root of those leaves
    proposer: MemberIndex
    view: UInt  # the view in which it was first proposed


def hash_header(raw: bytes) -> bytes:
    """The block hash of an encoded header."""
    return hashlib.sha256(HASH_DOMAIN + raw).digest()


class Block:
    """A header, its bytes, its hash, and the envelopes' bytes with their leaf hashes. Immutable by convention."""

    __slots__ = ("hash", "header", "header_raw", "leaves", "parent", "payload", "seq", "transactions")

    def __init__(
        self, header: Header, header_raw: bytes, payload: bytes, transactions: tuple[bytes, ...], leaves: list[bytes]
    ) -> None:
        self.header = header
        self.header_raw = header_raw
        self.payload = payload
        self.transactions = transactions
        self.leaves = leaves
        self.hash = hash_header(header_raw)
        self.seq = header.seq
        self.parent = header.parent


def make_block(header: Header, transactions: tuple[bytes, ...], leaves: list[bytes]) -> Block:
    """A block from parts that are known to agree (the proposer's own)."""
    return Block(header, encode(header), encode(transactions), transactions, leaves)


open_header: Callable[[bytes], Header] = decoder_of(Header, HEADER_BYTES_MAX)
"""The header in these bytes. Raises Refused(CODEC_*)."""


def open_block(header_raw: bytes, payload: bytes) -> Block:
    """A block whose body is the one that its header names; nothing is said about its place in a chain.

    Raises Refused(CODEC_* | BAD_BLOCK).
    """
    header = open_header(header_raw)
    items = unpack(payload, limits.FRAME_BYTES_MAX)
    if type(items) is not tuple or not all(type(item) is bytes for item in items) or encode(items) != payload:
        raise Refused(Reason.BAD_BLOCK, "the body is not a canonical array of envelopes")
    leaves = [leaf_hash(item) for item in items]
    if root_of(leaves) != header.transactions_root:
        raise Refused(Reason.BAD_BLOCK, "the body is not the one that the header names")
    return Block(header, header_raw, payload, items, leaves)


def genesis_block(chain_id: bytes) -> Block:
    """The block of height 0, which everyone computes: no transactions, committed by definition."""
    header = Header(chain_id, 0, 0, NO_PARENT, 0, EMPTY_ROOT, 0, EMPTY_ROOT, 0, 0)
    return make_block(header, (), [])


class Packed(Wire, frozen=True):
    """A block as it travels in a run or lies on disk."""

    header: Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)]
    payload: bytes


def pack_block(block: Block) -> Packed:
    return Packed(block.header_raw, block.payload)
