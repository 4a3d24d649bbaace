"""Histories of real clients, judged for linearizability while members are killed, paused and cut off.

A unit is one history: a thousand operations of ten callers on the key-value application, at fresh keys. Ordered
operations and linearizable reads have to be explained by one order that respects real time (the small world's judge);
what a client gave up may have been made, then or later, or not. A quick read ("quorum") promises less: a state that was
at some height, no older than all that its client had been told. One town lives through the histories of a slice.
faults.md D01, P42, X01, T04.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from random import Random
from typing import NamedTuple

import trio

from bftnode.apps import kv
from bftnode.apps.execution import application_operation
from bftnode.client.client import Client, Consistency
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.protocol.errors import Refused
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.transactions import Transaction, open_transaction
from bftnode.storage.directory import LMDB_NAME
from bftnode.storage.environment import opened_read_only
from bftnode.storage.log import LogReader
from simulations.judges.linearizability import Call, apply, judge_history
from simulations.work import Done
from simulations.world import Violation
from theatre.nights.night import Night, play
from theatre.nights.town import MEMBERS, Town, raised
from theatre.troupe import Failed

OPERATIONS = 1000
CLIENTS = 5
CALLERS = 10
KEYS = 24
"""Some forty operations on each: the judge's search takes milliseconds."""

PAUSE_S = 0.06  # between two operations of a caller, at most
PATIENT_S = 90.0
HASTY = 0.04
HASTY_S = (0.01, 0.3)
"""So many operations are given up after so long: what became of them nobody knows."""

UNKNOWN_MAX = 0.2
"""A history in which more than so many are given up says too little."""

LINEARIZABLE: Consistency = "linearizable"
QUICK: Consistency = "quorum"

QUIET_S = (0.2, 1.5)
TROUBLE_S = (0.2, 1.5)
TROUBLES = {"kill one": 40, "kill two": 10, "kill all": 5, "pause": 20, "cut": 20, "split": 5}


class QuickRead(NamedTuple):
    """What a client was told by a read that promises a state of `floor` or higher. `ended_s`: when."""

    key: bytes
    value: bytes | None
    floor: int
    ended_s: float


@dataclass(slots=True)
class History:
    """What the callers of one unit, which is so many operations, did and saw."""

    operations: int
    calls: list[tuple[bytes, Call]] = field(default_factory=list)
    quick: list[QuickRead] = field(default_factory=list)
    executed: list[tuple[float, int]] = field(default_factory=list)  # (began, height) of each with an outcome
    started: int = 0
    unknown: int = 0
    unread: int = 0  # reads that members did not agree on in time: they say nothing


class Histories:
    """The set."""

    name = "histories"
    story = f"one history of {OPERATIONS} operations of real clients, with kills, pauses and cuts, judged"
    units = None
    full = 200
    chunk = 3
    alone = True

    def __init__(self, operations: int = OPERATIONS) -> None:
        """`operations`: of each history. A full set is of a thousand."""
        self._operations = operations

    def play(self, first: int, last: int) -> Done:
        return play(self.name, range(first, last), partial(_night, self._operations))


HISTORIES = Histories()


async def _night(operations: int, night: Night, path: Path, units: Sequence[int]) -> None:
    acknowledged: list[bytes] = []
    told = [0] * CLIENTS  # by client, the highest height that it was told of
    quick: list[tuple[QuickRead, int]] = []  # with a height that came after it
    async with raised(path, f"histories/{units[0]}", "kv", {}, CLIENTS) as town:
        night.town = town
        for unit in units:
            night.unit = unit
            history = History(operations)
            await _play(night, town, history, acknowledged, told, unit)
            town.asking = "linearizability"
            try:
                await trio.to_thread.run_sync(judge_history, history.calls)
            except Violation as violation:
                raise Failed(str(violation)) from None
            if history.unknown > operations * UNKNOWN_MAX:
                raise Failed(f"{history.unknown} of {operations} operations have no outcome: nothing is shown")
            quick += with_ceilings(history)
            night.count("runs")
            night.count("operations", history.started)
            night.count("outcomes unknown", history.unknown)
            night.count("reads unanswered", history.unread)
            night.count("quick reads", len(history.quick))
        await town.close_down(acknowledged)
        town.asking = "quick reads"
        data = town.troupe.home(0).data_path
        states = await trio.to_thread.run_sync(states_of, data, town.troupe.genesis)
        judge_quick(quick, states)


# ---- the callers


