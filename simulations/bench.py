"""How fast the small world is, all judges on: `python -m simulations bench [--strict]`.

A delivery is a frame that was handed to a replica's step: what was lost, and what reached a node that was down, is
none. Time is this process's own on the processor, not the wall clock's, so that a busy machine changes little.
"""

import resource
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bftnode.protocol.membership import Parameters
from simulations.campaign import outcomes
from simulations.scenarios.stage import Stage

DELIVERIES_A_SECOND = 12_000
MINUTES_A_MINUTE = 60
"""What has to be reached: message deliveries a core-second, and simulated cluster-minutes a CPU-minute."""

DECISIONS_A_SECOND = 5
SEEDS = range(40)
"""Full-fault seeds of the swarm that are measured beside the steady world; their sizes and weather are their own."""


class Measured(NamedTuple):
    """One world, or several together."""

    world: str
    simulated_ms: int
    blocks: int
    deliveries: int
    cpu_s: float

    @property
    def deliveries_a_second(self) -> float:
        return self.deliveries / self.cpu_s

    @property
    def minutes_a_minute(self) -> float:
        return self.simulated_ms / 1000 / self.cpu_s


def steady(simulated_s: int, *, n: int = 4) -> tuple[int, int, int]:
    """(simulated ms, blocks, deliveries) of a fair world in which five blocks a second are decided.

    Raises Violation, also where fewer were decided than were asked for.
    """
    stage = Stage(n, parameters=Parameters(), seed="bench")
    began_ms = stage.world.now_ms
    for number in range(simulated_s * DECISIONS_A_SECOND):
        # One envelope to the primary, so that each is a decision of its own and none has to be relayed.
        stage.submit(0, client=number % 4)
        stage.run(1000 // DECISIONS_A_SECOND)
    stage.expect_height(simulated_s * DECISIONS_A_SECOND)
    return stage.world.now_ms - began_ms, stage.height(0), stage.world.delivered


def swarm(seeds: Iterable[int]) -> tuple[int, int, int]:
    """(simulated ms, blocks, deliveries) of seeds of the swarm. Raises the Violation of one that fails."""
    done = outcomes(seeds)
    for outcome in done:
        if outcome.violation is not None:
            raise outcome.violation
    return sum(it.simulated_ms for it in done), sum(it.height for it in done), sum(it.delivered for it in done)


def measured(world: str, play: Callable[[], tuple[int, int, int]]) -> Measured:
    """What `play` did, and what it cost."""
    before = _cpu_s()
    simulated_ms, blocks, deliveries = play()
    return Measured(world, simulated_ms, blocks, deliveries, _cpu_s() - before)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bench(simulated_s: int, runs: int) -> list[Measured]:
    """The steady world `runs` times, and the swarm once."""
    found = [measured("n=4, fair, 5 decisions/s", lambda: steady(simulated_s)) for _ in range(runs)]
    return [*found, measured(f"swarm, {len(SEEDS)} full-fault seeds", lambda: swarm(SEEDS))]


def table(found: list[Measured]) -> str:
    """The measurements in columns, and whether the best steady run reaches what has to be reached."""
    lines = [
        f"{'':28} {'':>10} {'':>7} {'':>11} {'':>8} {'deliveries':>11} {'cluster-min':>12}",
        f"{'world':28} {'simulated':>10} {'blocks':>7} {'deliveries':>11} {'CPU':>8} {'/ CPU s':>11} {'/ CPU min':>12}",
    ]
    lines += [
        f"{it.world:28} {it.simulated_ms / 1000:>8.1f} s {it.blocks:>7} {it.deliveries:>11} {it.cpu_s:>6.2f} s "
        f"{it.deliveries_a_second:>11.0f} {it.minutes_a_minute:>12.1f}"
        for it in found
    ]
    best = max(found[:-1], key=lambda it: it.deliveries_a_second)
    lines.append(
        f"best steady run: {best.deliveries_a_second:.0f} of {DELIVERIES_A_SECOND} deliveries a core-second, "
        f"{best.minutes_a_minute:.1f} of {MINUTES_A_MINUTE} cluster-minutes a CPU-minute: "
        + ("reached" if reached(found) else "MISSED")
    )
    return "\n".join(lines)


def reached(found: list[Measured]) -> bool:
    """Whether the best of the steady runs (the one that was disturbed least) reaches both."""
    best = max(found[:-1], key=lambda it: it.deliveries_a_second)
    return best.deliveries_a_second >= DELIVERIES_A_SECOND and best.minutes_a_minute >= MINUTES_A_MINUTE
