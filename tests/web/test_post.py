"""A POST to somebody who lies: whatever comes back is an answer or an OSError, and soon."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from bftnode.node.outside import PATIENCE_S, Log, OutsideWitnesses
from bftnode.protocol.tlog.policy import Witness
from bftnode.web.post import ANSWER_BYTES_MAX, Answer, post
from tests.api.town import Town
from tests.client.test_monitor import grow
from tests.web.test_web import HOST, WITNESS, Kept

LIES = {
    "no status line": b"nonsense\r\n\r\n",
    "no number": b"HTTP/1.1 two hundred\r\n\r\n",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a refusal in no chunk": b"HTTP/1.1 409 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "a line without end": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "nothing": b"",
}


@asynccontextmanager
async def answering(raw: bytes) -> AsyncIterator[str]:
    """The URL of a server that says this, whatever it is asked."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        with suppress(trio.BrokenResourceError):  # who asked has heard enough
            await stream.send_all(raw)
        await stream.aclose()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host=HOST))
            yield f"http://{HOST}:{listeners[0].socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()


async def said(url: str) -> Answer:
    return await trio.to_thread.run_sync(post, url, b"x", "text/plain", 5.0)


@pytest.mark.covers("X04")
@pytest.mark.parametrize("lie", LIES)
async def test_what_is_no_http_is_an_os_error(lie: str) -> None:
    """Nothing else is raised: who asks a witness goes on."""
    async with answering(LIES[lie]) as url:
        with pytest.raises(OSError, match=r"."):
            await said(url)


async def test_an_answer_is_its_status_and_a_bounded_body() -> None:
    """Refusals, too."""
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * (2 * ANSWER_BYTES_MAX)) as url:
        assert await said(url) == (200, b"y" * ANSWER_BYTES_MAX)
    async with answering(b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n17") as url:
        assert await said(url) == (409, b"17")


async def test_nobody_sends_us_elsewhere(tmp_path: Path) -> None:
    """A redirection is a refusal; and a URL is one of HTTP."""
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as other:
        redirection = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % other.encode()
        async with answering(redirection) as url:
            assert await said(url) == (302, b"")
    for url in (tmp_path.as_uri(), "ftp://127.0.0.1/x", "witness.example", ""):
        with pytest.raises(OSError, match="http"):
            await said(url)


@pytest.mark.covers("X04")
async def test_a_witness_that_never_ends_holds_up_no_other(town: Town, mock_clock: trio.testing.MockClock) -> None:
    """Neither those that answer nor the next checkpoint; and it has one thread, however often it is asked."""
    kept = Kept(town.ledger())
    grow(kept.ledger, b"a")
    newest = kept.newest()
    assert newest is not None
    over, begun = threading.Event(), threading.Event()
    asked: list[str] = []
    heard = trio.Event()

    def answer(url: str, body: bytes) -> Answer:
        asked.append(url)
        if "slow" in url:
            begun.set()
            over.wait(60)
        else:
            trio.from_thread.run_sync(heard.set)
        return 500, b""

    witnesses = [Witness("slow", WITNESS, "http://slow"), Witness("quick", WITNESS, "http://quick")]
    log = Log(kept.newest, kept.consistency, kept.kept.append)
    outside = OutsideWitnesses(witnesses, town.genesis.checkpoint_keys(), log, 1.0, answer)
    try:
        for _ in range(3):
            heard = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outside.ask, newest)
                await heard.wait()
                mock_clock.jump(PATIENCE_S + 1)
        assert await trio.to_thread.run_sync(begun.wait, 30)
    finally:
        over.set()
    assert sorted(asked) == ["http://quick/add-checkpoint"] * 3 + ["http://slow/add-checkpoint"]
