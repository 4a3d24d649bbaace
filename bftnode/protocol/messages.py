"""Every message between replicas: its number, its signed body, what its unsigned payload is.

A new kind needs golden bytes in tests/vectors and a handler in the replica file that owns the sub-protocol;
`assert_never` in replica/core.py lists what still ignores it. Names are Castro and Liskov's where they have one.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from bftnode.protocol import limits, quorums
from bftnode.protocol.blocks import HEADER_BYTES_MAX, Packed
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote
from bftnode.protocol.codec import Hash32, UInt, Wire, decoder_of
from bftnode.protocol.cosigning import CosignatureValues
from bftnode.protocol.envelope import Frame
from bftnode.protocol.errors import Reason, Refused


class Kind(IntEnum):
    PRE_PREPARE = 1
    PREPARE = PREPARE
    COMMIT = COMMIT
    CHECKPOINT = 4
    VIEW_CHANGE = 5
    NEW_VIEW = 6
    STATUS = 7
    FETCH_RUN = 8
    RUN = 9
    FETCH_BLOCK = 10
    BLOCK = 11
    RELAY = 12
    EVIDENCE = 13
    FORK = 14
    COSIGNATURE = 15
    SLOW = 16


class PrePrepare(Wire, frozen=True):
    """A proposal. Payload: the block's envelopes (msgpack array of bin), which the header names by root."""

    epoch: UInt
    view: UInt
    header: Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)]


class Checkpoint(Wire, frozen=True):
    """What I executed: signed every `checkpoint_interval` blocks."""

    epoch: UInt
    seq: UInt
    block: Hash32
    log_size: UInt
    log_root: Hash32
    state_digest: Hash32


class ViewChange(Wire, frozen=True):
    """I have left every view below `view`; this is the highest certificate that I hold (None: the genesis)."""

    epoch: UInt
    view: UInt
    certificate: Certificate | None


class NewView(Wire, frozen=True):
    """q frames of VIEW-CHANGEs for exactly `view`, from distinct members, in ascending order of sender."""

    epoch: UInt
    view: UInt
    view_changes: Annotated[tuple[bytes, ...], Meta(max_length=quorums.MEMBERS_MAX)]


class Seen(Wire, frozen=True):
    """What the sender of a STATUS holds of a member: its highest nonce, and the view that it asked for last."""

    boot: UInt
    counter: UInt
    asked: UInt  # the view of its latest VIEW-CHANGE, if that is above or at the sender's view, else 0


class Status(Wire, frozen=True):
    """Where I am; peers answer with what I lack. `seen` lets a member find out that its disk was rolled back."""

    epoch: UInt
    view: UInt
    active: bool
    committed: UInt  # height of my last committed block
    tip: UInt  # height of the last block that I accepted in this view
    certified: UInt  # height of my highest certificate
    seen: Annotated[tuple[Seen, ...], Meta(max_length=quorums.MEMBERS_MAX)]  # one a member, by index


class FetchRun(Wire, frozen=True):
    """Send me committed blocks from height `first` to `last`, or the first of them: what is above is asked of others.

    The answer is longer only where no certificate is between: it ends with a certified block.
    """

    epoch: UInt
    first: UInt
    last: UInt


class Run(Wire, frozen=True):
    """Committed blocks [first, certificate.seq] in the payload (msgpack array of Packed)."""

    epoch: UInt
    first: UInt
    certificate: Certificate


class FetchBlock(Wire, frozen=True):
    """Send me the block of this hash, committed or not."""

    epoch: UInt
    block: Hash32


class BlockAnswer(Wire, frozen=True):
    """The block that was asked for. Payload: its envelopes."""

    epoch: UInt
    header: Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)]


class Relay(Wire, frozen=True):
    """Client envelopes that wait too long at the sender. Payload: msgpack array of bin."""

    epoch: UInt


