"""Messages whose signature does not hold, among them votes, which are counted before they are checked."""

from random import Random

from bftnode.protocol.certificates import Certificate
from bftnode.protocol.envelope import Frame, encode_frame, open_frame
from bftnode.protocol.messages import Kind, ViewChange, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("R01", "R15", "V01", "V03", "P6")


class InvalidSignature(Behaviour):
    """Flips a bit in a signature, or forges a vote inside a certificate that it reports."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.share = dice.choice((0.2, 0.6, 1.0))
        self.also_sends_valid = dice.random() < 0.5

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) == Kind.STATUS or self.random.random() >= self.share:
            return [(to, frame)]
        opened = open_frame(frame)
        if opened.kind == Kind.VIEW_CHANGE:
            body = open_body(opened)
            if isinstance(body, ViewChange) and body.certificate is not None:
                forged = self.liar.seal(Kind.VIEW_CHANGE, ViewChange(body.epoch, body.view, _forged(body.certificate)))
                return [(to, forged)]
        broken = Frame(
            opened.kind,
            opened.sender,
            opened.boot,
            opened.counter,
            opened.body,
            _flipped(opened.signature),
            opened.payload,
        )
        return [(to, encode_frame(broken)), *([(to, frame)] if self.also_sends_valid else [])]


def _flipped(signature: bytes) -> bytes:
    return bytes((signature[0] ^ 1,)) + signature[1:]


def _forged(certificate: Certificate) -> Certificate:
    """One that claims a later height than was voted for."""
    return Certificate(
        certificate.phase,
        certificate.epoch,
        certificate.view,
        certificate.seq + 1,
        certificate.block,
        certificate.votes,
    )
