"""bftnode on loopback: four members with the configuration that `bftnode init` writes, nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bftnode
from bftnode.node.home import Home, create_client_home, create_home, install_genesis
from bftnode.protocol.genesis import ParametersFile, make_genesis
from comparison.failures import Failed
from comparison.loads import VALUE_BYTES, Load
from comparison.plan import KEYS_ALONE
from comparison.processes import Members
from comparison.systems import START_S, Running, System
from theatre.ports import Ports

MEMBERS = 4


class Bftnode(System):
    """Of this checkout, with the python that runs this."""

    name = kind = "bftnode"
    count = MEMBERS

    @property
    def title(self) -> str:
        return f"bftnode {bftnode.__version__}, {MEMBERS} members (any one may lie)"

    @property
    def flags(self) -> str:
        python = ".".join(map(str, sys.version_info[:3]))
        return (
            f"this checkout on Python {python}: `bftnode run --home HOME`, the application kv, and the configuration "
            "that `bftnode init` writes. Load: `bftnode bench`, one client with a connection to every member"
        )

    def create(self, path: Path) -> Running:
        return RunningMembers(path)


class RunningMembers(Running):
    """Members node0, node1, ...; the genesis has them in the order of their keys."""

    def __init__(self, path: Path, count: int = MEMBERS, guests: int = 0) -> None:
        """`guests`: further clients, with homes guest0, guest1, ..."""
        self.path = path
        self.count = count
        self.client = path / "client"
        self.names = [f"node{i}" for i in range(count)]
        self.guests = [path / f"guest{i}" for i in range(guests)]
        self._ports = Ports(2 * count)
        numbers = self._ports.numbers
        made = [
            create_home(path / name, name, f"127.0.0.1:{numbers[2 * i]}", f"127.0.0.1:{numbers[2 * i + 1]}")
            for i, name in enumerate(self.names)
        ]
        made.sort(key=lambda member: member.public_key)
        clients = [create_client_home(home, None).hex() for home in (self.client, *self.guests)]
        self.genesis = make_genesis("comparison", "kv", clients, made, ParametersFile())
        for home in (*(path / name for name in self.names), self.client, *self.guests):
            install_genesis(Home(home), self.genesis)
        self.members = Members(path)

    def begin(self) -> None:
        """Start the members and wait until each is linked with all others."""
        for name in self.names:
            self.start(name)
        self.until_linked()

    def start(self, name: str, *behaviour: str) -> None:
        """One member; with a behaviour (arguments of theatre.malicious) it is a liar's daemon."""
        home = ["--home", str(self.path / name)]
        malicious = [sys.executable, "-m", "theatre.malicious", *home, *behaviour]
        self.members.start(name, malicious if behaviour else [*BFTNODE, "run", *home])

    def until_linked(self) -> None:
        """Raises Failed."""
        self.members.until(lambda: linked(self._status(), self.count), START_S)

    def load_command(self, load: Load, duration_s: float) -> list[str]:
        command = [*BFTNODE, "bench", "--json", "--home", str(self.client), "--mode", load.kind]
        command += ["--duration", str(duration_s), "--size", str(VALUE_BYTES), "--callers", str(load.callers)]
        if load.kind == "many":
            command += ["--batch", str(load.batch)]
        if load.kind == "alone":
            command += ["--keys", str(KEYS_ALONE)]
        if load.operations is not None:
            command += ["--operations", str(load.operations)]
        if load.rate is not None:
            command += ["--rate", str(load.rate)]
        return command

    def kill_load_command(self, rate: float, duration_s: float) -> list[str]:
        module = [sys.executable, "-m", "comparison.acknowledgements"]
        return [*module, str(self.client), str(rate), str(duration_s)]

    def leader(self) -> str:
        status = self._status()
        try:
            return primary_of(status)
        except ValueError:
            raise Failed(f"bftnode status: {status}") from None

    def statuses(self) -> list[dict[str, Any]]:
        """What the members that answer say about themselves."""
        return [row for row in map(json.loads, self._status().splitlines()) if row.get("reachable")]

    def _status(self) -> str:
        done = subprocess.run(
            [*BFTNODE, "status", "--json", "--home", str(self.client)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        return done.stdout

    def close(self) -> None:
        self.members.close()
        self._ports.close()


BFTNODE = (sys.executable, "-m", "bftnode")


def linked(status: str, count: int = MEMBERS) -> bool:
    """Whether all members answer and are connected with all others, by `bftnode status --json`."""
    rows = [json.loads(line) for line in status.splitlines()]
    return len(rows) == count and all(
        row.get("reachable") and sum(bool(peer["connected"]) for peer in row["peers"]) == count - 1 for row in rows
    )


def primary_of(status: str) -> str:
    """The name of the primary, by `bftnode status --json`. Raises ValueError when nobody says that it is."""
    for row in map(json.loads, status.splitlines()):
        if row.get("reachable") and row["member"] == row["primary"]:
            return str(row["name"])
    raise ValueError("nobody says that it is the primary")
