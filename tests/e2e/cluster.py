"""Four real daemons on loopback, for tests that do to them what the world does: kill, stop, damage, come back.

Nothing here sleeps for a result: every wait is for a condition, with a deadline that fails the test and prints the
daemons' last words.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from bftnode.client.client import Client, open_client
from bftnode.client.nonces import FileNonces
from bftnode.node.home import Home, create_client_home, create_home, install_genesis
from bftnode.node.identity import load_seed
from bftnode.protocol.client_messages import NodeStatus
from bftnode.protocol.genesis import Genesis, ParametersFile, make_genesis
from theatre.ports import Ports

DEADLINE_S = 60.0


class Cluster:
    """Homes node0.. in `path`, in the order of the genesis (so node i is member i), and a client's."""

    def __init__(self, path: Path, nodes: int = 4, application: str = "kv", **parameters: int) -> None:
        self.path = path
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.ports = Ports(2 * nodes)
        ports = self.ports.numbers
        made = []
        for i in range(nodes):
            home = path / f"made{i}"
            addresses = f"127.0.0.1:{ports[2 * i]}", f"127.0.0.1:{ports[2 * i + 1]}"
            made.append((create_home(home, f"org{i}", *addresses), home))
        made.sort(key=lambda item: item[0].public_key)
        administrator = create_client_home(path / "client", None)
        self.genesis: Genesis = make_genesis(
            "e2e", application, [administrator.hex()], [member for member, _ in made], ParametersFile(**parameters)
        )
        for i, (_, home) in enumerate(made):
            home.rename(path / f"node{i}")
            install_genesis(self.home(i), self.genesis)
        install_genesis(Home(path / "client"), self.genesis)
        self.members = range(nodes)

    def home(self, i: int) -> Home:
        return Home(self.path / f"node{i}")

    # ---- processes

    def start(self, *members: int, environment: Mapping[str, str] | None = None, **popen: Any) -> None:
        for i in members or self.members:
            assert i not in self.processes, f"node{i} runs"
            with open(self.path / f"log{i}", "ab") as log:
                self.processes[i] = subprocess.Popen(
                    [sys.executable, "-m", "bftnode", "run", "--home", str(self.home(i).path)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **(environment or {})},
                    **popen,
                )

    def signal(self, i: int, number: signal.Signals) -> None:
        self.processes[i].send_signal(number)

    def kill(self, *members: int) -> None:
        """kill -9, all of them at once, and wait until they are gone."""
        for i in members:
            self.processes[i].kill()
        for i in members:
            self.processes.pop(i).wait(DEADLINE_S)

    async def ended(self, i: int) -> int:
        """The exit code of a daemon that is about to end."""
        process = self.processes.pop(i)
        with trio.fail_after(DEADLINE_S):
            return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)

    async def stop(self, *members: int) -> list[int]:
        """SIGTERM; the exit codes."""
        chosen = list(members or self.processes)
        for i in chosen:
            self.signal(i, signal.SIGTERM)
        return [await self.ended(i) for i in chosen]

    def log(self, i: int) -> list[dict[str, Any]]:
        """A daemon's log events. Every line is one JSON object."""
        return [json.loads(line) for line in (self.path / f"log{i}").read_text().splitlines()]

    def last_words(self) -> str:
        words = []
        for i in self.members:
            log = self.path / f"log{i}"
            if log.exists():
                words += [f"node{i}: {line}" for line in log.read_text(errors="replace").splitlines()[-8:]]
        return "\n".join(words)

    # ---- clients

    @property
    def key_path(self) -> Path:
        return Home(self.path / "client").client_key_path

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """The administrator's client."""
        nonces = FileNonces(self.key_path.with_suffix(".nonces"))
        async with open_client(self.genesis, load_seed(self.key_path), next_nonce=nonces) as client:
            yield client

    async def until(
        self, client: Client, ready: Callable[[dict[int, NodeStatus]], bool], deadline_s: float = DEADLINE_S
    ) -> dict[int, NodeStatus]:
        """Ask all members for their status until it is as wanted; those who answer, by index."""
        with trio.move_on_after(deadline_s):
            while True:
                answers = await client.status_all(timeout_s=2.0)
                status = {i: answer for i, answer in answers.items() if isinstance(answer, NodeStatus)}
                if ready(status):
                    return status
        raise AssertionError(f"not reached in {deadline_s} s: {answers}\n{self.last_words()}")

    async def equal(self, client: Client, *members: int) -> dict[int, NodeStatus]:
        """Until these members (all) are up, at one height with one head, with nothing pending."""
        chosen = set(members or self.members)

        def same(status: dict[int, NodeStatus]) -> bool:
            return (
                chosen <= set(status)
                and len({(status[i].executed, status[i].head, status[i].pending) for i in chosen}) == 1
            )

        return await self.until(client, same)

    def bftnode(self, *arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The command line, as a user has it."""
        return subprocess.run(
            [sys.executable, "-m", "bftnode", *arguments],
            env={**os.environ, "BFTNODE_HOME": str(home or self.path / "client")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def verify_all(self) -> None:
        """With all daemons stopped: every log is valid, and they are the same."""
        reports = []
        for i in self.members:
            done = self.bftnode("log", "verify", "--json", home=self.home(i).path)
            assert done.returncode == 0, (done.stdout, done.stderr)
            report = json.loads(done.stdout)
            reports.append((report["entries"], report["log_root"], report["head"]))
        assert len(set(reports)) == 1, reports


@asynccontextmanager
async def running(cluster: Cluster, environment: Mapping[str, str] | None = None) -> AsyncIterator[Cluster]:
    """Start all members; whatever happens, none outlives the test."""
    cluster.start(environment=environment)
    try:
        yield cluster
    except BaseException:
        print(cluster.last_words())
        raise
    finally:
        for i, process in list(cluster.processes.items()):
            process.kill()
            process.wait(DEADLINE_S)
            del cluster.processes[i]
        cluster.ports.close()


class Load:
    """Callers that submit records one after the other until told to stop; what was acknowledged is remembered."""

    def __init__(self, submit: Callable[[bytes], Awaitable[object]]) -> None:
        self._submit = submit
        self._stopping = False
        self.acknowledged: list[bytes] = []
        self._progress = trio.Event()

    async def caller(self) -> None:
        while not self._stopping:
            record = secrets.token_hex(8).encode()
            await self._submit(record)
            self.acknowledged.append(record)
            self._progress.set()

    @asynccontextmanager
    async def calling(self, callers: int) -> AsyncIterator[trio.Nursery]:
        """So many callers at once, who stop at the end of the block."""
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(self.caller)
            yield nursery
            self.stop()

    async def more(self, count: int) -> None:
        """Until so many more records have been acknowledged."""
        target = len(self.acknowledged) + count
        with trio.fail_after(DEADLINE_S):
            while len(self.acknowledged) < target:
                self._progress = trio.Event()
                await self._progress.wait()

    def stop(self) -> None:
        self._stopping = True


def processes_in(path: Path) -> list[str]:
    """Command lines of processes that name something below `path`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if str(path).encode() in command:
            found.append(command.replace(b"\0", b" ").decode())
    return found
