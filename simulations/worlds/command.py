"""The sets of small worlds on the command line: a slice or all of one, by one process or several, and one unit told."""

import argparse
from typing import Protocol

from simulations import slices
from simulations.work import Work
from simulations.world import Listener, Violation, line_of, listening
from simulations.worlds.lost import LOST
from simulations.worlds.orders import ORDERS
from simulations.worlds.twins import Twins


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
        epilog="example: python -m simulations twins --units 0..2703",
    )
    twins.add_argument("--late", action="store_true", help="a COMMIT is heard in the parts of the view after its own")
    twins.add_argument("--held", action="store_true", help="what does not pass is not lost, but heard in the end")
    schedules = commands.add_parser(
        "schedules",
        help="one decision without up to three of its messages, or its votes in every order",
        epilog="example: python -m simulations schedules orders --units 0..2519",
    )
    schedules.add_argument("set", choices=sorted(SCHEDULES), help="lost messages, or orders of arrival")
    for exhaustive in (twins, schedules):
        which = exhaustive.add_mutually_exclusive_group()
        which.add_argument("--units", type=slices.units_of, metavar="A..B", help="both included (default: all)")
        which.add_argument("--unit", type=int, metavar="N", help="play one unit, and tell it as it happens")
        exhaustive.add_argument("--jobs", type=int, default=1, help="processes (default 1)")


def obey(options: argparse.Namespace) -> int:
    """Play what was asked for; the exit code."""
    work: Told = SCHEDULES[options.set] if options.command == "schedules" else Twins(options.late, options.held)
    if options.unit is not None:
        return tell(work, options.unit)
    return slices.play(work, options.units, options.jobs)


def tell(work: Told, unit: int) -> int:
    """Play one unit and tell it as it happens; the exit code."""
    if not slices.there(work, range(unit, unit + 1)):
        return 2
    violation = None
    with listening(_Printer()):
        try:
            work.tell(unit)
        except Violation as found:
            violation = found
    print(f"{work.name} {unit}: " + (f"VIOLATED {violation}" if violation else "nothing was violated"))
    return 1 if violation else 0
