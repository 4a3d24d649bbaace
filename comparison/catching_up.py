"""T6: a member is killed, misses operations, comes back under load, and catches up while the others serve.

What is missed was committed in batches, or in blocks of some 64 operations; meanwhile the others are loaded with the
same, saturated or by an open loop at half of that. How high each member is, is asked twenty times a second
(watching.py); afterwards the log says how many operations that was.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bftnode.node.home import Home
from bftnode.protocol.transactions import open_transaction
from bftnode.storage.directory import LMDB_NAME
from bftnode.storage.environment import opened_read_only
from bftnode.storage.log import LogReader
from comparison.absence import Absence, Watch, absence, level_at
from comparison.failures import Failed
from comparison.findings import Effort, Line, Section, Tell
from comparison.loads import WARM_UP_S, Load
from comparison.measure import generator, measure, notes_of
from comparison.members import RunningMembers
from comparison.processes import cpu_seconds
from comparison.systems import started
from comparison.watching import watch_command

MISSED, QUICK_MISSED = 100_000, 10_000
PER_S = 50_000.0
"""What is asked: operations that it catches up with in a second,"""
KEPT = 80.0
"""and per cent of their rate that the others keep."""
LEVEL_S = 60.0
"""A member that has not caught up by then does not: the study fails."""
POLL_S = 0.05
WRITTEN_S = 0.5
"""By then a member has written what it has executed (decision 009)."""

LOADS = {"batches of 1,000": Load("many", 4, 1000), "blocks of 64": Load("coalesced", 64)}
OPEN_CALLERS = {"many": 4, "coalesced": 1000}
"""Of the open loop: what is in flight at most."""
USUALLY_A_SECOND = {"many": 20_000, "coalesced": 2_000}
NOTE = (
    "one of four members, not the primary, is killed (-9); operations of 128 bytes are committed without it; then the "
    "others are loaded in the same way, as fast as they answer or by an open loop at half of what all four do, and it "
    "is started again. Operations a second, and what the others do meanwhile, are from when it answers first until it "
    "is as high as one of them; their rate is that without it before, which is more than with it where cores are "
    "shared. The seconds, and its CPU, are from the start of its process."
)


def study(path: Path, effort: Effort, tell: Tell) -> Section:
    """Raises Failed."""
    missed = effort.operations or (QUICK_MISSED if effort.quick else MISSED)
    found: list[tuple[str, Absence]] = []
    with (
        started(RunningMembers(path)) as running,
        generator(watch_command(running.client), path, "heights"),
        open(path / "heights.report") as seen,
    ):
        watch = Watch()

        def look() -> Watch:
            watch.read(seen.read())
            return watch

        for name, load in LOADS.items():
            for rate in ("half load", "saturated"):
                half = rate == "half load"
                one = _absence(running, load, missed, effort.seconds, path, tell, look, half=half)
                found.append((f"{name}, {rate}", one))
                tell(
                    f"{name}, {rate}: {one.missed:,} missed, {one.caught_up_per_s:,.0f}/s, level after "
                    f"{one.seconds:.1f} s; the others keep {one.kept:.0f} % of {one.before_per_s:,.0f}/s"
                )
    lines = []
    for name, one in found:
        cpu = "" if one.cpu_us is None else f"{one.cpu_us:.1f} us"
        lines += [
            Line(
                (f"{name}: operations a second", f"{one.caught_up_per_s:,.0f}", f">= {PER_S:,.0f}"),
                one.caught_up_per_s >= PER_S,
            ),
            Line(("what the others keep of their rate", f"{one.kept:.0f} %", f">= {KEPT:.0f} %"), one.kept >= KEPT),
            Line(("the same of their rate with all four members", f"{one.kept_of_full:.0f} %", "")),
            Line(
                (
                    "these rates: without it, with it; operations a second",
                    f"{one.before_per_s:,.0f}; {one.full_per_s:,.0f}",
                    "",
                )
            ),
            Line(("operations missed; seconds until it was level", f"{one.missed:,}; {one.seconds:.1f}", "")),
            Line(("its CPU for an operation", cpu, "")),
        ]
    return Section("T6", ("", "", "asked"), tuple(lines), (NOTE,))


def _absence(
    running: RunningMembers,
    load: Load,
    missed: int,
    seconds: float,
    path: Path,
    tell: Tell,
    look: Callable[[], Watch],
    *,
    half: bool,
) -> Absence:
    leader = running.leader()
    name = next(member for member in running.names if member != leader)
    full_per_s = measure(running, load, seconds, path, tell).report.operations_per_s
    running.members.kill(name)
    counted = Load(load.kind, load.callers, load.batch, operations=missed)
    measure(running, counted, missed / USUALLY_A_SECOND[load.kind], path, tell)
    steady = load
    if half:
        full_per_s /= 2
        steady = Load(load.kind, OPEN_CALLERS[load.kind], load.batch, max(1.0, round(full_per_s)))
    # It is ended when it is not needed any more.
    with generator(running.load_command(steady, WARM_UP_S + seconds + 2 * LEVEL_S), path) as process:
        _wait(running, process, path, 2 * WARM_UP_S + seconds)
        started_s = time.monotonic()
        running.start(name)
        pid = running.members.pids[name]
        while level_at(look().heights, name, started_s) is None:
            if time.monotonic() > started_s + LEVEL_S:
                raise Failed(f"{name} has not caught up within {LEVEL_S:.0f} s:\n{running.members.last_words()}")
            _wait(running, process, path, POLL_S)
        cpu_s = cpu_seconds(Path(f"/proc/{pid}/stat").read_text())
    time.sleep(WRITTEN_S)
    operations = operations_by_height(Home(path / leader).data_path)
    return absence(look().heights, operations, name, (started_s - seconds, started_s), started_s, cpu_s, full_per_s)


def _wait(running: RunningMembers, process: "subprocess.Popen[bytes]", path: Path, seconds: float) -> None:
    """Raises Failed where a member or the load ends meanwhile."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        running.members.check()
        if process.poll() is not None:
            raise Failed(f"the load has ended with code {process.returncode}:\n{notes_of(path, 'load')}")
        time.sleep(min(left, POLL_S))


def operations_by_height(data_path: Path) -> list[int]:
    """How many operations a log holds up to each height, its node alive or not."""
    counts = [0]
    with opened_read_only(data_path / LMDB_NAME, lock=True) as (env, databases), env.begin() as txn:
        log = LogReader(txn, databases)
        for seq in range(1, log.height() + 1):
            block = log.block(seq)
            envelopes = [open_transaction(raw, block.header.chain_id) for raw in block.transactions]
            counts.append(counts[-1] + sum(len(envelope.body.operations) for envelope in envelopes))
    return counts
