"""One client's connection: the greeting, a reader that acts, a writer that empties the outbox, and how it ends.

The path of every envelope and every answer, so per message there is no task, timer or scope: a frame of envelopes
is one call of the backend, and all answers that are queued when the writer comes round are one write. Deadlines are
judged from outside by `overdue`, once a second for all connections.

Whatever goes wrong here ends this connection and no other (faults.md T08): what the client did wrong is said in an
ERROR frame first, what we did wrong is logged with its traceback.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, assert_never, get_args

import trio

from bftnode.api.backend import Backend
from bftnode.api.budgets import Budgets
from bftnode.api.complaints import Complaints
from bftnode.api.limits import ApiLimits
from bftnode.protocol import client_messages as cm
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT
from bftnode.tls.contexts import refusal_of
from bftnode.tls.stream import TlsStream

INLINE_BYTES = 16 * 1024
"""More answers than this are encrypted and written by the connection's own task: the loop has other things to do."""

DISCARDED_BYTES_MAX = 1024 * 1024
"""Read, and not looked at, of a client that has been told to go; then the connection is closed."""

REQUESTS_OF_ROLE: dict[int, frozenset[type]] = {
    # Decision 006: whoever may submit may read and ask for status. A role that is not here may ask nothing.
    CLIENT: frozenset(get_args(cm.Request)),
    ADMINISTRATOR: frozenset(get_args(cm.Request)),
}

_BUSY = str(Reason.BUSY)


class Service(NamedTuple):
    """What all connections of one server share."""

    chain_id: bytes
    member: int
    backend: Backend
    limits: ApiLimits
    complaints: Complaints
    rejected: Budgets  # of client keys
    admit: Callable[["Connection"], None]
    """Called when the client has shown its key. Raises Refused(BUSY | CLIENT_LIMIT)."""


