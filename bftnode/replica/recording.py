"""What a replica was told, written down so that it can be told again, bit for bit: the format, and nothing that writes.

A recording is of one life: what the member woke up with, then each turn's events with their time, the signatures that
it made and, of each step's effects, a digest and their kinds. `step` is a function, so that is all there is to it. No
key is in it: a signature that was made is recorded as it was made, and given back where the same one is asked for.

A record is its length and its checksum, four bytes each, and a msgpack value. The first says who and with what code,
the second what was woken up with, the others are turns. What breaks off at the end of a file is of no use to anybody:
its writer was killed. docs/operations.md, "Recording a member".
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from bftnode.protocol.blocks import Packed, genesis_block, open_block, pack_block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import UInt, Wire, encode
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.errors import Refused
from bftnode.protocol.merkle import Frontier
from bftnode.protocol.nonces import ClientRecord, ClientWindow
from bftnode.protocol.transactions import open_transaction
from bftnode.replica.effects import (
    Accuse,
    Answer,
    AppendBlock,
    Broadcast,
    DropBlocks,
    Effect,
    KeepCheckpoint,
    Note,
    Persist,
    ReadBlock,
    ReadRun,
    Send,
    StoreBlock,
)
from bftnode.replica.events import (
    BlockRead,
    Event,
    Executed,
    Linked,
    Now,
    Received,
    RunRead,
    Stopping,
    Submitted,
    Tick,
    Unlinked,
)
from bftnode.replica.recovery import Recovered

FORMAT = 1

ROOMS = ("protocol", "replica", "apps")
"""Whose code decides what a step does."""

PREFIX_BYTES = 8
DIGEST_BYTES = 16
"""Of SHA-256, which processors have an instruction for: three times as fast as others over a proposal."""

EVENTS: tuple[type, ...] = (*(Received, Linked, Submitted, Executed, RunRead, BlockRead, Tick, Stopping, Unlinked),)
"""An event is recorded under its place in here."""

EFFECTS: tuple[type, ...] = (
    *(Persist, StoreBlock, AppendBlock, DropBlocks, KeepCheckpoint, Send, Broadcast),
    *(ReadRun, ReadBlock, Answer, Accuse, Note),
)
"""An effect's kind is its place in here."""

_EVENT_NUMBER = {kind: number for number, kind in enumerate(EVENTS)}
_EFFECT_NUMBER = {kind: number for number, kind in enumerate(EFFECTS)}

RAISED = b"\xff"
"""In place of a step's effects: it raised."""


class Unreadable(Exception):
    """Bytes that are no recording of ours."""


class Start(Wire, frozen=True):
    """The first record: whose life it is, and what else it depends on. Fields that this format has are never changed:
    what is changed has another `format`, which is read first."""

    format: UInt
    version: str  # of bftnode, for people
    code: bytes  # code_digest of what ran
    genesis: str
    member: UInt
    timing: dict[str, int]
    began_ms: UInt  # wall clock


class Woke(Wire, frozen=True):
    """The second record: Recovered, and when. `head` is None at height 0."""

    monotonic_ms: UInt
    wall_ms: UInt
    head: Packed | None
    size: UInt  # of the log, in leaves
    peaks: tuple[bytes, ...]
    certificate: Certificate | None
    journal: tuple[tuple[str, bytes], ...]
    blocks: tuple[Packed, ...]
    clients: tuple[tuple[bytes, ClientRecord], ...]


class Step(NamedTuple):
    """An event and what followed: b"" if nothing did, RAISED, or a digest and the kinds of the effects."""

    event: Event
    seal: bytes


class RecordedTurn(NamedTuple):
    """Steps of one moment, and the signatures that they made, in order."""

    now: Now
    steps: tuple[Step, ...]
    signatures: tuple[bytes, ...]


# ---- writing


def code_digest(sources: Iterable[tuple[str, bytes]]) -> bytes:
    """Of (path below bftnode/, bytes) of each Python file of ROOMS, in any order."""
    digest = hashlib.blake2b(digest_size=32)
    for path, source in sorted(sources):
        digest.update(encode((path.encode(), source)))
    return digest.digest()


def woke(recovered: Recovered, now: Now) -> Woke:
    """Taken before a replica is made of it, which goes on to use some of its parts."""
    return Woke(
        now.monotonic_ms,
        now.wall_ms,
        pack_block(recovered.head) if recovered.head.seq else None,
        recovered.frontier.size,
        recovered.frontier.peaks,
        recovered.certificate,
        tuple(sorted(recovered.journal.items())),
        tuple(pack_block(block) for _, block in sorted(recovered.blocks.items())),
        tuple((client, window.record()) for client, window in recovered.clients.items()),
    )


def record_of(value: object) -> bytes:
    """The bytes of a record."""
    body = encode(value)
    return prefix_of(body) + body


def prefix_of(body: bytes) -> bytes:
    """Length and checksum."""
    return len(body).to_bytes(4, "big") + crc32(body).to_bytes(4, "big")


