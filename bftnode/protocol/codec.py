"""Bytes to typed values and back: strict, bounded, one spelling for every value.

msgpack unpacks (one-shot only: its streaming `Unpacker`, hooks and `skip` are never used), msgspec checks types
and ranges, and what was read must encode to exactly the bytes that came: msgpack allows many spellings of one
value and no library refuses them (faults.md C01..C08, P46). Signed structures are positional arrays without
maps, floats or extension types, so depth and sizes are bounded by the schema.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgpack
import msgspec
from msgspec import Meta

from bftnode.protocol.errors import Reason, Refused

# 2**63 - 1 keeps every integer within one msgpack and one C type on every platform (faults.md C07, V08).
UInt = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Byte = Annotated[int, Meta(ge=0, le=255)]
MemberIndex = Annotated[int, Meta(ge=0, le=255)]
Hash32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]


class Wire(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Base of everything that crosses a wire or a signature: a positional array of exactly its fields.

    Frozen, and made of bytes, numbers and tuples of its like, it is never part of a cycle: the collector need not look.
    """


T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()

encode = _encoder.encode
"""Value to its one msgpack spelling. Takes `Wire` structs, ints, bytes, None and tuples or lists of them."""


def unpack(data: bytes, bytes_max: int) -> Any:
    """One msgpack value of at most `bytes_max` bytes, arrays as tuples; maps and extensions are refused.

    Raises Refused(CODEC_SIZE | CODEC_MALFORMED).
    """
    if len(data) > bytes_max:
        raise Refused(Reason.CODEC_SIZE, f"{len(data)} bytes where at most {bytes_max} are allowed")
    try:
        return msgpack.unpackb(
            data,
            use_list=False,
            raw=False,
            max_str_len=4096,
            max_bin_len=len(data),
            # An element is at least one byte, so a truthful length never exceeds the input's.
            max_array_len=len(data),
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, OverflowError, TypeError, RecursionError) as error:
        raise Refused(Reason.CODEC_MALFORMED, type(error).__name__) from None


def decode(data: bytes, kind: type[T], bytes_max: int) -> T:
    """`data` as a `kind`, or a refusal. Total: no other exception leaves it, whatever the bytes.

    Raises Refused(CODEC_SIZE | CODEC_MALFORMED | CODEC_TYPE | CODEC_NONCANONICAL).
    """
    raw = unpack(data, bytes_max)
    try:
        value = msgspec.convert(raw, kind, strict=True, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise Refused(Reason.CODEC_TYPE, str(error)) from None
    except RecursionError:
        raise Refused(Reason.CODEC_MALFORMED, "nested too deeply") from None
    if _encoder.encode(value) != data:
        raise Refused(Reason.CODEC_NONCANONICAL, "not the canonical spelling of its value")
    return value


def reader_of(kind: Any) -> Callable[[bytes], Any]:
    """As `decoder_of`, for bytes that it has accepted before: nothing is checked again, and a mistake is ours."""
    return msgspec.msgpack.Decoder(kind, strict=True).decode


def decoder_of(kind: Any, bytes_max: int) -> Callable[[bytes], Any]:
    """A function that refuses and returns exactly what `decode(data, kind, bytes_max)` does, several times faster.

    msgspec reads the bytes directly into a `kind` (also a union of tagged `Wire` structs, for which `convert` has
    to build its tables anew each time). For what is opened ten thousand times a second; a property test holds the
    two readers against each other.
    """
    read = msgspec.msgpack.Decoder(kind, strict=True).decode

    def opened(data: bytes) -> Any:
        if len(data) > bytes_max:
            raise Refused(Reason.CODEC_SIZE, f"{len(data)} bytes where at most {bytes_max} are allowed")
        try:
            value = read(data)
        except msgspec.ValidationError as error:
            raise Refused(Reason.CODEC_TYPE, str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(Reason.CODEC_MALFORMED, type(error).__name__) from None
        if _encoder.encode(value) != data:
            raise Refused(Reason.CODEC_NONCANONICAL, "not the canonical spelling of its value")
        return value

    return opened
