"""The door to the world: bytes of HTTP to the server of tiles and of a witness, as they come over a connection."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import trio
import trio.testing

from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog.tiles import Tile
from bftnode.web.server import Request, Response, WebLimits, WebServer
from bftnode.web.tiles import Tiles
from bftnode.web.witness import Record, WitnessDoor
from nights.fuzz import texts
from nights.fuzz.cluster import checkpoint_signer, sign_note_again, signed_note
from nights.fuzz.oracle import Target, holds
from nights.fuzz.targets.files import folder
from nights.fuzz.targets.logs import LOGS, ROOT, SIZE, TILE, requests_to_witness

LIMITS = WebLimits(head_bytes_max=2048, body_bytes_max=3000, idle_s=60.0, request_s=60.0)

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_LENGTH = re.compile(rb"(?i)(content-length: )[0-9]+")


class Log:
    """The one tile of a small log (web.tiles.TileSource)."""

    async def newest_checkpoint(self) -> bytes:
        return signed_note(SIZE, ROOT)

    async def tile(self, tile: Tile) -> bytes:
        if tile != Tile(0, 0, SIZE):
            raise Refused(Reason.NOT_FOUND, "not a tile of this log")
        return TILE


class OneConnection(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """A listener to which one client comes."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream: trio.abc.HalfCloseableStream | None = stream

    async def accept(self) -> trio.abc.HalfCloseableStream:
        if self._stream is None:
            await trio.sleep_forever()
        stream, self._stream = self._stream, None
        assert stream is not None, "it came once"
        return stream

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def check_conversation(data: bytes) -> bool:
    """Whatever comes, what goes is answers in HTTP, and the server is there for the next one."""
    directory = Path(folder(), "witness")
    for file in directory.glob("*"):
        file.unlink()
    door = WitnessDoor(LOGS, Record(directory), lambda checkpoint: checkpoint_signer(1).witness(checkpoint, 9))
    tiles = Tiles(Log())

    async def answer(request: Request) -> Response:
        response = await (door(request) if door.serves(request) else tiles(request))
        holds(response.status < 500, "a witness can write", repr(response.body[:80]))
        return response

    sent = trio.run(_conversation, WebServer(answer, LIMITS), data)
    holds(not sent or _STATUS.match(sent), "an answer is HTTP", repr(sent[:40]))
    return b"200" in _STATUS.findall(sent)


async def _conversation(server: WebServer, data: bytes) -> bytes:
    ours, theirs = trio.testing.memory_stream_pair()
    sent = b""
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [OneConnection(theirs)])
        await ours.send_all(data)
        await ours.send_eof()
        while chunk := await ours.receive_some():
            sent += chunk
        await ours.aclose()
        nursery.cancel_scope.cancel()
    holds(server.connections == 0, "a connection ends", f"{server.connections} are left")
    return sent


def seeds_of_conversations() -> list[bytes]:
    bodies = [seed[1:] for seed in requests_to_witness()]
    origin = next(iter(LOGS))
    name = hashlib.sha256(origin.encode()).hexdigest()
    head = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
    post = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
    posts = [post % (len(body), body) for body in bodies]
    return [
        head % b"checkpoint",
        head % Tile(0, 0, SIZE).path.encode() + head % b"tile/0/001",
        head.replace(b"GET", b"HEAD") % b"checkpoint?x=1",
        *posts,
        posts[0] + posts[0],
        posts[0] + head % f"{name}/checkpoint".encode(),
        b"PUT" + posts[0][4:],
        head % f"{name}/checkpoint".encode(),
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nold ",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nold \r\n0\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n" + bytes(4000),
        b"POST /checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        head.replace(b"GET", b"PUT") % f"{name}/checkpoint".encode(),
        head % b"%b/checkpoint" % (b"0" * 64),
        b"GET / HTTP/1.0\r\n\r\n",
    ]


def _with_length(text: bytes, dice: Random) -> bytes:
    """The body's signatures again, and its length as it is."""
    head, blank, body = text.partition(b"\r\n\r\n")
    if dice.random() < 0.5:
        body = sign_note_again(body, dice)
    return _LENGTH.sub(rb"\g<1>%d" % len(body), head) + blank + body


_mutate: Callable[[bytes, Random], bytes] = texts.mutator(_with_length, seeds_of_conversations)

TARGETS = (
    Target(
        "http",
        "a connection to the server of tiles and of a witness, whose record is on a disk",
        check_conversation,
        seeds_of_conversations,
        _mutate,
    ),
)
