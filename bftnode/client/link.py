"""The connection to one member: dialled again and again, greeted, written and read. It decides nothing.

What the session wants said goes out in as few writes as possible; what comes in is opened, and handed to the session.
A member that sends what cannot be read, or hangs up, is a member that is not there: the reason is kept for people and
it is dialled again after a pause. Nothing that a member does raises anywhere else (faults.md A07).
"""

import hashlib
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, cast

import trio

from bftnode.client.options import Options
from bftnode.client.outcomes import Outcome
from bftnode.client.session import Session
from bftnode.protocol import client_messages as cm
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.protocol.genesis import Member, certificate_pin
from bftnode.tls.contexts import client_context, refusal_of
from bftnode.tls.stream import TlsStream

_random = random.SystemRandom()

_OF_TRANSACTIONS = frozenset((cm.Ack, cm.Nack, cm.Reject, cm.Result, cm.Forgotten, cm.Unknown))

INLINE_BYTES = 16 * 1024
"""More than this is encrypted and written by the link's own task."""


class MemberStatus(NamedTuple):
    """How this client stands with a member."""

    member: int
    name: str
    address: str
    connected: bool
    reason: str  # why it is not, or why the last connection ended; our words or printable ASCII
    height: int
    disagreements: int  # results that were not what f+1 others sent


