"""`bench`: committed operations per second and how long each one takes, seen from a client of a live cluster.

A number counts only what was committed and answered by f+1 members, after a warm-up that is thrown away, within the
time measured. In a closed loop each caller asks again when it has its result, so a cluster that slows down is asked
less, and latency is from the call to its result, waiting for room included. In an open loop (`--rate`) operations are
due at even times whatever becomes of those before, and latency is from when one was due: a cluster that falls behind is
charged with the waiting that it causes (coordinated omission). Percentiles are of every operation, not of a sample.

Where each operation is signed alone, callers sign by turns with many client keys (keyring.py), over the connections of
one client: nodes verify, number and admit each envelope by its own key, as if so many clients had sent it.
"""

import gc
import math
import secrets
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import click
import trio

from bftnode.apps import kv, log
from bftnode.cli.cluster import Access, access_options, refused_by
from bftnode.cli.errors import FAILURE, CommandFailed
from bftnode.cli.keyring import KEYS_MAX, admit, keyring
from bftnode.cli.options import example
from bftnode.cli.output import note, print_fields, print_json
from bftnode.client.client import Client, Signatory
from bftnode.client.operations import application_operation
from bftnode.client.options import Options
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.protocol.errors import Refused
from bftnode.protocol.results import OperationResult

Mode = Literal["coalesced", "alone", "many", "single"]

KEYS = 64
"""Keys that sign in turn: enough that no key's nonces are what is measured."""

WARM_UP_S = 1.0
WARM_UP_OPERATIONS = 100
PROGRESS_S = 5.0
PACE_S = 0.001
"""In an open loop those whose time came within so long begin together. The waiting counts as latency."""

SAMPLES_MAX = 20_000_000
"""Latencies kept, of 8 bytes each. At the bound the measurement ends there, and says so: nothing is left out of it."""


@dataclass(slots=True)
class Tally:
    """What happened in the time that counts."""

    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    refused: dict[str, int] = field(default_factory=dict)
    unknown: int = 0

    @property
    def operations(self) -> int:
        return len(self.latencies_s)

    @property
    def full(self) -> bool:
        return len(self.latencies_s) >= SAMPLES_MAX

    def committed(self, latency_s: float) -> None:
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
    batch: int = 1  # operations of one call, where the mode is `many`
    rate: float | None = None  # operations a second, whatever the cluster does; None: as fast as it answers
    signatories: tuple[Signatory, ...] = ()  # who signs, where the mode is `alone`; none: the client itself

    @property
    def in_flight(self) -> int:
        """Calls at one time, at most."""
        return self.callers * self.depth


