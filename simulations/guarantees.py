"""What is promised, for every size of coalition, and whether it held: `python -m simulations guarantees`.

For n = 4, 7 and 10 and each number of conspirators from 0 to n-1 the attacks of coalition.py are played by several
seeds, with and without the first primary among the conspirators. A promise that broke is a failure; so is an attack
beyond f that could not be shown to break what is not promised, for a table in which nothing can break says nothing.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bftnode.protocol import quorums
from simulations.coalition import Came, conspirators, framers, ladder, silent, split
from simulations.world import Violation

SIZES = (4, 7, 10)
SEEDS = range(4)

Attack = Callable[[int, Sequence[int], int], Came]


@dataclass(frozen=True, slots=True)
class Cell:
    """One promise at one size: how often it held in the runs that ask for it."""

    promised: bool
    held: int
    runs: int

    @property
    def broken(self) -> int:
        return self.runs - self.held

    def __str__(self) -> str:
        if not self.runs:
            return "-"
        if self.promised:
            return (
                f"**held**, {self.held} of {self.runs}"
                if not self.broken
                else f"BROKEN in {self.broken} of {self.runs}"
            )
        return f"broken in {self.broken} of {self.runs}" if self.broken else f"not broken in {self.runs}"


@dataclass(frozen=True, slots=True)
class Line:
    """One size of coalition. `one_view`, `across_views`, `two_branches`: forks of each kind that were blamed on
    somebody."""

    n: int
    conspirators: int
    safety: Cell
    liveness: Cell
    offline: Cell
    online: Cell
    attribution: Cell
    recovery: Cell
    one_view: int
    across_views: int
    two_branches: int

    def faults(self) -> list[str]:
        """Why this line is not what the table has to show."""
        where = f"n={self.n}, {self.conspirators} conspirators"
        cells: dict[str, Cell] = {name: getattr(self, name) for name in COLUMNS}
        found = [
            f"{where}: {name} is promised: {cell}" for name, cell in cells.items() if cell.promised and cell.broken
        ]
        if self.conspirators > quorums.max_faulty(self.n):
            shown = {
                "a fork in one view": self.one_view,
                "a fork across views": self.across_views,
                "a halt": self.liveness.broken,
                "a comparison offline": self.offline.runs,
                "an attribution": self.attribution.runs,
                "a recovery": self.recovery.runs,
            }
            if self.n - self.conspirators >= 2:
                shown["a fork by two branches of one view"] = self.two_branches
                shown["members that stop"] = self.online.runs
        else:
            shown = {name: cells[name].runs for name in ("safety", "liveness", "recovery")}
        return found + [f"{where}: {what} could not be shown" for what, count in shown.items() if not count]


COLUMNS = ("safety", "liveness", "offline", "online", "attribution", "recovery")

PROMISES = """\
- **Safety**: no two honest parties (members, or a client with receipts) hold histories that contradict each other.
  Promised up to f.
- **Liveness**: while the attack lasts, everything that honest clients ask for is executed by all honest members, within
  (2f+8) of the longest timeouts. Promised up to f.
- **Offline**: whoever compares two histories that contradict each other (receipts, logs) sees that they do. Whatever
  the size.
- **Online**: where honest members hold both and hear each other, one of them finds out at the first certificate or
  checkpoint of the other history that reaches it, and stops, with `fork_detected` or `state_diverged`. From when the
  first has the proof, all that hear it, or hear one that heard it, stop within three status intervals and what frames
  take on the way, with the same proof on their disks; who was away stops when it is back. Nobody honest ever exchanges
  what it has executed for another history. Whatever the size.
- **Attribution**: from what two honest parties hold, at least f+1 conspirators are named with a proof that anybody can
  check, and never an honest member. Whatever the size, for forks at one height of a view, at two heights of a view, and
  across views, if one of the two was active in the view in which the second history took another way than the first
  one's certificates; else another member that was has to be asked, and where 2f+1 conspire there may be none
  (docs/decisions/010).
- **Recovery**: members that were silent come back, and all that was asked for is executed. Whatever the size.
"""

ATTACKS = """\
- *silent*: the coalition stops in the middle of decisions, and comes back later.
- *conspirators*: all of it equivocates, votes twice and hides certificates, in an open network (`conspiracy-of-f`).
- *framers*: all of it spreads accusations with altered fields or of other chains, crooked certificates, and forged
  proofs of forks.
- *split*: two copies of each conspirator, each with one half of the honest; nothing passes between the halves. In even
  seeds the first primary conspires (a fork in one view), in odd ones it is honest where there is an honest member (one
  half changes views, and the COMMITs of the other are hidden).
