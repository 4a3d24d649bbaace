"""Less of a seed that still fails: which faults, liars and weather can be taken away, how few envelopes, how short.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", TSE 2002) over the plan of
a seed (swarm.py), then over its numbers, until nothing more can be taken away alone. A smaller plan's dice fall
otherwise, so that one which holds proves nothing; one which fails is a run of its own that its words give again.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from simulations.swarm import Plan

RUNS_MAX = 200
"""Of smaller plans; what has been reached by then is the answer."""

MS_MIN = 100
"""No unkind part is made shorter than that: amnesia has a before and an after in it."""

Fails = Callable[[Plan], bool]


class BadWord(Exception):
    """What is to be taken away from a plan is not in it."""


@dataclass(frozen=True, slots=True)
class Less:
    """What is taken away from a plan. `without` are words of `parts`; `at_most` are faults that happen less often."""

    without: tuple[str, ...] = ()
    at_most: tuple[tuple[str, int], ...] = ()
    transactions: int | None = None
    ms: int | None = None

    def words(self) -> str:
        """As options of `replay`, for a shell; empty where nothing is taken away."""
        options = []
        if self.without:
            options.append(f"--without {shlex.quote(','.join(self.without))}")
        if self.at_most:
            options.append(f"--at-most {shlex.quote(','.join(f'{name}={count}' for name, count in self.at_most))}")
        if self.transactions is not None:
            options.append(f"--transactions {self.transactions}")
        if self.ms is not None:
            options.append(f"--ms {self.ms}")
        return " ".join(options)


_CALM: Mapping[str, Callable[[Plan], Plan]] = {
    "loss": lambda plan: replace(plan, weather=replace(plan.weather, loss=0.0)),
    "duplicates": lambda plan: replace(plan, weather=replace(plan.weather, duplicate=0.0)),
    "spikes": lambda plan: replace(plan, weather=replace(plan.weather, spike=0.0, spike_ms=0)),
    "tail": lambda plan: replace(plan, weather=replace(plan.weather, tail_ms=0)),
    "delay": lambda plan: replace(plan, weather=replace(plan.weather, delay_max_ms=plan.weather.delay_min_ms)),
    "odd clients": lambda plan: replace(plan, odd=0.0),
    "disk delay": lambda plan: replace(plan, disk_delay_max_ms=0),
    "disk stall": lambda plan: replace(plan, disk_stall_ms=0),
    "skew": lambda plan: replace(plan, wall_offset_max_ms=0),
    "uneven timeouts": lambda plan: replace(plan, timings=(min(plan.timings, key=_quickness),) * plan.n),
    "rot": lambda plan: replace(plan, disks_rot=False),
    "twin crash": lambda plan: replace(plan, twins_crash=False),
    "twin amnesia": lambda plan: replace(plan, twins_forget=False),
    "registers": lambda plan: replace(plan, registers=False),
    "real signatures": lambda plan: replace(plan, real_crypto=False),
}
"""Parts that a plan has or has not, and the plan without each."""


def _quickness(timing: object) -> str:
    return repr(timing)


def parts(plan: Plan) -> list[str]:
    """What can be taken away, one word each: faults, liars (n3), one of a liar's behaviours (n3:silence), amnesia."""
    found = list(plan.faults)
    for member, names in plan.liars.items():
        found.append(f"n{member}")
        found += [f"n{member}:{name}" for name in names if len(names) > 1]
    found += [f"amnesia of n{member}" for member in plan.amnesiacs]
    return found + [word for word, calmed in _CALM.items() if calmed(plan) != plan]