class Link:
    """One member. `run` it in the client's nursery; `wake` it when the session has something for it."""

    def __init__(
        self,
        number: int,
        member: Member,
        session: Session,
        sign: Signer,
        options: Options,
        settled: Callable[[bytes, Outcome], None],
        changed: Callable[[], None],
    ) -> None:
        self.number = number
        self.member = member
        self.connected = False
        self.greeted_once = False
        self.refused: Refused | None = None  # why the last attempt or connection ended
        self._session = session
        self._sign = sign
        self._options = options
        self._settled = settled
        self._changed = changed
        self._context = client_context(cm.ALPN, [member.tls_certificate])
        self._pin = certificate_pin(member.tls_certificate)
        self._wake = trio.Event()
        self._control: list[bytes] = []  # encoded requests that are not the session's
        self._frames: list[bytes] = []  # taken to be sent, and too many to be sent at once
        self._idle: TlsStream | None = None  # the connection, while its writer waits
        self._asked: dict[int, _Asked] = {}
        self._next_request = 1
        self._room = trio.Semaphore(options.requests_max)
        self._heard_at = 0.0

    def wake(self) -> None:
        """There is something for this member: it leaves in a moment, with whatever else there is by then."""
        self._wake.set()

    def send_now(self) -> None:
        """There is all that there will be: it leaves now if the kernel takes it, which spares a task's turn."""
        if self._idle is not None:
            frames, size = self._take()
            if not frames:
                return
            if size > INLINE_BYTES:
                self._frames = frames
            elif self._idle.send_now(join_frames(frames)):
                return
            self._idle = None
        self._wake.set()

    def _take(self) -> tuple[list[bytes], int]:
        """The next write's frames, and their bytes."""
        frames, self._control = [*self._frames, *self._control], []
        self._frames = []
        envelopes, names = self._session.take(self.number)
        if envelopes:
            frames.append(encode(cm.Submit(tuple(envelopes))))
        if names:
            frames.append(encode(cm.Wait(tuple(names))))
        return frames, sum(map(len, frames))

    async def ask(self, make: Callable[[int], cm.Request]) -> cm.NumberedAnswer:
        """One numbered request and its answer. The caller has the clock.

        Raises Refused(NOT_READY) when the member is not there or goes away, or what the member refuses it for.
        """
        async with self._room:
            if not self.connected:
                raise Refused(Reason.NOT_READY, f"not connected: {self.refused or 'not yet'}")
            number = self._next_request
            self._next_request += 1
            asked = self._asked[number] = _Asked()
            try:
                self._control.append(encode(make(number)))
                self.wake()
                await asked.event.wait()
            finally:
                self._asked.pop(number, None)
        if asked.answer is None:
            raise Refused(Reason.NOT_READY, "the connection ended before the answer")
        if isinstance(asked.answer, cm.Refusal):
            raise Refused(cm.reason_of(asked.answer.code), printable(asked.answer.detail))
        return asked.answer

    async def run(self) -> None:
        """For ever."""
        pause_s = self._options.reconnect_first_s
        while True:
            self.greeted_once = False
            try:
                await self._connect()
            except Refused as refused:
                self.refused = refused
            except (OSError, ValueError) as error:
                # OSError: nobody there. ValueError: a host name that cannot be one.
                tls = isinstance(error, ssl.SSLError)
                where = self.member.client_address
                what = "the connection ended" if self.greeted_once else f"nobody answers at {where}"
                self.refused = refusal_of(error) if tls else Refused(Reason.CONN_UNREACHABLE, what)
            self._changed()
            if self.greeted_once:
                pause_s = self._options.reconnect_first_s
            await trio.sleep(pause_s * (0.5 + 0.5 * _random.random()))
            pause_s = min(2 * pause_s, self._options.reconnect_max_s)

    def status(self, height: int) -> MemberStatus:
        return MemberStatus(
            self.number,
            self.member.name,
            self.member.client_address,
            self.connected,
            str(self.refused or ""),
            height,
            self._session.disagreements[self.number],
        )

    # One connection

    async def _connect(self) -> None:
        """Dial, greet, converse until it ends. Raises Refused, OSError, ValueError."""
        host, _, port = self.member.client_address.rpartition(":")
        stream: TlsStream | None = None
        try:
            with trio.move_on_after(self._options.connect_timeout_s) as patience:
                tcp = await trio.open_tcp_stream(host.strip("[]"), int(port))
                stream = TlsStream(tcp.socket, self._context, server_side=False)
                ready, reader, rest = await self._greet(stream)
            if patience.cancelled_caught or stream is None:
                raise Refused(Reason.CONN_DEADLINE, f"not greeted within {self._options.connect_timeout_s:g} s")
            await self._converse(stream, ready, reader, rest)
        finally:
            self._lost()
            if stream is not None:
                stream.close()

    async def _greet(self, stream: TlsStream) -> tuple[cm.Ready, FrameReader, list[cm.ServerMessage]]:
        await stream.handshake()
        _check_shown(stream.tls, self._pin)
        reader = FrameReader(cm.FRAME_BYTES_MAX)
        messages: list[cm.ServerMessage] = []

        async def next_message() -> cm.ServerMessage:
            while not messages:
                data = await stream.receive()
                if not data:
                    raise Refused(Reason.CONN_LOST, "the member hung up during the greeting")
                for frame in reader.feed(data):
                    messages.extend(cm.open_answers(frame))
            message = messages.pop(0)
            if isinstance(message, cm.Error):
                raise Refused(cm.reason_of(message.code), printable(message.detail))
            return message

        hello = await next_message()
        if not isinstance(hello, cm.Hello):
            raise Refused(Reason.UNEXPECTED, "the member did not begin with HELLO")
        cm.check_hello(hello, self._session.members.chain_id, self.number)
        auth = cm.make_auth(hello, self._session.public_key, self._sign)
        await stream.send(join_frames([encode(auth)]))
        ready = await next_message()
        if not isinstance(ready, cm.Ready):
            raise Refused(Reason.UNEXPECTED, "the member did not answer AUTH with READY")
        return ready, reader, messages

    async def _converse(
        self, stream: TlsStream, ready: cm.Ready, reader: FrameReader, rest: list[cm.ServerMessage]
    ) -> None:
        """Until it ends; raises Refused for why."""
        self.connected = self.greeted_once = True
        self.refused = None
        self._heard_at = trio.current_time()
        self._session.connected(self.number, ready.height, ready.highest_nonce)
        self._wake.set()
        self._changed()
        ended: list[Refused] = []
        async with trio.open_nursery() as nursery:
            for task in (self._write, self._watch):
                nursery.start_soon(self._until_ended, task, stream, ended, nursery.cancel_scope)
            try:
                self._hear(rest)
                await self._read(stream, reader)
            except Refused as refused:
                ended.append(refused)
            except OSError as error:
                ended.append(refusal_of(error))
            nursery.cancel_scope.cancel()
        raise ended[0] if ended else Refused(Reason.CONN_LOST, "the connection ended")

    @staticmethod
    async def _until_ended(
        task: Callable[[TlsStream], Awaitable[None]], stream: TlsStream, ended: list[Refused], scope: trio.CancelScope
    ) -> None:
        try:
            await task(stream)
        except Refused as refused:
            ended.append(refused)
        except OSError as error:
            ended.append(refusal_of(error))
        scope.cancel()

    def _lost(self) -> None:
        was, self.connected = self.connected, False
        self._control.clear()
        self._frames.clear()
        self._idle = None
        for asked in self._asked.values():
            asked.event.set()
        if was:
            self._session.disconnected(self.number)
            self._changed()

    async def _write(self, stream: TlsStream) -> None:
        """All that there is to say, frame by frame in few writes, whenever somebody wakes us."""
        session, member = self._session, self.number
        while True:
            self._idle = stream
            await self._wake.wait()
            self._idle = None
            self._wake = trio.Event()
            await stream.send(b"")  # what `wake` left
            while self._frames or self._control or session.waiting(member):
                frames, _ = self._take()
                await stream.send(join_frames(frames))

    async def _read(self, stream: TlsStream, reader: FrameReader) -> None:
        """Raises Refused for what cannot be read, and when the member hangs up."""
        while True:
            data = await stream.receive()
            if not data:
                raise Refused(Reason.CONN_LOST, "the member hung up")
            self._heard_at = trio.current_time()
            for frame in reader.feed(data):
                self._hear(cm.open_answers(frame))

    def _hear(self, messages: Sequence[cm.ServerMessage]) -> None:
        """Raises Refused when the member says ERROR or what it may not say."""
        session, member = self._session, self.number
        now_ms = int(trio.current_time() * 1000)
        for message in messages:
            # The first is the hot path: four of them for every envelope.
            if type(message) in _OF_TRANSACTIONS:
                answer = cast(cm.TransactionAnswer, message)
                outcome = session.answer(member, answer, now_ms)
                if outcome is not None:
                    self._settled(answer.transaction, outcome)
            elif isinstance(message, cm.Error):
                raise Refused(cm.reason_of(message.code), printable(message.detail))
            elif isinstance(message, cm.Hello | cm.Ready):
                raise Refused(Reason.UNEXPECTED, "a greeting after the greeting")
            else:
                self._answered(cast(cm.NumberedAnswer, message))

    def _answered(self, message: cm.NumberedAnswer) -> None:
        if isinstance(message, cm.Pong | cm.QueryValue):
            self._session.saw_height(self.number, message.height)
        asked = self._asked.get(message.request)
        if asked is not None:
            asked.answer = message
            asked.event.set()

    async def _watch(self, stream: TlsStream) -> None:
        """Keep the connection in use; give up one on which nothing comes any more. Raises Refused(CONN_DEADLINE)."""
        while True:
            await trio.sleep(self._options.ping_s)
            if trio.current_time() - self._heard_at > self._options.silence_s:
                raise Refused(Reason.CONN_DEADLINE, f"silent for {self._options.silence_s:g} s")
            self._control.append(encode(cm.Ping(0)))
            self.wake()


def _check_shown(tls: ssl.SSLObject, pin: bytes) -> None:
    """After the handshake: exactly the certificate that the genesis pins. Raises Refused(HANDSHAKE | ID_MISMATCH)."""
    if tls.selected_alpn_protocol() != cm.ALPN:
        raise Refused(Reason.HANDSHAKE, f"the node does not speak {cm.ALPN}")
    der = tls.getpeercert(binary_form=True)
    if der is None or hashlib.sha256(der).digest() != pin:
        raise Refused(Reason.ID_MISMATCH, "not the certificate that the genesis pins for this member")


class _Asked:
    """A numbered request under way; no answer when the connection is lost first."""

    __slots__ = ("answer", "event")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.answer: cm.NumberedAnswer | None = None


def printable(text: str) -> str:
    """A member's words, fit for a log and a terminal (faults.md A19)."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:200])
