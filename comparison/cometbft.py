"""CometBFT on loopback with its built-in kvstore: four validators of `cometbft testnet`, any one of which may lie.

Twice: with all timings as they come, where a block is made a second, and with those that bound it on a fast network
turned down, so that nobody compares with a pause.
"""

import json
import re
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comparison.failures import Failed
from comparison.loads import VALUE_BYTES, WARM_UP_S, Load
from comparison.modules import VERSION, Tools
from comparison.packages import run
from comparison.processes import Members
from comparison.systems import START_S, Running, System
from theatre.ports import Ports

MEMBERS = 4
APPLICATION = "persistent_kvstore"
"""The kvstore with its state on the disk, where `kvstore` would keep it in memory alone."""
TUNED: Mapping[str, str] = {
    "timeout_commit": '"0s"',  # the pause behind every block, 1s
    "peer_gossip_sleep_duration": '"2ms"',  # of who looks for what a peer lacks, 100ms
    "flush_throttle_timeout": '"2ms"',  # of what is written to a peer, 100ms
    "create_empty_blocks": "false",  # who comes while an empty one is made waits for two
}
"""What bounds a lone caller's round by default; with these it takes what its messages, signatures and writes do."""
KILL_LOAD = 0.75
"""Part of a kill's load that is made: it ends before the first silence does. By then every operation has been sent, and
the silences of later heights, each fourth of which would be the dead one's to propose, are not taken for the first."""
KILL_PATIENCE_S = 15
"""What went down with a member is given up after that; operations that it had passed on take no more than 5."""
ASK_S = 5.0
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Cometbft(System):
    """With its defaults, or tuned."""

    kind = "cometbft"
    count = MEMBERS
    guest = True

    def __init__(self, tools: Tools, settings: Mapping[str, str]) -> None:
        self._tools = tools
        self._settings = settings
        self.name = "cometbft tuned" if settings else "cometbft"

    @property
    def title(self) -> str:
        how = "tuned" if self._settings else "defaults"
        return f"CometBFT {VERSION}, {how}, {MEMBERS} members (any one may lie), clients do not sign"

    @property
    def flags(self) -> str:
        tuned = ", ".join(f"{name} = {value}" for name, value in self._settings.items())
        return (
            f"CometBFT {VERSION} of the Go module proxy, Go {self._tools.compiler}: `cometbft testnet --v {MEMBERS}`, "
            f"which sets addr_book_strict = false and allow_duplicate_ip = true, then "
            f"`cometbft start --proxy_app={APPLICATION}` with ports and peers of loopback"
            + (
                f", and in config.toml `{tuned}`"
                if tuned
                else ". Of its defaults timeout_commit, 1 s, bounds what one caller waits (then "
                "peer_gossip_sleep_duration and flush_throttle_timeout, 100 ms each)"
            )
            + ". Members sign and encrypt; clients do neither, and believe the member that they ask. Load: "
            "`comparison/cometbft_load.go`; one caller by broadcast_tx_commit, many by broadcast_tx_sync on a "
            "websocket to every member, each until a member has committed the block. T5 kills who is to propose; a "
            "dead proposer's height waits timeout_propose, 3 s, and timeout_precommit, 1 s, each fourth height anew"
        )

    def create(self, path: Path) -> Running:
        return RunningCometbft(self._tools, path, self._settings)


class RunningCometbft(Running):
    """Members node0, node1, ..."""

    def __init__(self, tools: Tools, path: Path, settings: Mapping[str, str]) -> None:
        self._tools = tools
        self._path = path
        self._names = [f"node{i}" for i in range(MEMBERS)]
        run([str(tools.cometbft), "testnet", "--v", str(MEMBERS), "--o", str(path)], within_s=START_S)
        self._ports = Ports(2 * MEMBERS)
        numbers = self._ports.numbers
        self._peers = dict(zip(self._names, numbers[::2], strict=True))
        self._rpc = {name: f"127.0.0.1:{port}" for name, port in zip(self._names, numbers[1::2], strict=True)}
        for name in self._names:
            file = path / name / "config" / "config.toml"
            file.write_text(configured(file.read_text(), self._peers, settings))
        self.members = Members(path)

    def begin(self) -> None:
        """Start the members and wait until each is connected with all others and has a block."""
        for name in self._names:
            command = [str(self._tools.cometbft), "start", "--home", str(self._path / name)]
            command += [f"--proxy_app={APPLICATION}", f"--rpc.laddr=tcp://{self._rpc[name]}"]
            self.members.start(name, [*command, f"--p2p.laddr=tcp://127.0.0.1:{self._peers[name]}"])
        self.members.until(lambda: all(map(self._up, self._names)), START_S)

    def _up(self, name: str) -> bool:
        try:
            peers, status = self._ask(name, "net_info"), self._ask(name, "status")
        except OSError:
            return False
        return int(peers["n_peers"]) == MEMBERS - 1 and int(status["sync_info"]["latest_block_height"]) > 0

    def _ask(self, name: str, what: str) -> Any:
        """Raises OSError while it does not answer."""
        with _DIRECTLY.open(f"http://{self._rpc[name]}/{what}", timeout=ASK_S) as answer:
            return json.load(answer)["result"]

    def load_command(self, load: Load, duration_s: float) -> list[str]:
        command = [*self._generator(duration_s, WARM_UP_S), f"-callers={load.callers}"]
        return [*command, *(["-commit"] if load.kind == "commit" else [])]

    def kill_load_command(self, rate: float, duration_s: float) -> list[str]:
        duration_s *= KILL_LOAD
        # As many in flight as are ever due: none of them has to wait for those that went down with the member.
        command = [*self._generator(duration_s, 0.0), f"-callers={rate * duration_s:.0f}", f"-rate={rate}"]
        return [*command, "-read-back", f"-timeout={KILL_PATIENCE_S}s"]

    def _generator(self, duration_s: float, warm_up_s: float) -> list[str]:
        return [
            str(self._tools.load),
            f"-endpoints={','.join(self._rpc.values())}",
            f"-duration={duration_s}s",
            f"-warm-up={warm_up_s}s",
            f"-size={VALUE_BYTES}",
        ]

    def leader(self) -> str:
        """Who is to propose the block of this height: it is another one at the next."""
        try:
            state = self._ask(self._names[0], "consensus_state")
            address = proposer_of(state)
        except (OSError, KeyError) as error:
            raise Failed(f"consensus_state does not tell the proposer: {error!r}") from None
        for name in self._names:
            key = json.loads((self._path / name / "config" / "priv_validator_key.json").read_text())
            if key["address"] == address:
                return name
        raise Failed(f"the proposer {address} is none of the members")

    def close(self) -> None:
        self.members.close()
        self._ports.close()


def proposer_of(state: Any) -> str:
    """Its address, out of the result of /consensus_state. Raises KeyError."""
    return str(state["round_state"]["proposer"]["address"])


def configured(text: str, peers: Mapping[str, int], settings: Mapping[str, str]) -> str:
    """A config.toml as testnet writes it, with ports for its hosts, and these settings. Raises Failed."""

    def at_port(host: "re.Match[str]") -> str:
        return f"@127.0.0.1:{peers[host[1]]}"

    text = re.sub(r"@(node\d+):\d+", at_port, text)
    for name, value in settings.items():
        text, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        if found != 1:
            raise Failed(f"config.toml has {name} {found} times, not once")
    return text
