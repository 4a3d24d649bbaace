"""A real scheduler and two workers on loopback, by the same command."""

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from nights.ledger import Ledger
from nights.sets import ROOT
from tests.nights import tiny

DASK = [sys.executable, "-m", "dask"]
ENDS_WITHIN_S = 120


def started(stack: ExitStack, *words: str) -> subprocess.Popen[str]:
    """Ended with the stack, and with it what it has started."""
    process = subprocess.Popen(
        [*DASK, *words], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )
    stack.enter_context(process)
    stack.callback(process.terminate)
    return process


def line_with(process: subprocess.Popen[str], what: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if re.search(what, line):
            return line
    raise AssertionError(f"it ended before it said {what}")


def scheduler(stack: ExitStack) -> str:
    """host:port"""
    process = started(stack, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
    found = re.search(r"tcp://(\S+)", line_with(process, "Scheduler at:"))
    assert found is not None
    return found[1]


def workers(stack: ExitStack, address: str, *words: str) -> None:
    process = started(stack, "worker", f"tcp://{address}", "--no-dashboard", "--host", "127.0.0.1", *words)
    for _ in range(2 if "--nworkers" in words else 1):
        line_with(process, r"Registered to")


def command(attribute: str, engine: str, place: Path) -> subprocess.CompletedProcess[str]:
    words = ["campaign", f"tests.nights.tiny:{attribute}", "--engine", engine, "--ledger", str(place / "a.sqlite")]
    return subprocess.run(
        [sys.executable, "-m", "simulations", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS_WITHIN_S,
    )


def test_two_workers_of_a_scheduler_play_a_set(place: Path) -> None:
    """By the same command: everything once, though a worker is killed in the middle; findings are made smaller there.
    Without workers, or with one that would play two units in one process, nothing is begun."""
    with ExitStack() as stack:
        address = scheduler(stack)
        done = command("PLAIN", f"dask://{address}", place)
        assert (done.returncode, done.stdout) == (2, "")
        assert "0 workers, 0 threads in one; start some with one thread each" in done.stderr

        workers(stack, address, "--nthreads", "1", "--nworkers", "2")
        done = command("DIES_ONCE", f"dask://{address}", place)
        assert (done.returncode, done.stderr) == (0, "")
        assert "40/40 units" in done.stdout.splitlines()[-1]
        assert (place / "died").exists()
        assert set(tiny.played()) == set(range(40))
        done = command("FAILS", f"dask://{address}", place)
        assert (done.returncode, done.stderr) == (1, "")
        with Ledger(place / "a.sqlite") as ledger:
            assert [found.smaller for found in ledger.findings()] == ["replay 5", "replay 21"]

        workers(stack, address, "--nthreads", "2")
        done = command("PLAIN", f"dask://{address}", place)
        assert (done.returncode, done.stdout) == (2, "")
        assert "3 workers, 2 threads in one" in done.stderr
