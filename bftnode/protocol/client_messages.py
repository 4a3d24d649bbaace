"""What clients and a node say to each other: the words and their bytes. Pure.

Over TLS 1.3 with the node's pinned certificate (ALPN `ALPN`), in frames of framing.py. The node speaks first: HELLO
with a challenge; the client answers AUTH, its key's signature over the challenge; the node says READY, or ERROR with
a reason and closes. After it, a client's frame is one request, and a node's frame is an array of many answers, so
that thousands of answers cost one frame, one write and one read.

An envelope's answers carry its transaction id, which the client knows before it sends (docs/protocol.md,
"Transactions"): ACK (in custody here), NACK (not now: send it again), REJECT (never), RESULT (executed) or FORGOTTEN
(executed so long ago that its result is not kept). An envelope that is not signed by the client that it names ends the
connection that brought it: whoever passes on others' envelopes checks them first. Other requests carry a number of the
client's choice, which the one answer repeats. A single node's answer proves nothing: docs/protocol.md, "Transactions",
on f+1.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

from msgspec import Meta

from bftnode.protocol import limits, quorums
from bftnode.protocol.blocks import HEADER_BYTES_MAX
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import Byte, Hash32, MemberIndex, PublicKey, Signature, UInt, Wire, decoder_of, encode
from bftnode.protocol.commitments import PAYLOAD_BYTES_MAX
from bftnode.protocol.ed25519 import Signer, Verifier
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.receipts import Receipt
from bftnode.protocol.tlog.notes import NOTE_BYTES_MAX
from bftnode.protocol.tlog.proofs import PATH_MAX
from bftnode.protocol.transactions import ID_DOMAIN, transaction_id

VERSION = 1
ALPN = "bftnode-client/1"
AUTH_DOMAIN = b"bftnode/v1/client-auth\x00"

FRAME_BYTES_MAX = 4 * 1024 * 1024
"""A frame in either direction; a longer declared length closes the connection before anything is allocated."""

GREETING_BYTES_MAX = 512
"""An AUTH is under 200 bytes; before it nothing longer is read from a stranger."""

ANSWERS_BYTES_TARGET = 1024 * 1024
"""A frame of answers is closed by the first answer that reaches this size: one answer is at most as long as the
results of an envelope, a page of entries or a block, so a frame stays well under FRAME_BYTES_MAX."""

SUBMIT_ENVELOPES_MAX = 4096
"""Envelopes in one SUBMIT and ids in one WAIT; a longer frame is malformed."""

ENTRIES_MAX = 1000
"""Entries in one answer; a request for more is malformed. The node may answer fewer, but one if there is one."""

ENTRIES_BYTES_TARGET = 1024 * 1024
"""A page of entries ends with the one that reaches this size."""

QUERY_BYTES_MAX = 64 * 1024
"""A longer query is malformed."""

QUERY_WAIT_MS_MAX = 60_000
"""A query that asks to wait longer for its height is malformed; a node may wait less."""

STATUS_BLOCKS_MAX = 32
"""In-flight blocks named in a status: more than a window ever has."""

Code = Annotated[str, Meta(max_length=64)]
"""The value of a Reason, or one that a later version knows."""

Detail = Annotated[str, Meta(max_length=512)]
"""A sentence for people. Never parsed, and made printable before it is shown."""


# The greeting.


class Hello(Wire, frozen=True, tag=1):
    """Node to client: who I am, and 32 fresh random bytes to sign."""

    version: UInt
    chain_id: Hash32
    member: MemberIndex
    challenge: Hash32


class Auth(Wire, frozen=True, tag=2):
    """Client to node: who I am, shown by a signature over `auth_bytes`."""

    version: UInt
    chain_id: Hash32
    client: PublicKey
    signature: Signature


class Ready(Wire, frozen=True, tag=3):
    """Node to client: you are admitted with `role`; where I am, and the highest nonce of yours that I executed."""

    role: Byte
    height: UInt
    highest_nonce: UInt


class Error(Wire, frozen=True, tag=4):
    """Node to client, the last thing before it closes."""

    code: Code
    detail: Detail


# Requests.


class Submit(Wire, frozen=True, tag=10):
    """Order these envelopes. Sending one again is always safe: nothing is executed twice."""

    envelopes: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=SUBMIT_ENVELOPES_MAX)]


class Wait(Wire, frozen=True, tag=11):
    """Tell me what became of these transactions: RESULT or FORGOTTEN; else ACK or UNKNOWN now, RESULT when it is."""

    transactions: Annotated[tuple[Hash32, ...], Meta(min_length=1, max_length=SUBMIT_ENVELOPES_MAX)]


class Query(Wire, frozen=True, tag=12):
    """Ask the application, once your height is at least `min_height`, waiting for that at most `wait_ms`."""

    request: UInt
    min_height: UInt
    wait_ms: Annotated[int, Meta(ge=0, le=QUERY_WAIT_MS_MAX)]
    query: Annotated[bytes, Meta(max_length=QUERY_BYTES_MAX)]


class GetEntries(Wire, frozen=True, tag=13):
    """Entries of the log from index `first` on."""

    request: UInt
    first: UInt
    limit: Annotated[int, Meta(ge=1, le=ENTRIES_MAX)]


class GetReceipt(Wire, frozen=True, tag=14):
    """The proof of the log's entry number `index`."""

    request: UInt
    index: UInt