def turn_record(now: Now, steps: Sequence[tuple[Event, Sequence[Effect] | None]], signatures: Sequence[bytes]) -> bytes:
    """The record of a turn. Effects are None where the step raised."""
    recorded = [
        (_EVENT_NUMBER[type(event)], _plain(event), RAISED if effects is None else seal_of(effects))
        for event, effects in steps
    ]
    return record_of((now.monotonic_ms, now.wall_ms, recorded, signatures))


def _plain(event: Event) -> object:
    """Envelopes are their bytes; the rest is a tuple already."""
    return [item.raw for item in event.transactions] if type(event) is Submitted else event


def seal_of(effects: Sequence[Effect]) -> bytes:
    """A digest of all that effects ask for, and their kinds. A block is its hash, which its header and body have."""
    if not effects:
        return b""
    kinds = bytes([_EFFECT_NUMBER[type(effect)] for effect in effects])
    return hashlib.sha256(encode([_essence(effect) for effect in effects])).digest()[:DIGEST_BYTES] + kinds


def _essence(effect: Effect) -> object:
    if type(effect) is StoreBlock:
        return effect.block.hash
    if type(effect) is AppendBlock:
        return effect.block.hash, effect.certificate
    if type(effect) is Answer:
        return effect.transaction.id, effect.reason
    return effect


# ---- reading


def checked(prefix: bytes, body: bytes) -> bytes:
    """The value of a record. Raises Unreadable where its checksum is another."""
    if crc32(body).to_bytes(4, "big") != prefix[4:PREFIX_BYTES]:
        raise Unreadable("the checksum of a record does not match")
    return body


def size_of(prefix: bytes) -> int:
    """How many bytes follow a record's prefix."""
    return int.from_bytes(prefix[:4], "big")


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    read = msgspec.msgpack.Decoder(kind, strict=True).decode

    def opened(data: bytes) -> Any:
        try:
            return read(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable(f"a record is not what it should be: {error}") from None

    return opened


_any = _decoder(list[Any])
_start = _decoder(Start)
_woke = _decoder(Woke)
_turn = _decoder(tuple[UInt, UInt, tuple[tuple[int, Any, bytes], ...], tuple[bytes, ...]])


def open_start(data: bytes) -> Start:
    """Raises Unreadable, for another format with its number."""
    found = _any(data)
    if not found or found[0] != FORMAT:
        raise Unreadable(f"a recording of format {found[0] if found else 'none'}; this is format {FORMAT}")
    start: Start = _start(data)
    return start


def open_woke(data: bytes, chain_id: bytes) -> tuple[Recovered, Now]:
    """What a replica woke up with, afresh, and when. Raises Unreadable."""
    found: Woke = _woke(data)
    try:
        blocks = [open_block(item.header, item.payload) for item in found.blocks]
        head = open_block(found.head.header, found.head.payload) if found.head is not None else genesis_block(chain_id)
    except Refused as refused:
        raise Unreadable(f"a recorded block is none: {refused}") from None
    if found.size.bit_count() != len(found.peaks):
        raise Unreadable("the recorded edge of the log is none")
    recovered = Recovered(
        head,
        Frontier(found.size, found.peaks),
        found.certificate,
        dict(found.journal),
        {block.hash: block for block in blocks},
        {client: ClientWindow.load(record) for client, record in found.clients},
    )
    return recovered, Now(found.monotonic_ms, found.wall_ms)


def open_turn(data: bytes, chain_id: bytes) -> RecordedTurn:
    """Raises Unreadable."""
    monotonic_ms, wall_ms, steps, signatures = _turn(data)
    opened = tuple(Step(_event(number, plain, chain_id), seal) for number, plain, seal in steps)
    return RecordedTurn(Now(monotonic_ms, wall_ms), opened, signatures)


def _event(number: int, plain: Any, chain_id: bytes) -> Event:
    try:
        kind = EVENTS[number]
        if kind is Submitted:
            return Submitted(tuple(open_transaction(raw, chain_id) for raw in plain))
        event: Event = msgspec.convert(plain, kind, strict=True, builtin_types=(bytes,))
    except (msgspec.ValidationError, Refused, IndexError, TypeError) as error:
        raise Unreadable(f"a recorded event is none: {error}") from None
    return event


class Signatures:
    """Gives back the signatures that were recorded, in their order; zeros where more are asked for than there are,
    which the seals show."""

    def __init__(self) -> None:
        self._left: list[bytes] = []

    def expect(self, signatures: Sequence[bytes]) -> None:
        """Those of the next turn."""
        self._left = list(reversed(signatures))

    @property
    def left(self) -> int:
        """How many were not asked for."""
        return len(self._left)

    def sign(self, _message: bytes) -> bytes:
        """As a Signer."""
        return self._left.pop() if self._left else bytes(64)


def listening(sign: Signer, heard: Callable[[bytes], None]) -> Signer:
    """`sign`, which tells what it signed."""

    def signed(message: bytes) -> bytes:
        signature = sign(message)
        heard(signature)
        return signature

    return signed
