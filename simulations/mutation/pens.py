"""Signing again what was changed: with the keys that a liar has, and no others'.

What a member signs it signs again wherever it stands: its frames, within others' messages too, its votes in
certificates, its cosignatures. So does a client that is its friend. What others signed stays signed by them, or is not.
"""

import struct
from random import Random
from typing import Any

import msgspec

from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import Certificate, VoteSignature, vote_body
from bftnode.protocol.codec import encode, reader_of
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.envelope import Frame, signing_bytes
from bftnode.protocol.errors import Refused
from bftnode.protocol.merkle import leaf_hash, root_of
from bftnode.protocol.messages import Cosignature, Kind, PrePrepare, open_body
from bftnode.protocol.transactions import SIGNING_DOMAIN, SignedBody, TransactionBody
from simulations.adversaries.liar import Liar
from simulations.mutation.shapes import Step, value_at

_NOT_ENCODABLE = (struct.error, AttributeError, TypeError, ValueError, OverflowError, msgspec.MsgspecError)
"""What comes of signing something that is not of its type: then it stays as it is."""

_body_of = reader_of(TransactionBody)


class Pens:
    """A liar's keys, and those of a client that lies with it."""

    def __init__(self, liar: Liar, sign: Signer, client: bytes, client_sign: Signer, honest: frozenset[bytes]) -> None:
        self.liar = liar
        self._sign = sign
        self.client = client
        self._client_sign = client_sign
        self._honest = honest  # clients that are nobody's friends: their envelopes stay as they signed them
        self._votes = True
        self.header_follows = False  # the header of a proposal whose envelopes were changed names them as they are

    def drawn(self, dice: Random, *, votes: bool) -> None:
        """How the next message is mended; `votes`: those of this liar in certificates are signed again."""
        self.header_follows = dice.random() < 0.5
        self._votes = votes

    def signs(self, whole: Any, place: tuple[Step, ...]) -> bool:
        """Whether all that is signed on the way to a place is this liar's to sign."""
        for step in place:
            if not self._is_mine(whole):
                return False
            whole = value_at(whole, (step,))
        return self._is_mine(whole)

    def _is_mine(self, value: Any) -> bool:
        match value:
            case Frame() | VoteSignature():
                return value.sender == self.liar.member
            case SignedBody():
                body: TransactionBody = _body_of(value.body)
                return body.client == self.client
            case _:
                return True

    def mend(self, value: Any, name: str) -> Any:
        """A struct of which field `name` was changed, signed again; as it is, where the signature was changed itself,
        nobody here can sign it, or it cannot be written at all."""
        if name == "signature":
            return value
        try:
            match value:
                case Frame():
                    return self._frame(value, name)
                case Certificate() if self._votes:
                    return self._certificate(value)
                case SignedBody():
                    return self._envelope(value)
                case Cosignature():
                    return value if name == "cosignatures" else self._cosignature(value)
                case _:
                    return value
        except _NOT_ENCODABLE:
            return value

    def _frame(self, frame: Frame, name: str) -> Frame:
        if name == "payload" and frame.kind == Kind.PRE_PREPARE and self.header_follows:
            frame = self._with_header_of(frame)
        if frame.sender != self.liar.member and name != "sender":
            return frame
        chain_id = self.liar.members.chain_id
        message = signing_bytes(chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
        return msgspec.structs.replace(frame, signature=self._sign(message))

    def _with_header_of(self, frame: Frame) -> Frame:
        """Only what the envelopes are is wrong any more: the header names them, and the log after them."""
        try:
            body = open_body(frame)
            assert isinstance(body, PrePrepare), "of its kind"
            header = open_header(body.header)
        except Refused:
            return frame
        leaves = [leaf_hash(raw) for raw in msgspec.msgpack.decode(frame.payload, type=tuple[bytes, ...])]
        parent = self.liar.replica.chain.get(header.parent)
        if parent is None or parent.frontier is None:
            return frame
        grown, _ = parent.frontier.append(leaves)
        header = msgspec.structs.replace(
            header, transactions_root=root_of(leaves), log_size=grown.size, log_root=grown.root()
        )
        return msgspec.structs.replace(frame, body=encode(PrePrepare(body.epoch, body.view, encode(header))))

    def _certificate(self, certificate: Certificate) -> Certificate:
        body = vote_body(certificate.epoch, certificate.view, certificate.seq, certificate.block)
        votes = tuple(self._vote(vote, certificate.phase, body) for vote in certificate.votes)
        return msgspec.structs.replace(certificate, votes=votes)

    def _vote(self, vote: VoteSignature, phase: int, body: bytes) -> VoteSignature:
        if vote.sender != self.liar.member:
            return vote
        message = signing_bytes(self.liar.members.chain_id, phase, vote.sender, vote.boot, vote.counter, body)
        return msgspec.structs.replace(vote, signature=self._sign(message))

    def _envelope(self, envelope: SignedBody) -> SignedBody:
        body: TransactionBody = _body_of(envelope.body)
        if body.client in self._honest:
            return envelope
        return SignedBody(envelope.body, self._client_sign(SIGNING_DOMAIN + envelope.body))

    def _cosignature(self, body: Cosignature) -> Cosignature:
        cosigner, log = self.liar.cosigner, self.liar.disk.log
        if cosigner is None or not 0 <= body.seq < len(log):
            return body
        time_s = log[body.seq][0].header.time_ms // 1000
        values = cosigner.cosign(body.log_size, body.log_root, time_s)
        return msgspec.structs.replace(body, cosignatures=values)
