"""Disks that fail under a living member: put back as they were, full, or no longer taking what is written.

A unit is one trouble of one member's disk, in a town under load that lives through the units of a slice:

rollbacks   its directory is copied as kill -9 would leave it, the cluster goes on, and the member wakes up on the copy;
            half of the time the others stand still until it does. It is quarantined, and an operator lets it take part
            again; or it goes on, where nobody can show it what it has forgotten. Never may it say twice what is said
            once; whether what is left on the disks convicts it is counted, for it is one of the f faulty (D07).
full        no file of the process may grow (RLIMIT_FSIZE), or the kernel has no room for the data file (ENOSPC). It
            says so, serves reads, and goes on when there is room, or after kill -9 (D04). Where it is a meta page that
            finds no room, it ends and says why, as below.
fsync       the kernel answers EIO to what makes the data file durable, or to what writes it. The member ends at once
            and says why; its next life reads what is there (D05).

The failures are the kernel's own (failing.py). What everybody said in all lives is judged at the slice's end.
"""

import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from subprocess import CalledProcessError

import trio

from bftnode.apps.execution import application_operation
from bftnode.apps.log import append, open_answer, read
from bftnode.protocol.errors import Refused
from simulations.work import Done
from theatre.nights.kills import CALLERS, CLIENTS, PAUSE_S, PROGRESS, PROGRESS_S, appending
from theatre.nights.night import Night, play
from theatre.nights.town import MEMBERS, POLL_S, Load, Town, raised
from theatre.troupe import Failed

STATE_S = 60.0
"""How long a member may take to say of itself what it has to."""

FORGOTTEN_MAX = 40
"""Submissions between a copy and its return, at most: from none to some views and heights."""

NOTICED_S = 3.0
"""A member that has forgotten something finds out when it catches up, within a second; whoever has not after so long,
and more progress, has forgotten nothing that anybody can show."""

BLOB = bytes(60_000)
BLOBS_MAX = 400
"""Records of that size fill what is left of a data file; more of them mean that it is not full."""

Trouble = Callable[[Night, Town, Load, int, Random], Awaitable[None]]


class Disks:
    """One of the three sets."""

    units = None
    alone = True

    def __init__(self, name: str, story: str, full: int, chunk: int, trouble: Trouble) -> None:
        self.name = name
        self.story = story
        self.full = full
        self.chunk = chunk
        self._trouble = trouble

    def play(self, first: int, last: int) -> Done:
        return play(self.name, range(first, last), partial(_night, self.name, self._trouble))


async def _night(name: str, trouble: Trouble, night: Night, path: Path, units: Sequence[int]) -> None:
    acknowledged: list[bytes] = []
    async with raised(path, f"{name}/{units[0]}", "log", {}, CLIENTS) as town:
        night.town = town
        load = Load(appending(town, acknowledged), PAUSE_S)
        async with trio.open_nursery() as nursery:
            for caller in range(CALLERS):
                nursery.start_soon(load.caller, caller)
            for unit in units:
                night.unit = unit
                dice = Random(f"{name}/{unit}")
                await load.progress(PROGRESS, PROGRESS_S, town)
                await trouble(night, town, load, dice.randrange(MEMBERS), dice)
                town.asking = "progress"
                await load.progress(PROGRESS, PROGRESS_S, town)
                night.count("runs")
            load.stop()
        convicted = await town.close_down(acknowledged)
        night.count("convicted of what they forgot", len(convicted))
        night.count("acknowledged", load.acknowledged)


async def _until(town: Town, member: int, states: Sequence[str], within_s: float = STATE_S) -> str:
    """The first of these states that the member says of itself; "" where it has ended because its disk is damaged.
    Raises Failed."""
    with trio.move_on_after(within_s):
        while True:
            town.troupe.check_alive()
            if member in town.troupe.refused:
                return ""
            status = await town.status()
            if member in status and status[member].state in states:
                return status[member].state
            await trio.sleep(POLL_S)
    raise Failed(f"n{member} is not {' or '.join(states)} in {within_s:.0f} s\n{town.troupe.last_words()}")


async def _next_life(town: Town, member: int) -> None:
    """Of one that has ended because of its disk: it goes on."""
    town.troupe.mended(member)
    await town.troupe.start(member)
    town.asking = "goes on in its next life"
    await _until(town, member, ["ok"])


# ---- rollbacks


