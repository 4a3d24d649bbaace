"""What members say to each other: framing, signed frames of every kind with what judges them alone, greetings."""

import hashlib
from collections.abc import Callable
from random import Random

from bftnode import verify_bundle
from bftnode.apps.execution import Executor
from bftnode.apps.kv import KeyValue
from bftnode.protocol import ed25519, handshake, limits
from bftnode.protocol.blocks import hash_header, open_block, open_header
from bftnode.protocol.certificates import check_certificate
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.envelope import Frame, encode_frame, open_frame, signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.forks import check_fork_proof, fork_proof
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.protocol.messages import (
    Accusation,
    BlockAnswer,
    Body,
    Cosignature,
    ForkProof,
    NewView,
    PrePrepare,
    Run,
    ViewChange,
    open_body,
    open_run_payload,
)
from bftnode.protocol.nonces import CLIENT, ClientWindow
from bftnode.protocol.transactions import Transaction, open_transaction
from bftnode.replica.chain import Chain
from bftnode.replica.events import Now
from bftnode.replica.pool import Pool
from bftnode.replica.position import Position, Timing
from bftnode.replica.proposals import Proposals
from bftnode.replica.view_change import CertificateMemo, ViewChanges
from bftnode.replica.voice import Voice
from bftnode.replica.votes import VoteBook
from nights.fuzz import told
from nights.fuzz.cluster import CHAIN, CHECKPOINT_KEYS, CLIENTS, MEMBERS, NAMES, SIGNERS, golden, sign_again
from nights.fuzz.oracle import Target, attempt, holds, passes
from nights.fuzz.trees import altered_bytes, leave, mutator

ONE_SPELLING = "one spelling"
AGREE = "two readers agree"

ME = 0
FRAMING_BYTES_MAX = 300

# ---- framing


def check_framing(data: bytes) -> bool:
    """The first byte says in which pieces the rest comes: the frames are those of one piece, up to a bad length."""
    piece, stream = (data[0] if data else 0) + 1, data[1:]
    whole = attempt(Refused, FrameReader(FRAMING_BYTES_MAX).feed, stream)
    reader, frames, taken = FrameReader(FRAMING_BYTES_MAX), list[bytes](), True
    for at in range(0, len(stream), piece):
        came = attempt(Refused, reader.feed, stream[at : at + piece])
        if came is None:
            taken = False
            break
        frames += came
    holds(taken == (whole is not None), AGREE, "in pieces and in one piece")
    holds(whole is None or whole == frames, AGREE, "in pieces and in one piece")
    holds(stream.startswith(join_frames(frames)), ONE_SPELLING, "frames of other bytes")
    holds(all(0 < len(frame) <= FRAMING_BYTES_MAX for frame in frames), "a frame is within its bound", "it is not")
    return taken


def seeds_of_framing() -> list[bytes]:
    frames = [b"a", b"b" * 40, b"c" * FRAMING_BYTES_MAX]
    return [bytes((piece,)) + join_frames(frames) for piece in (0, 3, 255)] + [b"\x00\x00\x00\x01\x2d", b"\xff\0\0\0\0"]


def altered(data: bytes, dice: Random) -> bytes:
    """One or two changes of bytes, wherever they stand."""
    for _ in range(dice.choice((1, 1, 2))):
        place = dice.randrange(len(data) + 1)
        end = min(len(data), place + dice.choice((1, 4, 40)))
        data = data[:place] + altered_bytes(data[place:end], dice) + data[end:]
    return data


# ---- frames


def _voice() -> Voice:
    return Voice(MEMBERS, ME, SIGNERS[ME], 1)


_executor = Executor(KeyValue(), tuple(CLIENTS), 100)
_view_changes = ViewChanges(
    MEMBERS,
    ME,
    Position(),
    Timing(),
    _voice(),
    VoteBook(MEMBERS, ed25519.verify),
    CertificateMemo(MEMBERS, ed25519.verify),
    ed25519.verify,
)
_genesis_for_bundles = verify_bundle.Genesis(CHAIN, NAMES, list(MEMBERS.public_keys))