async def _play(
    night: Night, town: Town, history: History, acknowledged: list[bytes], told: list[int], unit: int
) -> None:
    town.asking = "an outcome in time"
    async with trio.open_nursery() as troubles:
        troubles.start_soon(_trouble, night, town, Random(f"histories/{unit}/troubles"))
        async with trio.open_nursery() as nursery:
            for number in range(CALLERS):
                caller = _Caller(town, number, unit, history, acknowledged, told)
                nursery.start_soon(caller.run)
        troubles.cancel_scope.cancel()
    await _calm(town)


class _Caller:
    """One of them: an operation after the other."""

    def __init__(
        self, town: Town, number: int, unit: int, history: History, acknowledged: list[bytes], told: list[int]
    ) -> None:
        self._client: Client = town.clients[number % CLIENTS]
        self._place = number % CLIENTS
        self._dice = Random(f"histories/{unit}/{number}")
        self._unit = unit
        self._history = history
        self._acknowledged = acknowledged
        self._told = told
        self._seen: dict[bytes, bytes | None] = {}

    async def run(self) -> None:
        history, dice = self._history, self._dice
        while history.started < history.operations:
            history.started += 1
            key = b"%d/%d" % (self._unit, dice.randrange(KEYS))
            patience_s = dice.uniform(*HASTY_S) if dice.random() < HASTY else PATIENT_S
            await self._one(key, b"%d" % history.started, patience_s)
            await trio.sleep(dice.uniform(0.0, PAUSE_S))

    async def _one(self, key: bytes, value: bytes, patience_s: float) -> None:
        kind = self._dice.choices(("put", "get", "swap", "delete", "linearizable", "quick"), (30, 25, 15, 5, 12, 13))[0]
        match kind:
            case "put":
                await self._submit(key, kv.Put(key, value), kv.put(key, value), patience_s)
            case "get":
                await self._submit(key, kv.Get(key), kv.get(key), patience_s)
            case "swap":
                expected = self._seen.get(key)
                swap = kv.CompareAndSwap(key, expected, value)
                await self._submit(key, swap, kv.compare_and_swap(key, expected, value), patience_s)
            case "delete":
                await self._submit(key, kv.Delete(key), kv.delete(key), patience_s)
            case "linearizable":
                await self._read(key, patience_s)
            case _:
                await self._read_quickly(key, patience_s)

    async def _submit(self, key: bytes, operation: kv.Operation, raw: bytes, patience_s: float) -> None:
        history, ids = self._history, list[bytes]()

        def remember(transaction: Transaction) -> None:
            ids.append(transaction.id)

        call = Call(operation, _began_ms())
        began = trio.current_time()
        try:
            result = await self._client.submit((application_operation(raw),), timeout_s=patience_s, on_signed=remember)
        except OutcomeUnknown:
            history.unknown += 1
            history.calls.append((key, call))
            return
        except Refused as refused:
            if ids:
                raise Failed(f"a valid operation is refused: {refused}") from None
            history.unread += 1  # time was up before it was signed
            return
        call.ended_ms = _ended_ms()
        if result.code or result.results[0].code:
            raise Failed(f"a valid operation is refused: {result.code or result.results[0].code}")
        call.result = kv.open_result(result.results[0].value)
        history.calls.append((key, call))
        history.executed.append((began, result.seq))
        self._acknowledged += ids
        self._told[self._place] = max(self._told[self._place], result.seq)
        match call.result:
            case kv.Found(value=value) | kv.Swapped(found=value):
                self._seen[key] = value
            case _:
                pass

    async def _read(self, key: bytes, patience_s: float) -> None:
        call = Call(kv.Get(key), _began_ms())
        try:
            answer = await self._client.query(kv.get(key), LINEARIZABLE, timeout_s=patience_s)
        except (Refused, OutcomeUnknown):
            self._history.unread += 1
            return
        call.ended_ms = _ended_ms()
        call.result = kv.open_result(answer.value)
        self._history.calls.append((key, call))
        self._told[self._place] = max(self._told[self._place], answer.height)

    async def _read_quickly(self, key: bytes, patience_s: float) -> None:
        floor = self._told[self._place]
        try:
            answer = await self._client.query(kv.get(key), QUICK, timeout_s=patience_s)
        except (Refused, OutcomeUnknown):
            self._history.unread += 1
            return
        found = kv.open_result(answer.value)
        if not isinstance(found, kv.Found):
            raise Failed("the answer is not one to a read")
        self._history.quick.append(QuickRead(key, found.value, floor, trio.current_time()))
        self._told[self._place] = max(self._told[self._place], answer.height)


