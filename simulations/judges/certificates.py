"""Integrity: what is kept as a proof is one (q valid COMMITs of distinct members for one view, height and block)."""

from bftnode.protocol.certificates import COMMIT, Certificate, vote_body
from bftnode.protocol.envelope import signing_bytes
from simulations.judges.court import Court, Judged
from simulations.world import Violation


class Certificates:
    """Checks each certificate that is kept with a block, with thresholds of its own."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self._valid: dict[Certificate, None] = {}

    def on_certificate(self, node: Judged, certificate: Certificate) -> None:
        """A certificate that is kept with the block that it commits."""
        if certificate in self._valid:
            return
        court = self._court
        senders = [vote.sender for vote in certificate.votes]
        body = vote_body(certificate.epoch, certificate.view, certificate.seq, certificate.block)
        chain_id, keys = court.members.chain_id, court.members.public_keys
        if certificate.phase != COMMIT or len(set(senders)) != len(senders) or len(senders) < court.quorum:
            raise Violation("certificate", f"{node.name} keeps {len(set(senders))} votes as a commit certificate")
        if max(senders) >= court.members.n:
            raise Violation("certificate", f"{node.name} keeps a vote of member {max(senders)}, whom there is not")
        for vote in certificate.votes:
            message = signing_bytes(chain_id, certificate.phase, vote.sender, vote.boot, vote.counter, body)
            if not court.verify(keys[vote.sender], message, vote.signature):
                raise Violation("certificate", f"{node.name} keeps an invalid vote of member {vote.sender}")
        self._valid[certificate] = None
