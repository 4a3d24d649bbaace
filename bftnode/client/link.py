"""The connection to one member: dialled again and again, greeted, written and read. It decides nothing.

What the session wants said goes out in as few writes as possible; what comes in is opened, and handed to the session.
A member that sends what cannot be read, or hangs up, is a member that is not there: the reason is kept for people and
it is dialled again after a pause. Nothing that a member does raises anywhere else (faults.md A07).
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import trio

from bftnode.client.options import Options
from bftnode.client.outcomes import Outcome
from bftnode.client.session import Session
from bftnode.client.tls import check_shown, client_context, refusal_of
from bftnode.protocol import client_messages as cm
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.protocol.genesis import Member, certificate_pin

_random = random.SystemRandom()

_NUMBERED = (cm.QueryValue, cm.Entries, cm.ReceiptValue, cm.BlockValue, cm.StatusValue, cm.Refusal, cm.Pong)

READ_BYTES = 256 * 1024

Stream = trio.SSLStream[trio.SocketStream]


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
        self._context = client_context(member.tls_certificate)
        self._pin = certificate_pin(member.tls_certificate)
        self._wake = trio.Event()
        self._control: list[bytes] = []  # encoded requests that are not the session's
        self._asked: dict[int, _Asked] = {}
        self._next_request = 1
        self._room = trio.Semaphore(options.requests_max)
        self._heard_at = 0.0

    def wake(self) -> None:
        self._wake.set()

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
                self._wake.set()
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
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ValueError) as error:
                # OSError: nobody there. ValueError: a host name that cannot be one.
                tls = isinstance(error, trio.BrokenResourceError)
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
        """Dial, greet, converse until it ends. Raises Refused, OSError, ValueError, trio.BrokenResourceError."""
        host, _, port = self.member.client_address.rpartition(":")
        stream: Stream | None = None
        try:
            with trio.move_on_after(self._options.connect_timeout_s) as patience:
                tcp = await trio.open_tcp_stream(host.strip("[]"), int(port))
                stream = trio.SSLStream(tcp, self._context)
                ready, reader, rest = await self._greet(stream)
            if patience.cancelled_caught or stream is None:
                raise Refused(Reason.CONN_DEADLINE, f"not greeted within {self._options.connect_timeout_s:g} s")
            await self._converse(stream, ready, reader, rest)
        finally:
            self._lost()
            if stream is not None:
                await trio.aclose_forcefully(stream)

    async def _greet(self, stream: Stream) -> tuple[cm.Ready, FrameReader, list[cm.ServerMessage]]:
        await stream.do_handshake()
        check_shown(stream.selected_alpn_protocol(), stream.getpeercert(binary_form=True), self._pin)
        reader = FrameReader(cm.FRAME_BYTES_MAX)
        messages: list[cm.ServerMessage] = []

        async def next_message() -> cm.ServerMessage:
            while not messages:
                data = await stream.receive_some(READ_BYTES)
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
        await stream.send_all(join_frames([encode(auth)]))
        ready = await next_message()
        if not isinstance(ready, cm.Ready):
            raise Refused(Reason.UNEXPECTED, "the member did not answer AUTH with READY")
        return ready, reader, messages

    async def _converse(
        self, stream: Stream, ready: cm.Ready, reader: FrameReader, rest: list[cm.ServerMessage]
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
            except trio.BrokenResourceError as error:
                ended.append(refusal_of(error))
            nursery.cancel_scope.cancel()
        raise ended[0] if ended else Refused(Reason.CONN_LOST, "the connection ended")

    @staticmethod
    async def _until_ended(
        task: Callable[[Stream], Awaitable[None]], stream: Stream, ended: list[Refused], scope: trio.CancelScope
    ) -> None:
        try:
            await task(stream)
        except Refused as refused:
            ended.append(refused)
        except (OSError, trio.BrokenResourceError) as error:
            ended.append(refusal_of(error))
        scope.cancel()

    def _lost(self) -> None:
        was, self.connected = self.connected, False
        self._control.clear()
        for asked in self._asked.values():
            asked.event.set()
        if was:
            self._session.disconnected(self.number)
            self._changed()

    async def _write(self, stream: Stream) -> None:
        """All that there is to say, frame by frame in few writes, whenever somebody wakes us."""
        session, member = self._session, self.number
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._control or session.waiting(member):
                frames, self._control = self._control, []
                envelopes, names = session.take(member)
                if envelopes:
                    frames.append(encode(cm.Submit(tuple(envelopes))))
                if names:
                    frames.append(encode(cm.Wait(tuple(names))))
                await stream.send_all(join_frames(frames))

    async def _read(self, stream: Stream, reader: FrameReader) -> None:
        """Raises Refused for what cannot be read, and when the member hangs up."""
        while True:
            data = await stream.receive_some(READ_BYTES)
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
            if isinstance(message, _NUMBERED):
                self._answered(message)
            elif isinstance(message, cm.Error):
                raise Refused(cm.reason_of(message.code), printable(message.detail))
            elif isinstance(message, cm.Hello | cm.Ready):
                raise Refused(Reason.UNEXPECTED, "a greeting after the greeting")
            else:
                outcome = session.answer(member, message, now_ms)
                if outcome is not None:
                    self._settled(message.transaction, outcome)

    def _answered(self, message: cm.NumberedAnswer) -> None:
        if isinstance(message, cm.Pong | cm.QueryValue):
            self._session.saw_height(self.number, message.height)
        asked = self._asked.get(message.request)
        if asked is not None:
            asked.answer = message
            asked.event.set()

    async def _watch(self, stream: Stream) -> None:
        """Keep the connection in use; give up one on which nothing comes any more. Raises Refused(CONN_DEADLINE)."""
        while True:
            await trio.sleep(self._options.ping_s)
            if trio.current_time() - self._heard_at > self._options.silence_s:
                raise Refused(Reason.CONN_DEADLINE, f"silent for {self._options.silence_s:g} s")
            self._control.append(encode(cm.Ping(0)))
            self._wake.set()


class _Asked:
    """A numbered request under way; no answer when the connection is lost first."""

    __slots__ = ("answer", "event")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.answer: cm.NumberedAnswer | None = None


def printable(text: str) -> str:
    """A member's words, fit for a log and a terminal (faults.md A19)."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:200])
