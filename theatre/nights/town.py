"""Four recorded members on their own wires, under load, for a night; and what must hold when it is over."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import trio

from bftnode.client.client import Client, open_client
from bftnode.client.nonces import CountingNonces
from bftnode.client.options import Options
from bftnode.client.session import Retry
from bftnode.protocol.client_messages import NodeStatus
from bftnode.protocol.ed25519 import public_key_of, verify
from bftnode.protocol.forensics import investigate
from bftnode.storage.directory import LMDB_NAME
from bftnode.storage.testimony import read_testimony
from simulations.script import LiarScript, Script
from simulations.simulation import CLIENTS
from theatre.proxy import Wires
from theatre.recorded import judge_words
from theatre.troupe import Failed, Troupe, timing_of
from theatre.verdict import Log, judge, judge_accusations, read_log

MEMBERS = 4
STRETCH = 2.0
"""A view change takes a second: more than a busy machine's pauses, less than a cycle."""

EQUAL_S = 60.0
"""How long members may take until they are at one height, once nobody disturbs them."""

MAP_BYTES = 1024 * 1024
"""The data file's first size: a night's directories are copied and kept, and production's 64 MiB are mostly empty."""

STATUS_S = 2.0
POLL_S = 0.1

OPTIONS = Options(reconnect_max_s=0.5, retry=Retry(first_ms=300, max_ms=2000))
"""Clients of a night come back soon: members are away for a second at a time."""


class Town:
    """Made by `raised`. `correct`: those that owe something. `forgetful`: those of them whose disk was rolled back."""

    def __init__(self, path: Path, seed: str, application: str, liars: Mapping[int, LiarScript]) -> None:
        self.seeds = [sha256(f"client {i}".encode()).digest() for i in range(CLIENTS)]
        self.correct = [member for member in range(MEMBERS) if member not in liars]
        self.liars = tuple(sorted(liars))
        self.forgetful: dict[int, None] = {}
        self.clients: list[Client] = []
        self.wires = Wires(Random(f"{seed}/wires"))
        self.story: list[str] = []
        self._began = trio.current_time()
        self.asking = "start"  # the property that is asked for at the moment
        script = Script(story="A night.", covers=(), step=(), n=MEMBERS, seed=seed, liars=liars)
        administrators = [public_key_of(seed).hex() for seed in self.seeds]
        configuration = {**timing_of(STRETCH), "storage.map_bytes_initial": MAP_BYTES}
        self.troupe = Troupe(path, script, administrators, configuration, application=application, recorded=True)

    def say(self, line: str) -> None:
        self.story.append(f"{trio.current_time() - self._began:8.2f} s  {line}")

    def apart(self, members: Sequence[int]) -> None:
        """Nothing passes between these and the others, until `wires.sky.join`."""
        for member in members:
            for other in range(MEMBERS):
                if other not in members:
                    self.wires.sky.cut(member, other)
                    self.wires.sky.cut(other, member)

    async def status(self) -> dict[int, NodeStatus]:
        """Of those that answer."""
        answers = await self.clients[0].status_all(timeout_s=STATUS_S)
        return {member: item for member, item in answers.items() if isinstance(item, NodeStatus)}

    async def equal(self) -> NodeStatus:
        """Until all correct members are up, in good standing, and at one height; how one of them stands then.

        Raises Failed.
        """
        self.asking = "equal"
        status: dict[int, NodeStatus] = {}
        with trio.move_on_after(EQUAL_S):
            while True:
                self.troupe.check_alive()
                status = await self.status()
                mine = [status[member] for member in self.correct if member in status]
                if len(mine) == len(self.correct) and len({(one.executed, one.head, one.state) for one in mine}) == 1:
                    if mine[0].state == "ok" and not any(one.pending for one in mine):
                        return mine[0]
                await trio.sleep(POLL_S)
        stand = ", ".join(f"n{i} {one.state} {one.executed} ({one.pending} pending)" for i, one in status.items())
        raise Failed(f"not at one height in {EQUAL_S:.0f} s: {stand}\n{self.troupe.last_words()}")

    async def close_down(self, acknowledged: list[bytes]) -> list[int]:
        """End everybody in order, and judge what is on the disks. Raises Failed.

        Each acknowledged envelope once in equal logs that verify, by execution too; nobody said two things in one
        place, in any of its lives; nobody correct is accused or was quarantined, and forensics names nobody. Whose disk
        was rolled back may be: what it can find out is only what others can show it. Returns who of them is named.
        """
        await self.equal()
        self.asking = "ends in order"
        await self.troupe.stop(*self.correct)
        await self.troupe.kill(*self.liars)
        self.asking = "logs"
        logs = [await trio.to_thread.run_sync(self._log_of, member) for member in self.correct]
        judge(logs, acknowledged, equal=True)
        judge_accusations(logs, [*self.liars, *self.forgetful], None)
        self.asking = "said once"
        for member in self.correct:
            if not judge_words(member, self.troupe.words_path(member)):
                raise Failed(f"n{member} has said nothing")
        self.asking = "no contradiction on the disks"
        convicted = self._confront()
        self.asking = "no quarantine"
        for member in self.correct:
            if member not in self.forgetful and self.troupe.has_said(member, "quarantined"):
                raise Failed(f"n{member} was quarantined, and nothing was taken from its disk")
        return [member for member in self.forgetful if member in convicted]

    def _log_of(self, member: int) -> Log:
        return read_log(member, self.troupe.home(member).data_path, self.troupe.genesis)

    def _confront(self) -> list[int]:
        """Certificates and NEW-VIEWs on each two disks, vote by vote; who contradicts himself. Raises Failed."""
        first, *others = self.correct
        members = self.troupe.genesis.membership()
        testimony = {i: read_testimony(self.troupe.home(i).data_path / LMDB_NAME) for i in self.correct}
        culprits: dict[int, str] = {}
        for other in others:
            found = investigate(testimony[first], testimony[other], members, verify)
            culprits |= {one.member: one.proved for one in found.culprits}
            if found.fork_height is not None:
                raise Failed(f"n{first} and n{other}: a fork at height {found.fork_height}")
        for culprit, proved in sorted(culprits.items()):
            if culprit not in self.liars and culprit not in self.forgetful:
                raise Failed(f"n{culprit} contradicts itself: {proved}")
        return sorted(culprits)


