"""What one seed stands for: sizes, timing, weather, faults and liars, each seed with its own mix.

"Swarm testing" (Groce et al., ISSTA 2012): a run in which most features are off and some are strong finds more than
one in which all are on a little.
"""

from dataclasses import dataclass, replace
from random import Random

from bftnode.protocol import quorums
from bftnode.protocol.membership import Parameters
from bftnode.replica.position import Timing
from simulations.adversaries import BEHAVIOURS, FIRST_BEHAVIOURS, TWINS
from simulations.network import Weather

SIZES = (4, 5, 6, 7, 10, 31)
_WEIGHTS = (60, 12, 8, 14, 5, 1)

REAL_CRYPTO_EVERY = 20
"""One seed in so many signs with Ed25519 and verifies as the daemon does. Bytes and codec are real in all of them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about a run that is decided before it starts."""

    seed: int
    n: int
    parameters: Parameters
    timings: tuple[Timing, ...]
    liars: dict[int, tuple[str, ...]]  # member -> its behaviours
    amnesiacs: tuple[int, ...]  # members whose disks are wiped or rolled back once
    unkind_ms: int
    weather: Weather
    faults: dict[str, int]  # fault -> how often
    transactions: int
    odd: float
    retry_ms: int
    pipeline: int  # with so many envelopes waiting, a further block is proposed while others are in flight
    run_blocks_max: int
    disk_delay_max_ms: int
    disk_stall_ms: int
    behind_ms: int  # how long what promises nothing waits for its write
    wall_offset_max_ms: int
    allowed_to_rejoin: bool
    twins_crash: bool  # each of two twins, now and then
    twins_forget: bool  # one of them comes back with an old disk
    disks_rot: bool  # those of the amnesiacs are damaged, too
    liveness_bound_ms: int
    real_crypto: bool = False  # Ed25519 instead of modelled signatures (crypto.py)
    registers: bool = False  # clients use the key-value application, and what they see has to be linearizable

    def __str__(self) -> str:
        liars = ", ".join(f"n{member}: {' + '.join(names)}" for member, names in self.liars.items()) or "no liars"
        faults = ", ".join(f"{count} x {name}" for name, count in self.faults.items()) or "no faults"
        lost = f"; amnesia of {', '.join(f'n{m}' for m in self.amnesiacs)}" if self.amnesiacs else ""
        keys = ", real signatures" if self.real_crypto else ""
        return f"n={self.n}{keys}, {self.transactions} transactions in {self.unkind_ms} ms; {liars}{lost}; {faults}"


CONSPIRACY = ("equivocating primary", "vote equivocator", "lying view change")
"""What it takes to attack agreement itself, together."""

FAULTS = ("crash", "crash in write", "crash while speaking", "cut", "one-way cut", "primary cut", "storm", "slow disk")
LATE_FAULTS = ("stop", "power cut")
LATEST_FAULTS = ("clog", "narrow line", "full disk", "drift")
LAST_FAULTS = ("broken link",)
"""Faults of the environment by when they were added: each generation has dice of its own."""

LATEST_BEHAVIOURS = ("fork forger",)
"""Behaviours that have dice of their own: one more for every fifth liar."""
LAST_BEHAVIOURS = ("complainer",)
"""And those of the generation after: one more for every fifth liar, by dice of its own."""
LATER_BEHAVIOURS = sorted(BEHAVIOURS.keys() - set(FIRST_BEHAVIOURS) - set(LATEST_BEHAVIOURS) - set(LAST_BEHAVIOURS))
OPPORTUNISTS = ("decisive vote", "hidden certificate", "late equivocator")
"""What it takes to lie only where it counts, together."""


def draw(seed: int, sizes: tuple[int, ...] = SIZES) -> Plan:
    """The plan of a seed."""
    dice = Random(f"plan {seed}")
    late = Random(f"plan {seed}, what came later")  # so that an old seed's other dice fall as they fell
    latest = Random(f"plan {seed}, what came last")
    n = dice.choices(sizes, [_WEIGHTS[SIZES.index(size)] if size in SIZES else 1 for size in sizes])[0]
    f = quorums.max_faulty(n)
    faulty = dice.sample(range(n), dice.choice((0, *range(f + 1), f, f)))
    amnesiacs = tuple(sorted(faulty[: dice.choice((0, 0, 0, 1, f))]))
    conspiracy = _behaviours(dice) if dice.random() < 0.3 else None
    liars = {member: conspiracy or _behaviours(dice) for member in sorted(faulty) if member not in amnesiacs}
    unkind_ms = dice.randint(1000, 3000) if n > 7 else dice.choice((1500, 3000, 5000, 8000, dice.randint(500, 20_000)))
    if n <= 5 and dice.random() < 0.02:
        unkind_ms = 60_000
    base = dice.choice((300, 500, 1000))
    timing = Timing(
        view_change_timeout_ms=base,
        view_change_timeout_max_ms=base * dice.choice((4, 8)),
        status_interval_ms=500 if n > 7 else dice.choice((150, 300, 500)),
        fetch_timeout_ms=dice.choice((300, 1000)),
        courtesy_delay_ms=base * 3,
        courtesy_interval_ms=base * 6,
    )
    return Plan(
        seed=seed,
        n=n,
        parameters=Parameters(
            block_transactions_max=dice.choice((1, 2, 3, 100)),
            window=dice.choice((1, 2, 4, 8)),
            checkpoint_interval=dice.choice((1, 2, 4)),
            clock_skew_ms=dice.choice((100, 30_000)),
        ),
        timings=tuple(_individual(dice, timing) for _ in range(n)),
        liars={
            member: _with_one_more(
                Random(f"plan {seed}, n{member}, and another one"),
                _with_one_more(
                    Random(f"plan {seed}, n{member}, one more"), _with_the_latest(latest, names), LATEST_BEHAVIOURS
                ),
                LAST_BEHAVIOURS,
            )
            for member, names in liars.items()
        },
        amnesiacs=amnesiacs,
        unkind_ms=unkind_ms,
        weather=replace(_weather(dice), tail_ms=latest.choice((0, 0, 0, 20, 200))),
        faults=_faults(dice, unkind_ms)
        | _late_faults(late, unkind_ms)
        | _latest_faults(latest, unkind_ms)
        | _last_faults(seed, unkind_ms),
        twins_crash=latest.random() < 0.5,
        twins_forget=latest.random() < 0.3,
        disks_rot=latest.random() < 0.4,
        transactions=dice.randint(2, 6) if n > 7 else dice.randint(4, 24),
        odd=dice.choice((0.0, 0.2, 0.5)),
        retry_ms=dice.choice((400, 1200)),
        pipeline=dice.choice((1, 2, 256)),
        run_blocks_max=dice.choice((1, 2, 4, 256)),
        disk_delay_max_ms=dice.choice((0, 0, 0, 3, 20)),
        disk_stall_ms=dice.choice((0, 0, 500, 3000)),
        behind_ms=late.choice((1, 20, 20, 300)),
        wall_offset_max_ms=dice.choice((0, 30, 90)),
        allowed_to_rejoin=dice.random() < 0.5,
        liveness_bound_ms=liveness_bound_ms(n, timing),
        real_crypto=seed % REAL_CRYPTO_EVERY == 0,
        registers=Random(f"plan {seed}, registers").random() < 0.2,
    )


