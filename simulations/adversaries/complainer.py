"""Finds every primary slow, says so of this view and of views to come, and never stops."""

from bftnode.protocol.messages import Kind, Slow
from simulations.adversaries.liar import Behaviour

covers = ("N19", "P30")


class Complainer(Behaviour):
    """SLOW for no reason."""

    def act(self) -> None:
        liar = self.liar
        view = liar.replica.position.view
        for of in (view, view + self.random.choice((1, 2, 2**40)), view):
            liar.post(self.others(), liar.seal(Kind.SLOW, Slow(liar.members.epoch, of)))