class Connection:
    """`serve` it once. It is the `Subscriber` of what its client submitted."""

    def __init__(self, service: Service, stream: TlsStream, address: str) -> None:
        self.address = address
        self.client: bytes | None = None
        self.frames_in = 0
        self.envelopes_in = 0
        self.answers_out = 0
        self._service = service
        self._backend = service.backend
        self._limits = service.limits
        self._stream = stream
        self._reader = FrameReader(cm.FRAME_BYTES_MAX)
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0  # queued and being written
        self._wake = trio.Event()
        self._writer_idle = False
        self._gone = False  # nothing is queued any more
        self._parting = False  # the outbox is emptied, then the connection ends
        self._scope = trio.CancelScope()
        self._outstanding: set[bytes] = set()  # ids that will still be answered; only membership matters
        self._requests = 0
        self._heard_at = trio.current_time()
        self._frame_since: float | None = None  # a frame has begun and is not complete

    # Subscriber

    def deliver(self, answers: Sequence[bytes], *, now: bool = False) -> None:
        if self._gone or self._parting:
            return
        outstanding = self._outstanding
        for answer in answers:
            if cm.answer_tag(answer) in cm.FINAL_TAGS:
                outstanding.discard(cm.answer_transaction(answer))
        self.answers_out += len(answers)
        self._queue(answers, now=now)

    # The server

    def overdue(self, now: float) -> Refused | None:
        """Why this connection has had its time, or None."""
        if now - self._heard_at > self._limits.idle_deadline_s:
            return Refused(Reason.CONN_DEADLINE, f"no request in {self._limits.idle_deadline_s:g} s")
        if self._frame_since is not None and now - self._frame_since > self._limits.frame_deadline_s:
            return Refused(Reason.CONN_DEADLINE, f"a frame took over {self._limits.frame_deadline_s:g} s")
        return None

    def end(self, refused: Refused) -> None:
        """Close now, without a parting word: the client reads nothing, or nobody is there."""
        if not self._gone:
            self._complain(refused)
            self._gone = True
            self._scope.cancel()

    async def serve(self) -> None:
        """Until the client leaves, misbehaves or is ended. Raises nothing but trio.Cancelled."""
        try:
            with self._scope:
                await self._converse()
        except Exception as error:  # the supervisor of this connection: our own mistakes end here
            self._service.complaints.crashed(trio.current_time(), self.address, error)
        finally:
            self._gone = True
            if self.client is not None:
                self._backend.forget(self)
            self._stream.close()

    async def _converse(self) -> None:
        try:
            with trio.fail_after(self._limits.greeting_deadline_s):
                await self._greet()
        except trio.TooSlowError:
            seconds = f"{self._limits.greeting_deadline_s:g} s"
            self._complain(Refused(Reason.CONN_DEADLINE, f"not introduced within {seconds}"))
            return
        except Refused as refused:
            await self._part_early(refused)
            return
        except OSError as error:
            self._complain(refusal_of(error))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            fault = await self._read(nursery)
            if fault is None:
                nursery.cancel_scope.cancel()
                return
            self._complain(fault)
            # The writer ends the nursery when the client has been told, or the client hangs up, or time is up.
            nursery.cancel_scope.deadline = trio.current_time() + self._limits.parting_s
            self._queue([encode(_error(fault))])
            self._parting = True
            self._wake.set()
            await self._discard()
            nursery.cancel_scope.cancel()

    # The greeting

    async def _greet(self) -> None:
        """TLS, HELLO, AUTH, READY. Raises Refused, OSError."""
        service = self._service
        await self._stream.handshake()
        if self._stream.tls.selected_alpn_protocol() != cm.ALPN:
            raise Refused(Reason.HANDSHAKE, f"did not offer the protocol {cm.ALPN}")
        hello = cm.Hello(cm.VERSION, service.chain_id, service.member, secrets.token_bytes(32))
        await self._stream.send(join_frames([cm.pack_messages([hello])]))
        auth = cm.open_auth(await self._first_frame())
        # In this order: what is cheap to refuse comes before a signature's 60 microseconds (P32).
        if auth.chain_id == service.chain_id and not self._backend.client_role(auth.client):
            raise Refused(Reason.AUTH_UNKNOWN_KEY, "no administrator has admitted this key")
        wait_s = service.rejected.wait_s(auth.client, trio.current_time())
        if wait_s:
            raise Refused(Reason.CLIENT_LIMIT, f"too much of this key was rejected; come back in {wait_s:.0f} s")
        cm.check_auth(auth, hello, verify)
        self.client = auth.client
        try:
            service.admit(self)
        except Refused:
            self.client = None
            raise
        ready = cm.Ready(
            self._backend.client_role(auth.client), self._backend.height(), self._backend.highest_nonce(auth.client)
        )
        self._queue([encode(ready)])
        self._heard_at = trio.current_time()

    async def _first_frame(self) -> bytes:
        """Nothing may follow an AUTH before READY, so what comes with it is a fault. Raises Refused, OSError."""
        reader = FrameReader(cm.GREETING_BYTES_MAX)
        while True:
            data = await self._stream.receive()
            if not data:
                raise Refused(Reason.CONN_LOST, "left before it introduced itself")
            frames = reader.feed(data)
            if len(frames) > 1:
                raise Refused(Reason.UNEXPECTED, "requests before READY")
            if frames:
                return frames[0]

    async def _part_early(self, refused: Refused) -> None:
        """Say why, if the client will hear it, and close."""
        self._complain(refused)
        if refused.reason is Reason.CONN_LOST:
            return
        with trio.move_on_after(self._limits.parting_s):
            try:
                await self._stream.send(join_frames([cm.pack_messages([_error(refused)])]))
                self._stream.send_eof()
            except OSError:
                return
            await self._discard()

    # Reading

    async def _read(self, nursery: trio.Nursery) -> Refused | None:
        """Serve requests until the client leaves (None) or one of its frames is refused."""
        stream, reader = self._stream, self._reader
        while True:
            try:
                data = await stream.receive()
            except OSError:
                return None
            if not data:
                return None
            try:
                frames = reader.feed(data)
                for frame in frames:
                    await self._act(cm.open_request(frame), nursery)
            except Refused as refused:
                return refused
            now = trio.current_time()
            if frames:
                self._heard_at, self._frame_since = now, None
                self.frames_in += len(frames)
            elif self._frame_since is None:
                self._frame_since = now

    async def _discard(self) -> None:
        """Read what still comes until the client hangs up: unread input would make the kernel discard our last word.
        Who sends without end need not hear it."""
        left = DISCARDED_BYTES_MAX
        try:
            while left > 0 and (data := await self._stream.receive()):
                left -= len(data)
        except OSError:
            return

    async def _act(self, request: cm.Request, nursery: trio.Nursery) -> None:
        """Raises Refused for what ends the connection; what ends only the request is answered."""
        assert self.client is not None, "requests are read after AUTH"
        role = self._backend.client_role(self.client)
        if not role:
            raise Refused(Reason.AUTH_UNKNOWN_KEY, "an administrator has removed this key")
        if type(request) not in REQUESTS_OF_ROLE.get(role, frozenset()):
            raise Refused(Reason.TX_DENIED, "not a request of this role")
        match request:
            case cm.Submit():
                await self._submit(request.envelopes)
            case cm.Wait():
                await self._wait(request.transactions)
            case cm.Ping():
                self._queue([encode(cm.Pong(request.request, self._backend.height()))])
            case cm.GetStatus():
                self._queue([encode(cm.StatusValue(request.request, self._backend.status()))])
            case cm.Query():
                self._start(nursery, request.request, partial(self._query, request))
            case cm.GetEntries():
                self._start(nursery, request.request, partial(self._entries, request))
            case cm.GetReceipt():
                self._start(nursery, request.request, partial(self._receipt, request))
            case cm.GetCheckpoint():
                self._start(nursery, request.request, partial(self._checkpoint, request))
            case cm.GetInclusion():
                self._start(nursery, request.request, partial(self._inclusion, request))
            case cm.GetConsistency():
                self._start(nursery, request.request, partial(self._consistency, request))
            case cm.GetBlock():
                self._start(nursery, request.request, partial(self._block, request))
            case cm.KeepPayload():
                self._start(nursery, request.request, partial(self._keep_payload, request))
            case cm.GetPayload():
                self._start(nursery, request.request, partial(self._payload, request))
            case _:
                assert_never(request)

    async def _submit(self, envelopes: Sequence[bytes]) -> None:
        self.envelopes_in += len(envelopes)
        ids = [cm.envelope_id(raw) for raw in envelopes]
        room = self._take_room(ids)
        if room < len(ids):
            self._queue([encode(cm.Nack(name, _BUSY)) for name in ids[room:]])
            envelopes = envelopes[:room]
        if not envelopes:
            return
        try:
            rejected = await self._backend.submit(envelopes, ids[:room], self)
        except Refused as refused:
            if refused.reason is Reason.TX_SIGNATURE:
                self._charge(self._limits.forgery_cost)
            raise
        if rejected:
            # Nothing more is read of this client until its budget allows; what it is owed leaves meanwhile.
            await trio.sleep(self._charge(rejected))

    def _charge(self, rejected: int) -> float:
        """To this client's budget; how long it has to wait."""
        assert self.client is not None, "requests are read after AUTH"
        return self._service.rejected.spend(self.client, rejected, trio.current_time())

    async def _wait(self, transactions: Sequence[bytes]) -> None:
        room = self._take_room(transactions)
        if room < len(transactions):
            self._queue([encode(cm.Nack(name, _BUSY)) for name in transactions[room:]])
            transactions = transactions[:room]
        if transactions:
            await self._backend.wait(transactions, self)

    def _take_room(self, ids: Sequence[bytes]) -> int:
        """Note the ids that will be answered; how many, from the first on, have room."""
        outstanding = self._outstanding
        free = self._limits.outstanding_max - len(outstanding)
        if len(ids) <= free:
            outstanding.update(ids)
            return len(ids)
        for count, name in enumerate(ids):
            if name not in outstanding:
                if not free:
                    return count
                free -= 1
                outstanding.add(name)
        return len(ids)

    # Numbered requests: each its own task, because it may wait for the disk or for a height

    def _start(self, nursery: trio.Nursery, number: int, work: Callable[[], Awaitable[cm.NumberedAnswer]]) -> None:
        if self._requests >= self._limits.requests_max:
            self._queue([encode(cm.Refusal(number, _BUSY, "too many requests at once on this connection"))])
            return
        self._requests += 1
        nursery.start_soon(self._work, number, work)

    async def _work(self, number: int, work: Callable[[], Awaitable[cm.NumberedAnswer]]) -> None:
        try:
            answer = await work()
        except Refused as refused:
            answer = cm.Refusal(number, str(refused.reason), refused.detail[:512])
        finally:
            self._requests -= 1
        self._queue([encode(answer)])

    async def _query(self, request: cm.Query) -> cm.NumberedAnswer:
        wait_s = min(request.wait_ms / 1000, self._limits.query_wait_s_max)
        height, value = await self._backend.query(request.query, request.min_height, wait_s)
        return cm.QueryValue(request.request, height, value)

    async def _entries(self, request: cm.GetEntries) -> cm.NumberedAnswer:
        log_size, entries = await self._backend.entries(request.first, request.limit)
        return cm.Entries(request.request, log_size, tuple(entries))

    async def _receipt(self, request: cm.GetReceipt) -> cm.NumberedAnswer:
        return cm.ReceiptValue(request.request, await self._backend.receipt(request.index))

    async def _checkpoint(self, request: cm.GetCheckpoint) -> cm.NumberedAnswer:
        wait_s = min(request.wait_ms / 1000, self._limits.query_wait_s_max)
        return cm.CheckpointValue(request.request, await self._backend.checkpoint(request.size, wait_s))

    async def _inclusion(self, request: cm.GetInclusion) -> cm.NumberedAnswer:
        path = await self._backend.inclusion(request.index, request.size)
        return cm.ProofValue(request.request, tuple(path))

    async def _consistency(self, request: cm.GetConsistency) -> cm.NumberedAnswer:
        return cm.ProofValue(request.request, tuple(await self._backend.consistency(request.old, request.new)))

    async def _block(self, request: cm.GetBlock) -> cm.NumberedAnswer:
        header, payload, certificate = await self._backend.block(request.seq)
        return cm.BlockValue(request.request, header, payload, certificate)

    async def _keep_payload(self, request: cm.KeepPayload) -> cm.NumberedAnswer:
        wait_s = self._limits.query_wait_s_max
        await self._backend.keep_payload(request.record, request.salt, request.payload, request.min_height, wait_s)
        return cm.PayloadKept(request.request)

    async def _payload(self, request: cm.GetPayload) -> cm.NumberedAnswer:
        return cm.PayloadValue(request.request, *await self._backend.payload(request.record))

    # Writing

    def _queue(self, answers: Sequence[bytes], *, now: bool = False) -> None:
        """Into the outbox; a client that lets it fill up is disconnected (faults.md A18)."""
        if self._gone or self._parting:
            return
        size = sum(map(len, answers))
        if self._outbox_bytes + size > self._limits.outbox_bytes_max:
            self.end(Refused(Reason.BUSY, f"{self._outbox_bytes} bytes of answers are unread"))
            return
        self._outbox_bytes += size
        self._outbox.extend(answers)
        if now and self._writer_idle and self._outbox_bytes <= INLINE_BYTES and self._send_now():
            return
        self._wake.set()

    def _send_now(self) -> bool:
        """Write what is queued if the kernel takes all of it, which spares a task's turn."""
        answers, self._outbox = self._outbox, []
        self._outbox_bytes = 0
        self._writer_idle = self._stream.send_now(join_frames(cm.pack_answers(answers)))
        return self._writer_idle

    async def _write(self, scope: trio.CancelScope) -> None:
        """Everything that is queued as one write, again and again."""
        try:
            while True:
                self._writer_idle = True
                await self._wake.wait()
                self._writer_idle = False
                await self._stream.send(b"")  # what `_send_now` left
                while answers := self._outbox:
                    self._outbox = []
                    size = sum(map(len, answers))
                    for frame in cm.pack_answers(answers):
                        await self._stream.send(join_frames([frame]))
                    self._outbox_bytes -= size
                self._wake = trio.Event()
                if self._parting:
                    self._stream.send_eof()  # the client hangs up when it has read this
                    return
        except OSError:
            scope.cancel()  # the client is gone; the reader may not notice

    def _complain(self, refused: Refused) -> None:
        self._service.complaints.refused(trio.current_time(), self.address, refused, self.client)


def _error(refused: Refused) -> cm.Error:
    return cm.Error(str(refused.reason), refused.detail[:512])
