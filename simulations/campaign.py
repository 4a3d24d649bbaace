"""Many seeds, and the story of one that fails. It belongs into tests/simulation/regression_seeds.txt, for ever.

A campaign states its work beforehand and fails if it did less: each seed comes back once, with blocks that were
decided and envelopes of correct clients that were executed.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from simulations.minimise import Less, minimise, reduced
from simulations.simulation import Outcome, play
from simulations.swarm import SIZES, Plan, draw
from simulations.work import Done, Finding
from simulations.world import Violation

CHUNK = 25
FAILURES_MAX = 10
"""A campaign stops after so many failing seeds: they have one cause more often than not."""

STORY_LINES = 80
NOTHING_LESS = Less()


def outcomes(seeds: Iterable[int], sizes: tuple[int, ...] = SIZES, *, twice: bool = False) -> list[Outcome]:
    """Play each; with `twice`, play each again and compare."""
    return [_compared(play(draw(seed, sizes)), sizes) if twice else play(draw(seed, sizes)) for seed in seeds]


def _compared(outcome: Outcome, sizes: tuple[int, ...]) -> Outcome:
    again = play(draw(outcome.seed, sizes))
    if (again.trace, again.happened) == (outcome.trace, outcome.happened):
        return outcome
    return replace(outcome, violation=Violation("one-run", f"traces {outcome.trace} and {again.trace}"))


def _chunk(seeds: range, sizes: tuple[int, ...], twice: bool) -> list[Outcome]:
    return outcomes(seeds, sizes, twice=twice)


def _all(seeds: range, sizes: tuple[int, ...], jobs: int, twice: bool) -> Iterator[Outcome]:
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            yield from _chunk(chunk, sizes, twice)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for done in pool.map(_chunk, chunks, [sizes] * len(chunks), [twice] * len(chunks)):
            yield from done


def report(seed: int, sizes: tuple[int, ...], lines: int = STORY_LINES, less: Less = NOTHING_LESS) -> str:
    """What happened in a seed, or in what is left of it, played again with open eyes. Raises BadWord."""
    plan = reduced(draw(seed, sizes), less)
    outcome = play(plan, remember=lines)
    violation = outcome.violation or idle(outcome)
    last = f"seed {seed}: nothing was violated (trace {outcome.trace})"
    if violation is not None:
        drawn = () if sizes == SIZES else ("--n", ",".join(map(str, sizes)))
        words = " ".join(filter(None, (str(seed), *drawn, less.words())))
        last = f"again: python -m simulations replay {words}\nseed {seed}: VIOLATED {violation} (trace {outcome.trace})"
    return "\n".join([f"seed {seed}: {plan}", *outcome.story, last])


def idle(outcome: Outcome) -> Violation | None:
    """A run that decided nothing, or in which no correct client asked for anything, has shown nothing."""
    if outcome.height and outcome.required and outcome.delivered:
        return None
    done = f"{outcome.height} blocks, {outcome.required} envelopes, {outcome.delivered} deliveries"
    return Violation("idle", f"less was done than a seed stands for: {done}")


def campaign(seeds: range, sizes: tuple[int, ...], jobs: int, *, twice: bool = False) -> int:
    """Play them all; the number of failures. Less work than was stated is one."""
    failed: list[Outcome] = []
    count = slowest = blocks = envelopes = deliveries = 0
    for outcome, seed in zip(_all(seeds, sizes, jobs, twice), seeds, strict=True):
        assert outcome.seed == seed, "each seed once, in order"
        count += 1
        blocks += outcome.height
        envelopes += outcome.required
        deliveries += outcome.delivered
        slowest = max(slowest, outcome.healed_after_ms)
        violation = outcome.violation or idle(outcome)
        if violation is not None:
            failed.append(replace(outcome, violation=violation))
            print(report(seed, sizes), flush=True)
        if count % 100 == 0 or count == len(seeds) or len(failed) == FAILURES_MAX:
            print(
                f"{count}/{len(seeds)} seeds{' twice' if twice else ''}, {len(failed)} violations, {blocks} blocks, "
                f"{envelopes} envelopes, {deliveries} deliveries, slowest recovery {slowest} ms of virtual time",
                flush=True,
            )
        if len(failed) == FAILURES_MAX:
            break
    for outcome in failed:
        print(f"seed {outcome.seed}: {outcome.violation}")
    if count < len(seeds):
        print(f"stopped after {count} of {len(seeds)} seeds")
    return len(failed)


class Swarm:
    """The swarm as a set: a unit is a seed."""

    name = "swarm"
    story = "a seed: a cluster's size, weather, faults and liars by lot; unkind first, then kind"
    units = None
    full = 10_000
    chunk = CHUNK

    def play(self, first: int, last: int) -> Done:
        """These seeds, once each."""
        played = outcomes(range(first, last))
        findings = [
            Finding(one.seed, violation.name, violation.detail, f"python -m simulations replay {one.seed}")
            for one in played
            if (violation := one.violation or idle(one)) is not None
        ]
        counts = {
            "runs": len(played),
            "blocks": sum(one.height for one in played),
            "envelopes": sum(one.required for one in played),
            "deliveries": sum(one.delivered for one in played),
        }
        return Done(len(played), counts, tuple(findings))

    def smaller(self, finding: Finding) -> Finding:
        """The seed with fewer faults and liars, fewer envelopes, in less time (minimise.py)."""

        def fails(plan: Plan) -> bool:
            outcome = play(plan)
            violation = outcome.violation or idle(outcome)
            return violation is not None and violation.name == finding.judge

        less = minimise(draw(finding.unit), fails)
        return replace(finding, replay=f"python -m simulations replay {finding.unit} {less.words()}".strip())


SWARM = Swarm()