class GetBlock(Wire, frozen=True, tag=15):
    """The committed block of height `seq`."""

    request: UInt
    seq: UInt


class GetStatus(Wire, frozen=True, tag=16):
    request: UInt


class Ping(Wire, frozen=True, tag=17):
    """Keeps an idle connection; the answer tells the height."""

    request: UInt


class GetCheckpoint(Wire, frozen=True, tag=18):
    """The smallest cosigned checkpoint of at least `size` entries (None: the largest), or NOT_FOUND after `wait_ms`."""

    request: UInt
    size: UInt | None
    wait_ms: Annotated[int, Meta(ge=0, le=QUERY_WAIT_MS_MAX)]


class GetInclusion(Wire, frozen=True, tag=19):
    """That entry `index` is in the log of `size` entries."""

    request: UInt
    index: UInt
    size: UInt


class GetConsistency(Wire, frozen=True, tag=20):
    """That the log of `old` entries is the beginning of the log of `new`."""

    request: UInt
    old: UInt
    new: UInt


class KeepPayload(Wire, frozen=True, tag=21):
    """Keep what opens the private record `record`, once your height is at least `min_height`."""

    request: UInt
    min_height: UInt
    record: UInt
    salt: Hash32
    payload: Annotated[bytes, Meta(max_length=PAYLOAD_BYTES_MAX)]


class GetPayload(Wire, frozen=True, tag=22):
    """What opens the private record `record`."""

    request: UInt
    record: UInt


# Answers about transactions.


class Ack(Wire, frozen=True, tag=30):
    """I have it in custody until it is executed."""

    transaction: Hash32


class Nack(Wire, frozen=True, tag=31):
    """I did not take it; send it again later."""

    transaction: Hash32
    code: Code


class Reject(Wire, frozen=True, tag=32):
    """I know of no execution of it, and as I see it there can be none."""

    transaction: Hash32
    code: Code


class Result(Wire, frozen=True, tag=33):
    """It was executed; `result` is the encoded results.TransactionResult, the same bytes at every correct node."""

    transaction: Hash32
    result: bytes


class Forgotten(Wire, frozen=True, tag=34):
    """It was executed as entry `index` in block `seq`, and its nonce has left the window, its result with it."""

    transaction: Hash32
    seq: UInt
    index: UInt


class Unknown(Wire, frozen=True, tag=35):
    """Answer to WAIT: I have never seen it; if it is executed after all, RESULT follows."""

    transaction: Hash32


# Answers to numbered requests.


class QueryValue(Wire, frozen=True, tag=40):
    """The application's answer in the state after block `height`."""

    request: UInt
    height: UInt
    value: bytes


class Entry(Wire, frozen=True):
    """One entry of the log: an envelope, in the block `seq` of agreed time `time_ms`."""

    index: UInt
    seq: UInt
    time_ms: UInt
    envelope: bytes


class Entries(Wire, frozen=True, tag=41):
    """Consecutive entries, and how many the log has by now."""

    request: UInt
    log_size: UInt
    entries: Annotated[tuple[Entry, ...], Meta(max_length=ENTRIES_MAX)]


class ReceiptValue(Wire, frozen=True, tag=42):
    request: UInt
    receipt: Receipt


class BlockValue(Wire, frozen=True, tag=43):
    """A block, and the certificate that commits it; None: a later block's certificate does."""

    request: UInt
    header: Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)]
    payload: bytes
    certificate: Certificate | None


class PeerStatus(Wire, frozen=True):
    """What this node knows of another: by its own connection, and by the peer's last STATUS."""

    member: MemberIndex
    connected: bool
    view: UInt
    committed: UInt


class BlockStatus(Wire, frozen=True):
    """A block in flight: whose votes for it this node holds in its view."""

    seq: UInt
    block: Hash32
    prepares: Annotated[tuple[MemberIndex, ...], Meta(max_length=quorums.MEMBERS_MAX)]
    commits: Annotated[tuple[MemberIndex, ...], Meta(max_length=quorums.MEMBERS_MAX)]


