"""A client that lies: it speaks the client protocol to members of its choice, with an admitted client's key.

The client library tells every member the same, once, and signs only what is well-formed. This one submits whatever
bytes it is given, to whom and as often as it is told, and is content with a member's first answer to each envelope: a
member that does not answer has been stalled by a lie, or the lie never reached it, and either is a failure.
"""

from collections.abc import Sequence

import trio

from bftnode.protocol import client_messages as cm
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Refused
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.protocol.genesis import Genesis
from bftnode.tls.contexts import client_context
from bftnode.tls.stream import TlsStream
from theatre.troupe import Failed

ANSWER_S = 15.0
"""How long after the last round a member may take to have answered every envelope at least once."""

LAST = 1
"""The number of the request that is sent behind all lies: a connection's frames are taken in their order."""


class HungUp(Failed):
    """The member ended the connection, and said with `code` why."""

    def __init__(self, member: int, error: cm.Error) -> None:
        super().__init__(f"n{member} hangs up on the lying client: {error.code} {error.detail}")
        self.code = error.code


FINAL = (cm.Nack, cm.Reject, cm.Result, cm.Forgotten)
ANSWERS = (cm.Ack, *FINAL)


async def tell(
    genesis: Genesis,
    seed: bytes,
    member: int,
    envelopes: Sequence[bytes],
    *,
    rounds: int = 1,
    every_s: float = 0.0,
    final: bool = False,
) -> list[cm.TransactionAnswer]:
    """Submit `envelopes` to this member, in one frame, `rounds` times on one connection, one each `every_s`.

    The member's first answer to each (`final`: the first that is no ACK), in their order. Raises Failed where one has
    none, or the member cannot be spoken to; HungUp where it ends the connection.
    """
    try:
        with trio.fail_after(ANSWER_S + rounds * every_s):
            return await _tell(genesis, seed, member, envelopes, rounds, every_s, FINAL if final else ANSWERS)
    except trio.TooSlowError:
        raise Failed(f"n{member} did not answer a lying client in {ANSWER_S:.0f} s") from None
    except (OSError, Refused) as error:
        raise Failed(f"n{member} did not listen to a lying client: {error}") from None


async def _tell(
    genesis: Genesis,
    seed: bytes,
    member: int,
    envelopes: Sequence[bytes],
    rounds: int,
    every_s: float,
    counting: tuple[type, ...],
) -> list[cm.TransactionAnswer]:
    item = genesis.members[member]
    host, _, port = item.client_address.rpartition(":")
    tcp = await trio.open_tcp_stream(host, int(port))
    stream = TlsStream(tcp.socket, client_context(cm.ALPN, [item.tls_certificate]), server_side=False)
    try:
        ear = _Ear(member, stream, counting)
        await ear.greet(seed)
        frame = join_frames([encode(cm.Submit(tuple(envelopes)))])
        for _ in range(rounds):
            await stream.send(frame)
            with trio.move_on_after(every_s):
                while True:
                    await ear.listen()
        await stream.send(join_frames([encode(cm.Ping(LAST))]))
        names = [cm.envelope_id(raw) for raw in envelopes]
        while not (ear.all_read and all(name in ear.first for name in names)):
            await ear.listen()
        return [ear.first[name] for name in names]
    finally:
        stream.close()


class _Ear:
    """What a member says to the liar."""

    def __init__(self, member: int, stream: TlsStream, counting: tuple[type, ...]) -> None:
        self._counting = counting
        self._member = member
        self._stream = stream
        self._reader = FrameReader(cm.FRAME_BYTES_MAX)
        self._messages: list[cm.ServerMessage] = []
        self.first: dict[bytes, cm.TransactionAnswer] = {}  # by transaction id
        self.all_read = False  # it has taken every frame, the last one too

    async def greet(self, seed: bytes) -> None:
        await self._stream.handshake()
        hello = await self._next()
        if not isinstance(hello, cm.Hello):
            raise Failed(f"n{self._member} greets a client with {type(hello).__name__}")
        await self._stream.send(join_frames([encode(cm.make_auth(hello, public_key_of(seed), signer(seed)))]))
        ready = await self._next()
        if not isinstance(ready, cm.Ready):
            raise Failed(f"n{self._member} does not admit the lying client: {ready}")

    async def listen(self) -> None:
        """To one message."""
        message = await self._next()
        if isinstance(message, cm.Error):
            raise HungUp(self._member, message)
        if isinstance(message, cm.TransactionAnswer) and isinstance(message, self._counting):
            self.first.setdefault(message.transaction, message)
        elif isinstance(message, cm.Pong):
            self.all_read = message.request == LAST

    async def _next(self) -> cm.ServerMessage:
        while not self._messages:
            data = await self._stream.receive()
            if not data:
                raise Failed(f"n{self._member} hung up on a lying client")
            for frame in self._reader.feed(data):
                self._messages += cm.open_answers(frame)
        return self._messages.pop(0)
