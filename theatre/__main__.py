"""`python -m theatre SET A..B`: units of a set of real nights, told in numbers; findings with what shows them again."""

import argparse
import sys
from collections.abc import Sequence

from simulations.slices import play, units_of
from theatre.nights.sets import SETS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m theatre",
        description="Real daemons and real disks, for a night: units of a set, one after the other.",
        epilog="example: python -m theatre kills 0..9    sets: "
        + "; ".join(f"{work.name} ({work.full}): {work.story}" for work in SETS.values()),
    )
    parser.add_argument("set", choices=list(SETS), metavar="SET", help=", ".join(SETS))
    parser.add_argument("units", type=units_of, metavar="A..B", help="which of its units, both included; or one number")
    options = parser.parse_args(arguments)
    return play(SETS[options.set], options.units)


if __name__ == "__main__":
    sys.exit(main())