class PendingStatus(Wire, frozen=True):
    """The transaction that has waited longest."""

    transaction: Hash32
    age_ms: UInt


class NodeStatus(Wire, frozen=True):
    """Where a node is, and why it is not further. `status` and `why` of the command line print it."""

    member: MemberIndex
    software: Code
    state: Code  # ok | disk_full | quarantined | diverged | catching_up | stopping
    view: UInt
    active: bool
    primary: MemberIndex
    committed: UInt  # heights
    executed: UInt
    tip: UInt
    checkpoint: UInt  # the last stable one
    log_size: UInt
    head: Hash32  # hash of the last executed block
    pending: UInt  # envelopes in custody
    oldest: PendingStatus | None
    in_flight: Annotated[tuple[BlockStatus, ...], Meta(max_length=STATUS_BLOCKS_MAX)]
    peers: Annotated[tuple[PeerStatus, ...], Meta(max_length=quorums.MEMBERS_MAX)]


class StatusValue(Wire, frozen=True, tag=44):
    request: UInt
    status: NodeStatus


class Refusal(Wire, frozen=True, tag=45):
    """No: for the reason `code`."""

    request: UInt
    code: Code
    detail: Detail


class Pong(Wire, frozen=True, tag=46):
    request: UInt
    height: UInt


class CheckpointValue(Wire, frozen=True, tag=47):
    """A signed checkpoint (C2SP tlog-checkpoint), cosigned by a quorum of members."""

    request: UInt
    note: Annotated[bytes, Meta(max_length=NOTE_BYTES_MAX)]


class ProofValue(Wire, frozen=True, tag=48):
    """The hashes of an inclusion or consistency proof (RFC 6962), as asked for."""

    request: UInt
    path: Annotated[tuple[Hash32, ...], Meta(max_length=2 * PATH_MAX)]


class PayloadKept(Wire, frozen=True, tag=49):
    """It is kept here, durably, until it is erased."""

    request: UInt


class PayloadValue(Wire, frozen=True, tag=50):
    request: UInt
    salt: Hash32
    payload: Annotated[bytes, Meta(max_length=PAYLOAD_BYTES_MAX)]


Request = (
    Submit
    | Wait
    | Query
    | GetEntries
    | GetReceipt
    | GetBlock
    | GetStatus
    | Ping
    | GetCheckpoint
    | GetInclusion
    | GetConsistency
    | KeepPayload
    | GetPayload
)
ClientMessage = Auth | Request
TransactionAnswer = Ack | Nack | Reject | Result | Forgotten | Unknown
NumberedAnswer = (
    QueryValue
    | Entries
    | ReceiptValue
    | BlockValue
    | StatusValue
    | Refusal
    | Pong
    | CheckpointValue
    | ProofValue
    | PayloadKept
    | PayloadValue
)
ServerMessage = Hello | Ready | Error | TransactionAnswer | NumberedAnswer

REQUEST_TAGS = frozenset(range(10, 23))
_SERVER_TAGS = frozenset((1, 3, 4, *range(30, 36), *range(40, 51)))

open_auth: Callable[[bytes], Auth] = decoder_of(Auth, GREETING_BYTES_MAX)
"""The AUTH in a frame. Raises Refused(CODEC_*)."""

_open_request: Callable[[bytes], Request] = decoder_of(Request, FRAME_BYTES_MAX)

open_answers: Callable[[bytes], tuple[ServerMessage, ...]] = decoder_of(tuple[ServerMessage, ...], FRAME_BYTES_MAX)
"""A node's frame. Raises Refused(CODEC_*)."""


def open_request(raw: bytes) -> Request:
    """A client's frame after the greeting.

    Raises Refused(UNEXPECTED) for a message that is the node's to send or has had its time (faults.md A20),
    Refused(CODEC_UNKNOWN_KIND) for a kind that nobody has, Refused(CODEC_*).
    """
    # msgpack: an array of fewer than 16, then the tag as a small integer. All of ours are spelt so.
    if len(raw) >= 2 and raw[0] & 0xF0 == 0x90 and raw[1] < 0x80 and raw[1] not in REQUEST_TAGS:
        if raw[1] in _SERVER_TAGS or raw[1] == 2:
            raise Refused(Reason.UNEXPECTED, f"kind {raw[1]} is not a request")
        raise Refused(Reason.CODEC_UNKNOWN_KIND, f"kind {raw[1]}")
    return _open_request(raw)


