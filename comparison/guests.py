"""Clients that do what the library never does: `python -m comparison.guests WHAT SECONDS RATE HOME ...`.

overload: the admitted clients of these homes send valid envelopes, signed beforehand, RATE a second in all, to every
member, whatever is answered. forge: the client of the first home sends envelopes with invalid signatures as fast as a
member reads them, to every member. loris: to every client port RATE connections, and to every peer port a quarter of
that, each of which sends a byte of a TLS greeting a second and is opened again when it is closed.

Each prints `begun` when what it prepares is done, and at its end a report as JSON: `offered` (envelopes a member, or
connections), `answers`, `busy`, `rejected`, `hung_up`, and its own CPU seconds.
"""

import contextlib
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import trio

from bftnode.apps import kv
from bftnode.client.operations import application_operation
from bftnode.node.home import Home
from bftnode.node.identity import load_seed
from bftnode.protocol import client_messages as cm
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.protocol.genesis import Genesis, Member
from bftnode.protocol.transactions import TransactionBody, sign_transaction
from bftnode.tls.contexts import client_context
from bftnode.tls.stream import TlsStream
from comparison.failures import Failed
from comparison.loads import VALUE_BYTES

TICK_S = 0.02
"""An overload sends what is due so often."""
FORGED = 256
"""Envelopes that a forger has, sent again and again: nothing that is not valid is remembered."""
FORGED_FRAME = 64
VALID_UNTIL = 2**40
ENVELOPES_MAX = 60_000
"""Of one client of an overload: nonces further ahead would be rejected for that. Then it sends the same ones again."""
TLS_GREETING = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(497)
"""How a ClientHello of 508 bytes begins."""
BYTE_EVERY_S = 1.0
PEER_PART = 4
AGAIN_S = 0.1
"""Until a slow connection that was closed is opened again."""


@dataclass(slots=True)
class Seen:
    """What became of it."""

    offered: int = 0
    answers: int = 0
    busy: int = 0
    rejected: int = 0
    hung_up: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0

    def read(self, messages: Sequence[cm.ServerMessage]) -> None:
        for message in messages:
            if isinstance(message, cm.Nack):
                self.busy += message.code == str(Reason.BUSY)
            elif isinstance(message, cm.Reject):
                self.rejected += 1
            elif isinstance(message, cm.Ack):
                continue
            self.answers += 1


async def greet(member: Member, seed: bytes) -> TlsStream:
    """A connection with this key, admitted. Raises OSError, Refused, Failed."""
    host, _, port = member.client_address.rpartition(":")
    tcp = await trio.open_tcp_stream(host, int(port))
    stream = TlsStream(tcp.socket, client_context(cm.ALPN, [member.tls_certificate]), server_side=False)
    try:
        reader = FrameReader(cm.FRAME_BYTES_MAX)
        await stream.handshake()
        hello = await _first(stream, reader)
        if not isinstance(hello, cm.Hello):
            raise Failed(f"{member.name} greets with {hello}")
        await stream.send(join_frames([encode(cm.make_auth(hello, public_key_of(seed), signer(seed)))]))
        ready = await _first(stream, reader)
        if not isinstance(ready, cm.Ready):
            raise Failed(f"{member.name} does not admit this client: {ready}")
    except BaseException:
        stream.close()
        raise
    return stream


async def _first(stream: TlsStream, reader: FrameReader) -> cm.ServerMessage:
    while True:
        data = await stream.receive()
        if not data:
            raise Failed("a member hung up on a client that introduced itself")
        for frame in reader.feed(data):
            return cm.open_answers(frame)[0]


async def listen(stream: TlsStream, seen: Seen) -> None:
    """Until the member hangs up."""
    reader = FrameReader(cm.FRAME_BYTES_MAX)
    with contextlib.suppress(OSError, Refused):
        while data := await stream.receive():
            for frame in reader.feed(data):
                seen.read(cm.open_answers(frame))
    seen.hung_up += 1


def envelopes(genesis: Genesis, seed: bytes, count: int) -> list[bytes]:
    """Valid, each of one operation, with the nonces from 1 on."""
    chain_id, sign, public_key = genesis.membership().chain_id, signer(seed), public_key_of(seed)
    value, run = secrets.token_bytes(VALUE_BYTES), secrets.token_hex(4)
    made = []
    for nonce in range(1, count + 1):
        operation = application_operation(kv.put(b"guest/%s/%d" % (run.encode(), nonce), value))
        made.append(sign_transaction(TransactionBody(chain_id, public_key, nonce, VALID_UNTIL, (operation,)), sign).raw)
    return made


