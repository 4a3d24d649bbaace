"""`bench`: committed operations per second and how long each one takes, seen from a client of a live cluster.

A number counts only what was committed and answered by f+1 members, after a warm-up that is thrown away, within the
time measured. Latency is from the call to its result, waiting for room included: nothing is hidden by a client that
slows down (coordinated omission is stated, not removed: callers wait for their own results).
"""

import math
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import click
import trio

from bftnode.apps import kv, log
from bftnode.cli.cluster import Access, access_options, refused_by
from bftnode.cli.errors import FAILURE, CommandFailed
from bftnode.cli.options import example
from bftnode.cli.output import note, print_fields, print_json
from bftnode.client.client import Client
from bftnode.client.operations import application_operation
from bftnode.client.options import Options
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.protocol.errors import Refused
from bftnode.protocol.results import OperationResult

Mode = Literal["coalesced", "alone", "single"]

WARM_UP_S = 1.0
WARM_UP_OPERATIONS = 100
SAMPLES_MAX = 5_000_000
"""Latencies kept; past it only the count goes on, and the report says so."""


@dataclass(slots=True)
class Tally:
    """What happened in the time that counts."""

    latencies_s: list[float] = field(default_factory=list)
    operations: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    unknown: int = 0

    def committed(self, latency_s: float) -> None:
        self.operations += 1
        if len(self.latencies_s) < SAMPLES_MAX:
            self.latencies_s.append(latency_s)

    def failed(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the cluster: either for a duration, or a number of operations."""

    mode: Mode
    callers: int
    depth: int
    duration_s: float
    operations: int | None
    make: Callable[[int], bytes]  # the number of an operation -> its bytes


@click.command(
    epilog=example(
        "bftnode bench --duration 10 --callers 64 --home demo/client",
        "bftnode bench --mode single --operations 500 --home demo/client --json",
    )
)
@click.option("--duration", type=click.FloatRange(min=0.1), default=10.0, show_default=True, metavar="SECONDS")
@click.option("--operations", type=click.IntRange(1), help="Stop after so many instead of after a time.")
@click.option("--callers", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Concurrent callers.")
@click.option("--depth", type=click.IntRange(1, 10_000), default=1, show_default=True, help="In flight of each caller.")
@click.option(
    "--mode",
    type=click.Choice(["coalesced", "alone", "single"]),
    default="coalesced",
    show_default=True,
    help="coalesced: callers' operations share envelopes. alone: an envelope each. single: one caller, one at a time.",
)
@click.option("--size", type=click.IntRange(0, 60_000), default=128, show_default=True, help="Bytes of a value.")
@access_options
def bench(
    access: Access,
    duration: float,
    operations: int | None,
    callers: int,
    depth: int,
    mode: Mode,
    size: int,
    as_json: bool,
) -> None:
    """Measure committed operations per second and their latency.

    Writes keys bench/... (application kv) or records (log). An operation counts when f+1 members have sent its
    result. A warm-up is left out.
    """
    make = operation_maker(access.genesis().application, size)
    if mode == "single":
        callers = depth = 1
    load = Load(mode, callers, depth, duration, operations, make)
    note(f"{mode}: {callers} callers, {depth} in flight each, values of {size} bytes")
    tally, elapsed_s = access.run(lambda client: run_load(client, load), Options(timeout_s=access.timeout_s))
    report = summarise(load, tally, elapsed_s, size)
    if as_json:
        print_json(report)
    else:
        print_fields((name, f"{value:.2f}" if isinstance(value, float) else value) for name, value in report.items())
    if not tally.operations:
        raise CommandFailed("nothing was committed", "no_progress", "`bftnode why` says what is missing", FAILURE)


def operation_maker(application: str, size: int) -> Callable[[int], bytes]:
    """Operations of the cluster's application. Values are random, so that nothing compresses or repeats.

    Raises CommandFailed for an application that is not built in.
    """
    value, run = secrets.token_bytes(size), secrets.token_hex(4)
    if application == "kv":
        return lambda number: application_operation(kv.put(f"bench/{run}/{number}".encode(), value))
    if application == "log":
        return lambda number: application_operation(log.append(number.to_bytes(8, "big") + value))
    raise CommandFailed(
        f"no operations are known for the application {application}", "application", "bench knows kv and log", FAILURE
    )


async def run_load(client: Client, load: Load) -> tuple[Tally, float]:
    """The measurement: warm-up, then what counts, and for how many seconds. Raises Refused when nobody is there."""
    await client.ready()
    submit = client.call if load.mode == "coalesced" else client.call_alone
    warm_up = Load(load.mode, load.callers, load.depth, min(WARM_UP_S, load.duration_s), None, load.make)
    if load.operations is not None:
        warm_up = Load(load.mode, load.callers, load.depth, 60.0, min(WARM_UP_OPERATIONS, load.operations), load.make)
    number = await _phase(submit, warm_up, Tally(), 0)
    tally = Tally()
    began = time.perf_counter()
    await _phase(submit, load, tally, number)
    return tally, time.perf_counter() - began


async def _phase(
    submit: Callable[[bytes], Awaitable[OperationResult]], load: Load, tally: Tally, first_number: int
) -> int:
    """Callers until the time or the operations are over; all that was begun is waited for. The next number."""
    number = first_number
    last = math.inf if load.operations is None else first_number + load.operations
    deadline = time.perf_counter() + (load.duration_s if load.operations is None else math.inf)

    async def caller() -> None:
        nonlocal number
        while number < last and time.perf_counter() < deadline:
            operation = load.make(number)
            number += 1
            began = time.perf_counter()
            try:
                result = await submit(operation)
            except Refused as refused:
                tally.failed(str(refused.reason))
            except OutcomeUnknown:
                tally.unknown += 1
            else:
                if result.code:
                    tally.failed(result.code)
                    raise refused_by(result.code, "the cluster refuses the operations of this client")
                tally.committed(time.perf_counter() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(load.callers * load.depth):
            nursery.start_soon(caller)
    return number


def summarise(load: Load, tally: Tally, elapsed_s: float, size: int) -> dict[str, str | int | float | None]:
    """The stable report."""
    ordered = sorted(tally.latencies_s)

    def at(fraction: float) -> float | None:
        """Nearest rank: a latency that was measured, never an interpolation."""
        if not ordered:
            return None
        return 1000 * ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]

    return {
        "mode": load.mode,
        "callers": load.callers,
        "depth": load.depth,
        "value_bytes": size,
        "duration_s": elapsed_s,
        "operations": tally.operations,
        "operations_per_s": tally.operations / elapsed_s if elapsed_s else 0.0,
        "latency_ms_median": at(0.5),
        "latency_ms_p95": at(0.95),
        "latency_ms_p99": at(0.99),
        "latency_ms_max": at(1.0),
        "refused": sum(tally.refused.values()),
        "outcome_unknown": tally.unknown,
    }