def open_envelope(raw: bytes) -> Transaction:
    """As a node opens a client's envelope (node/envelopes.py)."""
    transaction = open_transaction(raw, CHAIN)
    _executor.validate(transaction)
    if not transaction.signature_valid(ed25519.verify):
        raise Refused(Reason.TX_SIGNATURE, "not signed by the client that it names")
    return transaction


def check_frame(data: bytes) -> bool:
    """Opened by both decoders, then its body; if its sender signed it, its payload and what can be judged alone."""
    frame = attempt(Refused, open_frame, data)
    holds(frame == attempt(Refused, decode, data, Frame, limits.FRAME_BYTES_MAX), AGREE, "decode and decoder_of")
    if frame is None:
        return False
    holds(encode_frame(frame) == data, ONE_SPELLING, "of a frame")
    body = attempt(Refused, open_body, frame)
    if body is None:
        return False
    holds(encode(body) == frame.body, ONE_SPELLING, "of a body")
    return _taken(frame, body)


def _taken(frame: Frame, body: Body) -> bool:
    if frame.sender >= MEMBERS.n:
        return False
    message = signing_bytes(CHAIN, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
    if not ed25519.verify(MEMBERS.public_keys[frame.sender], message, frame.signature):
        return False
    match body:
        case PrePrepare():
            return attempt(Refused, _judge_proposal, frame, body) is not None
        case ViewChange():
            certificate = body.certificate
            return certificate is None or passes(Refused, check_certificate, certificate, MEMBERS, ed25519.verify)
        case NewView():
            return attempt(Refused, _view_changes.check_new_view, body) is not None
        case Run():
            return attempt(Refused, _judge_run, body, frame.payload) is not None
        case BlockAnswer():
            return attempt(Refused, open_block, body.header, frame.payload) is not None
        case Accusation():
            return _judge_accusation(body)
        case ForkProof():
            return _judge_fork(body)
        case Cosignature():
            return CHECKPOINT_KEYS.valid(frame.sender, body.log_size, body.log_root, body.seq, body.cosignatures)
    return True


def _judge_proposal(frame: Frame, body: PrePrepare) -> int:
    """By a replica that has the block below, or the genesis block only, and knows two of the clients. The frame's
    counter says what else it knows: the envelope, that it is spent or in flight, another proposal."""
    position = Position(view=body.view % 3, now=Now(0, 10_000))
    header = open_header(body.header)
    below = told.Y if header.parent == told.Y.hash or header.seq == 2 else told.GENESIS
    chain = Chain(below, told.LOG_AFTER[below.hash])
    windows = {client: ClientWindow(CLIENT) for client in list(CLIENTS)[:2]}
    pool = Pool(windows)
    proposals = Proposals(MEMBERS, position, chain, pool, _voice())
    match frame.counter % 8:
        case 1:
            pool.add(open_envelope(told.ENVELOPE), 1, 0)
        case 2:
            windows[next(iter(CLIENTS))].use(1)
        case 3:
            pool.include([open_envelope(told.ENVELOPE)], 1, 0)
        case 4:
            proposals.hear(told.FIRST, told.FIRST_BODY, ())
        case 6 | 7:
            windows.clear()
    announced = proposals.proposed(frame.sender, body, frame.payload, ())
    proposals.hear(frame, body, ())
    found = proposals.next_on(chain.head, below.seq - frame.counter % 2, open_envelope)
    if found is not None:
        entry, kept = found
        holds(kept == frame, "what is accepted is what was heard", "another frame")
        holds(announced == entry.block.transactions, AGREE, "what is announced of a proposal and what is opened")
        holds(entry.block.hash == hash_header(body.header), ONE_SPELLING, "of a header")
    return proposals.waiting


def _judge_run(body: Run, payload: bytes) -> int:
    blocks = open_run_payload(payload)
    holds(encode(blocks) == payload, ONE_SPELLING, "of a run")
    check_certificate(body.certificate, MEMBERS, ed25519.verify)
    expected = body.certificate.block
    for item in reversed(blocks):
        block = open_block(item.header, item.payload)
        if block.hash != expected:
            raise Refused(Reason.BAD_BLOCK, "not the chain below the certificate")
        holds(encode(block.header) == item.header, ONE_SPELLING, "of a header")
        expected = block.parent
    return len(blocks)


def _judge_accusation(body: Accusation) -> bool:
    """The node's judge and the one that stands alone convict of the same."""
    here = attempt(Refused, check_accusation, body, MEMBERS, ed25519.verify)
    if body.epoch != MEMBERS.epoch:
        return False  # what stands alone is shown frames, not the message that they come in
    sender = here[0] if here is not None else (attempt(Refused, open_frame, body.first) or _nobody).sender
    if sender >= MEMBERS.n:
        return False
    there = attempt(
        verify_bundle.NotProved,
        verify_bundle.check_frames,
        body.first,
        body.second,
        list(body.headers),
        sender,
        _genesis_for_bundles,
    )
    holds((here and here[1]) == there, AGREE, f"of an accusation: {here} and {there}")
    return here is not None


_nobody = Frame(0, 255, 0, 0, b"", bytes(64), b"")


def _judge_fork(body: ForkProof) -> bool:
    taken = passes(
        Refused, check_fork_proof, body, MEMBERS, lambda one: check_certificate(one, MEMBERS, ed25519.verify)
    )
    if len(body.certificates) == 2:
        again = fork_proof(*body.certificates, body.headers, MEMBERS)
        holds(not taken or again is not None, AGREE, "the proof of a fork, taken and made")
    return taken


def seeds_of_frames() -> list[bytes]:
    return [*golden("frame."), *told.frames()]


# ---- greetings between members

_PINS = (hashlib.sha256(b"mine").digest(), hashlib.sha256(b"theirs").digest())
_mine = handshake.make_hello(MEMBERS, ME, b"c" * 32)
_theirs = handshake.make_hello(MEMBERS, 1, b"d" * 32)


def check_greeting(data: bytes) -> bool:
    """A stream whose first frame is a greeting, judged as member 1's over a link that showed member 1's certificate."""
    buffer = bytearray(data)
    attempt(Refused, handshake.decode_greeting, data)
    raw = attempt(Refused, handshake.take_frame, buffer)
    if raw is None:
        return False
    holds(join_frames([raw]) + bytes(buffer) == data, ONE_SPELLING, "of a frame")
    greeting = attempt(Refused, handshake.decode_greeting, raw)
    if greeting is None:
        return False
    holds(handshake.encode_greeting(greeting) == raw, ONE_SPELLING, "of a greeting")
    match greeting:
        case handshake.Hello():
            return attempt(Refused, handshake.check_hello, _mine, greeting, 1) is not None
        case handshake.Ack():
            return passes(
                Refused, handshake.check_ack, greeting, _mine, _theirs, *_PINS, MEMBERS.public_keys[1], ed25519.verify
            )
        case handshake.Refusal():
            return greeting.known_reason() is not Reason.HANDSHAKE


def seeds_of_greetings() -> list[bytes]:
    ack = handshake.make_ack(_theirs, _mine, _PINS[1], _PINS[0], SIGNERS[1])
    greetings = (_theirs, _mine, ack, handshake.Refusal("handshake.version"), handshake.Refusal("of later versions"))
    return [*(join_frames([handshake.encode_greeting(one)]) for one in greetings), bytes(600), b"\0\0\0\x05\x90"]


def _mutated_greeting() -> Callable[[bytes, Random], bytes]:
    inside = mutator(leave, lambda: [seed[4:] for seed in seeds_of_greetings()[:5]])

    def mutate(data: bytes, dice: Random) -> bytes:
        return join_frames([inside(data[4:], dice)]) if dice.random() < 0.8 else altered(data, dice)

    return mutate


TARGETS = (
    Target(
        "framing",
        "a stream of length-prefixed frames, in one piece and in many",
        check_framing,
        seeds_of_framing,
        altered,
        bytes_max=1024,
    ),
    Target(
        "frames",
        "a member's frame of any kind, its body and payload, and what judges it without state; evidence twice",
        check_frame,
        seeds_of_frames,
        mutator(sign_again, seeds_of_frames),
        bytes_max=8192,
    ),
    Target(
        "greetings",
        "HELLO, ACK and refusal between members",
        check_greeting,
        seeds_of_greetings,
        _mutated_greeting(),
        bytes_max=600,
    ),
)
