"""One authenticated connection: a reader, a writer, a bounded outbox between the node and the writer.

The path of every consensus message, so per message it costs an append and a slice: no task, timer, clock or
scope. The writer takes all that is queued and joins it into one write; deadlines are judged from outside, by
`check`, from the byte counters.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from bftnode.net.limits import NetLimits
from bftnode.protocol import limits as protocol_limits
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.tls.stream import WRITE_BYTES, TlsStream

Receive = Callable[[int, bytes], Awaitable[None] | None]
"""(member, frame): called for each frame, in order; what it returns is awaited, which holds up this peer only."""

INLINE_BYTES = 16 * 1024
"""More than this is encrypted and written by the link's own task: the loop has other things to do."""


class Link:
    """The life of a connection after its greeting. `run` it once; `send` from any task; `end` from anywhere."""

    def __init__(self, member: int, stream: TlsStream, limits: NetLimits, receive: Receive, valid_until: float) -> None:
        self.member = member
        self.since = time.time()  # for people; deadlines are monotonic
        self.frames_in = 0
        self.frames_out = 0
        self.dropped = 0
        self.ended: Refused | None = None
        self._stream = stream
        self._limits = limits
        self._receive = receive
        self._valid_until = valid_until
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._writer_idle = trio.lowlevel.ParkingLot()
        self._writing = False
        self.held = False  # frames gather until `release`
        self._delivering = False
        self._scope: trio.CancelScope | None = None
        # What `check` saw last, and when it was new.
        self._seen_in = self._seen_out = -1
        self._heard_at = self._moved_at = 0.0

    @property
    def bytes_in(self) -> int:
        return self._stream.bytes_in

    @property
    def bytes_out(self) -> int:
        return self._stream.bytes_out

    @property
    def queued_frames(self) -> int:
        return len(self._outbox)

    def round_trip_us(self) -> int | None:
        return self._stream.round_trip_us()

    def send(self, frame: bytes) -> int:
        """Queue one frame; never blocks. Returns how many older ones were dropped to make room."""
        size = len(frame)
        assert 0 < size <= protocol_limits.FRAME_BYTES_MAX
        outbox = self._outbox
        outbox.append(frame)
        self._outbox_bytes += size
        if not self.held and self._writer_idle:
            self._writer_idle.unpark()
        if self._outbox_bytes <= self._limits.outbox_bytes_max and len(outbox) <= self._limits.outbox_frames_max:
            return 0
        return self._make_room()

    def release(self) -> None:
        """Send what gathered while `held`: at once if the kernel takes it, which spares a task's turn; else as ever."""
        self.held = False
        if not self._outbox or not self._writer_idle:
            return
        if self._outbox_bytes <= INLINE_BYTES:
            batch, _ = self._take()
            if self._stream.send_now(join_frames(batch)):
                return
        self._writer_idle.unpark()

    def _take(self) -> tuple[list[bytes], int]:
        """The next write's frames, and their bytes."""
        batch: list[bytes] = []
        size = 0
        while self._outbox and size < WRITE_BYTES:
            frame = self._outbox.popleft()
            batch.append(frame)
            size += len(frame)
        self._outbox_bytes -= size
        self.frames_out += len(batch)  # before it is sent: the peer may have it before this task goes on
        return batch, size

    def _make_room(self) -> int:
        """Drop the oldest: of what a peer has not read yet, the newest says most about where we are."""
        dropped = 0
        while self._outbox_bytes > self._limits.outbox_bytes_max or len(self._outbox) > self._limits.outbox_frames_max:
            self._outbox_bytes -= len(self._outbox.popleft())
            dropped += 1
        self.dropped += dropped
        return dropped

    async def run(self, rest: bytes) -> None:
        """Until the connection ends or `end` is called; `rest` is what followed the peer's ACK.

        Raises what ended it: Refused, OSError, ssl.SSLError, or whatever `receive` raised.
        """
        failure: Exception | None = None

        async def write() -> None:
            nonlocal failure
            try:
                await self._write()
            except Exception as error:
                failure = failure or error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            if self.ended is not None:
                nursery.cancel_scope.cancel()
            nursery.start_soon(write)
            try:
                await self._read(rest)
            except Exception as error:
                failure = failure or error
            nursery.cancel_scope.cancel()
        # Kept out of the nursery, which would wrap them in groups.
        if self.ended is not None:
            raise self.ended
        if failure is not None:
            raise failure

    def end(self, refused: Refused) -> None:
        """Close the connection for this reason; the first one counts."""
        self.ended = self.ended or refused
        if self._scope is not None:
            self._scope.cancel()

    async def _read(self, rest: bytes) -> None:
        reader = FrameReader(protocol_limits.FRAME_BYTES_MAX)
        data = rest or await self._stream.receive()
        while data:
            for frame in reader.feed(data):
                self.frames_in += 1
                waiting = self._receive(self.member, frame)
                if waiting is not None:
                    self._delivering = True
                    await waiting
                    self._delivering = False
            data = await self._stream.receive()
        raise Refused(Reason.CONN_LOST, "closed by the peer")

    async def _write(self) -> None:
        while True:
            if not self._outbox and not self._stream.unsent:
                await self._writer_idle.park()
            self._writing = True
            await self._stream.send(b"")  # what `release` left
            while self._outbox:
                batch, _ = self._take()
                await self._stream.send(join_frames(batch))
            self._writing = False

    def check(self, now: float, wall: float) -> None:
        """End the link if a deadline has passed. `now` is monotonic, `wall` is seconds since 1970."""
        # While the node itself holds up the reader, silence is not the peer's fault.
        if self._stream.bytes_in != self._seen_in or self._delivering:
            self._seen_in = self._stream.bytes_in
            self._heard_at = now
        elif now - self._heard_at >= self._limits.read_idle_s:
            self.end(Refused(Reason.CONN_DEADLINE, f"nothing came for {self._limits.read_idle_s} s"))
        if self._stream.bytes_out != self._seen_out or not self._writing:
            self._seen_out = self._stream.bytes_out
            self._moved_at = now
        elif now - self._moved_at >= self._limits.write_stall_s:
            self.end(Refused(Reason.CONN_DEADLINE, f"took nothing for {self._limits.write_stall_s} s"))
        if wall > self._valid_until:
            self.end(Refused(Reason.TLS_EXPIRED, "the certificate ended while the link was up"))
