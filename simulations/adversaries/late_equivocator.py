"""As a primary, proposes like anybody, and a second block exactly when the first has all votes but one.

It sees what its replica has counted. The second block goes to those who have not voted yet, with its own votes in
both phases, so that a single mistake of a backup splits the log.
"""

from bftnode.protocol.certificates import Vote
from bftnode.protocol.messages import Kind, PrePrepare
from simulations.adversaries.equivocating_primary import EquivocatingPrimary
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N01", "N11", "V18")

KEPT = 64


class LateEquivocator(EquivocatingPrimary):
    """Equivocates at q - 1."""

    _done: tuple[tuple[int, int], ...] = ()

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        return Behaviour.utter(self, to, frame)

    def hear(self, sender: int, frame: bytes) -> None:
        if kind_of(frame) != Kind.PREPARE:
            return
        replica, members = self.liar.replica, self.liar.members
        view = replica.position.view
        if members.primary_of(view) != self.liar.member:
            return
        block = replica.agreement.tip.block
        place = (view, block.seq)
        prepared = replica.votes.seen(Kind.PREPARE, view, block.seq, block.hash)
        if place in self._done or block.header.view != view or len(prepared) != members.quorum - 1:
            return
        self._done = (*self._done, place)[-KEPT:]
        made = self._double(block)
        if made is None:
            return
        double = made[0]
        rest = [member for member in self.others() if member not in prepared]
        proposal = PrePrepare(members.epoch, view, double.header_raw)
        self.liar.post(rest, self.liar.seal(Kind.PRE_PREPARE, proposal, double.payload))
        vote = Vote(members.epoch, view, double.seq, double.hash)
        for kind in (Kind.PREPARE, Kind.COMMIT):
            self.liar.post(rest, self.liar.seal(kind, vote))