async def _roll_back(night: Night, town: Town, load: Load, member: int, dice: Random) -> None:
    troupe = town.troupe
    await trio.sleep(dice.uniform(0.0, 0.3))
    troupe.copy_data(member)
    forgotten = dice.randrange(FORGOTTEN_MAX)
    if forgotten:
        await load.progress(forgotten, PROGRESS_S, town)
    if dice.random() < 1 / 3:  # a life in between is forgotten as well
        await troupe.kill(member)
        await troupe.start(member)
        await load.progress(PROGRESS, PROGRESS_S, town)
    town.forgetful[member] = None
    town.say(f"unit {night.unit}: n{member} wakes up {forgotten} submissions ago")
    others = [other for other in range(MEMBERS) if other != member] if dice.random() < 1 / 2 else []
    for other in others:
        troupe.pause(other)  # what it said last is what they still wait for
    await troupe.kill(member)
    troupe.put_data_back(member)
    await troupe.start(member)
    for other in others:
        troupe.resume(other)
    town.asking = "quarantine, or no contradiction"
    with trio.move_on_after(NOTICED_S):
        await _until(town, member, ["quarantined"], 2 * NOTICED_S)
    await load.progress(PROGRESS, PROGRESS_S, town)
    if await _until(town, member, ["quarantined", "ok"]) == "ok":
        night.count("went on")
        return
    night.count("quarantined")
    await troupe.stop(member)
    command = [sys.executable, "-m", "bftnode", "unsafe-rejoin", "--yes", "--home", str(troupe.home(member).path)]
    try:
        await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    except CalledProcessError as error:
        raise Failed(f"n{member} cannot rejoin: {error.stderr.decode()}") from None
    await troupe.start(member)
    town.asking = "rejoins"
    await _until(town, member, ["ok"])


# ---- full disks


async def _fill(night: Night, town: Town, load: Load, member: int, dice: Random) -> None:
    troupe = town.troupe
    way = dice.choice(("limit", "fallocate", "pwrite"))
    if way != "limit":
        await troupe.kill(member)
        troupe.launch(member, fails=(way, "ENOSPC"))
        await troupe.started(member)
    files = [path.stat().st_size for path in troupe.home(member).data_path.rglob("*") if path.is_file()]
    bytes_max = max(*files, troupe.log_bytes(member) + 64 * 1024)
    if way == "limit":
        limit(troupe.pid(member), bytes_max)
    else:
        troupe.unmask(member)
    town.say(f"unit {night.unit}: the disk of n{member} is full ({way})")
    town.asking = "says that its disk is full"
    if way == "pwrite":  # refused in the midst of a commit: what finds no room may be a meta page
        troupe.damaged(member, "StorageBroken: a meta page could not be written")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_submit_blobs, town, nursery.cancel_scope)
        says_so = await _until(town, member, ["disk_full"])
        nursery.cancel_scope.cancel()
    night.count(f"full by {way}")
    if not says_so:
        night.count("ended by a meta page")
        await _next_life(town, member)
        return
    troupe.mended(member)
    town.asking = "reads at a full disk"
    try:
        answer = await town.clients[0].query(read(0), "local", member=member)
        open_answer(answer.value)
    except Refused as refused:
        raise Failed(f"n{member} serves no reads: {refused}") from None
    town.asking = "progress beside a full disk"
    await load.progress(PROGRESS, PROGRESS_S, town)
    if way == "limit" and dice.random() < 1 / 2:
        limit(troupe.pid(member), resource.RLIM_INFINITY)
    else:
        await troupe.kill(member)
        await troupe.start(member)
        night.count("killed while full")
    town.asking = "goes on when there is room"
    await _until(town, member, ["ok"])


def limit(pid: int, bytes_max: int) -> None:
    """Of each file that this process writes."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))


async def _submit_blobs(town: Town, scope: trio.CancelScope) -> None:
    for _ in range(BLOBS_MAX):
        await town.clients[0].submit((application_operation(append(BLOB)),), timeout_s=PROGRESS_S)
    raise Failed(f"{BLOBS_MAX} records of {len(BLOB)} bytes fill no disk")


# ---- failing writes


async def _fail(night: Night, town: Town, load: Load, member: int, dice: Random) -> None:
    troupe = town.troupe
    call = dice.choice(("fsync", "fsync", "pwrite"))
    await troupe.kill(member)
    troupe.launch(member, fails=(call, "EIO"))
    await troupe.started(member)
    await load.progress(PROGRESS, PROGRESS_S, town)
    await trio.sleep(dice.uniform(0.0, 0.5))
    town.say(f"unit {night.unit}: {call} fails at n{member}")
    troupe.damaged(member, "StorageBroken")
    troupe.unmask(member)
    town.asking = "ends and says why"
    with trio.move_on_after(STATE_S):
        while member not in troupe.refused:
            troupe.check_alive()
            await trio.sleep(POLL_S)
    if member not in troupe.refused:
        raise Failed(f"n{member} goes on although {call} fails\n{troupe.last_words()}")
    night.count(f"ended by {call}")
    await _next_life(town, member)


ROLLBACKS = Disks("rollbacks", "one real member put back to an earlier copy of its disk", 100, 10, _roll_back)
FULL = Disks("full", "one real member whose disk is full for a while", 100, 8, _fill)
FSYNC = Disks("fsync", "one real member whose disk fails to write or to sync", 100, 10, _fail)
