"""A hand-driven client of one node: it says what it is told to, and reads what comes."""

import ssl
from types import TracebackType

import trio

from bftnode.protocol import client_messages as cm
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.framing import FrameReader, join_frames
from tests.api.town import HOST, PATIENCE_S, Node


def context(pem: str, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, alpn: str = cm.ALPN) -> ssl.SSLContext:
    """A client's, but for what the test bends."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.maximum_version = version
    made.set_alpn_protocols([alpn])
    made.load_verify_locations(cadata=pem)
    return made


class Hand:
    """`async with Hand(stream)`; every wait has an end."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._reader = FrameReader(cm.FRAME_BYTES_MAX)
        self.heard: list[cm.ServerMessage] = []
        self.frames = 0

    async def __aenter__(self) -> "Hand":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self.stream)

    async def say(self, *messages: cm.ClientMessage) -> None:
        await self.send(join_frames([encode(message) for message in messages]))

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.stream.send_all(data)

    async def hear(self) -> cm.ServerMessage:
        with trio.fail_after(PATIENCE_S):
            while not self.heard:
                data = await self.stream.receive_some(1 << 18)
                assert data, "the node has closed"
                for frame in self._reader.feed(data):
                    self.frames += 1
                    self.heard += cm.open_answers(frame)
        return self.heard.pop(0)

    async def closed(self) -> list[cm.ServerMessage]:
        """What still comes until the node closes, however it does."""
        with trio.fail_after(PATIENCE_S):
            try:
                while data := await self.stream.receive_some(1 << 18):
                    for frame in self._reader.feed(data):
                        self.heard += cm.open_answers(frame)
            except trio.BrokenResourceError:
                pass
        return self.heard

    async def error(self) -> str:
        """The code of the ERROR with which the node closes."""
        last = (await self.closed())[-1]
        assert isinstance(last, cm.Error)
        return last.code


async def tcp(node: Node, local_address: str | None = None) -> trio.SocketStream:
    return await trio.open_tcp_stream(HOST, node.port, local_address=local_address)


async def connected(node: Node, pem: str) -> Hand:
    """After TLS, before a word."""
    stream = trio.SSLStream(await tcp(node), context(pem))
    await stream.do_handshake()
    return Hand(stream)


async def greeted(node: Node, pem: str, seed: bytes) -> Hand:
    """After READY."""
    hand = await connected(node, pem)
    hello = await hand.hear()
    assert isinstance(hello, cm.Hello)
    await hand.say(cm.make_auth(hello, public_key_of(seed), signer(seed)))
    assert isinstance(await hand.hear(), cm.Ready)
    return hand
