"""What members say when it counts: proposals that can be accepted, every contradiction that convicts, forks, views.

Valid ones, as the first inputs of what reads frames, bundles and testimonies.
"""

from collections.abc import Sequence

from bftnode.protocol.blocks import Block, Header, genesis_block, make_block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, VoteSignature, vote_body
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, encode_frame, seal, signing_bytes
from bftnode.protocol.evidence import without_payload
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of
from bftnode.protocol.messages import Accusation, Body, Cosignature, ForkProof, Kind, NewView, PrePrepare, ViewChange
from nights.fuzz.cluster import CHAIN, MEMBERS, SIGNERS, checkpoint_signer, golden

GENESIS = genesis_block(CHAIN)
(ENVELOPE,) = [raw for raw in golden("transaction") if raw[:1] == b"\x92"]


def block(envelopes: Sequence[bytes], parent: Block = GENESIS, view: int = 0, time_ms: int = 1000) -> Block:
    """On top of `parent`, of a log that has nothing but these envelopes."""
    leaves = [leaf_hash(one) for one in envelopes]
    frontier = Frontier().grown(leaves)
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
    return make_block(header, tuple(envelopes), leaves)


def frame(kind: Kind, sender: int, body: Body, payload: bytes = b"") -> Frame:
    return seal(CHAIN, kind, sender, 1, 5, encode(body), SIGNERS[sender], payload)


def certificate(phase: int, view: int, of: Block) -> Certificate:
    """By the first q members."""
    body = vote_body(0, view, of.seq, of.hash)
    votes = (
        VoteSignature(sender, 1, 4, SIGNERS[sender](signing_bytes(CHAIN, phase, sender, 1, 4, body)))
        for sender in range(MEMBERS.quorum)
    )
    return Certificate(phase, 0, view, of.seq, of.hash, tuple(votes))


X, Y = block((ENVELOPE,)), block((ENVELOPE,), time_ms=1001)
Y2 = block((b"2",), Y)
Y3 = block((b"3",), Y2)


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


def accusation(first: Frame, second: Frame, headers: tuple[bytes, ...]) -> Accusation:
    return Accusation(0, encode_frame(without_payload(first)), encode_frame(without_payload(second)), headers)


def frames() -> list[bytes]:
    """Every contradiction, what they are made of, a fork, a cosignature."""
    size, root = 3, b"r" * 32
    cosigned = Cosignature(0, 9, size, root, checkpoint_signer(1).cosign(size, root, 9), True)
    said = [one for pair in CONTRADICTIONS for one in pair[:2]]
    accused = [frame(Kind.EVIDENCE, 1, accusation(*one)) for one in CONTRADICTIONS]
    fork = ForkProof(0, (COMMITTED, certificate(COMMIT, 2, Y3)), (Y3.header_raw, Y2.header_raw))
    return [
        encode_frame(one)
        for one in (*said, *accused, frame(Kind.FORK, 1, fork), frame(Kind.COSIGNATURE, 1, cosigned), _proposal(Y2))
    ]
