"""A primary that delays, by how much and however it likes, takes less than three tenths of the goodput: who is late for
more than a share of the time is found slow by f+1, replaced, and passed over for a while.

Clement et al. (NSDI 2009, section 2.2), Amir et al. (Prime, DSN 2008) and Aublin et al. (RBFT, ICDCS 2013) on what a
primary that nobody watches can do. Goodput is that of clients in a closed loop, before and during the attack.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bftnode.protocol.membership import Parameters
from bftnode.replica.effects import Note
from bftnode.replica.position import Timing
from simulations.adversaries.liar import Behaviour
from simulations.adversaries.slow_primary import MeasuredDelay
from simulations.judges import Judged
from simulations.load import Load
from simulations.network import FAIR, Weather
from simulations.scenarios.stage import Stage
from simulations.simulation import QUICK
from simulations.world import Violation

covers = ("N04", "N19", "P30", "P31")

CALLERS = 12
WARM_MS, FREE_MS, ATTACK_MS = 1000, 4000, 16_000
KEPT = 0.7
"""Of the goodput without an attack."""


@dataclass(frozen=True, slots=True)
class Came:
    """What came of it. Operations a second; the views of correct members at the end; who was replaced as slow."""

    free: float
    attacked: float
    view: int
    replaced: tuple[int, ...]
    longest_ms: int

    @property
    def kept(self) -> float:
        return self.attacked / self.free


class Scene:
    """A stage with a load, whose correct members' findings are kept."""

    def __init__(
        self,
        n: int = 4,
        *,
        liars: dict[int, list[Behaviour]] | None = None,
        tells: Callable[[int], Sequence[int]] | None = None,
        weather: Weather = FAIR,
        timing: Timing = QUICK,
        seed: str = "slow primaries",
    ) -> None:
        self.stage = Stage(n, seed=seed, liars=liars, timing=timing, parameters=Parameters(block_transactions_max=100))
        self.stage.pipeline = 256
        self.stage.network.weather = weather
        self.replaced: list[int] = []
        self._tell = self.stage.judge.on_note
        self.stage.judge.on_note = self._on_note  # type: ignore[method-assign]  # to hear what the judge hears
        self.load = Load(self.stage, CALLERS, tells)

    def _on_note(self, node: Judged, note: Note) -> None:
        if note.name == "primary_replaced" and self.stage.judge.is_correct(node):
            member = note.fields["member"]
            if isinstance(member, int) and (not self.replaced or self.replaced[-1] != member):
                self.replaced.append(member)
        self._tell(node, note)

    def measure(self, begin: Callable[[], object], ms: int = ATTACK_MS) -> Came:
        """Goodput before and after `begin`."""
        self.load.goodput(WARM_MS)
        free = self.load.goodput(FREE_MS)
        begin()
        attacked = self.load.goodput(ms)
        views = [node.replica.position.view for node in self.stage.nodes if self.stage.judge.is_correct(node)]
        return Came(free, attacked, max(views), tuple(self.replaced), self.load.longest_ms)


def delayed(lags_ms: Sequence[int], n: int = 4, *, few: int = 0, seed: str = "slow primaries") -> Came:
    """The first primary delays its proposals by these, in turn, or proposes `few` envelopes at a time."""
    attack = MeasuredDelay(lags_ms, few)

    def begin() -> None:
        attack.on = True

    return Scene(n, liars={0: [attack]}, seed=seed).measure(begin)


def greedy(lags_ms: Sequence[int], n: int = 4) -> tuple[int, Came]:
    """The steady delay that costs most, by trying them all: where one pays less than the one before, the attacker goes
    back to the one before. The best delay, and what came of it."""
    return min(((lag_ms, delayed((lag_ms,), n)) for lag_ms in lags_ms), key=lambda pair: pair[1].kept)


def expect(came: Came, what: str, *, least: float = KEPT) -> None:
    """Raises Violation where less is kept."""
    if came.kept < least:
        raise Violation("goodput", f"{what}: {came.attacked:.0f} of {came.free:.0f} operations a second, {came}")


def play() -> None:
    just_under_ms = QUICK.view_change_timeout_ms * 95 // 100
    came = delayed((just_under_ms,))
    expect(came, f"{just_under_ms} ms each")
    if came.replaced[:1] != (0,):
        raise Violation("scenario", f"replaced are {came.replaced}")