@asynccontextmanager
async def raised(
    path: Path, seed: str, application: str, liars: Mapping[int, LiarScript], clients: int
) -> AsyncIterator[Town]:
    """A town in `path`, all members up, with so many clients. No process outlives it. Raises Failed."""
    town = Town(path, seed, application, liars)
    try:
        async with trio.open_nursery() as nursery:
            await town.wires.string_up(nursery, town.troupe.own_ports)
            town.troupe.install(town.wires)
            await town.troupe.start(*range(MEMBERS))
            async with AsyncExitStack() as stack:
                for number in range(clients):
                    opened = open_client(
                        town.troupe.genesis, town.seeds[number], next_nonce=CountingNonces(), options=OPTIONS
                    )
                    town.clients.append(await stack.enter_async_context(opened))
                yield town
            nursery.cancel_scope.cancel()
    finally:
        town.troupe.close()


class Load:
    """Callers that submit one after the other, until `stop`."""

    def __init__(self, submit: Callable[[int, int], Awaitable[bool]], pause_s: float) -> None:
        """`submit(caller, number)`: whether it was acknowledged; False where its outcome is not known."""
        self._submit = submit
        self._pause_s = pause_s
        self._number = 0
        self._stopping = False
        self._acknowledged: list[float] = []  # when each that was acknowledged had begun
        self.unknown = 0

    @property
    def acknowledged(self) -> int:
        return len(self._acknowledged)

    async def caller(self, caller: int) -> None:
        while not self._stopping:
            self._number += 1
            began = trio.current_time()
            if await self._submit(caller, self._number):
                self._acknowledged.append(began)
            else:
                self.unknown += 1
            await trio.sleep(self._pause_s)

    def stop(self) -> None:
        self._stopping = True

    async def progress(self, count: int, within_s: float, town: Town) -> None:
        """Until `count` that begin from now on are acknowledged. Raises Failed."""
        now = trio.current_time()
        with trio.move_on_after(within_s):
            while sum(1 for began in self._acknowledged[-4 * count :] if began >= now) < count:
                town.troupe.check_alive()
                await trio.sleep(POLL_S / 2)
            return
        raise Failed(f"no progress in {within_s:.0f} s after the last trouble\n{town.troupe.last_words()}")
