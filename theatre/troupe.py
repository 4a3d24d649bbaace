"""The members as processes: their homes in one directory, their wires, their logs; and that none outlives the play."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from bftnode.node.home import Home, create_home, install_genesis
from bftnode.protocol.genesis import Genesis, ParametersFile, make_genesis
from simulations.adversaries import BEHAVIOURS
from simulations.adversaries.other_cluster import OtherCluster
from simulations.script import LiarScript, Script
from simulations.simulation import QUICK
from theatre.ports import Ports
from theatre.proxy import Wires

END_S = 15.0
"""How long a member may take to end after SIGTERM (its own grace is 5 s), or to be gone after SIGKILL."""

START_S = 30.0
START_EACH_S = 5.0
"""How long members that are started together may take to say node_started: so long, and so much more for each."""

POLL_S = 0.02

LAST_LINES = 5


def timing_of(stretch: float) -> dict[str, int]:
    """The replicas' times, as the simulator's stage has them, stretched; and lost links are dialled again soon."""
    quick = {f"timing.{key}": int(getattr(QUICK, key) * stretch) for key in QUICK.__dataclass_fields__}
    return {**quick, "peer.backoff_max_ms": 1000, "peer.handshake_timeout_ms": int(2000 * stretch)}


class Failed(Exception):
    """The play did not go as its script promises; a sentence."""


class Troupe:
    """Homes node0.. under `path`, in the order of the genesis, so node i is member i. `close` ends every process."""

    def __init__(
        self,
        path: Path,
        script: Script,
        administrators: list[str],
        timing: Mapping[str, int],
        *,
        application: str = "log",
        recorded: bool = False,
    ) -> None:
        """`timing`: configuration of every member. `recorded`: what correct members say is kept (recorded.py)."""
        self.path = path
        self._recorded = recorded
        self._script = script
        self._timing = timing
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._paused: dict[int, None] = {}
        self._unmasked: dict[int, None] = {}
        self._read_to: dict[int, int] = {}
        self.accused: dict[tuple[int, int], str] = {}  # (by, culprit) -> what is proved, out of the members' logs
        self._damaged: dict[int, str] = {}  # of whom -> the error that it may end with
        self._log_at_launch: dict[int, int] = {}  # bytes
        self.refused: dict[int, str] = {}  # who is down because of what is on its disk -> what it says of that
        self._ports = Ports(2 * script.n)
        ports = self._ports.numbers
        made = []
        for i in range(script.n):
            home = path / f"made{i}"
            addresses = [f"127.0.0.1:{port}" for port in ports[2 * i : 2 * i + 2]]
            made.append((create_home(home, f"org{i}", *addresses), home))
        made.sort(key=lambda item: item[0].public_key)
        for i, (_, home) in enumerate(made):
            home.rename(path / f"node{i}")
        parameters = ParametersFile(block_transactions_max=3, checkpoint_interval=4, window=script.window)
        self.genesis: Genesis = make_genesis(
            "theatre", application, administrators, [item for item, _ in made], parameters
        )
        self.own_ports = {i: int(member.peer_address.split(":")[1]) for i, (member, _) in enumerate(made)}

    def home(self, member: int) -> Home:
        return Home(self.path / f"node{member}")

    def install(self, wires: Wires) -> None:
        """To everybody a genesis with the addresses at which it reaches the others."""
        for i in range(self._script.n):
            members = [
                msgspec.structs.replace(item, peer_address=f"127.0.0.1:{wires.port(i, j, self.own_ports[j])}")
                for j, item in enumerate(self.genesis.members)
            ]
            install_genesis(self.home(i), msgspec.structs.replace(self.genesis, members=members))

    # ---- processes

    def pid(self, member: int) -> int:
        return self._processes[member].pid

    def is_up(self, member: int) -> bool:
        return member in self._processes

    def is_paused(self, member: int) -> bool:
        return member in self._paused

    def launch(self, member: int, *, fails: tuple[str, str] | None = None) -> None:
        """Without waiting for it. `fails`: the call and the error that its disk answers with from `unmask` on
        (failing.py)."""
        liar = self._script.liars.get(member)
        home = str(self.home(member).path)
        words = ["--home", home, "--words", str(self.words_path(member))]
        if fails is not None:
            command = ["theatre.failing", *words, "--call", fails[0], "--error", fails[1]]
        elif liar is None and self._recorded:
            command = ["theatre.recorded", *words]
        elif liar is None:
            command = ["bftnode", "run", "--home", home]
        else:
            command = ["theatre.malicious", "--home", home, *self._disguise(member, liar)]
        environment = {f"BFTNODE_{name.upper().replace('.', '__')}": str(value) for name, value in self._timing.items()}
        self.refused.pop(member, None)
        with open(self._log_path(member), "ab") as log:
            self._log_at_launch[member] = log.tell()
            self._processes[member] = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "BFTNODE_NODE__LOG_FORMAT": "json", **environment},
                start_new_session=True,  # Ctrl-C is for the play, which then ends them
            )

    def _disguise(self, member: int, liar: LiarScript) -> Iterator[str]:
        for name in liar.behaviours:
            yield from ("--behaviour", name)
        yield from ("--dice", f"{self._script.seed}/script liar {member}")
        if liar.probability < 1:
            yield from ("--probability", str(liar.probability))
        for flag, items in (("--height", liar.heights), ("--view", liar.views), ("--kind", liar.kinds)):
            for item in items:
                yield from (flag, str(item))
        if any(isinstance(BEHAVIOURS[name](Random(0)), OtherCluster) for name in liar.behaviours):
            yield from ("--homes", *(str(self.home(i).path) for i in range(self._script.n)))
        if liar.from_ms and member not in self._unmasked:
            yield "--in-disguise"

    def unmask(self, member: int) -> None:
        """A liar is one from now on; a disk that is to fail fails."""
        self._unmasked[member] = None
        if member in self._processes:
            self._processes[member].send_signal(signal.SIGUSR1)

    async def start(self, *members: int) -> None:
        """Those that are down; until each says node_started, or refuses what was damaged. Raises Failed."""
        fresh = [member for member in members if member not in self._processes]
        for member in fresh:
            self.launch(member)
        await self.started(*fresh)

    async def started(self, *members: int) -> None:
        """Until each of those that were launched says node_started, or refuses what was damaged. Raises Failed."""
        patience_s = START_S + START_EACH_S * len(members)
        with trio.move_on_after(patience_s):
            for member in members:
                while member not in self.refused and not self._has_started(member):
                    self.check_alive()
                    await trio.sleep(POLL_S)
            return
        raise Failed(f"not started in {patience_s:.0f} s\n{self.last_words()}")

    def _has_started(self, member: int) -> bool:
        return b'"node_started"' in self._said_since_launch(member)

    def _said_since_launch(self, member: int) -> bytes:
        with open(self._log_path(member), "rb") as log:
            log.seek(self._log_at_launch[member])
            return log.read()

    async def kill(self, *members: int) -> None:
        """kill -9, all of them at once; until they are gone."""
        await self._end(members, signal.SIGKILL)

    async def stop(self, *members: int) -> None:
        """SIGTERM; until they are gone. Raises Failed for one that does not end, or not in order."""
        for member, code in (await self._end(members, signal.SIGTERM)).items():
            if code:
                raise Failed(f"n{member} ended with exit code {code} after SIGTERM\n{self.last_words()}")

    async def _end(self, members: tuple[int, ...], number: signal.Signals) -> dict[int, int]:
        ending = {member: self._processes.pop(member) for member in members if member in self._processes}
        codes: dict[int, int] = {}
        try:
            for member, process in ending.items():
                process.send_signal(number)
                if self._paused.pop(member, 0) is None:
                    process.send_signal(signal.SIGCONT)
            with trio.move_on_after(END_S):
                while True:
                    codes = {member: code for member, item in ending.items() if (code := item.poll()) is not None}
                    if len(codes) == len(ending):
                        break
                    await trio.sleep(POLL_S)
        finally:
            for process in ending.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if len(codes) < len(ending):
            raise Failed(f"{sorted(set(ending) - set(codes))} did not end in {END_S:.0f} s after {number.name}")
        return codes

    def pause(self, member: int) -> None:
        if member in self._processes:
            self._processes[member].send_signal(signal.SIGSTOP)
            self._paused[member] = None

    def resume(self, member: int) -> None:
        if self._paused.pop(member, 0) is None:
            self._processes[member].send_signal(signal.SIGCONT)

    def check_alive(self) -> None:
        """Raises Failed where a member ended by itself; unless its disk was damaged, and it says so."""
        for member, process in list(self._processes.items()):
            if process.poll() is None:
                continue
            complaint = self._complaint(member) if member in self._damaged and process.returncode > 0 else ""
            if complaint:
                self.refused[member] = f"{complaint} (exit code {process.returncode})"
                del self._processes[member]
            else:
                raise Failed(f"n{member} ended by itself, exit code {process.returncode}\n{self.last_words()}")

    def _complaint(self, member: int) -> str:
        """What its last process said of its disk when it stopped."""
        events = [_event(line) for line in self._said_since_launch(member).splitlines()]
        stopped = [
            event for event in events if event.get("event") == "node_stopped" and event.get("reason") == "broken"
        ]
        detail = str(stopped[-1].get("detail", "")) if stopped else ""
        return detail if detail.startswith(self._damaged[member]) else ""

    def close(self) -> None:
        """kill -9 to all that still run; their ports are anybody's again."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        self._ports.close()

    # ---- disks

    def is_damaged(self, member: int) -> bool:
        return member in self._damaged

    def damaged(self, member: int, error: str = "IntegrityError") -> None:
        """Its disk is not what was written on it, or fails, until it has another one: it may end by itself, if it says
        that this is why."""
        self._damaged[member] = error

    def mended(self, member: int) -> None:
        """Its disk is a good one again."""
        self._damaged.pop(member, None)

    def copy_data(self, member: int) -> None:
        """A copy of what a power cut would leave: the process stands still meanwhile."""
        running = self.is_up(member) and not self.is_paused(member)
        if running:
            process = self._processes[member]
            process.send_signal(signal.SIGSTOP)
            # The signal is on its way; a copy of what is being written is none that a power cut would leave.
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            shutil.rmtree(self.image_path(member), ignore_errors=True)
            shutil.copytree(self.home(member).data_path, self.image_path(member))
        finally:
            if running:
                self._processes[member].send_signal(signal.SIGCONT)

    def put_data_back(self, member: int) -> None:
        """Raises Failed where there is no copy. The member is down."""
        if not self.image_path(member).exists():
            raise Failed(f"no copy of n{member}'s disk was kept")
        self._damaged.pop(member, None)
        shutil.rmtree(self.home(member).data_path)
        shutil.copytree(self.image_path(member), self.home(member).data_path)

    def wipe_data(self, member: int) -> None:
        """The member is down."""
        self._damaged.pop(member, None)
        shutil.rmtree(self.home(member).data_path)
        self.home(member).data_path.mkdir(mode=0o700)

    def image_path(self, member: int) -> Path:
        """Where a copy of its data is, once there is one."""
        return self.path / f"image{member}"

    # ---- logs

    def words_path(self, member: int) -> Path:
        """Where a recorded member's words are, a file a life."""
        return self.path / f"words{member}"

    def _log_path(self, member: int) -> Path:
        return self.path / f"log{member}"

    def log_bytes(self, member: int) -> int:
        return self._log_path(member).stat().st_size

    def read_logs(self) -> None:
        """Take over what the members' logs say anew of accusations."""
        for member in range(self._script.n):
            if not self._log_path(member).exists():
                continue
            with open(self._log_path(member), "rb") as log:
                log.seek(self._read_to.get(member, 0))
                whole, _, _ = log.read().rpartition(b"\n")
            self._read_to[member] = self._read_to.get(member, 0) + len(whole) + bool(whole)
            for line in whole.splitlines():
                event = _event(line)
                if event.get("event") == "accusation":
                    self.accused[member, int(event["culprit"])] = str(event["proved"])

    def has_said(self, member: int, event: str) -> bool:
        """Whether an event of this name is in the member's log, of any of its lives."""
        with open(self._log_path(member), "rb") as log:
            return any(event.encode() in line and _event(line).get("event") == event for line in log)

    def last_words(self) -> str:
        words = []
        for member in range(self._script.n):
            if self._log_path(member).exists():
                lines = self._log_path(member).read_text(errors="replace").splitlines()[-LAST_LINES:]
                words += [f"  n{member}: {line}" for line in lines]
        return "\n".join(words)


def _event(line: bytes) -> dict[str, Any]:
    """A line cut short by kill -9, or a traceback, is no event."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if type(event) is dict else {}
