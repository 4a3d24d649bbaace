"""One scenario file on real processes: daemons, TLS, LMDB, the client library; words.py says what each word means here.

Times of the file are multiplied by `stretch_of(n)`, those of the replicas too, so that a decision, which takes a
fraction of a millisecond of the simulated world's time, has its place between two steps. Where a step itself takes time
(a daemon that starts, one that ends), the play's clock stands still: what follows keeps its distance.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import trio

from bftnode.apps.execution import application_operation
from bftnode.apps.log import append
from bftnode.client.client import Client, open_client
from bftnode.client.nonces import CountingNonces
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.protocol.client_messages import NodeStatus
from bftnode.protocol.ed25519 import public_key_of
from bftnode.protocol.errors import Refused
from bftnode.protocol.transactions import Transaction
from simulations.scenarios.stage import CLIENTS
from simulations.script import Script, Step
from theatre.actions import ACTIONS
from theatre.proxy import Wires
from theatre.troupe import START_EACH_S, START_S, Failed, Troupe, timing_of
from theatre.verdict import judge, judge_accusations, judge_lies, read_log

READY_S = 30.0
READY_EACH_S = 5.0
"""How long members may take until each is linked with every other: so long, and so much more for each."""

EVIDENCE_S = 5.0
"""How late accusations may come after all is executed."""

STATUS_S = 2.0
POLL_S = 0.1

Tell = Callable[[float, str], None]
"""Takes seconds since the beginning, and a line."""


def stretch_of(members: int) -> float:
    """By how much the file's times are multiplied: more for many members, which share this machine's cores."""
    return max(3.0, members / 2)


class RealPlay:
    """One script. `run` once."""

    def __init__(self, script: Script, path: Path, tell: Tell) -> None:
        self.script = script
        self.stretch = stretch_of(script.n)
        self._tell = tell
        # The small world's clients: whom a behaviour picks by its key is the same one there and here.
        self.seeds = [sha256(f"client {i}".encode()).digest() for i in range(CLIENTS)]
        # A lying client has an honest one's key and takes its nonces from where that one does.
        self.nonces = [CountingNonces() for _ in self.seeds]
        administrators = [public_key_of(seed).hex() for seed in self.seeds]
        self.troupe = Troupe(path, script, administrators, timing_of(self.stretch))
        self.dice = Random(f"{script.seed}/disks")
        self.wires = Wires(Random(f"{script.seed}/wires"))
        self._clients: dict[int, Client] = {}
        self._nursery: trio.Nursery | None = None
        self.submitted = 0
        self.acknowledged: list[bytes] = []
        self.signed: dict[int, list[Transaction]] = {}  # by client: what was submitted
        self.owed: list[bytes] = []  # ids of what liars submitted among their lies, and is good
        self.never: list[bytes] = []  # ids of what nobody may execute
        self.rivals: list[tuple[bytes, bytes]] = []  # ids of which one at most may be executed
        self._failures: list[str] = []
        self._began = 0.0
        self._curtain = 0.0  # when the script's time began
        self._stood_still = 0.0  # seconds that the play's clock has stood still

    def deadline_s(self) -> float:
        """After so long it is over in any case."""
        script = self.script
        last = max((step.at_ms + step.count * step.every_ms for step in script.step), default=0)
        # Starts, ends and reads of status, with their own deadlines, come on top.
        touched = sum(len(step.members) or script.n for step in script.step if step.do not in ("submit", "resubmit"))
        beginning = READY_S + START_S + (READY_EACH_S + START_EACH_S) * script.n
        return (last + script.expect.within_ms) / 1000 * self.stretch + beginning + START_S * touched

    async def run(self) -> None:
        """Raises Failed. Nothing of it lives on afterwards."""
        began = trio.current_time()
        self._began = began
        try:
            with trio.fail_after(self.deadline_s()):
                async with trio.open_nursery() as nursery:
                    await self._perform(nursery)
                    nursery.cancel_scope.cancel()
        except trio.TooSlowError:
            raise Failed(f"not over in {self.deadline_s():.0f} s\n{self.troupe.last_words()}") from None
        except BaseExceptionGroup as group:
            failed, rest = group.split(Failed)
            if failed is None or rest is not None:
                raise
            raise _first(failed) from None
        finally:
            self.troupe.close()

    async def _perform(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        await self.wires.string_up(nursery, self.troupe.own_ports)
        self.troupe.install(self.wires)
        await self.troupe.start(*range(self.script.n))
        async with AsyncExitStack() as stack:
            for step in self.script.step:
                if step.do == "submit" and step.client not in self._clients:
                    opened = open_client(
                        self.troupe.genesis, self.seeds[step.client], next_nonce=self.nonces[step.client]
                    )
                    self._clients[step.client] = await stack.enter_async_context(opened)
            if not self._clients:
                opened = open_client(self.troupe.genesis, self.seeds[0], next_nonce=self.nonces[0])
                self._clients[0] = await stack.enter_async_context(opened)
            await self._everybody_linked()
            self.say(f"all {self.script.n} members are up and linked; the file's times are stretched {self.stretch:g}x")
            self._curtain = trio.current_time()
            for member, liar in self.script.liars.items():
                if liar.from_ms:
                    nursery.start_soon(self._unmask_at, member, liar.from_ms)
            for step in self.script.step:
                await self._until(step.at_ms)
                self.troupe.check_alive()
                self.say(f"{step.do} {' '.join(f'n{member}' for member in step.members)}".rstrip())
                await ACTIONS[step.do](self, step)
            await self._expect()
        self.troupe.check_alive()
        everybody = [member for member in range(self.script.n) if self.troupe.is_up(member)]
        await self.troupe.stop(*(member for member in everybody if member not in self.script.liars))
        await self.troupe.kill(*everybody)
        await self._judge()

    def say(self, line: str) -> None:
        self._tell(trio.current_time() - self._began, line)

    async def _until(self, ms: int) -> None:
        """The script's time, which may stand still meanwhile."""
        while True:
            due = self._curtain + self._stood_still + ms / 1000 * self.stretch
            if trio.current_time() >= due:
                return
            await trio.sleep_until(due)

    async def _unmask_at(self, member: int, ms: int) -> None:
        await self._until(ms)
        self.troupe.unmask(member)
        self.say(f"n{member} is a liar from now on: {' + '.join(self.script.liars[member].behaviours)}")

    # ---- what is asked at the end

    def correct(self) -> list[int]:
        """Members that owe something."""
        return [i for i in range(self.script.n) if i not in self.script.liars and i not in self.script.amnesiacs]

    async def _expect(self) -> None:
        expect, correct = self.script.expect, self.correct()
        if expect.executed:
            with trio.move_on_after(expect.within_ms / 1000 * self.stretch) as patience:
                while True:
                    if await self._executed():
                        break
                    await trio.sleep(POLL_S)
            if patience.cancelled_caught:
                status = await self.status()
                heights = ", ".join(f"n{i} {status[i].executed if i in status else '-'}" for i in correct)
                raise Failed(
                    f"liveness: {len(self.acknowledged)} of {self.submitted} are acknowledged in time; {heights}"
                    f"\n{self.troupe.last_words()}"
                )
            self.say(f"all {self.submitted} submissions are acknowledged, and all correct members at one height")
        views = [item.view for member, item in (await self.status()).items() if member in correct]
        if not views or not expect.view_at_least <= max(views) <= expect.view_at_most:
            raise Failed(f"the highest view is {max(views, default=None)}")
        if expect.accused is not None:
            wanted = dict.fromkeys(expect.accused)
            with trio.move_on_after(EVIDENCE_S):
                # Where nobody is to be accused, all the time passes in which somebody could be.
                while not wanted or not all(
                    any(culprit == one for _, culprit in self.troupe.accused) for one in wanted
                ):
                    self.troupe.read_logs()
                    await trio.sleep(POLL_S)

    def _are_accused(self, members: Iterable[int]) -> bool:
        """As far as the logs were read."""
        return all(any(culprit == member for _, culprit in self.troupe.accused) for member in members)

    async def _executed(self) -> bool:
        self.troupe.check_alive()
        if self._failures:
            raise Failed(self._failures[0])
        if len(self.acknowledged) < self.submitted:
            return False
        status = await self.status()
        correct = self.correct()
        return all(i in status for i in correct) and len({(status[i].executed, status[i].head) for i in correct}) == 1

    async def _judge(self) -> None:
        """Everybody is down."""
        script, troupe = self.script, self.troupe
        troupe.read_logs()
        logs = [
            await trio.to_thread.run_sync(read_log, member, troupe.home(member).data_path, troupe.genesis)
            for member in range(script.n)
            if member not in script.liars and member not in troupe.refused  # who refuses its log vouches for none
        ]
        judge(logs, (), equal=False)  # with those that had forgotten: they run correct code
        owing = [log for log in logs if log.member not in script.amnesiacs]
        judge_accusations(owing, [*script.liars, *script.amnesiacs], script.expect.accused)
        judge(owing, [*self.acknowledged, *self.owed], equal=script.expect.executed)
        judge_lies(owing, self.never, self.rivals)
        self.say(f"{len(logs)} logs verified, height {len(owing[0].blocks) - 1}, {len(owing[0].entries)} entries")

    # ---- what steps need

    async def status(self) -> dict[int, NodeStatus]:
        """What members that answer say of themselves."""
        client = next(iter(self._clients.values()))
        answers = await client.status_all(timeout_s=STATUS_S)
        return {member: item for member, item in answers.items() if isinstance(item, NodeStatus)}

    async def _everybody_linked(self) -> None:
        patience_s = READY_S + READY_EACH_S * self.script.n
        with trio.move_on_after(patience_s):
            while True:
                self.troupe.check_alive()
                status = await self.status()
                if len(status) == self.script.n and all(
                    peer.connected for item in status.values() for peer in item.peers
                ):
                    return
                await trio.sleep(POLL_S)
        raise Failed(f"not everybody is linked in {patience_s:.0f} s\n{self.troupe.last_words()}")

    def chosen(self, step: Step) -> list[int]:
        """The members that a step is about; all, where it names none."""
        return list(step.members) or list(range(self.script.n))

    def submit(self, client: int) -> None:
        """A fresh record of this client's, in the background."""
        assert self._nursery is not None, "on stage"
        self.submitted += 1
        self._nursery.start_soon(self._submit, client, b"%d/%d" % (client, self.submitted))

    async def _submit(self, client: int, record: bytes) -> None:
        """Until it has an outcome, however long that takes."""
        ids: list[bytes] = []

        def remember(transaction: Transaction) -> None:
            ids.append(transaction.id)
            self.signed.setdefault(client, []).append(transaction)

        try:
            result = await self._clients[client].submit(
                (application_operation(append(record)),),
                timeout_s=self.deadline_s(),
                on_signed=remember,
            )
        except (Refused, OutcomeUnknown) as error:
            self._failures.append(f"a submission of client {client} failed: {error}")
            return
        if result.code:
            self._failures.append(f"a submission of client {client} was rejected: {result.code}")
        self.acknowledged += ids

    def rest(self, step: Step) -> list[int]:
        """`to`, or everybody but `members`, where it is left out."""
        return list(step.to) or [member for member in range(self.script.n) if member not in step.members]

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[None]:
        """What is done within takes no time of the play's."""
        before = trio.current_time()
        yield
        self._stood_still += trio.current_time() - before


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
