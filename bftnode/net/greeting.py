"""HELLO and ACK over a fresh TLS stream: the I/O around protocol/handshake.py. Deadlines are the caller's."""

import secrets
from typing import NamedTuple

from bftnode.protocol.ed25519 import Signer, verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import join_frames
from bftnode.protocol.handshake import (
    Ack,
    Greeting,
    Hello,
    Refusal,
    check_ack,
    check_hello,
    decode_greeting,
    encode_greeting,
    make_ack,
    make_hello,
    take_frame,
)
from bftnode.protocol.membership import Membership
from bftnode.tls.stream import TlsStream


class Self(NamedTuple):
    """Who greets."""

    membership: Membership
    me: int
    pin: bytes  # SHA-256 of the certificate that we show
    sign: Signer


class RefusedByPeer(Refused):
    """The peer closed the connection and said why."""


async def greet(stream: TlsStream, self_: Self, proven: int, proven_pin: bytes) -> bytes:
    """Agree with member `proven`, whose certificate TLS showed, or refuse. Nothing else is sent before this returns.

    Returns what came behind the peer's ACK: the beginning of its frames. Raises Refused (after telling the peer
    why), RefusedByPeer, OSError, ssl.SSLError.
    """
    try:
        return await _greet(stream, self_, proven, proven_pin)
    except RefusedByPeer:
        raise
    except Refused as refused:
        await refuse(stream, refused.reason)
        raise


async def refuse(stream: TlsStream, reason: Reason) -> None:
    """Say why before closing."""
    await _say(stream, Refusal(str(reason)))


async def _greet(stream: TlsStream, self_: Self, proven: int, proven_pin: bytes) -> bytes:
    buffer = bytearray()
    mine = make_hello(self_.membership, self_.me, secrets.token_bytes(32))
    await _say(stream, mine)
    theirs = await _hear(stream, buffer)
    if not isinstance(theirs, Hello):
        raise Refused(Reason.HANDSHAKE, "the first frame is not a HELLO")
    check_hello(mine, theirs, proven)
    await _say(stream, make_ack(mine, theirs, self_.pin, proven_pin, self_.sign))
    ack = await _hear(stream, buffer)
    if not isinstance(ack, Ack):
        raise Refused(Reason.HANDSHAKE, "the second frame is not an ACK")
    check_ack(ack, mine, theirs, self_.pin, proven_pin, self_.membership.public_keys[proven], verify)
    return bytes(buffer)


async def _say(stream: TlsStream, greeting: Greeting) -> None:
    await stream.send(join_frames([encode_greeting(greeting)]))


async def _hear(stream: TlsStream, buffer: bytearray) -> Greeting:
    while (frame := take_frame(buffer)) is None:
        data = await stream.receive()
        if not data:
            raise ConnectionAbortedError("ended within the greeting")
        buffer += data
    greeting = decode_greeting(frame)
    if isinstance(greeting, Refusal):
        raise RefusedByPeer(greeting.known_reason(), "said the peer")
    return greeting