- *ladder*: the first primary conspires. To one half of the honest the coalition shows a block and COMMITs it; to the
  other, in the same view, another block of that height, for which it does not vote, and one above it, for which it
  does: that is committed at once, or reported to the next view by the coalition, or by the honest alone while the
  coalition reports the truth. No member votes twice at one height or hides a COMMIT. (With two honest members or more.)
- *eclipsed client*: from a quorum of conspirators on, their copies alone make a history for a client that hears nobody
  else.
"""


def line(n: int, count: int, seeds: Iterable[int] = SEEDS) -> Line:
    """Play all attacks with `count` conspirators of `n`. Raises Violation where an honest member is accused."""
    f = quorums.max_faulty(n)
    came: list[Came] = []
    for seed in seeds:
        coalition = tuple(range(count)) if seed % 2 == 0 else tuple(range(n - count, n))
        came += [attack(n, coalition, seed) for attack in (silent, conspirators, framers, split)]
        if 0 < count < n - 1:
            came.append(ladder(n, tuple(range(count)), seed))
        if count >= quorums.quorum(n):
            came.append(split(n, coalition, seed, part=0))
    return Line(
        n,
        count,
        _cell(count <= f, [not run.forked for run in came]),
        _cell(count <= f, [run.live for run in came]),
        _cell(True, [run.exposed for run in came]),
        _cell(True, [run.detected for run in came]),
        _cell(True, [run.blamed for run in came]),
        _cell(True, [run.recovered for run in came]),
        sum(any("two COMMITs" in proof for proof in run.proofs) for run in came),
        sum(any("hides" in proof for proof in run.proofs) for run in came if run.attack != "ladder"),
        sum(any("another branch" in proof for proof in run.proofs) for run in came if run.attack == "ladder"),
    )


def _cell(promised: bool, answers: Iterable[bool | None]) -> Cell:
    asked = [answer for answer in answers if answer is not None]
    return Cell(promised, sum(asked), len(asked))


def page(lines: Sequence[Line], command: str) -> str:
    """Markdown."""
    text = [
        "# What is promised, and what was seen",
        "",
        f"Written by `{command}`, which fails where a promise breaks, and where an attack beyond f could",
        "not be shown to break what is not promised. Each cell counts the runs that ask its question; every run is",
        "played by the replica that the daemon runs.",
        "",
        PROMISES,
        "A number in bold is a promise that held. What is not promised, and what became of it, stands in plain type.",
    ]
    for n in dict.fromkeys(item.n for item in lines):
        f, q = quorums.max_faulty(n), quorums.quorum(n)
        text += ["", f"## n = {n}: f = {f}, a quorum is {q}", "", f"| conspirators | {' | '.join(COLUMNS)} |"]
        text.append("|---" * (len(COLUMNS) + 1) + "|")
        for item in (item for item in lines if item.n == n):
            cells = " | ".join(str(getattr(item, name)) for name in COLUMNS)
            text.append(f"| {_named(item.conspirators, n)} | {cells} |")
    text += ["", "## The attacks", "", ATTACKS]
    text.append(
        f"Seeds {SEEDS[0]} to {SEEDS[-1]} of each. A cell of `-` has no run that asks its question: nothing forked."
    )
    return "\n".join(text) + "\n"


def _named(count: int, n: int) -> str:
    f = quorums.max_faulty(n)
    marks = (("f", f), ("f+1", f + 1), ("2f", 2 * f), ("2f+1", 2 * f + 1), ("n-1", n - 1))
    names = [name for name, value in marks if value == count]
    return f"{count} ({' = '.join(names)})" if names else str(count)


def run(sizes: Sequence[int], write: Path | None) -> int:
    """The command: exit code 1 where a line is not what it has to be."""
    lines: list[Line] = []
    for n in sizes:
        for count in range(n):
            try:
                lines.append(line(n, count))
            except Violation as violation:
                print(f"FAILED n={n}, {count} conspirators: {violation}")
                return 1
            print(f"n={n}: {count} conspirators of at most {n - 1}: {lines[-1].safety}", file=sys.stderr, flush=True)
    faults = [fault for item in lines for fault in item.faults()]
    command = "./scripts/simulate guarantees" + ("" if tuple(sizes) == SIZES else f" --n {','.join(map(str, sizes))}")
    text = page(lines, command)
    if write is None:
        print(text, end="")
    else:
        write.write_text(text, encoding="utf-8")
    for fault in faults:
        print(f"FAILED {fault}")
    return 1 if faults else 0