class Accusation(Wire, frozen=True):
    """Two signed frames of one member that contradict each other (payloads removed).

    headers: where the frames are votes at two heights, the headers from the upper one's block down to the one above
    the lower one's height, which show that the blocks are of two branches; else none.
    """

    epoch: UInt
    first: Annotated[bytes, Meta(max_length=limits.EVIDENCE_BYTES_MAX)]
    second: Annotated[bytes, Meta(max_length=limits.EVIDENCE_BYTES_MAX)]
    headers: Annotated[
        tuple[Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)], ...], Meta(max_length=limits.EVIDENCE_HEADERS_MAX)
    ]


class ForkProof(Wire, frozen=True):
    """Two commit certificates that contradict each other, the lower one first, with the headers from the higher block
    down to the lower height (exclusive): a proof that more than f members lied (protocol/forks.py).

    Or one alone, of a sender that stopped and has no second one: it contradicts what the sender voted to commit (with
    the headers below its block, where they are at hand), or it is of the sender's own log, which a quorum's checkpoints
    contradict. It proves nothing by itself; whose log it contradicts has the second one.
    """

    epoch: UInt
    certificates: Annotated[tuple[Certificate, ...], Meta(min_length=1, max_length=2)]
    headers: Annotated[
        tuple[Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)], ...], Meta(max_length=limits.FORK_HEADERS_MAX)
    ]


class Cosignature(Wire, frozen=True):
    """My log keys' signatures over the checkpoint of the log after block `seq`, at that block's time (cosigning.py)."""

    epoch: UInt
    seq: UInt
    log_size: UInt
    log_root: Hash32
    cosignatures: CosignatureValues
    wanting: bool  # I have not seen a quorum of them: send me yours


class Slow(Wire, frozen=True):
    """The primary of `view` keeps those waiting whom it could serve, as I see it. It moves nobody alone."""

    epoch: UInt
    view: UInt


Body = (
    PrePrepare
    | Vote
    | Checkpoint
    | ViewChange
    | NewView
    | Status
    | FetchRun
    | Run
    | FetchBlock
    | BlockAnswer
    | Relay
    | Accusation
    | ForkProof
    | Cosignature
    | Slow
)

BODY_OF: dict[int, type[Body]] = {
    Kind.PRE_PREPARE: PrePrepare,
    Kind.PREPARE: Vote,
    Kind.COMMIT: Vote,
    Kind.CHECKPOINT: Checkpoint,
    Kind.VIEW_CHANGE: ViewChange,
    Kind.NEW_VIEW: NewView,
    Kind.STATUS: Status,
    Kind.FETCH_RUN: FetchRun,
    Kind.RUN: Run,
    Kind.FETCH_BLOCK: FetchBlock,
    Kind.BLOCK: BlockAnswer,
    Kind.RELAY: Relay,
    Kind.EVIDENCE: Accusation,
    Kind.FORK: ForkProof,
    Kind.COSIGNATURE: Cosignature,
    Kind.SLOW: Slow,
}

VOTES = frozenset((Kind.PREPARE, Kind.COMMIT))

KINDS_WITH_PAYLOAD = frozenset({Kind.PRE_PREPARE, Kind.RUN, Kind.BLOCK, Kind.RELAY})


_OPENERS: dict[int, Callable[[bytes], Body]] = {
    kind: decoder_of(body, limits.BODY_BYTES_MAX) for kind, body in BODY_OF.items()
}


def open_body(frame: Frame) -> Body:
    """The typed body of a frame. Raises Refused(CODEC_*)."""
    opener = _OPENERS.get(frame.kind)
    if opener is None:
        raise Refused(Reason.CODEC_UNKNOWN_KIND, f"kind {frame.kind}")
    if frame.payload and frame.kind not in KINDS_WITH_PAYLOAD:
        raise Refused(Reason.CODEC_MALFORMED, "a payload where none belongs")
    return opener(frame.body)


_open_blocks: Callable[[bytes], tuple[Packed, ...]] = decoder_of(tuple[Packed, ...], limits.FRAME_BYTES_MAX)


def open_run_payload(payload: bytes) -> tuple[Packed, ...]:
    """The blocks of a RUN. Raises Refused(CODEC_*)."""
    blocks: tuple[Packed, ...] = _open_blocks(payload)
    if not blocks:
        raise Refused(Reason.CODEC_MALFORMED, "an empty run")
    return blocks