@click.command(
    epilog=example(
        "bftnode bench --duration 10 --callers 64 --home demo/client",
        "bftnode bench --mode single --operations 500 --home demo/client --json",
        "bftnode bench --rate 2000 --callers 500 --home demo/client",
        "bftnode bench --mode alone --keys 64 --depth 16 --home demo/client",
    )
)
@click.option("--duration", type=click.FloatRange(min=0.1), default=10.0, show_default=True, metavar="SECONDS")
@click.option("--operations", type=click.IntRange(1), help="Stop after so many instead of after a time.")
@click.option("--callers", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Concurrent callers.")
@click.option("--depth", type=click.IntRange(1, 10_000), default=1, show_default=True, help="In flight of each caller.")
@click.option(
    "--mode",
    type=click.Choice(["coalesced", "alone", "many", "single"]),
    default="coalesced",
    show_default=True,
    help="coalesced: callers' operations share envelopes. alone: an envelope each. many: a caller hands over a batch. "
    "single: one caller, one at a time.",
)
@click.option("--batch", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Of mode many.")
@click.option(
    "--keys",
    type=click.IntRange(1, KEYS_MAX),
    default=KEYS,
    show_default=True,
    help="Of mode alone: callers sign with so many client keys in turn, which are made beside the home's key and "
    "admitted the first time. 1: with the home's own.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Open loop: so many operations a second are due, and latency counts from then. Callers times depth are the "
    "most that can be in flight; what is due beyond it waits, and the waiting counts.",
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
    batch: int,
    keys: int,
    rate: float | None,
    size: int,
    as_json: bool,
) -> None:
    """Measure committed operations per second and their latency.

    Writes keys bench/... (application kv) or records (log). An operation counts when f+1 members have sent its
    result. A warm-up is left out.
    """
    _spare_the_collector()
    make = operation_maker(access.genesis().application, size)
    if mode == "single":
        callers = depth = 1
    load = Load(mode, callers, depth, duration, operations, make, batch if mode == "many" else 1, rate)
    keys = keys if mode == "alone" else 1
    pace = "" if rate is None else f", {rate:g} operations a second due"
    each = f", {batch} operations a call" if mode == "many" else ""
    signed = f", signed with {keys} keys" if keys > 1 else ""
    note(f"{mode}: {callers} callers, {depth} in flight each{each}, values of {size} bytes{pace}{signed}")
    with keyring(access.key(), keys) if keys > 1 else nullcontext(()) as signatories:
        load = replace(load, signatories=signatories)
        tally, elapsed_s = access.run(partial(_admitted, load), Options(timeout_s=access.timeout_s))
    report = summarise(load, tally, elapsed_s, size)
    if as_json:
        print_json(report)
    else:
        print_fields((name, f"{value:.2f}" if isinstance(value, float) else value) for name, value in report.items())
    if not tally.operations:
        raise CommandFailed("nothing was committed", "no_progress", "`bftnode why` says what is missing", FAILURE)


def _spare_the_collector() -> None:
    """The load makes what reference counting frees, thousands of callers at once: looking through all of them for
    cycles, hundreds of times a second, would be a tenth of what is measured."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


async def _admitted(load: Load, client: Client) -> tuple[Tally, float]:
    """The measurement, by keys that the cluster knows."""
    if load.signatories and not await admit(client, load.signatories):
        note("this home's key may admit nobody: an administrator must have admitted the bench's keys before")
    return await run_load(client, load, note)


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


async def run_load(client: Client, load: Load, tell: Callable[[str], None] | None = None) -> tuple[Tally, float]:
    """The measurement: warm-up, then what counts, and for how many seconds. `tell` hears how it goes.

    Raises Refused when nobody is there.
    """
    await client.ready()
    warm_up = replace(load, duration_s=min(WARM_UP_S, load.duration_s), rate=None)
    if load.operations is not None:
        warm_up = replace(warm_up, duration_s=60.0, operations=min(WARM_UP_OPERATIONS, load.operations))
    number = await _phase(client, warm_up, Tally(), 0)
    tally = Tally()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        if tell is not None:
            nursery.start_soon(_progress, tally, tell)
        await _phase(client, load, tally, number)
        nursery.cancel_scope.cancel()
    elapsed_s = trio.current_time() - began
    if tally.full and tell is not None:
        tell(f"ended at {SAMPLES_MAX} operations: their latencies are all that is kept")
    return tally, elapsed_s


async def _progress(tally: Tally, tell: Callable[[str], None]) -> None:
    began, before = trio.current_time(), 0
    while True:
        await trio.sleep(PROGRESS_S)
        lately = tally.latencies_s[before:]
        before += len(lately)
        middle = f", median {1000 * sorted(lately)[len(lately) // 2]:.1f} ms" if lately else ""
        tell(f"{trio.current_time() - began:4.0f} s: {len(lately) / PROGRESS_S:.0f} operations a second{middle}")


async def _phase(client: Client, load: Load, tally: Tally, first_number: int) -> int:
    """Callers until the time or the operations are over; all that was begun is waited for. The next number."""
    number = first_number
    last = math.inf if load.operations is None else first_number + load.operations
    began = trio.current_time()
    deadline = began + (load.duration_s if load.operations is None else math.inf)

    pace = _Pace()

    async def caller(place: int) -> None:
        nonlocal number
        by = load.signatories[place % len(load.signatories)] if load.signatories else None
        submit = _way_of(client, load.mode, by)
        while number < last and not tally.full:
            count = int(min(load.batch, last - number))
            # In an open loop the next one's turn, which may be long past: then its waiting has begun.
            due = trio.current_time() if load.rate is None else began + (number - first_number) / load.rate
            if due >= deadline:
                break
            operations = [load.make(number + i) for i in range(count)]
            number += count
            await pace.until(due)
            try:
                results = await submit(operations)
            except Refused as refused:
                tally.failed(str(refused.reason))
            except OutcomeUnknown:
                tally.unknown += count
            else:
                latency_s = trio.current_time() - due
                for result in results:
                    if result.code:
                        tally.failed(result.code)
                        raise refused_by(result.code, "the cluster refuses the operations of this client")
                    tally.committed(latency_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pace.keep)
        async with trio.open_nursery() as callers:
            for place in range(load.in_flight):
                callers.start_soon(caller, place)
        nursery.cancel_scope.cancel()
    return number


class _Pace:
    """Callers of an open loop whose time has not come, woken by one task. A sleep of each one's own costs as much as
    the operation that it is for, and where both share a machine it would be the load that is measured."""

    def __init__(self) -> None:
        self._due: deque[float] = deque()  # of those who wait, in order
        self._early = trio.lowlevel.ParkingLot()
        self._more = trio.Event()

    async def until(self, due: float) -> None:
        """Return at `due`, or PACE_S after it at most; at once where it is past. Called in order of `due`."""
        if due > trio.current_time():
            self._due.append(due)
            self._more.set()
            await self._early.park()

    async def keep(self) -> None:
        """For ever."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._due:
                await trio.sleep_until(self._due[0] + PACE_S)
                now = trio.current_time()
                while self._due and self._due[0] <= now:
                    self._due.popleft()
                    self._early.unpark()


def _way_of(
    client: Client, mode: Mode, by: Signatory | None
) -> Callable[[list[bytes]], Awaitable[Sequence[OperationResult]]]:
    """The client's method that the mode measures."""
    if mode == "many":
        return client.submit_many
    method = client.call if mode == "coalesced" else partial(client.call_alone, by=by)

    async def one(operations: list[bytes]) -> Sequence[OperationResult]:
        return (await method(operations[0]),)

    return one


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
        "batch": load.batch,
        "keys": max(1, len(load.signatories)),
        "rate": load.rate,
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
