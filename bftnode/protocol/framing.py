"""Length-prefixed frames over a byte stream: 4 bytes big-endian, then that many bytes. Pure; used by peers and clients.

The declared length is checked before anything is allocated for it (faults.md W10). What is left when a
connection ends in the middle of a frame is discarded, never parsed (W13).
"""

import struct
from collections.abc import Iterable

from bftnode.protocol.errors import Reason, Refused

_LENGTH = struct.Struct(">I")


class FrameReader:
    """Feed it what came, take out whole frames. Holds at most one frame and one read of bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        """The frames that `data` completes, in order. Raises Refused(FRAME_LENGTH) on a length of 0 or too much."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        at = 0
        while len(buffer) - at >= 4:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if not 0 < length <= self._bytes_max:
                raise Refused(Reason.FRAME_LENGTH, f"a frame of {length} bytes; the limit is {self._bytes_max}")
            if len(buffer) - at - 4 < length:
                break
            frames.append(bytes(buffer[at + 4 : at + 4 + length]))
            at += 4 + length
        if at:
            del buffer[:at]
        return frames


def join_frames(frames: Iterable[bytes]) -> bytes:
    """Many frames as one write."""
    parts: list[bytes] = []
    for frame in frames:
        parts.append(_LENGTH.pack(len(frame)))
        parts.append(frame)
    return b"".join(parts)
