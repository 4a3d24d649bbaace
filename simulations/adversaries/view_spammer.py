"""Asks for views: the next one, absurd ones, again and again."""

from bftnode.protocol.messages import Kind, ViewChange
from simulations.adversaries.liar import Behaviour

covers = ("V06", "V07", "V08", "P18", "P20")


class ViewSpammer(Behaviour):
    """VIEW-CHANGEs for no reason."""

    def act(self) -> None:
        liar = self.liar
        view = liar.replica.position.view
        wanted = self.random.choice((view, view + 1, view + 2, view + 60, view + 65, 10**9, 2**63 - 1))
        highest = liar.replica.position.highest
        certificate = highest if highest is not None and highest.view < wanted else None
        body = ViewChange(liar.members.epoch, wanted, certificate)
        liar.post(self.some(1), liar.seal(Kind.VIEW_CHANGE, body))
