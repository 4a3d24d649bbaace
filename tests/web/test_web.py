"""The log over HTTP, with real connections: tiles that prove a log, bounds, and a witness that remembers."""

import hashlib
import http.client
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bftnode.node.outside import Log, OutsideWitnesses
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import consistency_proof, leaf_hash
from bftnode.protocol.tlog import cosignatures, notes
from bftnode.protocol.tlog.checkpoints import Checkpoint, parse_signed_checkpoint
from bftnode.protocol.tlog.notes import NoteSignature, VerifierKey
from bftnode.protocol.tlog.policy import Witness, check_checkpoint
from bftnode.protocol.tlog.tiles import ENTRIES, Tile, entry_bundle, hash_tile, node_reader, parse_entry_bundle
from bftnode.web.server import Handler, Request, Response, WebLimits, WebServer
from bftnode.web.tiles import Tiles
from bftnode.web.witness import Record, WitnessDoor
from tests.api.town import Ledger, Town
from tests.client.test_monitor import grow

HOST = "127.0.0.1"
WITNESS = VerifierKey("witness.example/w", cosignatures.ED25519, public_key_of(b"w" * 32))


@asynccontextmanager
async def serving(handler: Handler, limits: WebLimits | None = None) -> AsyncIterator[int]:
    """The port."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host=HOST)
            await nursery.start(WebServer(handler, limits or WebLimits()).serve, listeners)
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()


async def ask(
    port: int, path: str, method: str = "GET", body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    def work() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(HOST, port, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    return await trio.to_thread.run_sync(work)


class LedgerTiles:
    """What a node shows of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def newest_checkpoint(self) -> bytes:
        return self.ledger.checkpoint(None)

    async def tile(self, tile: Tile) -> bytes:
        size, first = len(self.ledger.entries), tile.index * 256
        if first + tile.width > size >> (8 * max(tile.level, 0)):
            raise Refused(Reason.NOT_FOUND, "beyond the log")
        if tile.level == ENTRIES:
            return entry_bundle([entry.envelope for entry in self.ledger.entries[first : first + tile.width]])
        return hash_tile(tile, self.ledger.node_at)


async def test_a_stranger_proves_the_log_by_its_tiles(town: Town) -> None:
    """Checkpoint by the policy, entries by their hashes, a consistency proof out of tiles; with headers for caches."""
    ledger = town.ledger()
    grow(ledger, *[b"%d" % i for i in range(6)])
    async with serving(Tiles(LedgerTiles(ledger))) as port:
        status, headers, note = await ask(port, "/checkpoint")
        assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert headers["Cache-Control"] == "public, max-age=1"
        checkpoint = check_checkpoint(note, town.genesis.policy()).checkpoint
        status, headers, bundle = await ask(port, f"/{Tile(ENTRIES, 0, 6).path}")
        assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
        assert "immutable" in headers["Cache-Control"]
        tile = (await ask(port, f"/{Tile(0, 0, 6).path}"))[2]
        assert b"".join(leaf_hash(entry) for entry in parse_entry_bundle(bundle)) == tile
        reader = node_reader(lambda wanted: {Tile(0, 0, 6): tile}[wanted], 6)
        assert consistency_proof(4, 6, reader) == consistency_proof(4, 6, ledger.node_at)
        assert checkpoint.size == 6
        assert (await ask(port, "/checkpoint", "HEAD"))[2] == b""


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/tile/0/000", "GET", 404),
        ("/tile/0/000.p/7", "GET", 404),
        ("/tile/0/0", "GET", 404),
        ("/tile/../checkpoint", "GET", 404),
        ("/tile/0/x001/x000/000", "GET", 404),
        ("/checkpoint", "DELETE", 405),
        ("/checkpoint", "POST", 405),
    ],
)
async def test_what_is_not_there_is_refused(town: Town, path: str, method: str, status: int) -> None:
    """In a sentence, and not to be kept by caches."""
    ledger = town.ledger()
    grow(ledger, b"a", b"b")
    async with serving(Tiles(LedgerTiles(ledger))) as port:
        found, headers, body = await ask(port, path, method)
        assert (found, headers["Cache-Control"]) == (status, "no-store")
        assert body.endswith(b"\n")


async def echo(request: Request) -> Response:
    return Response(200, request.body)


