"""The sets of small worlds on the command line: a slice or all of one, by one process or several, and one unit told."""

import argparse
import resource
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Protocol

from simulations.work import Done, Work
from simulations.world import Listener, Violation, line_of, listening
from simulations.worlds.lost import LOST
from simulations.worlds.orders import ORDERS
from simulations.worlds.twins import Twins

FINDINGS_MAX = 20
"""After so many the rest is left: they have one cause more often than not."""


class Told(Work, Protocol):
    """Work of which one unit can be told."""

    def tell(self, unit: int) -> None:
        """Play it, to whoever listens. Raises Violation."""


SCHEDULES: dict[str, Told] = {"lost": LOST, "orders": ORDERS}


class _Printer(Listener):
    def told(self, ms: int, who: str, what: str) -> None:
        print(line_of(ms, who, what))


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The sets' commands and options."""
    twins = commands.add_parser(
        "twins",
        help="all worlds of a member at two places, over three views",
        epilog="example: python -m simulations twins --first 0 --last 2704",
    )
    twins.add_argument("--late", action="store_true", help="a COMMIT is heard in the parts of the view after its own")
    twins.add_argument("--held", action="store_true", help="what does not pass is not lost, but heard in the end")
    schedules = commands.add_parser(
        "schedules",
        help="one decision without up to three of its messages, or its votes in every order",
        epilog="example: python -m simulations schedules orders --last 2520",
    )
    schedules.add_argument("set", choices=sorted(SCHEDULES), help="lost messages, or orders of arrival")
    for exhaustive in (twins, schedules):
        exhaustive.add_argument("--first", type=int, default=0, metavar="A", help="the first unit (default 0)")
        exhaustive.add_argument("--last", type=int, metavar="B", help="up to this one, without it (default: all)")
        exhaustive.add_argument("--unit", type=int, metavar="N", help="play one unit, and tell it as it happens")
        exhaustive.add_argument("--jobs", type=int, default=1, help="processes (default 1)")


def obey(options: argparse.Namespace) -> int:
    """Play what was asked for; the exit code."""
    work: Told = SCHEDULES[options.set] if options.command == "schedules" else Twins(options.late, options.held)
    if options.unit is not None:
        return tell(work, options.unit)
    return run(work, options.first, options.last, options.jobs)


def run(work: Told, first: int, last: int | None, jobs: int) -> int:
    """Play the units of a slice, and say what was done; the exit code."""
    units = work.units or work.full
    last = units if last is None else last
    if not 0 <= first < last <= units:
        print(f"error: {work.name} has units 0 to {units - 1}; asked for {first} up to, and without, {last}")
        return 2
    counts: Counter[str] = Counter()
    done, found = 0, 0
    for slice_ in _slices(work, first, last, jobs):
        done += slice_.units
        counts.update(slice_.counts)
        for finding in slice_.findings:
            found += 1
            print(f"unit {finding.unit}: VIOLATED {finding.judge}: {finding.detail}\n    {finding.replay}")
        figures = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(
            f"{work.name}: {done} of {last - first} units, {found} violations; {figures}; {_cpu_s():.0f} s", flush=True
        )
        if found >= FINDINGS_MAX:
            print(f"stopped after {done} of {last - first} units")
            break
    return 1 if found or done < last - first else 0


def _slices(work: Work, first: int, last: int, jobs: int) -> Iterator[Done]:
    """Tasks that begin at multiples of the set's chunk, in order."""
    chunk = work.chunk
    edges = [first, *range(first - first % chunk + chunk, last, chunk), last]
    if jobs == 1:
        yield from map(work.play, edges, edges[1:])
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work.play, edges, edges[1:])


def _cpu_s() -> float:
    """Seconds on processors, this process's and those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def tell(work: Told, unit: int) -> int:
    """Play one unit and tell it as it happens; the exit code."""
    units = work.units or work.full
    if not 0 <= unit < units:
        print(f"error: {work.name} has units 0 to {units - 1}; asked for {unit}")
        return 2
    violation = None
    with listening(_Printer()):
        try:
            work.tell(unit)
        except Violation as found:
            violation = found
    print(f"{work.name} {unit}: " + (f"VIOLATED {violation}" if violation else "nothing was violated"))
    return 1 if violation else 0