def reduced(plan: Plan, less: Less) -> Plan:
    """The plan with less. Raises BadWord for what is not in it, and for numbers that are not smaller."""
    there = parts(plan)
    for word in less.without:
        if word not in there:
            raise BadWord(f"seed {plan.seed} has no {word!r}; it has {', '.join(there) or 'nothing to take away'}")
    for fault, count in less.at_most:
        if not 0 < count <= plan.faults.get(fault, 0):
            raise BadWord(f"seed {plan.seed} has {plan.faults.get(fault, 0)} x {fault!r}, not {count} or more")
    if less.transactions is not None and not 0 < less.transactions <= plan.transactions:
        raise BadWord(f"seed {plan.seed} has {plan.transactions} transactions, of which at least one is needed")
    if less.ms is not None and not MS_MIN <= less.ms <= plan.unkind_ms:
        raise BadWord(f"seed {plan.seed} is unkind for {plan.unkind_ms} ms, of which at least {MS_MIN} are needed")
    for word in less.without:
        if word in _CALM:
            plan = _CALM[word](plan)
    return replace(
        plan,
        faults={name: dict(less.at_most).get(name, n) for name, n in plan.faults.items() if name not in less.without},
        liars={
            member: tuple(name for name in names if f"n{member}:{name}" not in less.without)
            for member, names in plan.liars.items()
            if f"n{member}" not in less.without
        },
        amnesiacs=tuple(member for member in plan.amnesiacs if f"amnesia of n{member}" not in less.without),
        transactions=less.transactions or plan.transactions,
        unkind_ms=less.ms or plan.unkind_ms,
    )


def minimise(plan: Plan, fails: Fails, runs_max: int = RUNS_MAX) -> Less:
    """The least that was found to fail still, in at most `runs_max` calls of `fails`. The plan itself fails."""
    asked = 0

    def failing(less: Less) -> bool:
        nonlocal asked
        if asked == runs_max:
            return False
        asked += 1
        return fails(reduced(plan, less))

    best, before = Less(), None
    while best != before:
        before = best
        best = _fewer_parts(plan, best, failing)
        best = _fewer_faults(plan, best, failing)
        best = _least(best, "transactions", best.transactions or plan.transactions, 1, failing)
        best = _least(best, "ms", best.ms or plan.unkind_ms, MS_MIN, failing)
    return best


def _fewer_parts(plan: Plan, best: Less, failing: Callable[[Less], bool]) -> Less:
    """ddmin: halves of what is left are taken away, then quarters, down to single ones."""
    left = _removable(plan, best)
    size = len(left)
    while left and size:
        size = min(size, len(left))
        for at in range(0, len(left), size):
            taken = left[at : at + size]
            smaller = replace(best, without=_sorted(plan, (*best.without, *taken)))
            smaller = replace(smaller, at_most=tuple(it for it in best.at_most if it[0] not in taken))
            if failing(smaller):
                best = smaller
                left = _removable(plan, best)
                break
        else:
            size //= 2
    return best


def _removable(plan: Plan, best: Less) -> list[str]:
    """What is left: of a liar that is taken away whole nothing more, and of one with one behaviour only the whole."""
    left = []
    now = reduced(plan, best)
    for word in parts(plan):
        member, colon, _ = word.partition(":")
        if word in best.without or (colon and f"{member}" in best.without):
            continue
        if colon and len(now.liars.get(int(member[1:]), ())) == 1:
            continue
        left.append(word)
    return left


def _sorted(plan: Plan, without: Sequence[str]) -> tuple[str, ...]:
    """In the order of `parts`, each once; a liar's behaviours are gone with the liar, and with all of them the liar."""
    words = dict.fromkeys(without)
    for member, names in plan.liars.items():
        own = [f"n{member}:{name}" for name in names]
        if f"n{member}" in words or all(word in words for word in own):
            words = {word: None for word in words if word not in own} | {f"n{member}": None}
    return tuple(word for word in parts(plan) if word in words)


def _fewer_faults(plan: Plan, best: Less, failing: Callable[[Less], bool]) -> Less:
    for fault, count in reduced(plan, best).faults.items():
        for fewer in (1, count // 2, count - 1):
            if 0 < fewer < count:
                smaller = replace(best, at_most=tuple({**dict(best.at_most), fault: fewer}.items()))
                if failing(smaller):
                    best = smaller
                    break
    return best


def _least(best: Less, field: str, now: int, least: int, failing: Callable[[Less], bool]) -> Less:
    """Steps down by as much as can be, then by half of it, and so on."""
    step = now - least
    while step > 0:
        if now - step >= least and failing(smaller := _with(best, field, now - step)):
            best, now = smaller, now - step
        else:
            step //= 2
    return best


def _with(less: Less, field: str, value: int) -> Less:
    return replace(less, transactions=value) if field == "transactions" else replace(less, ms=value)
