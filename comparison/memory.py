"""T7: what a member keeps in memory after a million operations, after more, and under ten times what it can take.

Resident memory counts pages of the database's file that are mapped and can be dropped at any time; anonymous memory
(RssAnon) is what the process itself holds. The overload is an open loop of envelopes of one operation, signed
beforehand by many clients and sent to every member whatever it answers (guests.py): what members cannot take they have
to refuse.
"""

import json
import sys
from pathlib import Path
from typing import Any

from comparison.findings import Effort, Line, Section, Tell
from comparison.loads import Load
from comparison.measure import generator, measure, report_of
from comparison.members import RunningMembers
from comparison.processes import Memory, memory_of
from comparison.systems import started

OPERATIONS = 1_000_000
QUICK_OPERATIONS = 50_000
USUALLY_A_SECOND = 20_000
CALLERS = 1024
RESIDENT_MB_MAX = 150.0
FLAT_MB = 5.0
"""What half as many operations more may add to anonymous memory."""
OVERLOAD = 10.0
OVERLOAD_MB_MAX = 100.0
"""What an overload may add: a member's inbox, custody and outboxes at their bounds."""
OVERLOAD_S, QUICK_OVERLOAD_S = 12.0, 4.0
"""Long enough that what members may hold of these clients (10,000 envelopes each) is reached."""
GUESTS = 4
"""Clients of the overload; each is connected to every member."""
NOTE = (
    "callers' own operations, coalesced; the largest of the members. Resident counts pages of the database's file that "
    "are mapped; anonymous is what the process itself holds. Overload: signed envelopes of one operation, of "
    f"{GUESTS} clients, sent to every member in an open loop whatever is answered."
)


def study(path: Path, effort: Effort, tell: Tell) -> Section:
    """Raises Failed."""
    operations = effort.operations or (QUICK_OPERATIONS if effort.quick else OPERATIONS)
    more = operations // 2
    with started(RunningMembers(path, guests=GUESTS)) as running:

        def after(count: int) -> Memory:
            load = Load("coalesced", CALLERS, operations=count)
            measure(running, load, count / USUALLY_A_SECOND, path, tell)
            return memory_of(running.members.pids)

        first, second = after(operations), after(more)
        alone = Load("alone", CALLERS)
        usual = measure(running, alone, effort.seconds, path, tell).report.operations_per_s
        before = memory_of(running.members.pids)
        overload_s = QUICK_OVERLOAD_S if effort.quick else OVERLOAD_S
        seen, peak = overload(running, OVERLOAD * usual, overload_s, path)
        tell(f"overload: {seen['offered']:,} envelopes, {seen['busy']:,} refusals, {peak.resident:.0f} MB resident")
        later = measure(running, alone, effort.seconds, path, tell).report.operations_per_s
    due, taken = OVERLOAD * usual * overload_s, seen["offered"]
    grown = Memory(second.resident - first.resident, second.anonymous - first.anonymous)
    swollen = Memory(peak.resident - before.resident, peak.anonymous - before.anonymous)
    lines = (
        Line(
            (f"resident after {operations:,} operations", _mb(first.resident), f"<= {RESIDENT_MB_MAX:.0f} MB"),
            first.resident <= RESIDENT_MB_MAX,
        ),
        Line(("anonymous then", _mb(first.anonymous), "")),
        Line(
            (f"anonymous, by {more:,} more", f"{grown.anonymous:+.1f} MB", f"flat: <= {FLAT_MB:.0f} MB"),
            grown.anonymous <= FLAT_MB,
        ),
        Line((f"resident, by {more:,} more", f"{grown.resident:+.1f} MB", "")),
        Line(("overload: envelopes that were due", f"{due:,.0f}, {OVERLOAD:.0f} x what is done", "10 x")),
        Line(("of these not read (flow control)", f"{max(due - taken, 0) / due:.0%}", "")),
        Line(("answers that are refusals (BUSY)", f"{seen['busy']:,} of {seen['answers']:,}", "")),
        Line(
            (
                "anonymous at most, and by the overload",
                f"{_mb(peak.anonymous)}, {swollen.anonymous:+.0f} MB",
                f"bounded: <= {OVERLOAD_MB_MAX:.0f} MB",
            ),
            swollen.anonymous <= OVERLOAD_MB_MAX,
        ),
        Line(("resident at most, and by the overload", f"{_mb(peak.resident)}, {swollen.resident:+.0f} MB", "")),
        Line(("operations a second afterwards, to before", f"{later / usual:.2f} x", "")),
    )
    return Section("T7", ("", "", "asked"), lines, (NOTE,))


def overload(running: RunningMembers, rate: float, seconds: float, path: Path) -> tuple[dict[str, Any], Memory]:
    """What the guests saw, and the most that a member held meanwhile."""
    homes = [str(home) for home in running.guests]
    command = [sys.executable, "-m", "comparison.guests", "overload", str(seconds), str(rate), *homes]
    peak = Memory(0.0, 0.0)

    def look() -> None:
        nonlocal peak
        peak = Memory(*map(max, peak, memory_of(running.members.pids)))

    with generator(command, path, "guests") as process:
        text = report_of(process, path, seconds, running, look, "guests")
    report: dict[str, Any] = json.loads(text.splitlines()[-1])
    return report, peak


def _mb(value: float) -> str:
    return f"{value:,.0f} MB"
