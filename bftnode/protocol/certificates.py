"""Votes and certificates: q signed votes of one phase for one (view, seq, hash), checkable by anyone, for ever.

A certificate has exactly q votes in ascending order of their senders, so that it has one spelling. Ranks order
certificates: (view, seq, phase), a commit above a prepare (docs/protocol.md, "Terms").
"""

from typing import Annotated

from msgspec import Meta

from bftnode.protocol import quorums
from bftnode.protocol.codec import Hash32, MemberIndex, Signature, UInt, Wire, encode
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership

PREPARE = 2
COMMIT = 3

Rank = tuple[int, int, int]
"""(view, seq, phase)."""

NO_RANK: Rank = (-1, 0, 0)
"""Below every certificate: a replica that has none holds the genesis block only."""


class Vote(Wire, frozen=True):
    """The body of a PREPARE or a COMMIT."""

    epoch: UInt
    view: UInt
    seq: UInt
    block: Hash32


class VoteSignature(Wire, frozen=True):
    """One member's signature under a vote, with the nonce that it signed."""

    sender: MemberIndex
    boot: UInt
    counter: UInt
    signature: Signature


class Certificate(Wire, frozen=True):
    phase: Annotated[int, Meta(ge=PREPARE, le=COMMIT)]
    epoch: UInt
    view: UInt
    seq: UInt
    block: Hash32
    votes: Annotated[tuple[VoteSignature, ...], Meta(max_length=quorums.MEMBERS_MAX)]

    @property
    def rank(self) -> Rank:
        return (self.view, self.seq, self.phase)


def vote_body(epoch: int, view: int, seq: int, block: bytes) -> bytes:
    """The one canonical encoding of a vote, from which signatures inside certificates are checked."""
    return encode(Vote(epoch, view, seq, block))


def rank_of(certificate: Certificate | None) -> Rank:
    return NO_RANK if certificate is None else certificate.rank


def check_certificate(certificate: Certificate, members: Membership, verify: Verifier) -> None:
    """Refuse a certificate that does not prove what it says.

    Cheap checks first: shape, epoch, distinct known senders, then signatures until one fails.
    Raises Refused(BAD_CERTIFICATE | WRONG_EPOCH).
    """
    if certificate.epoch != members.epoch:
        raise Refused(Reason.WRONG_EPOCH, f"certificate of epoch {certificate.epoch}")
    if certificate.seq == 0:
        raise Refused(Reason.BAD_CERTIFICATE, "nobody votes for the genesis block")
    senders = [vote.sender for vote in certificate.votes]
    if len(senders) != members.quorum:
        raise Refused(Reason.BAD_CERTIFICATE, f"{len(senders)} votes where a quorum is {members.quorum}")
    if senders != sorted(set(senders)) or senders[-1] >= members.n:
        raise Refused(Reason.BAD_CERTIFICATE, "senders are not distinct members in ascending order")
    body = vote_body(certificate.epoch, certificate.view, certificate.seq, certificate.block)
    for vote in certificate.votes:
        message = signing_bytes(members.chain_id, certificate.phase, vote.sender, vote.boot, vote.counter, body)
        if not verify(members.public_keys[vote.sender], message, vote.signature):
            raise Refused(Reason.BAD_CERTIFICATE, f"the signature of member {vote.sender} is not valid")
