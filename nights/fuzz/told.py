"""What members say when it counts: proposals that can be accepted, every contradiction that convicts, forks, views.

Valid ones, as the first inputs of what reads frames, bundles and testimonies.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from bftnode.apps import kv
from bftnode.protocol.blocks import Block, Header, genesis_block, make_block, pack_block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, VoteSignature, vote_body
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, encode_frame, open_frame, seal, signing_bytes
from bftnode.protocol.evidence import without_payload
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of
from bftnode.protocol.messages import (
    Accusation,
    Body,
    Cosignature,
    ForkProof,
    Kind,
    NewView,
    PrePrepare,
    Run,
    Slow,
    Status,
    ViewChange,
)
from bftnode.protocol.transactions import TransactionBody, sign_transaction
from nights.fuzz.cluster import CHAIN, CLIENTS, MEMBERS, SIGNERS, checkpoint_signer, golden

GENESIS = genesis_block(CHAIN)
(ENVELOPE,) = [raw for raw in golden("transaction") if raw[:1] == b"\x92"]


LOG_AFTER = {GENESIS.hash: Frontier()}
"""By block."""


def block(envelopes: Sequence[bytes], parent: Block = GENESIS, view: int = 0, time_ms: int = 1000) -> Block:
    """On top of `parent`."""
    leaves = [leaf_hash(one) for one in envelopes]
    frontier = LOG_AFTER[parent.hash].grown(leaves)
    header = Header(
        CHAIN,
        0,
        parent.seq + 1,
        parent.hash,
        time_ms,
        root_of(leaves),
        frontier.size,
        frontier.root(),
        MEMBERS.primary_of(view),
        view,
    )
    made = make_block(header, tuple(envelopes), leaves)
    LOG_AFTER[made.hash] = frontier
    return made


def frame(kind: Kind, sender: int, body: Body, payload: bytes = b"", counter: int = 5) -> Frame:
    return seal(CHAIN, kind, sender, 1, counter, encode(body), SIGNERS[sender], payload)


def certificate(phase: int, view: int, of: Block) -> Certificate:
    """By the first q members."""
    body = vote_body(0, view, of.seq, of.hash)
    votes = (
        VoteSignature(sender, 1, 4, SIGNERS[sender](signing_bytes(CHAIN, phase, sender, 1, 4, body)))
        for sender in range(MEMBERS.quorum)
    )
    return Certificate(phase, 0, view, of.seq, of.hash, tuple(votes))


X, Y = block((ENVELOPE,)), block((ENVELOPE,), time_ms=1001)
Y2 = block((b"2",), Y, time_ms=1002)
Y3 = block((b"3",), Y2, time_ms=1003)


def _vote(kind: Kind, of: Block, view: int = 3) -> Frame:
    return frame(kind, 2, Vote(0, view, of.seq, of.hash))


def _proposal(of: Block) -> Frame:
    return frame(Kind.PRE_PREPARE, 0, PrePrepare(0, of.header.view, of.header_raw), of.payload)


def new_view(view: int, reports: Sequence[Certificate | None]) -> Frame:
    """By its primary, of VIEW-CHANGEs of the first q members with these certificates."""
    changes = (
        encode_frame(frame(Kind.VIEW_CHANGE, sender, ViewChange(0, view, report)))
        for sender, report in enumerate(reports)
    )
    return frame(Kind.NEW_VIEW, MEMBERS.primary_of(view), NewView(0, view, tuple(changes)))


PREPARED, COMMITTED = certificate(PREPARE, 1, Y), certificate(COMMIT, 1, X)
NOTHING = (None,) * MEMBERS.quorum

CONTRADICTIONS: list[tuple[Frame, Frame, tuple[bytes, ...]]] = [
    (_vote(Kind.PREPARE, X), _vote(Kind.PREPARE, Y), ()),
    (_vote(Kind.COMMIT, X), _vote(Kind.COMMIT, Y), ()),
    (_vote(Kind.COMMIT, X), _vote(Kind.PREPARE, Y), ()),
    (_vote(Kind.COMMIT, X), _vote(Kind.COMMIT, Y3), (Y3.header_raw, Y2.header_raw)),
    (_proposal(X), _proposal(Y), ()),
    (
        frame(Kind.VIEW_CHANGE, 2, ViewChange(0, 4, None)),
        frame(Kind.VIEW_CHANGE, 2, ViewChange(0, 4, PREPARED)),
        (),
    ),
    (_vote(Kind.COMMIT, X), frame(Kind.VIEW_CHANGE, 2, ViewChange(0, 4, PREPARED)), ()),
    (new_view(2, NOTHING), new_view(2, (PREPARED, None, None)), ()),
]
"""One of each kind (protocol/evidence.py)."""


def envelope(nonce: int, valid_until: int = 1000) -> bytes:
    """Of the client that is admitted everywhere."""
    (key, *_), (sign, *_) = CLIENTS.keys(), CLIENTS.values()
    put = b"\x01" + kv.put(b"key", b"value")
    return sign_transaction(TransactionBody(CHAIN, key, nonce, valid_until, (put,)), sign).raw


FIRST_BODY = PrePrepare(0, 0, Y2.header_raw)
FIRST = frame(Kind.PRE_PREPARE, 0, FIRST_BODY, Y2.payload)
"""A proposal that was heard before."""


def accusation(first: Frame, second: Frame, headers: tuple[bytes, ...]) -> Accusation:
    return Accusation(0, encode_frame(without_payload(first)), encode_frame(without_payload(second)), headers)


def long_new_view() -> Frame:
    """Stuffed with junk: no evidence has room for it."""
    return frame(Kind.NEW_VIEW, MEMBERS.primary_of(2), NewView(0, 2, (bytes(600_000),)))


def accusations() -> list[Accusation]:
    """Those that convict; every other pair of their frames; with headers that do not belong; of no frames."""
    pairs = [(one[0], other[1], one[2]) for one in CONTRADICTIONS for other in CONTRADICTIONS]
    good = accusation(*CONTRADICTIONS[0])
    headers = (Y3.header_raw, Y2.header_raw)
    commits = CONTRADICTIONS[3][:2]
    stranger = msgspec.structs.replace(CONTRADICTIONS[0][1], sender=9)
    third = frame(Kind.PREPARE, 1, Vote(0, 3, 1, Y.hash))
    return [
        *(accusation(*one) for one in pairs),
        accusation(*CONTRADICTIONS[0][:2], headers),
        accusation(CONTRADICTIONS[7][0], CONTRADICTIONS[7][0], ()),
        accusation(CONTRADICTIONS[7][0], new_view(6, NOTHING), ()),
        accusation(CONTRADICTIONS[5][0], CONTRADICTIONS[5][0], ()),
        accusation(CONTRADICTIONS[5][0], frame(Kind.VIEW_CHANGE, 2, ViewChange(0, 5, None)), ()),
        accusation(_vote(Kind.COMMIT, X, 0), CONTRADICTIONS[5][1], ()),
        accusation(_vote(Kind.COMMIT, X, 9), CONTRADICTIONS[5][1], ()),
        accusation(CONTRADICTIONS[4][0], _proposal(Y2), ()),
        accusation(*CONTRADICTIONS[4][:2], headers),
        accusation(*commits, headers[::-1]),
        accusation(*commits, headers[:1]),
        accusation(_vote(Kind.COMMIT, Y), commits[1], headers),
        msgspec.structs.replace(good, epoch=1),
        msgspec.structs.replace(good, second=b"\x90"),
        accusation(CONTRADICTIONS[0][0], stranger, ()),
        accusation(CONTRADICTIONS[0][0], third, ()),
        accusation(CONTRADICTIONS[0][0], msgspec.structs.replace(CONTRADICTIONS[0][1], signature=bytes(64)), ()),
        accusation(frame(Kind.STATUS, 2, Status(0, 1, True, 1, 1, 1, ())), CONTRADICTIONS[0][0], ()),
    ]


def unproved() -> list[tuple[int, bytes, bytes, tuple[bytes, ...]]]:
    """(member, two frames, headers) that convict nobody, each for another reason."""
    found = [(2, one.first, one.second, one.headers) for one in accusations()]
    good = found[0]
    bodies = (
        (Kind.PREPARE, b"\x94\x00\x00\x01\xc4\x01x"),
        (Kind.PREPARE, b"\x94\x00\x00\x01\x01"),
        (Kind.PREPARE, b"\x93\x00\x00\x01"),
        (Kind.PREPARE, b"\x94\x01\x00\x01\xc4\x20" + bytes(32)),
        (Kind.PREPARE, b"\x94\xff\x00\x01\xc4\x20" + bytes(32)),
        (Kind.STATUS, b"\x90"),
        (Kind.NEW_VIEW, b"\x93\x00\x01\x91\x01"),
        (Kind.VIEW_CHANGE, b"\x93\x00\x01\x96\x09\x00\x00\x01\xc4\x20" + bytes(32) + b"\x90"),
        (Kind.VIEW_CHANGE, b"\x93\x00\x01\x96\x02\x00\x00\x01\xc4\x20" + bytes(32) + b"\xdc\x00\x41" + b"\x00" * 65),
        (Kind.VIEW_CHANGE, b"\x93\x00\x01\x96\x02\x00\x00\x01\xc4\x20" + bytes(32) + b"\x91\x94\x01\x01\x01\xc4\x00"),
        (Kind.PRE_PREPARE, b"\x93\x00\x00\xc4\x00"),
        (Kind.PRE_PREPARE, b"\x93\x00\x00" + encode(encode((*[b"x"] * 10,)))),
        (Kind.PRE_PREPARE, b"\x93\x00\x00" + encode(bytes(513))),
        (Kind.PRE_PREPARE, b"\xc1"),
    )
    for kind, body in bodies:
        one = seal(CHAIN, kind, 2, 1, 5, body, SIGNERS[2])
        other = seal(CHAIN, kind, 2, 1, 5, body.replace(b"\x00", b"\x01", 1), SIGNERS[2])
        found += [(2, encode_frame(one), encode_frame(two), ()) for two in (one, other)]
    long = seal(CHAIN, Kind.PREPARE, 2, 1, 5, bytes(600_000), SIGNERS[2])
    payload = msgspec.structs.replace(CONTRADICTIONS[0][0], payload=b"x")
    other_header = b"\x9a" + bytes(10)
    return [
        *found,
        (2, encode_frame(long), good[2], ()),
        (2, encode_frame(payload), good[2], ()),
        (1, good[1], good[2], ()),
        (2, *found[3 * 8 + 3][1:3], (other_header,)),
    ]


def frames() -> list[bytes]:
    """Every contradiction, what they are made of, a fork, a cosignature."""
    size, root = 3, b"r" * 32
    cosigned = Cosignature(0, 9, size, root, checkpoint_signer(1).cosign(size, root, 9), True)
    said = [one for pair in CONTRADICTIONS for one in pair[:2]]
    accused = [frame(Kind.EVIDENCE, 1, one) for one in accusations()]
    fork = ForkProof(0, (COMMITTED, certificate(COMMIT, 2, Y3)), (Y3.header_raw, Y2.header_raw))
    return [
        encode_frame(one)
        for one in (
            *said,
            *accused,
            frame(Kind.FORK, 1, fork),
            frame(Kind.COSIGNATURE, 1, cosigned),
            *_certificates(),
            *_proposals(),
        )
    ]


def _certificates() -> list[Frame]:
    """VIEW-CHANGEs, NEW-VIEWs, runs, forks and cosignatures, each refused by another rule."""
    few: list[dict[str, Any]] = [
        {"epoch": 1},
        {"seq": 0},
        {"votes": PREPARED.votes[:2]},
        {"votes": PREPARED.votes[::-1]},
        {"votes": (*PREPARED.votes[:2], VoteSignature(9, 1, 1, bytes(64)))},
        {"votes": (*PREPARED.votes[:2], VoteSignature(3, 1, 1, bytes(64)))},
    ]
    wrong = [msgspec.structs.replace(PREPARED, **change) for change in few]
    changes = [encode_frame(frame(Kind.VIEW_CHANGE, i, ViewChange(0, 4, None))) for i in range(3)]
    unsigned = encode_frame(msgspec.structs.replace(open_frame(changes[2]), signature=bytes(64)))
    late = [encode_frame(frame(Kind.VIEW_CHANGE, i, ViewChange(0, 1, PREPARED))) for i in range(3)]
    views = [
        NewView(0, 0, ()),
        NewView(0, 4, tuple(changes[:2])),
        NewView(0, 5, tuple(changes)),
        NewView(0, 4, tuple(changes[::-1])),
        NewView(0, 4, (*changes[:2], unsigned)),
        NewView(0, 1, tuple(late)),
        NewView(0, 4, (*changes[:2], encode_frame(_vote(Kind.COMMIT, X)))),
    ]
    none = encode_frame(frame(Kind.VIEW_CHANGE, 0, ViewChange(0, 0, None)))
    views.append(NewView(0, 0, (none, none, none)))
    higher = certificate(COMMIT, 2, Y3)
    between = (Y3.header_raw, Y2.header_raw)
    own = certificate(COMMIT, 1, Y)
    forks = [
        ((COMMITTED,), ()),
        ((msgspec.structs.replace(COMMITTED, epoch=1), higher), between),
        ((PREPARED, higher), between),
        ((COMMITTED, higher), between[:1]),
        ((COMMITTED, higher), between[::-1]),
        ((own, higher), between),
        ((COMMITTED, msgspec.structs.replace(higher, votes=())), between),
        ((COMMITTED, msgspec.structs.replace(higher, seq=9999)), ()),
    ]
    run = encode((pack_block(X),))
    return [
        *(frame(Kind.VIEW_CHANGE, 1, ViewChange(0, 4, one)) for one in (None, PREPARED, *wrong)),
        *(frame(Kind.NEW_VIEW, MEMBERS.primary_of(one.view), one) for one in views),
        *(frame(Kind.FORK, 1, ForkProof(0, certificates, headers)) for certificates, headers in forks),
        frame(Kind.RUN, 1, Run(0, 1, COMMITTED), run),
        frame(Kind.RUN, 1, Run(0, 1, own), run),
        frame(Kind.RUN, 1, Run(0, 1, own), b"\x90"),
        frame(Kind.COSIGNATURE, 1, Cosignature(0, 9, 3, b"r" * 32, (bytes(64), bytes(64)), True)),
        frame(Kind.COSIGNATURE, 1, Cosignature(0, 9, 3, b"r" * 32, (bytes(64),), True)),
        frame(Kind.SLOW, 1, Slow(0, 1), b"payload"),
        msgspec.structs.replace(frame(Kind.SLOW, 1, Slow(0, 1)), kind=99),
        msgspec.structs.replace(frame(Kind.SLOW, 1, Slow(0, 1)), sender=99),
    ]


def _proposals() -> list[Frame]:
    """Each refused by another rule of proposals.py, or waiting."""
    wrong: list[dict[str, Any]] = [
        {"chain_id": bytes(32)},
        {"view": 1},
        {"seq": 18},
        {"seq": 1},
        {"parent": bytes(32)},
        {"time_ms": 1},
        {"time_ms": 10**9},
        {"log_size": 9},
        {"transactions_root": bytes(32)},
    ]
    wild = block((ENVELOPE, b"junk"), Y, time_ms=1002)
    changed = [_with_header(Y2, msgspec.structs.replace(Y2.header, **change)) for change in wrong]
    full = block((bytes(1024 * 1024 + 64),), Y, time_ms=1002)
    valid = [
        (envelope(7),),
        (envelope(7), envelope(8)),
        (envelope(7), envelope(8, valid_until=1)),
        (envelope(7), envelope(7)),
    ]
    good = [block(one, Y, time_ms=1002) for one in valid]
    return [
        *changed,
        _proposal(full),
        *(
            frame(Kind.PRE_PREPARE, 0, PrePrepare(0, 0, one.header_raw), one.payload, counter)
            for one in good
            for counter in range(8)
        ),
        *(frame(Kind.PRE_PREPARE, 0, PrePrepare(0, 0, X.header_raw), X.payload, counter) for counter in range(8)),
        *(frame(Kind.PRE_PREPARE, 0, PrePrepare(0, 0, wild.header_raw), wild.payload, counter) for counter in range(8)),
        *(_proposal(one) for one in (Y2, wild, block((), Y, time_ms=1002), block((ENVELOPE, ENVELOPE), Y))),
        frame(Kind.PRE_PREPARE, 0, PrePrepare(0, 4, block((ENVELOPE,), Y, view=4).header_raw), Y.payload),
        frame(Kind.PRE_PREPARE, 1, PrePrepare(0, 0, Y.header_raw), Y.payload),
        frame(Kind.PRE_PREPARE, 0, PrePrepare(0, 0, Y.header_raw), encode((1, b"x"))),
        frame(Kind.PRE_PREPARE, 0, PrePrepare(0, 0, Y.header_raw), encode(b"x")),
    ]


def _with_header(of: Block, header: Header) -> Frame:
    return frame(Kind.PRE_PREPARE, 0, PrePrepare(0, 0, encode(header)), of.payload)
