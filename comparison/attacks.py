"""T10: what is left of the throughput while somebody attacks, beside the same cluster's fault-free window just before.

Each attack has a cluster of its own. A member that is to lie runs theatre/malicious.py from the beginning, in disguise:
until it is told to drop it, it is a correct member with a mask, so the windows before and under the attack differ in
nothing else. It leads when it drops it. Between the two nothing is measured for a while, under load: how long a cluster
takes to recover (a view change, say) is not what is asked here. Members, load and attackers share the machine, and a
member that is silent or stopped leaves its part of it to the others.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comparison.failures import Failed
from comparison.findings import Effort, Line, Section, Tell
from comparison.loads import Load
from comparison.measure import generator, measure
from comparison.members import RunningMembers
from comparison.processes import cpu_seconds_of
from comparison.systems import started

LOAD = Load("coalesced", 1024)
WINDOWS = 1.5
"""Each is so many times as long as a row's: there is one of each kind."""
RECOVER_S = 10.0
"""Under load, after an attack began and before what is left is measured."""
ATTACK_S_MAX = 300.0
"""An attacking client ends by itself, at the latest."""
SLOW_RUNS_S, SLOW_STANDS_S = 0.02, 0.18
"""A slow member is stopped and let go again, over and over."""
LORIS = 300
"""Slow connections to each client port (which bears 256 strangers); a quarter of that to each peer port (64)."""
NOTE = (
    "goodput of 1,024 callers' own operations under the attack, once recovered, and in the window before it, of the "
    "same cluster of four on the same two cores; the attacker's own CPU is of that machine too."
)


@dataclass(frozen=True, slots=True)
class Case:
    """One attack."""

    text: str
    asked: float  # of the fault-free goodput
    behaviour: tuple[str, ...] = ()  # of the leader, in theatre.malicious' words
    guest: tuple[str, float] | None = None  # what an attacking client does, at which rate (guests.py)


SLOW = Case("slow member, that led: runs a tenth of the time", 0.5)
CASES = (
    Case("silent member, that led", 0.5, ("--behaviour", "silent")),
    SLOW,
    Case("equivocating member, that led", 0.5, ("--behaviour", "equivocating primary")),
    Case("flooding member, that led", 0.5, ("--behaviour", "flooder", "--act-every-ms", "1")),
    Case("primary that delays to 0.9 of the timeout", 0.7, ("--behaviour", "slow primary", "--dice", "b")),
    Case("client with invalid signatures, as fast as it is read", 0.7, guest=("forge", 0.0)),
    Case(f"slow-loris: {LORIS} connections to every member", 0.7, guest=("loris", float(LORIS))),
)


def study(path: Path, effort: Effort, tell: Tell) -> Section:
    """Raises Failed."""
    lines = []
    for number, case in enumerate(CASES):
        lines.append(_line(case, path / str(number), effort, tell))
        tell(f"{case.text}: {' '.join(lines[-1].words[1:])}")
    heads = ("", "fault-free / s", "under attack / s", "ratio", "attacker's CPUs", "asked")
    return Section("T10", heads, tuple(lines), (NOTE,))


def _line(case: Case, path: Path, effort: Effort, tell: Tell) -> Line:
    path.mkdir()
    seconds = WINDOWS * effort.seconds
    running = RunningMembers(path, guests=1)
    liar = running.genesis.members[0].name  # view 0 is its own
    with started(running) if not case.behaviour else _disguised(running, liar, case.behaviour):
        before = measure(running, LOAD, seconds, path, tell).report.operations_per_s
        led = running.leader() == liar
        with _attack(case, running, liar, path) as attacker:
            measure(running, LOAD, RECOVER_S, path, tell)
            cpu_s, began = cpu_seconds_of(attacker), time.monotonic()
            under = measure(running, LOAD, seconds, path, tell).report.operations_per_s
            cpus = (cpu_seconds_of(attacker) - cpu_s) / (time.monotonic() - began)
    ratio = under / before
    text = case.text if led or case.guest is not None else f"{case.text} (not when it began)"
    words = (text, f"{before:,.0f}", f"{under:,.0f}", f"{ratio:.0%}", f"{cpus:.2f}", f">= {case.asked:.0%}")
    return Line(words, ratio >= case.asked)


@contextmanager
def _disguised(running: RunningMembers, liar: str, behaviour: tuple[str, ...]) -> Iterator[None]:
    """As `started`, with one of them a liar that waits for its moment."""
    try:
        for name in running.names:
            running.start(name, *(("--in-disguise", *behaviour) if name == liar else ()))
        running.until_linked()
        yield
    finally:
        running.close()


@contextmanager
def _attack(case: Case, running: RunningMembers, liar: str, path: Path) -> Iterator[int]:
    """It goes on in here; the attacker's process id. Raises Failed."""
    pid = running.members.pids[liar]
    if case.guest is not None:
        what, rate = case.guest
        command = [
            sys.executable,
            "-m",
            "comparison.guests",
            what,
            str(ATTACK_S_MAX),
            str(rate),
            str(running.guests[0]),
        ]
        with generator(command, path, "guests") as process:
            yield process.pid
            if process.poll() is not None:
                raise Failed(f"{case.text}: the attacker ended:\n{(path / 'guests.notes').read_text()[-500:]}")
    elif case is SLOW:
        over = threading.Event()
        slows = threading.Thread(target=_slow_down, args=(running, liar, over))
        slows.start()
        try:
            yield pid
        finally:
            over.set()
            slows.join()
    else:
        running.members.signal(liar, signal.SIGUSR1)
        yield pid


def _slow_down(running: RunningMembers, name: str, over: threading.Event) -> None:
    while not over.is_set():
        running.members.signal(name, signal.SIGSTOP)
        over.wait(SLOW_STANDS_S)
        running.members.signal(name, signal.SIGCONT)
        over.wait(SLOW_RUNS_S)
