"""`python -m simulations run NAME --real` and `run --all --real`: what simulations/command.py hands over."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import trio

from simulations.catalogue import SCRIPTS
from simulations.scenarios import SCHEDULES
from simulations.script import BadScript, Script, load
from theatre.play import RealPlay, Tell
from theatre.troupe import Failed
from theatre.words import MATTERS_OF_MILLISECONDS, SCHEDULE, asked, why_formless

EXIT_INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Seen(NamedTuple):
    """How one scenario ended."""

    name: str
    verdict: str
    failed: bool
    seconds: float


class Interrupted(Exception):
    """Ctrl-C or SIGTERM; everything has been put away."""


def run_real(names: Sequence[str], *, everything: bool, quiet: bool) -> int:
    """Play these (`everything`: all that there are); 0 if all held, 1 if one failed, 2 for a file that is none."""
    try:
        if everything:
            scripts = [(path.stem, load(path)) for path in sorted(SCRIPTS.glob("*.toml"))]
        else:
            scripts = [(name, load(_path_of(name))) for name in names if name not in SCHEDULES]
    except (BadScript, OSError) as bad:
        print(f"error: {bad}", file=sys.stderr)
        return 2
    schedules = sorted(SCHEDULES) if everything else [name for name in names if name in SCHEDULES]
    table: list[Seen] = []
    try:
        for name, script in scripts:
            table.append(play(name, script, quiet=quiet))
            print(_row(table[-1]), flush=True)
    except Interrupted:
        print("interrupted: every process has been ended, every directory removed", file=sys.stderr)
        return EXIT_INTERRUPTED
    for name in schedules:
        table.append(Seen(name, f"has no meaning there: {SCHEDULE}", False, 0.0))
        print(_row(table[-1]))
    if len(table) > 1:
        if not quiet:
            print("\n" + "\n".join(_row(seen) for seen in table))
        held = sum(1 for seen in table if seen.verdict.startswith("held"))
        failed = [seen.name for seen in table if seen.failed]
        print(f"{held} held, {len(failed)} failed, {len(table) - held - len(failed)} have no meaning there")
        for name in failed:
            print(f"failed: {name}")
    return 1 if any(seen.failed for seen in table) else 0


def _path_of(name: str) -> Path:
    path = Path(name) if name.endswith(".toml") else SCRIPTS / f"{name}.toml"
    if not path.is_file():
        raise BadScript(f"no scenario {name}: `list` shows their names")
    return path


def _row(seen: Seen) -> str:
    return f"{seen.name:28} {seen.seconds:6.1f} s  {seen.verdict}"


def play(name: str, script: Script, *, quiet: bool = True) -> Seen:
    """One scenario from empty homes to the verdict. Raises Interrupted."""
    reason = why_formless(script)
    if reason is not None:
        return Seen(name, f"has no meaning there: {reason}", False, 0.0)

    def tell(seconds: float, line: str) -> None:
        if not quiet:
            print(f"{seconds:7.2f} s  {line}", flush=True)

    asked_for = replace(script, expect=asked(name, script.expect))
    began = time.monotonic()
    try:
        trio.run(_until_signal, asked_for, tell, strict_exception_groups=True)
    except Failed as failed:
        return Seen(name, f"FAILED {failed}", True, time.monotonic() - began)
    verdict = "held"
    if name in MATTERS_OF_MILLISECONDS:
        left_out, reason = MATTERS_OF_MILLISECONDS[name]
        verdict += f"; {left_out} was not asked for: {reason}"
    return Seen(name, verdict, False, time.monotonic() - began)


async def _until_signal(script: Script, tell: Tell) -> None:
    """Play it in a directory of its own, which is gone afterwards whatever happens: signals are waited for before
    there is anything that could be left behind."""
    failed: list[Failed] = []
    interrupted = False
    with trio.open_signal_receiver(*SIGNALS) as signals:
        path = Path(tempfile.mkdtemp(prefix="bftnode-theatre-"))
        try:
            async with trio.open_nursery() as nursery:

                async def listen() -> None:
                    nonlocal interrupted
                    async for _ in signals:
                        interrupted = True
                        nursery.cancel_scope.cancel()

                nursery.start_soon(listen)
                try:
                    await RealPlay(script, path, tell).run()
                except Failed as one:
                    failed.append(one)
                nursery.cancel_scope.cancel()
        finally:
            shutil.rmtree(path)
    if interrupted:
        raise Interrupted
    if failed:
        raise failed[0]