@pytest.mark.covers("A18")
async def test_bounds_end_one_connection_and_no_other() -> None:
    """Too many connections, too long heads and bodies, slow requests, junk: the next one is served."""
    limits = WebLimits(connections_max=2, head_bytes_max=2000, body_bytes_max=1000, idle_s=0.3, request_s=0.3)
    async with serving(echo, limits) as port:
        assert (await ask(port, "/", "POST", b"x" * 1000))[2] == b"x" * 1000
        assert (await ask(port, "/", "POST", b"x" * 1001))[0] == 413
        assert (await ask(port, "/" + "x" * 40_000))[0] == 431
        assert (await raw(port, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert await raw(port, b"") == b"", "says nothing: closed"
        assert await raw(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc") == b"", "stops midway"
        held = [await trio.open_tcp_stream(HOST, port) for _ in range(2)]
        async with await trio.open_tcp_stream(HOST, port) as extra:
            assert await gone(extra), "one too many"
        for stream in held:
            await stream.aclose()
        assert await eventually(lambda: ask(port, "/", "POST", b"still here"))


async def raw(port: int, data: bytes) -> bytes:
    """What is answered until the server hangs up."""
    stream = await trio.open_tcp_stream(HOST, port)
    async with stream:
        if data:
            await stream.send_all(data)
        answer = b""
        while more := await stream.receive_some():
            answer += more
        return answer


async def gone(stream: trio.SocketStream) -> bool:
    try:
        return not await stream.receive_some()
    except trio.BrokenResourceError:
        return True


async def eventually(act: Callable[[], Awaitable[tuple[int, dict[str, str], bytes]]]) -> bool:
    """The server notices closed connections in its own time."""
    with trio.fail_after(10):
        while True:
            try:
                return (await act())[0] == 200
            except OSError:
                await trio.lowlevel.checkpoint()


async def test_one_connection_serves_many_requests() -> None:
    """HTTP keep-alive, with and without bodies."""
    async with serving(echo) as port:

        def work() -> list[bytes]:
            connection = http.client.HTTPConnection(HOST, port, timeout=10)
            found = []
            for i in range(20):
                connection.request("POST", "/", b"%d" % i)
                found.append(connection.getresponse().read())
            connection.close()
            return found

        assert await trio.to_thread.run_sync(work) == [b"%d" % i for i in range(20)]


# A cluster, and a witness that is no member of it


def door_of(town: Town, directory: Path) -> WitnessDoor:
    keys = town.genesis.checkpoint_keys()
    return WitnessDoor(
        {keys.origin: keys.log_keys},
        Record(directory),
        lambda checkpoint: [cosignatures.cosign(checkpoint, WITNESS, 1_000_000, signer(b"w" * 32))],
    )


class Kept:
    """A ledger as the node's log, and what came from outside."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.kept: list[Cosigned] = []

    def newest(self) -> Cosigned | None:
        return self.ledger.cosigned(None)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...] | None:
        return tuple(consistency_proof(old, new, self.ledger.node_at)) if new <= len(self.ledger.entries) else None


async def asking(town: Town, kept: Kept, port: int) -> None:
    """One round, as a member that has just started and knows nothing of what the witness cosigned before."""
    witness = Witness("w", WITNESS, f"http://{HOST}:{port}")
    newest = kept.newest()
    assert newest is not None
    log = Log(kept.newest, kept.consistency, kept.kept.append)
    await OutsideWitnesses([witness], town.genesis.checkpoint_keys(), log, 1.0).ask(newest)


async def test_a_witness_cosigns_a_log_that_grows(town: Town, tmp_path: Path) -> None:
    """Its cosignature is in the note afterwards; it shows what it cosigned last; it remembers across restarts."""
    kept, keys = Kept(town.ledger()), town.genesis.checkpoint_keys()
    for size in (2, 5):
        grow(kept.ledger, *[b"%d" % i for i in range(size - len(kept.ledger.entries))])
        async with serving(door_of(town, tmp_path / "witness")) as port:
            await asking(town, kept, port)
            shown = await ask(port, f"/{name_of(keys.origin)}/checkpoint")
        note = keys.note(kept.kept[-1])
        checkpoint, parsed = parse_signed_checkpoint(note)
        lines = [one for one in parsed.signatures if WITNESS.made(one)]
        assert len(lines) == 1
        assert cosignatures.verify_cosignature(checkpoint, lines[0], WITNESS) == 1_000_000
        assert shown[0] == 200
        again, _ = parse_signed_checkpoint(shown[2])
        assert again == checkpoint == Checkpoint(keys.origin, size, checkpoint.root)


@pytest.mark.covers("X04", "O04")
async def test_a_witness_refuses_a_history_that_all_members_rewrote(town: Town, tmp_path: Path) -> None:
    """With all of their keys: every other check passes, for whoever remembers nothing. The witness remembers."""
    kept = Kept(town.ledger())
    grow(kept.ledger, b"a", b"b")
    async with serving(door_of(town, tmp_path / "witness")) as port:
        await asking(town, kept, port)
        for words in ((b"a", b"x"), (b"x", b"y", b"z"), (b"x",)):
            rewritten = Kept(town.ledger())
            grow(rewritten.ledger, *words)
            check_checkpoint(rewritten.ledger.checkpoint(None), town.genesis.policy())
            await asking(town, rewritten, port)
            assert not rewritten.kept
        grow(kept.ledger, b"c")
        await asking(town, kept, port)
        assert [one.log_size for one in kept.kept] == [2, 3], "the true history goes on"


async def test_a_witness_that_cannot_write_does_not_cosign(town: Town, tmp_path: Path) -> None:
    """What it said must be durable before it is said."""
    kept = Kept(town.ledger())
    grow(kept.ledger, b"a")
    directory = tmp_path / "witness"
    door = door_of(town, directory)
    directory.rmdir()
    async with serving(door) as port:
        await asking(town, kept, port)
    assert not kept.kept


async def test_a_witness_that_answers_junk_is_ignored(town: Town) -> None:
    """Another key's cosignature, or none."""
    kept = Kept(town.ledger())
    grow(kept.ledger, b"a")
    line = notes.signature_line(NoteSignature(WITNESS.name, WITNESS.key_id, bytes(72)))

    async def junk(request: Request) -> Response:
        return Response(200, line.encode())

    for handler in (junk, echo):
        async with serving(handler) as port:
            await asking(town, kept, port)
    assert not kept.kept


def name_of(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()
