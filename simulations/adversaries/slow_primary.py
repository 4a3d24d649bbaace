"""As a primary, orders everything just before the others lose patience.

Clement et al., "Making Byzantine Fault Tolerant Systems Tolerate Byzantine Faults" (NSDI 2009, section 2.2): against
a protocol whose only defence is a timer, this costs nearly all of the throughput and is never found out.
"""

from random import Random

from bftnode.protocol.messages import Kind
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N04", "P30")


class SlowPrimary(Behaviour):
    """Each proposal leaves a share of the view-change timeout late."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.share = dice.choice((0.5, 0.7, 0.9))

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) != Kind.PRE_PREPARE:
            return [(to, frame)]
        lag_ms = int(self.share * self.liar.timing.view_change_timeout_ms)
        self.liar.world.after(lag_ms, self.liar.post, [to], frame)
        return []
