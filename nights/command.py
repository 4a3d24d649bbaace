"""`python -m simulations campaign SET`: what simulations/command.py hands over. `./scripts/night` is night.py."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from nights.crew import Crew, Local
from nights.engine import Campaign, LessDone
from nights.ledger import BadLedger, Ledger
from nights.sets import ROOT, NoSuchSet, address_of, find, full_of
from nights.table import BadNights
from simulations.slices import hush
from simulations.work import is_alone

DEFAULT_LEDGER = Path(".nights.sqlite")
EXIT_INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class BadEngine(Exception):
    """The engine that was asked for is not there."""


def say(line: str) -> None:
    """On standard output, at once."""
    print(line, flush=True)


def campaign(name: str, asked: range | None, jobs: int | None, engine: str | None, ledger: Path) -> int:
    """Play a slice of a set (all of a full set where none is named); 1 where something was found, 2 for a name, a
    slice, a ledger or an engine that cannot be used, 130 when interrupted."""

    def play() -> int:
        address = address_of(name)
        units = bounded(name, address, asked)
        if engine is not None and is_alone(find(address)):
            raise BadEngine(f"{name} needs a whole machine: play it without --engine")
        with Ledger(ledger) as written, hired(jobs, engine) as crew:
            report = Campaign(name, address, crew, written, commit(), say).play(units)
        return 1 if report.findings or report.missing else 0

    return ending_of(play)


def ending_of(play: Callable[[], int]) -> int:
    """What it returns, or what it raises in a sentence and as an exit code: 2 for what cannot be used, 1 for less than
    a slice stands for, 130 when interrupted, as it is where nobody reads any more (`| head`)."""
    try:
        with interruptible():
            return play()
    except (NoSuchSet, BadLedger, BadEngine, BadNights) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except LessDone as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError) as why:
        if isinstance(why, BrokenPipeError):
            hush()
        print("interrupted: the tasks that ended are written down; the same command continues", file=sys.stderr)
        return EXIT_INTERRUPTED


def bounded(name: str, address: str, asked: range | None) -> range:
    """The units asked for, or a full set's. Raises NoSuchSet where they are not there."""
    work = find(address)
    units = range(full_of(name)) if asked is None else asked
    if work.units is not None and units.stop > work.units:
        raise NoSuchSet(f"{name} has units 0..{work.units - 1}, not {units.start}..{units.stop - 1}")
    return units


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP are a KeyboardInterrupt in here."""
    before = {number: signal.signal(number, _interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def hired(jobs: int | None, engine: str | None) -> Iterator[Crew]:
    """Workers of this machine (one a core, or `jobs`), or those of an engine. They end with the block."""
    crew = hire(jobs, engine)
    try:
        yield crew
    finally:
        crew.close()


def hire(jobs: int | None, engine: str | None) -> Crew:
    """Raises BadEngine."""
    if engine is None:
        return Local(jobs or os.cpu_count() or 1)
    if not engine.startswith("dask://"):
        raise BadEngine(f"{engine!r} is no engine: dask://HOST:PORT is where a Dask scheduler listens")
    try:
        from nights.remote import NoWorkers, Remote  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        raise BadEngine(f"{error}: pip install 'bftnode[nights]'") from error
    try:
        return Remote(engine)
    except NoWorkers as error:
        raise BadEngine(str(error)) from error


def commit() -> str:
    """Of the checkout, with a + where it has changes; what the table says of when something was last played."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # no git, or no repository


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return done.stdout.strip()
