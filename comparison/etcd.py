"""etcd on loopback as a user would run it: three members, TLS with certificates on both sides, defaults otherwise."""

import json
import subprocess
from pathlib import Path

from comparison import certificates
from comparison.failures import Failed
from comparison.loads import VALUE_BYTES, WARM_UP_S, Load
from comparison.packages import Tools
from comparison.processes import Members
from comparison.systems import START_S, Running, System
from theatre.ports import Ports

CONNECTIONS = 1
"""Clients of the load generator, each connected to every member, as bftnode's. 4, 16 and 64 gave the same or less, with
256 and with 1000 callers, and so did speaking to the leader alone."""
ASK_S = 10.0


class Etcd(System):
    """Three members, or as many as are asked for."""

    kind = "etcd"

    def __init__(self, tools: Tools, count: int = 3) -> None:
        self._tools = tools
        self.count = count
        self.name = "etcd" if count == 3 else f"etcd of {count}"

    @property
    def title(self) -> str:
        version = self._tools.versions["etcd-server"]
        return f"etcd {version.split('-')[0]}, {self.count} members (any one may crash)"

    @property
    def flags(self) -> str:
        flags = " ".join(_member_flags("NAME", "DATA", "PEER", "CLIENT", "ALL", None))
        return (
            f"Debian's etcd-server {self._tools.versions['etcd-server']}: `etcd {flags}`. Load: "
            f"`comparison/etcd_load.go`, etcd's clientv3 {self._tools.versions['golang-etcd-server-dev']} over gRPC, "
            f"Go {self._tools.compiler}, one client with a connection to every member; batches "
            "are transactions of 128 puts, the most that a member's default allows, all or nothing"
        )

    def create(self, path: Path) -> Running:
        return RunningEtcd(self._tools, self.count, path)


class RunningEtcd(Running):
    """Members etcd0, etcd1, ..."""

    def __init__(self, tools: Tools, members: int, path: Path) -> None:
        self._tools = tools
        self._certificates = certificates.create(path)
        self._ports = Ports(2 * members)
        self.members = Members(path)
        numbers = self._ports.numbers
        peers = {f"etcd{i}": f"https://127.0.0.1:{numbers[2 * i]}" for i in range(members)}
        self._clients = {f"etcd{i}": f"https://127.0.0.1:{numbers[2 * i + 1]}" for i in range(members)}
        everybody = ",".join(f"{name}={url}" for name, url in peers.items())
        self._flags = {
            name: _member_flags(name, str(path / name), url, self._clients[name], everybody, self._certificates)
            for name, url in peers.items()
        }

    def begin(self) -> None:
        """Start the members and wait until every one is healthy, which takes a leader."""
        for name, flags in self._flags.items():
            self.members.start(name, [str(self._tools.etcd), *flags])
        self.members.until(lambda: not self._ctl("endpoint", "health").returncode, START_S)

    def load_command(self, load: Load, duration_s: float) -> list[str]:
        rate = [] if load.rate is None else [f"-rate={load.rate}"]
        return [*self._generator(duration_s, WARM_UP_S), f"-callers={load.callers}", f"-batch={load.batch}", *rate]

    def kill_load_command(self, rate: float, duration_s: float) -> list[str]:
        # As many in flight as are ever due: none of them has to wait for those that went down with the leader.
        return [*self._generator(duration_s, 0.0), f"-callers={rate * duration_s:.0f}", f"-rate={rate}", "-read-back"]

    def _generator(self, duration_s: float, warm_up_s: float) -> list[str]:
        return [
            str(self._tools.load),
            f"-endpoints={','.join(self._clients.values())}",
            f"-cacert={self._certificates.authority}",
            f"-cert={self._certificates.certificate}",
            f"-key={self._certificates.key}",
            f"-duration={duration_s}s",
            f"-warm-up={warm_up_s}s",
            f"-size={VALUE_BYTES}",
            f"-connections={CONNECTIONS}",
        ]

    def leader(self) -> str:
        asked = self._ctl("endpoint", "status", "--write-out=json")
        try:
            name = leader_of(asked.stdout)
        except (ValueError, KeyError):
            raise Failed(f"etcdctl endpoint status: {asked.stdout} {asked.stderr}") from None
        return next(member for member, url in self._clients.items() if url == name)

    def _ctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [
                str(self._tools.etcdctl),
                f"--endpoints={','.join(self._clients.values())}",
                f"--cacert={self._certificates.authority}",
                f"--cert={self._certificates.certificate}",
                f"--key={self._certificates.key}",
                *words,
            ],
            env={"ETCDCTL_API": "3"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )

    def close(self) -> None:
        self.members.close()
        self._ports.close()


def leader_of(status: str) -> str:
    """The leader's endpoint, out of `etcdctl endpoint status --write-out=json`. Raises ValueError, KeyError."""
    for row in json.loads(status):
        if row["Status"]["leader"] == row["Status"]["header"]["member_id"]:
            return str(row["Endpoint"])
    raise ValueError("nobody says that it leads")


def _member_flags(
    name: str, data: str, peer: str, client: str, everybody: str, files: certificates.Certificates | None
) -> list[str]:
    """All that is not etcd's default. Without files, words that stand for them."""
    authority, certificate, key = (
        ("CA", "CERT", "KEY") if files is None else (files.authority, files.certificate, files.key)
    )
    return [
        f"--name={name}",
        f"--data-dir={data}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--initial-cluster={everybody}",
        "--client-cert-auth",
        f"--trusted-ca-file={authority}",
        f"--cert-file={certificate}",
        f"--key-file={key}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={authority}",
        f"--peer-cert-file={certificate}",
        f"--peer-key-file={key}",
    ]
