"""`./scripts/night`: a slice of every set within so many hours, in proportion to what is missing, and the table.

Sets are played one after the other, because some need the whole machine. Each gets a share of the time that is left,
as large as what it misses is of what all that follow miss; what it does not need goes to the others. Every set gets
a task at least, so a night may last as long as the longest tasks of all sets together longer than was asked.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nights import table
from nights.command import DEFAULT_LEDGER, commit, ending_of, hired, say
from nights.engine import Campaign, LessDone
from nights.ledger import Ledger, Stretch
from nights.sets import SETS, digest_of, find, full_of
from simulations.work import is_alone

TASK_S = 60.0
"""What a chunk is taken to last where none has been played yet: work.py promises a minute or less."""


class Need(NamedTuple):
    """What a set misses of a full one."""

    name: str
    units: int
    seconds: float  # of this machine, whole


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.ci:
        return ending_of(slices)
    return ending_of(lambda: night(options.hours, options.sets, options.engine, options.ledger, once=options.once))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./scripts/night",
        description="Play a slice of every set, go on from where it was left, and write docs/nights.md.",
        epilog="example: ./scripts/night --hours 8 --sets twins,swarm",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--hours", type=_hours, default=8.0, metavar="H", help="default 8; 0 only writes the table")
    how.add_argument("--ci", action="store_true", help="the fixed slices that CI plays, and no table")
    parser.add_argument("--once", action="store_true", help="leave out what was played on any code, not only on this")
    parser.add_argument("--sets", type=_sets, default=list(SETS), metavar="a,b", help=f"of {', '.join(SETS)}")
    parser.add_argument("--engine", metavar="dask://HOST:PORT", help="workers of a running scheduler (decision 024)")
    parser.add_argument("--ledger", type=Path, default=DEFAULT_LEDGER, metavar="FILE", help=f"default {DEFAULT_LEDGER}")
    return parser


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours")
    return hours


def _sets(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SETS:
            raise argparse.ArgumentTypeError(f"there is no set {name!r}: {', '.join(SETS)}")
    return list(dict.fromkeys(names))


def night(hours: float, names: Sequence[str], engine: str | None, path: Path, *, once: bool = False) -> int:
    """Play, write down and tell; 1 where something was found. Raises what main tells in a sentence."""
    until = time.monotonic() + hours * 3600
    bad = False
    with Ledger(path) as ledger:
        news = table.take_over(ledger, table.JSON)
        if news:
            say(f"{news} stretches taken over from {table.JSON.name}")
        with hired(None, engine) as crew:
            size = crew.size  # asked before anything is played: an engine that is not there is told at once
        try:
            for at, name in enumerate(names if hours else ()):
                needs = [need_of(ledger, other, size, once) for other in names[at:]]
                if not needs[0].units:
                    say(f"{name}: all of it is done{'' if once else ' on this code'}")
                    continue
                share = share_of(needs, until - time.monotonic())
                bad |= not _held(name, engine, ledger, time.monotonic() + share, once)
                table.write(ledger, commit(), table.JSON, table.PAGE)
        finally:
            table.write(ledger, commit(), table.JSON, table.PAGE)
    say(f"written: {table.PAGE}")
    return 1 if bad else 0


def _held(name: str, engine: str | None, ledger: Ledger, until: float, once: bool) -> bool:
    """A slice of one set, by a crew of its own: one that ended badly may still be at it."""
    with hired(None, None if is_alone(find(SETS[name].address)) else engine) as crew:
        try:
            campaign = Campaign(name, SETS[name].address, crew, ledger, commit(), say, once=once)
            return not campaign.play(range(full_of(name)), until).findings
        except LessDone as error:
            print(f"error: {error}", file=sys.stderr)
            return False


def need_of(ledger: Ledger, name: str, size: int, once: bool) -> Need:
    """What is missing of a full set on this code (`once`: on any), and how long `size` workers take for it."""
    work = find(SETS[name].address)
    gaps = ledger.missing(name, digest_of(SETS[name].address), range(full_of(name)), once=once)
    units = sum(len(gap) for gap in gaps)
    return Need(name, units, units * pace(ledger.stretches(), name, work.chunk) / (1 if is_alone(work) else size))


def pace(stretches: Sequence[Stretch], name: str, chunk: int) -> float:
    """Seconds of a worker for a unit, from the latest stretch of the set."""
    latest = max((one for one in stretches if one.name == name), key=lambda one: one.ended, default=None)
    return TASK_S / chunk if latest is None else latest.seconds / latest.units


def share_of(needs: Sequence[Need], seconds: float) -> float:
    """Of what is left, the share of the first: what it misses among what all miss."""
    whole = sum(need.seconds for need in needs)
    return max(0.0, seconds) * (needs[0].seconds / whole if whole else 1.0)


def slices() -> int:
    """What CI plays: a fixed slice of each set, into a ledger of its own; 1 where something was found, or less was
    done than the table of sets states."""
    failed = []
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="bftnode-night-") as directory,
        Ledger(Path(directory) / "ledger.sqlite") as ledger,
        hired(None, None) as crew,
    ):
        for name, entry in SETS.items():
            if entry.ci is None:
                say(f"{name}: not here: {entry.because}")
                continue
            report = Campaign(name, entry.address, crew, ledger, commit(), say).play(entry.ci.units)
            less = report.units != len(entry.ci.units) or report.counts["runs"] < entry.ci.runs
            if less:
                say(f"{name}: LESS than stated: {len(entry.ci.units)} units and {entry.ci.runs} runs")
            if less or report.findings:
                failed.append(name)
    say(f"{time.monotonic() - began:.0f} s" + (f"; failed: {', '.join(failed)}" if failed else "; all held"))
    return 1 if failed else 0
