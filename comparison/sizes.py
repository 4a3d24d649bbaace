"""T9, the part with real processes: the same loads on clusters of more members, all on one machine.

What grows with n is the work of a block, so the CPU of all members for an operation is the figure; throughput falls
with it, because the machine's cores are shared. Messages, bytes and signatures are counted in the simulator
(`./scripts/simulate growth`).
"""

from pathlib import Path

from comparison.findings import Effort, Line, Section, Tell
from comparison.loads import Load
from comparison.measure import measure
from comparison.members import RunningMembers
from comparison.results import Measured
from comparison.systems import started

SIZES = (4, 7, 10)
LOADS = (Load("coalesced", 1024), Load("many", 4, 1000), Load("alone", 64), Load("single", 1))
WORDS = {"coalesced": "callers' own", "many": "batches", "alone": "each alone", "single": "one caller"}
NOTE = (
    "real processes, all on this machine: 1,024 callers' own operations; 4 callers with batches of 1,000; 64 callers, "
    "each operation signed alone; one caller. CPU is of all members and the load."
)


def study(path: Path, effort: Effort, tell: Tell) -> Section:
    """Raises Failed."""
    found: list[list[Measured]] = []
    for n in SIZES:
        home = path / str(n)
        home.mkdir()
        with started(RunningMembers(home, n)) as running:
            found.append([measure(running, load, effort.seconds, home, tell) for load in LOADS])
        tell(f"n = {n}: {found[-1][0].report.operations_per_s:,.0f} operations a second")
    lines = []
    for place, load in enumerate(LOADS):
        column = [one[place] for one in found]
        name = WORDS[load.kind]
        lines += [
            Line((f"{name}: operations a second", *(f"{one.report.operations_per_s:,.0f}" for one in column))),
            Line((f"{name}: median latency, ms", *(f"{one.report.median_ms:.1f}" for one in column))),
            Line(
                (
                    f"{name}: CPU, us an operation",
                    *("-" if one.cpu_us is None else f"{one.cpu_us:,.0f}" for one in column),
                )
            ),
        ]
    return Section("T9", ("", *(f"n = {n}" for n in SIZES)), tuple(lines), (NOTE,))