def spoilt(raw: bytes) -> bytes:
    """The same envelope with a signature of something else."""
    return raw[:-1] + bytes((raw[-1] ^ 1,))


# ---- what they do


async def overload(homes: Sequence[Home], rate: float, seconds: float, seen: Seen) -> None:
    genesis = homes[0].load_genesis()
    chunk = max(1, round(rate * TICK_S / len(homes)))
    frames: list[tuple[bytes, list[bytes]]] = []
    for home in homes:
        seed = load_seed(home.client_key_path)
        raws = envelopes(genesis, seed, min(round(seconds / TICK_S) * chunk, ENVELOPES_MAX))
        cut = [tuple(raws[i : i + chunk]) for i in range(0, len(raws), chunk)]
        frames.append((seed, [join_frames([encode(cm.Submit(part))]) for part in cut]))
    print("begun", flush=True)
    sent = [0] * len(genesis.members)

    async def send(number: int, seed: bytes, mine: Sequence[bytes]) -> None:
        stream = await greet(genesis.members[number], seed)
        try:
            nursery.start_soon(listen, stream, seen)
            with contextlib.suppress(OSError):
                began = trio.current_time()
                for place, frame in enumerate(cycle(mine)):
                    await trio.sleep_until(began + place * TICK_S)
                    await stream.send(frame)
                    sent[number] += chunk
            await trio.sleep_forever()  # its answers are still read
        finally:
            stream.close()

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for seed, mine in frames:
                for number in range(len(genesis.members)):
                    nursery.start_soon(send, number, seed, mine)
    seen.offered = sum(sent) // len(sent)


async def forge(homes: Sequence[Home], _rate: float, seconds: float, seen: Seen) -> None:
    genesis, seed = homes[0].load_genesis(), load_seed(homes[0].client_key_path)
    raws = [spoilt(raw) for raw in envelopes(genesis, seed, FORGED)]
    cut = [tuple(raws[i : i + FORGED_FRAME]) for i in range(0, FORGED, FORGED_FRAME)]
    frames = [join_frames([encode(cm.Submit(part))]) for part in cut]
    print("begun", flush=True)
    sent = [0] * len(genesis.members)

    async def send(number: int) -> None:
        while True:
            with contextlib.suppress(OSError, Failed, Refused):
                stream = await greet(genesis.members[number], seed)
                try:
                    nursery.start_soon(listen, stream, seen)
                    for frame in cycle(frames):
                        await stream.send(frame)
                        sent[number] += FORGED_FRAME
                finally:
                    stream.close()
            await trio.sleep(AGAIN_S)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(len(genesis.members)):
                nursery.start_soon(send, number)
    seen.offered = sum(sent) // len(sent)


async def loris(homes: Sequence[Home], rate: float, seconds: float, seen: Seen) -> None:
    genesis = homes[0].load_genesis()
    print("begun", flush=True)

    async def drip(address: str) -> None:
        host, _, port = address.rpartition(":")
        while True:
            with contextlib.suppress(OSError, trio.BrokenResourceError):
                async with await trio.open_tcp_stream(host, int(port)) as stream:
                    seen.offered += 1
                    for i in range(len(TLS_GREETING)):
                        await stream.send_all(TLS_GREETING[i : i + 1])
                        await trio.sleep(BYTE_EVERY_S)
            seen.hung_up += 1
            await trio.sleep(AGAIN_S)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for member in genesis.members:
                for _ in range(round(rate)):
                    nursery.start_soon(drip, member.client_address)
                for _ in range(round(rate) // PEER_PART):
                    nursery.start_soon(drip, member.peer_address)


WHAT = {"overload": overload, "forge": forge, "loris": loris}


def main(what: str, seconds: str, rate: str, *homes: str) -> None:
    seen = Seen()
    began = time.monotonic()
    trio.run(WHAT[what], [Home(Path(home)) for home in homes], float(rate), float(seconds), seen)
    seen.seconds, seen.cpu_s = time.monotonic() - began, time.process_time()
    print(json.dumps(asdict(seen)))


if __name__ == "__main__":
    main(*sys.argv[1:])
