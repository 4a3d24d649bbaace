"""Many seeds, and the story of one that fails. It belongs into tests/simulation/regression_seeds.txt, for ever."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from simulations.simulation import Outcome, play
from simulations.swarm import SIZES, draw

CHUNK = 25
FAILURES_MAX = 10
"""A campaign stops after so many failing seeds: they have one cause more often than not."""

STORY_LINES = 80


def outcomes(seeds: Iterable[int], sizes: tuple[int, ...] = SIZES) -> list[Outcome]:
    return [play(draw(seed, sizes)) for seed in seeds]


def _all(seeds: range, sizes: tuple[int, ...], jobs: int) -> Iterator[Outcome]:
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            yield from outcomes(chunk, sizes)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for done in pool.map(outcomes, chunks, [sizes] * len(chunks)):
            yield from done


def report(seed: int, sizes: tuple[int, ...], lines: int = STORY_LINES) -> str:
    """What happened in a seed, played again with open eyes."""
    plan = draw(seed, sizes)
    outcome = play(plan, remember=lines)
    said = "nothing was violated" if outcome.violation is None else f"VIOLATED {outcome.violation}"
    return "\n".join([f"seed {seed}: {plan}", *outcome.story, f"seed {seed}: {said} (trace {outcome.trace})"])


def campaign(seeds: range, sizes: tuple[int, ...], jobs: int) -> int:
    """Play them all; the number of failures."""
    failed: list[Outcome] = []
    slowest = blocks = 0
    for count, outcome in enumerate(_all(seeds, sizes, jobs), 1):
        blocks += outcome.height
        slowest = max(slowest, outcome.healed_after_ms)
        if outcome.violation is not None:
            failed.append(outcome)
            print(report(outcome.seed, sizes), flush=True)
        if count % 100 == 0 or count == len(seeds) or len(failed) == FAILURES_MAX:
            print(
                f"{count}/{len(seeds)} seeds, {len(failed)} violations, {blocks} blocks, "
                f"slowest recovery {slowest} ms of virtual time",
                flush=True,
            )
        if len(failed) == FAILURES_MAX:
            break
    for outcome in failed:
        print(f"seed {outcome.seed}: {outcome.violation}")
    return len(failed)