def pack_answers(answers: Sequence[bytes]) -> list[bytes]:
    """Encoded answers as frames (without their lengths), in order, each closed at ANSWERS_BYTES_TARGET."""
    frames: list[bytes] = []
    start = size = 0
    for i, answer in enumerate(answers):
        size += len(answer)
        if size >= ANSWERS_BYTES_TARGET:
            frames.append(_array(answers[start : i + 1]))
            start, size = i + 1, 0
    if start < len(answers):
        frames.append(_array(answers[start:]))
    return frames


def pack_messages(messages: Iterable[ServerMessage]) -> bytes:
    """A node's frame of few messages."""
    return encode(tuple(messages))


def _array(items: Sequence[bytes]) -> bytes:
    """The msgpack array of encoded items: what `encode` of the tuple of their values gives."""
    n = len(items)
    if n < 16:
        header = bytes((0x90 | n,))
    elif n < 1 << 16:
        header = b"\xdc" + n.to_bytes(2, "big")
    else:
        header = b"\xdd" + n.to_bytes(4, "big")
    return header + b"".join(items)


FINAL_TAGS = frozenset((31, 32, 33, 34))
"""NACK, REJECT, RESULT, FORGOTTEN: after one of these the node owes nothing more for that submission."""


def answer_tag(answer: bytes) -> int:
    """The kind of an encoded answer of ours, without decoding it."""
    return answer[1]


def answer_transaction(answer: bytes) -> bytes:
    """The transaction id in an encoded TransactionAnswer of ours: after the tag, a bin of 32 bytes."""
    return answer[4:36]


def envelope_id(raw: bytes) -> bytes:
    """The id under which an envelope is answered, whatever its bytes, without decoding it.

    For the canonical [body, signature] that is its transaction id. What has another shape has no id; it is named
    by a hash of all of it, so that its REJECT reaches the right one of the client's.
    """
    n = len(raw) - 66  # where the signature begins: a bin of 64 bytes
    if n >= 3 and raw[0] == 0x92 and raw[n] == 0xC4 and raw[n + 1] == 64:
        first = raw[1]
        if first == 0xC4 and n == 3 + raw[2]:
            return transaction_id(raw[3:n])
        if first == 0xC5 and n == 4 + int.from_bytes(raw[2:4], "big"):
            return transaction_id(raw[4:n])
        if first == 0xC6 and n == 6 + int.from_bytes(raw[2:6], "big"):
            return transaction_id(raw[6:n])
    return hashlib.sha256(ID_DOMAIN + raw).digest()


def auth_bytes(chain_id: bytes, member: int, challenge: bytes) -> bytes:
    """What a client signs to show its key: good for one connection to one member of one cluster."""
    return AUTH_DOMAIN + chain_id + bytes((member,)) + challenge


def make_auth(hello: Hello, public_key: bytes, sign: Signer) -> Auth:
    signature = sign(auth_bytes(hello.chain_id, hello.member, hello.challenge))
    return Auth(VERSION, hello.chain_id, public_key, signature)


def check_auth(auth: Auth, hello: Hello, verify: Verifier) -> None:
    """Raises Refused(WRONG_VERSION | WRONG_CHAIN | AUTH_SIGNATURE). Whether the key is admitted is asked elsewhere."""
    if auth.version != hello.version:
        raise Refused(Reason.WRONG_VERSION, f"the client speaks version {auth.version}, this node {hello.version}")
    if auth.chain_id != hello.chain_id:
        raise Refused(Reason.WRONG_CHAIN, "the client has the genesis of another cluster")
    if not verify(auth.client, auth_bytes(hello.chain_id, hello.member, hello.challenge), auth.signature):
        raise Refused(Reason.AUTH_SIGNATURE, "the challenge is not signed by the key that the client names")


def check_hello(hello: Hello, chain_id: bytes, member: int) -> None:
    """The client's side. Raises Refused(WRONG_VERSION | WRONG_CHAIN | ID_MISMATCH)."""
    if hello.version != VERSION:
        raise Refused(Reason.WRONG_VERSION, f"the node speaks version {hello.version}, this client {VERSION}")
    if hello.chain_id != chain_id:
        raise Refused(Reason.WRONG_CHAIN, "the node belongs to another cluster")
    if hello.member != member:
        raise Refused(Reason.ID_MISMATCH, f"the node says that it is member {hello.member}, not {member}")


def reason_of(code: str) -> Reason:
    """The Reason of a code from the wire, or UNEXPECTED for one that this version does not know."""
    try:
        return Reason(code)
    except ValueError:
        return Reason.UNEXPECTED


assert limits.RESULTS_BYTES_MAX + ANSWERS_BYTES_TARGET + 64 * limits.OPERATIONS_MAX < FRAME_BYTES_MAX
