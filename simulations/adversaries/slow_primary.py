"""As a primary, orders everything just before the others lose patience.

Clement et al., "Making Byzantine Fault Tolerant Systems Tolerate Byzantine Faults" (NSDI 2009, section 2.2): against
a protocol whose only defence is a timer, this costs nearly all of the throughput and is never found out.
"""

from collections.abc import Sequence
from random import Random

from bftnode.protocol.messages import Kind
from bftnode.protocol.transactions import Transaction
from bftnode.replica.pool import Pool
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N04", "P30", "P31")


class SlowPrimary(Behaviour):
    """Each proposal leaves a share of the view-change timeout late."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.share = dice.choice((0.5, 0.7, 0.9))

    def lag_ms(self) -> int:
        """How late the proposal leaves that is made now."""
        return int(self.share * self.liar.timing.view_change_timeout_ms)

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) != Kind.PRE_PREPARE:
            return [(to, frame)]
        self.liar.world.after(self.lag_ms(), self.liar.post, [to], frame)
        return []


class MeasuredDelay(SlowPrimary):
    """Delays by the list, one after the other and again, and only while `on`; with `few`, proposes so many envelopes at
    a time, whatever waits."""

    def __init__(self, lags_ms: Sequence[int], few: int = 0) -> None:
        super().__init__(Random("measured"))
        self.on = False
        self._lags_ms = lags_ms
        self._few = few
        self._frame = b""
        self._said = 0

    def lag_ms(self) -> int:
        return self._lags_ms[self._said % len(self._lags_ms)]

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) == Kind.PRE_PREPARE and frame != self._frame:
            self._frame = frame
            self._said += 1
        return super().utter(to, frame) if self.on else [(to, frame)]

    def hear(self, sender: int, frame: bytes) -> None:
        pool = self.liar.replica.pool
        if self._few and not isinstance(pool, Stingy):
            pool.__class__ = Stingy
            assert isinstance(pool, Stingy), "made so"
            pool.behaviour = self

    def most(self, count: int) -> int:
        """Envelopes in a proposal."""
        return min(self._few, count) if self.on and self._few else count


class Stingy(Pool):
    """A pool of which little is proposed."""

    behaviour: MeasuredDelay

    def choose(self, count_max: int, bytes_max: int, seq: int) -> list[Transaction]:
        return super().choose(self.behaviour.most(count_max), bytes_max, seq)
