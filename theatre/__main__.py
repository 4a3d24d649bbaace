"""`python -m theatre SET A..B`: units of a set of real nights, told in numbers; findings with what shows them again."""

import argparse
import sys
import time
from collections.abc import Sequence

from simulations.work import Work
from theatre.nights.sets import SETS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m theatre",
        description="Real daemons and real disks, for a night: units of a set, one after the other.",
        epilog="example: python -m theatre kills 0..9    sets: "
        + "; ".join(f"{work.name} ({work.full}): {work.story}" for work in SETS.values()),
    )
    parser.add_argument("set", choices=list(SETS), metavar="SET", help=", ".join(SETS))
    parser.add_argument("units", type=_units, metavar="A..B", help="which of its units, both included; or one number")
    options = parser.parse_args(arguments)
    return play(SETS[options.set], options.units)


def play(work: Work, units: range) -> int:
    """Slice by slice; 1 where something was found."""
    began, counts, found = time.monotonic(), dict[str, int](), 0
    for first in range(units.start, units.stop, work.chunk):
        done = work.play(first, min(first + work.chunk, units.stop))
        for name, count in done.counts.items():
            counts[name] = counts.get(name, 0) + count
        for finding in done.findings:
            found += 1
            print(
                f"FOUND {work.name} {finding.unit}: {finding.judge}: {finding.detail}\n  {finding.replay}", flush=True
            )
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{work.name}: {told}; {found} findings; {time.monotonic() - began:.0f} s", flush=True)
    return 1 if found else 0


def _units(text: str) -> range:
    first, dots, last = text.partition("..")
    try:
        units = range(int(first), int(last if dots else first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 0..9") from None
    if not units or units[0] < 0:
        raise argparse.ArgumentTypeError(f"{text!r} names no units: write the lower one first")
    return units


if __name__ == "__main__":
    sys.exit(main())