def _began_ms() -> int:
    return int(trio.current_time() * 1000)


def _ended_ms() -> int:
    """Rounded up, as beginnings are rounded down: what overlaps is never called one after the other."""
    return ceil(trio.current_time() * 1000)


# ---- quick reads, by the log


States = Mapping[bytes, list[tuple[int, bytes | None]]]
"""By key, from which height on it held what, in ascending order."""

NO_CEILING = 2**62


def with_ceilings(history: History) -> Iterable[tuple[QuickRead, int]]:
    """Each quick read with a height that was not reached before it ended: of what began after it."""
    executed = sorted(history.executed)
    lowest, heights = NO_CEILING, list[int]()
    for _, height in reversed(executed):
        lowest = min(lowest, height)
        heights.append(lowest)
    heights.reverse()
    for read in history.quick:
        place = bisect_right(executed, (read.ended_s, NO_CEILING))
        yield read, heights[place] if place < len(heights) else NO_CEILING


def states_of(data: Path, genesis: Genesis) -> States:
    """What the log makes of each key, by what the judge knows of registers. The member is down."""
    states: dict[bytes, list[tuple[int, bytes | None]]] = {}
    chain_id, seen, prefix = genesis.membership().chain_id, dict[bytes, None](), application_operation(b"")
    with opened_read_only(data / LMDB_NAME, lock=False) as (env, databases), env.begin() as txn:
        log = LogReader(txn, databases)
        for seq in range(1, log.height() + 1):
            for raw in log.block(seq).transactions:
                transaction = open_transaction(raw, chain_id)
                if transaction.id in seen:
                    continue
                seen[transaction.id] = None
                for operation in transaction.body.operations:
                    if operation.startswith(prefix):
                        _apply(states, seq, kv.open_operation(operation[len(prefix) :]))
    return states


def _apply(states: dict[bytes, list[tuple[int, bytes | None]]], seq: int, operation: kv.Operation) -> None:
    assert not isinstance(operation, kv.Batch | kv.Scan), "operations on one key only"
    held = states.setdefault(operation.key, [])
    before = held[-1][1] if held else None
    after, _ = apply(Call(operation, 0), before)
    if held and held[-1][0] == seq:
        held[-1] = (seq, after)  # what a block leaves is what is seen
    else:
        held.append((seq, after))


def judge_quick(quick: Iterable[tuple[QuickRead, int]], states: States) -> None:
    """Each was true at some height from its floor on, below its ceiling. Raises Failed."""
    for read, ceiling in quick:
        held = states.get(read.key, [])
        first = bisect_right(held, read.floor, key=_height) - 1
        last = bisect_left(held, ceiling, key=_height)
        values = [value for _, value in held[max(first, 0) : last]]
        if first < 0:
            values.append(None)
        if read.value not in values:
            raise Failed(
                f"a quick read of {read.key!r} saw {read.value!r}, which it never held from height {read.floor} to "
                f"{ceiling}: {values[:5]}"
            )


def _height(held: tuple[int, bytes | None]) -> int:
    return held[0]


# ---- the troubles


async def _trouble(night: Night, town: Town, dice: Random) -> None:
    """One after the other, for ever."""
    troupe = town.troupe
    while True:
        await trio.sleep(dice.uniform(*QUIET_S))
        kind = dice.choices(list(TROUBLES), list(TROUBLES.values()))[0]
        members = dice.sample(range(MEMBERS), {"kill two": 2, "split": 2, "kill all": MEMBERS}.get(kind, 1))
        town.say(f"history {night.unit}: {kind} {members}")
        night.count(kind.partition(" ")[0] + "s")
        if kind == "pause":
            troupe.pause(members[0])
        elif kind in ("cut", "split"):
            town.apart(members)
        else:
            await troupe.kill(*members)
            for member in members:
                troupe.launch(member)
            await troupe.started(*members)
            continue
        await trio.sleep(dice.uniform(*TROUBLE_S))
        troupe.resume(members[0])
        town.wires.sky.join()


async def _calm(town: Town) -> None:
    """Nobody is paused, cut off or away."""
    for member in range(MEMBERS):
        town.troupe.resume(member)
    town.wires.sky.join()
    await town.troupe.start(*range(MEMBERS))
    await town.troupe.started(*range(MEMBERS))
