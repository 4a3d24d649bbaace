"""Hides its certificate in a VIEW-CHANGE exactly when hardly anybody else holds it: when that is worth most.

It sees what its replica has counted: whoever sent a COMMIT for the block holds the certificate too. Where enough of
them do, it reports the truth, and nothing can be proved against it.
"""

from bftnode.protocol.certificates import Certificate
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.messages import Kind, ViewChange, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("V02", "V18", "P5", "P11")


class HiddenCertificate(Behaviour):
    """Reports the certificate before the one that would bind the next view."""

    _seen: tuple[Certificate | None, ...] = (None, None)  # the last but one, and the last

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        self._look()
        if kind_of(frame) != Kind.VIEW_CHANGE:
            return [(to, frame)]
        body = open_body(open_frame(frame))
        assert isinstance(body, ViewChange), "of its kind"
        certificate, before = body.certificate, self._seen[0]
        if certificate is None or self._holders(certificate) > self.liar.members.f:
            return [(to, frame)]
        if before is not None and before.rank >= certificate.rank:
            before = None
        return [(to, self.liar.seal(Kind.VIEW_CHANGE, ViewChange(body.epoch, body.view, before)))]

    def _look(self) -> None:
        highest = self.liar.replica.position.highest
        if highest != self._seen[1]:
            self._seen = (self._seen[1], highest)

    def _holders(self, certificate: Certificate) -> int:
        """Others that said COMMIT for it, as far as this member was told."""
        votes = self.liar.replica.votes.seen(Kind.COMMIT, certificate.view, certificate.seq, certificate.block)
        return sum(member != self.liar.member for member in votes)