ON_THE_WAY_MS = 6000
"""What was sent while the world was unkind arrives within so long (simulations/network.py)."""


def liveness_bound_ms(n: int, timing: Timing) -> int:
    """In a kind world, how long until all that correct clients have submitted is executed by all correct members: two
    timeouts for each of f faulty primaries in a row (one awaits its NEW-VIEW, one what it was to order), and eight for
    the view change under way, repetition of what was lost, catching up and clients' retries; each as long as timeouts
    can become. What is measured is mostly under two, and four at most (docs/benchmarks.md)."""
    return (2 * quorums.max_faulty(n) + 8) * timing.view_change_timeout_max_ms + ON_THE_WAY_MS


def _behaviours(dice: Random) -> tuple[str, ...]:
    if dice.random() < 0.12:
        return (TWINS,)
    if dice.random() < 0.15:
        return CONSPIRACY
    return tuple(dice.sample(FIRST_BEHAVIOURS, dice.choice((1, 1, 1, 2, 3))))


def _with_the_latest(dice: Random, names: tuple[str, ...]) -> tuple[str, ...]:
    """Behaviours that were added later join those of every other liar, or take their place."""
    chance = dice.random()
    added = tuple(dice.sample(LATER_BEHAVIOURS, dice.choice((1, 1, 2))))
    if dice.random() < 0.3:
        added = OPPORTUNISTS
    if names == (TWINS,) or chance < 0.5:
        return names
    return added if chance < 0.75 else (*names, *added)


def _with_one_more(dice: Random, names: tuple[str, ...], added: tuple[str, ...]) -> tuple[str, ...]:
    if names == (TWINS,) or dice.random() >= 0.2:
        return names
    return (*names, dice.choice(added))


def _individual(dice: Random, timing: Timing) -> Timing:
    """Members' timeouts need not be alike."""
    stretch = dice.choice((1.0, 1.0, 1.0, 1.3))
    return Timing(
        int(timing.view_change_timeout_ms * stretch),
        timing.view_change_timeout_max_ms,
        int(timing.status_interval_ms * stretch),
        timing.fetch_timeout_ms,
        timing.courtesy_delay_ms,
        timing.courtesy_interval_ms,
    )


def _weather(dice: Random) -> Weather:
    return Weather(
        delay_min_ms=1,
        delay_max_ms=dice.choice((1, 10, 50, 300)),
        loss=dice.choice((0.0, 0.0, 0.02, 0.1, 0.3)),
        duplicate=dice.choice((0.0, 0.0, 0.05, 0.2)),
        spike=dice.choice((0.0, 0.0, 0.05)),
        spike_ms=dice.choice((500, 3000)),
    )


def _faults(dice: Random, unkind_ms: int) -> dict[str, int]:
    most = 2 + unkind_ms // 2000
    chosen = [fault for fault in FAULTS if dice.random() < 0.3]
    return {fault: dice.randint(1, most) for fault in chosen}


def _late_faults(dice: Random, unkind_ms: int) -> dict[str, int]:
    return {fault: dice.randint(1, 2 + unkind_ms // 2000) for fault in LATE_FAULTS if dice.random() < 0.3}


def _latest_faults(dice: Random, unkind_ms: int) -> dict[str, int]:
    return {fault: dice.randint(1, 2 + unkind_ms // 4000) for fault in LATEST_FAULTS if dice.random() < 0.3}


def _last_faults(seed: int, unkind_ms: int) -> dict[str, int]:
    dice = Random(f"plan {seed}, faults of the generation after")
    return {fault: dice.randint(1, 2 + unkind_ms // 2000) for fault in LAST_FAULTS if dice.random() < 0.3}
