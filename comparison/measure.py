"""A turn: a system is started empty, loaded in all ways of the plan, its leader killed, and ended."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from comparison.failures import Failed
from comparison.loads import WARM_UP_S, Load, Outage, read_outage, read_report
from comparison.plan import KILL_RATE, Plan, best, half
from comparison.processes import Sample, resident_of, sample, spent_between
from comparison.results import Measured, Turn
from comparison.systems import Running, System

SAMPLE_S = 0.05
OVERTIME_S = 60.0
"""A generator that takes so much longer than it should is ended, and the comparison with it."""
EDGE_S = 0.3
EDGE = 0.1
"""So much, and such a part of the duration, is left out at both ends of what CPU is counted in: the generator's
start, its warm-up and its last words are not what an operation costs."""

Tell = Callable[[str], None]


def take_turn(turn: Turn, system: System, plan: Plan, path: Path, before: Sequence[Turn], tell: Tell) -> None:
    """Fill an empty turn. `path` is an empty directory; `before` are earlier turns of this system. Raises Failed."""
    running = system.start(path)
    try:
        for load in plan.curve(system.kind):
            turn.curve.append(_measure(running, load, plan.curve_seconds, path, turn, tell))
        for row, kind in plan.saturated(system.kind).items():
            load = best([*before, turn], kind)
            turn.rows[row] = _measure(running, load, plan.seconds, path, turn, tell)
        for row, load in plan.fixed(system.kind).items():
            turn.rows[row] = _measure(running, load, plan.seconds, path, turn, tell)
        if "T4" in plan.topics_of(system.kind):
            saturated = turn.rows["T1"]
            load = half(saturated.load, saturated.report.operations_per_s)
            turn.rows["T4"] = _measure(running, load, plan.seconds, path, turn, tell)
        turn.resident_mb = resident_of(running.members.pids)
        if "T5" in plan.topics_of(system.kind):
            turn.outage = _kill(running, plan, path)
            tell(f"kill -9 of the leader: {turn.outage.seconds:.2f} s to the next commit, {turn.outage.lost} lost")
            tell(f"read back {turn.outage.acknowledged:,} acknowledged operations: {turn.outage.missing} are missing")
    finally:
        running.close()


def _measure(running: Running, load: Load, seconds: float, path: Path, turn: Turn, tell: Tell) -> Measured:
    measured = measure(running, load, seconds, path, tell)
    turn.operations += measured.report.operations
    return measured


def measure(running: Running, load: Load, seconds: float, path: Path, tell: Tell) -> Measured:
    """One load; where it is of a number of operations, `seconds` is what it usually takes. Raises Failed."""
    samples: list[Sample] = []
    with generator(running.load_command(load, seconds), path) as process:
        pids = [*running.members.pids.values(), process.pid]

        def look() -> None:
            if (seen := sample(pids)) is not None:
                samples.append(seen)

        text = report_of(process, path, WARM_UP_S + seconds, running, look)
    report = read_report(text)
    # The generator ends when what it counts has ended, so that is counted from the end.
    ended_s = samples[-1].at_s if samples else 0.0
    edge_s = EDGE_S + EDGE * seconds
    spent = spent_between(samples, ended_s - report.duration_s + edge_s, ended_s - edge_s)
    lost = f", {report.failures} refused or unknown" if report.failures else ""
    pace = f"{report.operations_per_s:,.0f}/s, median {report.median_ms:.1f} ms, p99 {report.p99_ms:.1f} ms"
    tell(f"{load.label}: {pace}{lost}")
    if spent is None:
        return Measured(load, report, None, None)
    return Measured(load, report, 1e6 * spent.ours / report.operations_per_s, spent.others)


def _kill(running: Running, plan: Plan, path: Path) -> Outage:
    """How long nobody's operation is acknowledged, from the kill on."""
    began, killed_at = time.monotonic(), 0.0
    with generator(running.kill_load_command(KILL_RATE, plan.kill_load_s), path) as process:

        def kill_in_time() -> None:
            nonlocal killed_at
            if not killed_at and time.monotonic() - began > plan.kill_after_s:
                leader = running.leader()
                killed_at = time.time()
                running.members.kill(leader)

        text = report_of(process, path, plan.kill_load_s, running, kill_in_time)
    return read_outage(text, killed_at, len(running.members.pids))


@contextmanager
def generator(command: Sequence[str], path: Path, name: str = "load") -> "Iterator[subprocess.Popen[bytes]]":
    """It is gone afterwards, whatever happened. What it prints is in `path`."""
    with open(path / f"{name}.report", "wb") as report, open(path / f"{name}.notes", "wb") as notes:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=report, stderr=notes, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def report_of(
    process: "subprocess.Popen[bytes]",
    path: Path,
    usually_s: float,
    running: Running,
    meanwhile: Callable[[], None],
    name: str = "load",
) -> str:
    """What it prints, when it has ended well. `meanwhile` is called often until then. Raises Failed."""
    deadline = time.monotonic() + usually_s + OVERTIME_S
    while process.poll() is None:
        meanwhile()
        running.members.check()
        if time.monotonic() > deadline:
            words = notes_of(path, name)
            raise Failed(f"a load takes {OVERTIME_S:.0f} s longer than its {usually_s:.0f} s:\n{words}")
        time.sleep(SAMPLE_S)
    if process.returncode:
        raise Failed(f"a load has ended with code {process.returncode}:\n{notes_of(path, name)}")
    return (path / f"{name}.report").read_text()


def notes_of(path: Path, name: str) -> str:
    """The last of what it said on standard error."""
    lines = (path / f"{name}.notes").read_text(errors="replace").splitlines()[-10:]
    return "\n".join(f"  {line}" for line in lines)
