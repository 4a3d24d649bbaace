"""As a primary, orders nothing of some clients, keeps a member out of agreement, or is as slow as it dares."""

from random import Random

from bftnode.protocol.messages import Kind
from bftnode.protocol.transactions import Transaction
from bftnode.replica.pool import Pool
from simulations.adversaries.liar import Behaviour, Letter, Liar
from simulations.judges import kind_of

covers = ("N02", "N04", "N05", "P31")


class Blind(Pool):
    """A pool that keeps what some clients want, and never chooses it."""

    censor: "Censor"

    def choose(self, count_max: int, bytes_max: int, seq: int) -> list[Transaction]:
        chosen = super().choose(len(self._ready), bytes_max, seq)
        return [item for item in chosen if not self.censor.censored(item.key[0])][:count_max]


class Censor(Behaviour):
    """Its replica is blind for the censored clients' envelopes while it proposes."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.share = dice.choice((0.3, 0.6))
        self.lag_ms = dice.choice((0, 0, 100, 300))
        self._left_out: list[int] = []

    def attach(self, liar: Liar) -> None:
        super().attach(liar)
        self._left_out = self.left_out()

    def left_out(self) -> list[int]:
        """Members that get no proposal."""
        return sorted(self.random.sample(self.others(), self.random.randint(0, self.liar.members.f)))

    def censored(self, client: bytes) -> bool:
        return client[0] < 256 * self.share

    def hear(self, sender: int, frame: bytes) -> None:
        self._blind()

    def act(self) -> None:
        self._blind()

    def _blind(self) -> None:
        """In each life of its replica."""
        pool = self.liar.replica.pool
        if not isinstance(pool, Blind):
            pool.__class__ = Blind
            assert isinstance(pool, Blind), "made so"
            pool.censor = self

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) in (Kind.PRE_PREPARE, Kind.PREPARE) and to in self._left_out:
            return []
        if kind_of(frame) == Kind.PRE_PREPARE and self.lag_ms:
            self.liar.world.after(self.lag_ms, self.liar.post, [to], frame)
            return []
        return [(to, frame)]
