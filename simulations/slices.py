"""Slices of sets on the command line: played in tasks, by one process or several, and told in numbers.

What has to survive an interruption is played by nights/; this is for looking.
"""

import argparse
import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from simulations.work import Done, Work

FINDINGS_MAX = 20
"""After so many the rest is left: they have one cause more often than not."""


def units_of(text: str) -> range:
    """A..B, both included, or one number. Raises argparse.ArgumentTypeError."""
    first, dots, last = text.partition("..")
    try:
        units = range(int(first), int(last if dots else first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 1..200") from None
    if not units or units[0] < 0:
        raise argparse.ArgumentTypeError(f"{text!r} holds nothing: write the lower one first, from 0 on")
    return units


def hush() -> None:
    """Who reads has seen enough (`| head`): what Python would write at its end has nowhere to go either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def there(work: Work, units: range) -> bool:
    """Whether the set has these units; says so where it has not."""
    if work.units is None or units[-1] < work.units:
        return True
    print(f"error: {work.name} has units 0 to {work.units - 1}; asked for {units[0]} to {units[-1]}", file=sys.stderr)
    return False


def play(work: Work, units: range | None, jobs: int = 1) -> int:
    """Play these units (None: a full set), a line a task, and each finding with the command that shows it again. The
    exit code: 1 where something was found or left, 2 where there are no such units."""
    asked = range(work.full) if units is None else units
    if not there(work, asked):
        return 2
    counts: Counter[str] = Counter()
    done = found = 0
    for part in _tasks(work, asked, jobs):
        done += part.units
        counts.update(part.counts)
        for finding in part.findings:
            found += 1
            print(f"unit {finding.unit}: VIOLATED {finding.judge}: {finding.detail}\n    {finding.replay}", flush=True)
        figures = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{work.name}: {done} of {len(asked)} units, {found} violations; {figures}; {_cpu_s():.0f} s", flush=True)
        if found >= FINDINGS_MAX:
            print(f"stopped after {done} of {len(asked)} units")
            break
    return 1 if found or done < len(asked) else 0


def _tasks(work: Work, units: range, jobs: int) -> Iterator[Done]:
    """Tasks that begin at multiples of the set's chunk, in order."""
    chunk = work.chunk
    first, last = units.start, units.stop
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
