"""Members with real keys and certificates, networks of theirs on loopback, and hands to misbehave with."""

import dataclasses
import datetime
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bftnode.net.limits import NetLimits
from bftnode.net.network import PeerNetwork
from bftnode.net.peer import PeerInfo
from bftnode.net.tls import client_context
from bftnode.node.home import member_of
from bftnode.node.identity import Identity, create_identity, make_certificate
from bftnode.protocol.ed25519 import signer
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.protocol.genesis import ParametersFile, certificate_pin, make_genesis
from bftnode.protocol.handshake import (
    Ack,
    Greeting,
    Hello,
    decode_greeting,
    encode_greeting,
    make_ack,
    make_hello,
)
from bftnode.protocol.membership import Membership
from bftnode.tls.stream import TlsStream

HOST = "127.0.0.1"
PATIENCE_S = 30.0
_sockets: list[trio.socket.SocketType] = []
YEAR = datetime.timedelta(days=365)


class Members:
    """Four identities, in the order of the genesis, and the genesis."""

    def __init__(self, identities: Sequence[Identity], name: str = "town") -> None:
        self.identities = sorted(identities, key=lambda identity: identity.public_key)
        members = [
            member_of(identity, f"m{i}", f"{HOST}:{7000 + i}", f"{HOST}:{i + 1}")
            for i, identity in enumerate(self.identities)
        ]
        self.genesis = make_genesis(name, "kv", [self.identities[0].public_key.hex()], members, ParametersFile())
        self.membership: Membership = self.genesis.membership()

    def pin(self, member: int) -> bytes:
        return certificate_pin(self.identities[member].certificate_pem)

    def pems(self) -> list[str]:
        return [identity.certificate_pem for identity in self.identities]

    def with_certificate(self, member: int, not_before: datetime.datetime, not_after: datetime.datetime) -> "Members":
        """The same members, of whom one has a certificate with these dates, pinned in the genesis like any other."""
        old = self.identities[member]
        key = serialization.load_pem_private_key(old.tls_key_path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        pem = make_certificate(key, f"m{member}", not_before, not_after).public_bytes(serialization.Encoding.PEM)
        path = old.certificate_path.with_name(f"{secrets.token_hex(8)}.crt")
        path.write_bytes(pem)
        new = dataclasses.replace(old, certificate_pem=pem.decode(), certificate_path=path)
        return Members([new if identity is old else identity for identity in self.identities])


def new_identities(directory: Path, count: int = 4) -> list[Identity]:
    return [create_identity(directory / str(i) / "secrets", f"m{i}") for i in range(count)]


class Said:
    """A structlog processor: keeps what was logged, and tells those who wait for it."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._more = trio.Event()

    def __call__(self, _logger: Any, _method: str, line: Any) -> Any:
        self.lines.append(dict(line))
        self._more.set()
        self._more = trio.Event()
        raise structlog.DropEvent

    def of(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        wanted = {"event": event, **fields}
        return [line for line in self.lines if wanted.items() <= line.items()]

    async def wait_for(self, event: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        with trio.fail_after(PATIENCE_S):
            while len(self.of(event, **fields)) < count:
                await self._more.wait()
        return self.of(event, **fields)[-1]


class Replica:
    """One PeerNetwork with a memory: what came in, who is linked."""

    def __init__(
        self,
        members: Members,
        me: int,
        addresses: dict[int, tuple[str, int]],
        limits: NetLimits | None = None,
        membership: Membership | None = None,
        receive: Callable[[int, bytes], Awaitable[None] | None] | None = None,
        **others: Any,
    ) -> None:
        self.me = me
        self.received: list[tuple[int, bytes]] = []
        self.linked: dict[int, int] = {}  # how often
        self.up: set[int] = set()
        self.addresses = addresses
        self._receive = receive
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        infos = [
            PeerInfo(i, f"m{i}", identity.public_key, identity.certificate_pem, addresses.get(i, (HOST, 9)))
            for i, identity in enumerate(members.identities)
        ]
        mine = members.identities[me]
        self.net = PeerNetwork(
            membership or members.membership,
            me,
            signer(mine.seed),
            infos,
            mine.certificate_path,
            mine.tls_key_path,
            addresses.get(me, (HOST, 0)),
            self._on_frame,
            limits or NetLimits(),
            self._on_link,
            **others,
        )

    def _on_frame(self, member: int, frame: bytes) -> Awaitable[None] | None:
        self.received.append((member, frame))
        self._tell()
        return None if self._receive is None else self._receive(member, frame)

    def _on_link(self, member: int, up: bool) -> None:
        if up:
            self.up.add(member)
            self.linked[member] = self.linked.get(member, 0) + 1
        else:
            self.up.discard(member)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not condition():
                await self._changed.wait()

    async def start(self, nursery: trio.Nursery) -> "Replica":
        """Its address is known to those constructed after it with the same `addresses`."""
        self.addresses[self.me] = (HOST, await nursery.start(self._run))
        return self

    async def _run(self, *, task_status: trio.TaskStatus[int]) -> None:
        with self._scope:
            await self.net.run(task_status=task_status)
        self._stopped.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._stopped.wait()


@asynccontextmanager
async def a_nursery() -> AsyncIterator[trio.Nursery]:
    """All that was started in it, and every socket that `tcp` opened, ends with the test."""
    try:
        with trio.fail_after(2 * PATIENCE_S):
            async with trio.open_nursery() as nursery:
                yield nursery
                nursery.cancel_scope.cancel()
    finally:
        while _sockets:
            _sockets.pop().close()


class Stranger:
    """A hand-driven end of a connection to a replica."""

    def __init__(self, stream: TlsStream) -> None:
        self.stream = stream
        self._reader = FrameReader(1 << 24)
        self._frames: list[bytes] = []

    async def say(self, *greetings: Greeting) -> None:
        await self.stream.send(join_frames([encode_greeting(greeting) for greeting in greetings]))

    async def hear_frame(self) -> bytes:
        with trio.fail_after(PATIENCE_S):
            while not self._frames:
                data = await self.stream.receive()
                assert data, "the connection has ended"
                self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    async def hear(self) -> Greeting:
        return decode_greeting(await self.hear_frame())

    async def hear_hello(self) -> Hello:
        hello = await self.hear()
        assert isinstance(hello, Hello)
        return hello

    async def rest(self) -> bytes:
        """What still comes until the other side closes, however it closes."""
        data = b"".join(self._frames)
        with trio.fail_after(PATIENCE_S):
            try:
                while more := await self.stream.receive():
                    data += more
            except (OSError, ssl.SSLError):
                pass
        return data


async def tcp(replica: Replica, receive_buffer: int = 0) -> trio.socket.SocketType:
    socket = trio.socket.socket()
    _sockets.append(socket)
    if receive_buffer:
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
    await socket.connect(replica.addresses[replica.me])
    return socket


async def tls(members: Members, me: int, replica: Replica, receive_buffer: int = 0) -> Stranger:
    """A connection with the certificate of `me`, before its greeting."""
    identity = members.identities[me]
    context = client_context(identity.certificate_path, identity.tls_key_path, members.pems())
    stream = TlsStream(await tcp(replica, receive_buffer), context, server_side=False)
    await stream.handshake()
    return Stranger(stream)


async def greeted(members: Members, me: int, replica: Replica, receive_buffer: int = 0) -> Stranger:
    """A link to `replica` with everything that member `me` has: how a Byzantine member begins."""
    stranger = await tls(members, me, replica, receive_buffer)
    mine = make_hello(members.membership, me, secrets.token_bytes(32))
    theirs = await stranger.hear_hello()
    await stranger.say(mine)
    ack = make_ack(mine, theirs, members.pin(me), members.pin(replica.me), signer(members.identities[me].seed))
    await stranger.say(ack)
    assert isinstance(await stranger.hear(), Ack)
    return stranger
