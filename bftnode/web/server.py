"""A small HTTP/1.1 server: bounded connections, bounded requests, deadlines; h11 knows the protocol.

No TLS, no compression, no ranges: it is for loopback or behind any web server, which has them. Whatever a client does
ends its own connection and no other.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import h11
import trio

RECEIVE_BYTES = 16 * 1024
PARTING_S = 1.0
"""For a client to read why it is refused, and hang up; then the connection is closed all the same."""
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
IMMUTABLE = "public, max-age=31536000, immutable"
BRIEFLY = "public, max-age=1"
"""For what changes every second: a cache in front may answer a crowd with one copy, and is at most a second behind."""
NEVER = "no-store"


@dataclass(frozen=True, slots=True)
class WebLimits:
    connections_max: int = 64  # one more is closed unheard
    head_bytes_max: int = 16 * 1024  # of a request, or one receive's worth; more is answered 431 and closed
    body_bytes_max: int = 256 * 1024  # of a request; more is answered 413 and closed
    idle_s: float = 30.0  # without a request on an open connection; then closed
    request_s: float = 10.0  # from a request's first byte to the last of its answer; then closed


class Request(NamedTuple):
    method: str
    path: str  # without its query
    body: bytes


class Response(NamedTuple):
    status: int
    body: bytes
    content_type: str = TEXT
    cache: str = NEVER


Handler = Callable[[Request], Awaitable[Response]]


def refusal(status: int, sentence: str) -> Response:
    return Response(status, sentence.encode("ascii", errors="replace") + b"\n")


class _TooLarge(Exception):
    """The body of a request."""


class WebServer:
    """`serve` it once. What `handler` raises ends the server: it answers everything itself."""

    def __init__(self, handler: Handler, limits: WebLimits) -> None:
        self._handler = handler
        self._limits = limits
        self.connections = 0
        self.requests = 0

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until cancelled; closes the listeners. Started when clients can connect."""
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._connection, list(listeners))
            task_status.started()

    async def _connection(self, stream: trio.SocketStream) -> None:
        if self.connections >= self._limits.connections_max:
            await trio.aclose_forcefully(stream)
            return
        self.connections += 1
        try:
            async with stream:
                await self._converse(stream)
                with trio.move_on_after(PARTING_S):
                    await stream.send_eof()
                    while await stream.receive_some(RECEIVE_BYTES):
                        pass  # unread input would make the kernel discard our last word
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.LocalProtocolError):
            pass  # the client is gone, or hung up in the middle of our answer
        finally:
            self.connections -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes_max)
        while True:
            with trio.move_on_after(self._limits.idle_s):
                await self._until_it_begins(http, stream)
                with trio.move_on_after(self._limits.request_s):
                    if await self._serve_one(http, stream):
                        http.start_next_cycle()
                        continue
            return

    @staticmethod
    async def _until_it_begins(http: h11.Connection, stream: trio.SocketStream) -> None:
        """A first byte, or the end, of the next request is there."""
        if not http.trailing_data[0]:
            http.receive_data(await stream.receive_some(RECEIVE_BYTES))

    async def _serve_one(self, http: h11.Connection, stream: trio.SocketStream) -> bool:
        """Whether another request may follow."""
        head_only = False
        try:
            request = await self._request(http, stream)
            if request is None:
                return False
            head_only = request.method == "HEAD"
            self.requests += 1
            response = await self._handler(request)
        except h11.RemoteProtocolError as error:
            response = refusal(error.error_status_hint, "not a request that is served here")
        except _TooLarge:
            response = refusal(413, f"a body is at most {self._limits.body_bytes_max} bytes")
        if not self._may_answer(http):
            return False
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", response.cache),
            ("X-Content-Type-Options", "nosniff"),
        ]
        out = http.send(h11.Response(status_code=response.status, headers=headers)) or b""
        if not head_only:
            out += http.send(h11.Data(data=response.body)) or b""
        out += http.send(h11.EndOfMessage()) or b""
        await stream.send_all(out)
        states: tuple[object, object] = (http.our_state, http.their_state)
        return states == (h11.DONE, h11.DONE)

    @staticmethod
    def _may_answer(http: h11.Connection) -> bool:
        return http.our_state in {h11.IDLE, h11.SEND_RESPONSE}

    async def _request(self, http: h11.Connection, stream: trio.SocketStream) -> Request | None:
        """The next whole request; None: the client left. Raises h11.RemoteProtocolError, _TooLarge."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                if http.they_are_waiting_for_100_continue:
                    await stream.send_all(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                http.receive_data(await stream.receive_some(RECEIVE_BYTES))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._limits.body_bytes_max:
                    raise _TooLarge
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                target = head.target.decode("ascii")
                return Request(head.method.decode("ascii"), target.partition("?")[0], body)
            else:
                return None
