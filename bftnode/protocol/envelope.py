"""The signed frame between replicas: who says it, in which boot, as which of its messages, and what.

Wire form: msgpack [kind, sender, boot epoch, counter, body, signature, payload]. The signature is over a domain
string, the chain id, the fixed-width header and the body bytes as received; nothing is re-encoded to be
verified (faults.md R05). The payload is not signed: it is there for kinds whose signed body names it by hash
(a block's envelopes), so that evidence stays small and nobody hashes a megabyte twice (decision 002).
(boot epoch, counter) is the nonce (docs/protocol.md, "Messages on the wire").
"""

import struct
from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from bftnode.protocol import limits
from bftnode.protocol.codec import Byte, MemberIndex, Signature, UInt, Wire, decoder_of, encode
from bftnode.protocol.ed25519 import Signer

SIGNING_DOMAIN = b"bftnode/v1/peer\x00"
_HEADER = struct.Struct(">BBQQ")


class Frame(Wire, frozen=True):
    kind: Byte
    sender: MemberIndex
    boot: UInt
    counter: UInt
    body: Annotated[bytes, Meta(max_length=limits.BODY_BYTES_MAX)]
    signature: Signature
    payload: bytes


def signing_bytes(chain_id: bytes, kind: int, sender: int, boot: int, counter: int, body: bytes) -> bytes:
    """What a replica signs. Fixed widths before the body: no two different frames have the same bytes."""
    return SIGNING_DOMAIN + chain_id + _HEADER.pack(kind, sender, boot, counter) + body


def seal(
    chain_id: bytes, kind: int, sender: int, boot: int, counter: int, body: bytes, sign: Signer, payload: bytes = b""
) -> Frame:
    """A signed frame."""
    signature = sign(signing_bytes(chain_id, kind, sender, boot, counter, body))
    return Frame(kind, sender, boot, counter, body, signature, payload)


_open_frame: Callable[[bytes], Frame] = decoder_of(Frame, limits.FRAME_BYTES_MAX)


def open_frame(raw: bytes) -> Frame:
    """The frame in `raw`; signature and nonce are not checked here. Raises Refused(CODEC_*)."""
    return _open_frame(raw)


def peek_kind(raw: bytes) -> int:
    """What kind of frame `raw` is, if it is one; -1 where it is too short to be any. Nothing is checked."""
    # msgpack: the header of an array of 7, then the kind as a small integer.
    return raw[1] if len(raw) > 1 else -1


def encode_frame(frame: Frame) -> bytes:
    return encode(frame)
