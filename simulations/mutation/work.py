"""The set as work: a unit is a seed. And what `python -m simulations mutate` does with one seed, or with many."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from simulations.mutation.matrix import Cell, cells, table
from simulations.mutation.play import Outcome, Plan, draw, play, smallest
from simulations.work import Done, Finding
from simulations.world import Listener, line_of, listening, unheard

FULL_ROUNDS = 8
"""A full set aims at every cell so many times, each time in another run."""

CHUNK = 400

OF_OTHERS = ("simulations/adversaries/liar.py", "simulations/scenarios/stage.py")

FINDINGS_MAX = 10
"""A slice stops looking for the smallest after so many findings: they have one cause more often than not."""

PROGRESS_EVERY = 500

STORY_LINES_MAX = 1_000_000


class Mutation:
    """Seeds of structure-aware mutation."""

    name = "mutation"
    story = "a seed: a small world in which a liar's messages are changed field by field, and rounds lose messages"
    units = None
    chunk = CHUNK

    @property
    def sources(self) -> tuple[str, ...]:
        """The small world without what this set does not play in it."""
        return ("simulations/*.py", "simulations/judges/*.py", "simulations/mutation/*.py", *OF_OTHERS)

    @property
    def full(self) -> int:
        """Each cell some times."""
        return FULL_ROUNDS * len(cells())

    def play(self, first: int, last: int) -> Done:
        """Seeds first <= seed < last."""
        return done(play(draw(seed)) for seed in range(first, last))


def done(outcomes: Iterable[Outcome]) -> Done:
    """What these runs come to."""
    runs = deliveries = changed = heard = hit = 0
    findings: list[Finding] = []
    for outcome in outcomes:
        runs += 1
        deliveries += outcome.delivered
        changed += outcome.mutations
        heard += sum(outcome.heard.values())
        hit += outcome.hit
        finding = found(outcome, smaller=len(findings) < FINDINGS_MAX)
        if finding is not None:
            findings.append(finding)
    counts = {"runs": runs, "deliveries": deliveries, "changed": changed, "heard": heard, "aims reached": hit}
    return Done(runs, counts, tuple(findings))


def found(outcome: Outcome, *, smaller: bool) -> Finding | None:
    """What was violated, and the line that shows it with as little as still fails. A run in which nothing was changed
    has shown nothing."""
    plan, violation = outcome.plan, outcome.violation
    if violation is not None:
        if smaller:
            with unheard():
                plan = smallest(plan)
        return Finding(plan.seed, violation.name, f"{violation.detail} (first {plan.aim})", replay_of(plan))
    if not outcome.mutations or not outcome.delivered:
        return Finding(plan.seed, "idle", f"nothing was changed: {plan}", replay_of(plan))
    return None


def replay_of(plan: Plan) -> str:
    """The line that tells this run."""
    drawn = draw(plan.seed)
    options = [
        f" --{name} {value}"
        for name, value, usual in (
            ("network", plan.network, drawn.network),
            ("process", plan.process, drawn.process),
            ("transactions", plan.transactions, drawn.transactions),
        )
        if value != usual
    ]
    return f"python -m simulations mutate --seed {plan.seed}{''.join(options)}"


class _Printer(Listener):
    def told(self, ms: int, who: str, what: str) -> None:
        print(line_of(ms, who, what))


def tell(plan: Plan) -> int:
    """Play one plan and tell it; the number of violations."""
    print(f"seed {plan.seed}: {plan}")
    with listening(_Printer()):
        outcome = play(plan)
    said = "nothing was violated" if outcome.violation is None else f"VIOLATED {outcome.violation}"
    print(f"seed {plan.seed}: {said} ({outcome.mutations} messages changed, trace {outcome.trace})")
    return int(outcome.violation is not None)


def campaign(seeds: range, *, matrix: bool, write: Path | None) -> int:
    """Play many seeds; tell what was found, and print or write the matrix. The number of findings, empty cells of a
    matrix that was asked for included."""
    heard: Counter[Cell] = Counter()
    findings = aimed = 0
    for count, seed in enumerate(seeds, 1):
        outcome = play(draw(seed))
        heard.update(outcome.heard)
        aimed += outcome.hit
        finding = found(outcome, smaller=findings < FINDINGS_MAX)
        if finding is not None:
            findings += 1
            print(f"seed {seed}: {finding.judge}: {finding.detail}\n    {finding.replay}", flush=True)
        if count % PROGRESS_EVERY == 0 or count == len(seeds):
            full = sum(cell in heard for cell in cells())
            print(
                f"{count}/{len(seeds)} seeds, {findings} findings, {aimed} reached what they aimed at, "
                f"{full} of {len(cells())} cells, {sum(heard.values())} changed messages heard",
                flush=True,
            )
    if matrix:
        said = f"--seeds {seeds[0]}..{seeds[-1]}"
        how = f"Written by `./scripts/simulate mutate {said} --matrix --write FILE`: {len(seeds)} runs."
        findings += _show(heard, how, write)
    return findings


def _show(heard: Counter[Cell], how: str, write: Path | None) -> int:
    empty = [cell for cell in cells() if cell not in heard]
    text = table(heard, how)
    if write is None:
        print(text)
    else:
        write.write_text(text, encoding="utf-8")
        print(f"written to {write}")
    for cell in empty:
        print(f"empty: {cell}")
    print(f"{len(empty)} of {len(cells())} cells are empty" + ("" if empty else ": there is none"))
    return len(empty)
