"""CometBFT's columns: what is measured, what its files become, and what is said where it cannot be had."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from comparison import command, modules
from comparison.cometbft import KILL_LOAD, TUNED, Cometbft, RunningCometbft, configured, proposer_of
from comparison.failures import Failed
from comparison.loads import Load
from comparison.modules import Tools
from comparison.plan import TOPICS, Plan
from comparison.results import Described
from comparison.systems import Running
from comparison.table import markdown, rows
from tests.comparison.made import calibration, measured, results
from tests.comparison.test_turn import Toy

CONFIG = """\
[p2p]
persistent_peers = "aa@node0:26656,bb@node1:26656"
flush_throttle_timeout = "100ms"

[consensus]
# timeout_commit = "what a comment says"
timeout_commit = "1s"
create_empty_blocks = true
peer_gossip_sleep_duration = "100ms"
"""


def test_settings_take_the_place_of_what_was_there() -> None:
    """Hosts become ports of loopback; a comment, and what is not named, stays."""
    made = configured(CONFIG, {"node0": 1000, "node1": 1002}, TUNED)
    assert 'persistent_peers = "aa@127.0.0.1:1000,bb@127.0.0.1:1002"' in made
    assert '# timeout_commit = "what a comment says"\ntimeout_commit = "0s"\ncreate_empty_blocks = false\n' in made
    assert made.count('"2ms"') == 2
    assert 'timeout_commit = "1s"' in configured(CONFIG, {"node0": 1, "node1": 2}, {})


def test_a_setting_that_is_not_there_is_not_measured_without_it() -> None:
    """A later version may have another name for it."""
    with pytest.raises(Failed, match="peer_gossip_sleep_duration 0 times"):
        configured(CONFIG.replace("peer_gossip", "gossip"), {"node0": 1, "node1": 2}, TUNED)


def test_the_proposer() -> None:
    """By its address."""
    state = {"round_state": {"height/round/step": "12/0/1", "proposer": {"address": "AB12", "index": 3}}}
    assert proposer_of(state) == "AB12"
    with pytest.raises(KeyError):
        proposer_of({})


TESTNET = """\
#!/bin/sh
# testnet --v 4 --o PATH
for i in 0 1 2 3; do
  mkdir -p "$5/node$i/config"
  printf '{"address": "A%s"}' $i > "$5/node$i/config/priv_validator_key.json"
  echo 'persistent_peers = "a@node0:26656,b@node1:26656,c@node2:26656,d@node3:26656"' > "$5/node$i/config/config.toml"
done
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningCometbft]:
    """Files of a testnet; no member runs."""
    program = tmp_path / "cometbft"
    program.write_text(TESTNET)
    program.chmod(0o700)
    path = tmp_path / "turn"
    path.mkdir()
    made = Cometbft(Tools(program, Path("/the/load"), "1.0"), {}).create(path)
    assert isinstance(made, RunningCometbft)
    yield made
    made.close()


def test_many_callers_broadcast_and_one_waits(running: RunningCometbft) -> None:
    """One by broadcast_tx_commit; the load of a kill ends early, with as many callers as operations are due."""
    many, alone = running.load_command(Load("sync", 64), 4.0), running.load_command(Load("commit", 1), 4.0)
    assert "-callers=64" in many
    assert "-commit" not in many
    assert {"-callers=1", "-commit", "-duration=4.0s", "-warm-up=1.0s", "-size=128"} <= set(alone)
    kill = running.kill_load_command(1000.0, 8.0)
    assert {f"-duration={8 * KILL_LOAD}s", f"-callers={8000 * KILL_LOAD:.0f}", "-rate=1000.0", "-read-back"} <= set(
        kill
    )
    assert "-warm-up=0.0s" in kill


class Proposer(BaseHTTPRequestHandler):
    """A member's RPC that knows who is to propose."""

    def do_GET(self) -> None:
        assert self.path == "/consensus_state"
        body = json.dumps({"result": {"round_state": {"proposer": {"address": "A2"}}}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


def test_who_is_killed_is_to_propose(running: RunningCometbft) -> None:
    """The address is the one in its key's file; where nobody answers there is no leader."""
    with pytest.raises(Failed, match="does not tell the proposer"):
        running.leader()
    port = int(running.load_command(Load("sync", 1), 1.0)[1].split("=")[1].split(",")[0].rpartition(":")[2])
    with HTTPServer(("127.0.0.1", port), Proposer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert running.leader() == "node2"
        thread.join()


def test_ports_are_kept_while_it_is_there(running: RunningCometbft) -> None:
    """And the members' files have those of the peers."""
    text = (running.members.log_path("node0").parent / "node3" / "config" / "config.toml").read_text()
    assert text.count("@127.0.0.1:") == 4
    port = int(text.split("@127.0.0.1:")[1].split(",")[0])
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_only_what_has_a_counterpart_is_measured() -> None:
    """Saturation, one caller, a kill: its clients do not sign, and there are no batches."""
    everything = Plan(frozenset(TOPICS), 10.0, 5.0)
    assert everything.topics_of("cometbft") == {"T1", "T3", "T5"}
    assert dict(everything.saturated("cometbft")) == {"T1": "sync"}
    assert everything.fixed("cometbft") == {"T3": Load("commit", 1)}
    assert {load.kind for load in everything.curve("cometbft")} == {"sync"}
    assert Plan(frozenset({"T2", "T4"}), 10.0, 5.0).topics_of("cometbft") == frozenset()
    assert Plan(frozenset({"T4"}), 10.0, 5.0).curve("cometbft") == []
    assert 20 < everything.turn_s("cometbft") < everything.turn_s("etcd")


def test_no_go_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(modules, "GO_WHERE", tmp_path / "nowhere")
    with pytest.raises(Failed, match=r"no Go toolchain on the PATH or at .*nowhere"):
        modules.ensure(tmp_path / "tools", print)
    assert list(tmp_path.iterdir()) == []


GO = """\
#!/bin/sh
case "$1 $2" in
"env GOVERSION") echo go9.9.9;;
"install github"*) mkdir -p "$GOBIN"; echo "$2" > "$GOBIN/cometbft";;
"build -o") test -f go.sum && echo "$CGO_ENABLED $GOTOOLCHAIN" > "$3";;
esac
"""


def test_programs_are_compiled_once_and_nothing_else_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned version; a compiler that fails leaves nothing that would be taken for a program."""
    go = tmp_path / "go"
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    go.write_text("#!/bin/sh\necho no route to the proxy >&2\nexit 1\n")
    go.chmod(0o700)
    tools = tmp_path / "tools"
    with pytest.raises(Failed, match="no route to the proxy"):
        modules.ensure(tools, print)
    assert list(tools.iterdir()) == []
    go.write_text(GO)
    told: list[str] = []
    made = modules.ensure(tools, told.append)
    assert made.cometbft.read_text().strip() == f"github.com/cometbft/cometbft/cmd/cometbft@v{modules.VERSION}"
    assert made.load.read_text() == "0 local\n"
    assert made.compiler == "9.9.9"
    go.unlink()
    assert modules.ensure(tools, told.append) == made
    assert len(told) == 1
    assert {one.name for one in tools.iterdir()} == {made.cometbft.name, made.load.name, "compiler"}


def test_where_there_is_no_go_there_are_columns_and_no_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the programs are, both settings are measured; and nobody looks where nobody asks."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(modules, "GO_WHERE", tmp_path / "nowhere")
    told: list[str] = []
    assert command.guests_of([], tmp_path, told.append) == ([], [])
    assert told == []
    here, absent = command.guests_of(list(command.COMETBFT), tmp_path, told.append)
    assert (here, [one.name for one in absent]) == ([], ["cometbft", "cometbft tuned"])
    assert told[0].startswith("CometBFT is not measured: no Go toolchain")
    for name in (f"cometbft-{modules.VERSION}", f"load-{modules.digest(modules.SOURCES)[:12]}", "compiler"):
        (tmp_path / name).write_text("go9.9.9\n")
    here, absent = command.guests_of(list(command.COMETBFT), tmp_path, told.append)
    assert ([one.name for one in here], absent) == (["cometbft", "cometbft tuned"], [])
    assert "timeout_commit, 1 s, bounds what one caller waits" in here[0].flags
    assert 'in config.toml `timeout_commit = "0s"' in here[1].flags
    assert all("Go 9.9.9:" in one.flags and "clients do not sign" in one.title for one in here)


def test_a_column_that_could_not_be_measured_says_so() -> None:
    """Dashes, and why; the others' columns are as they were."""
    made = results()
    made.systems.append(command.not_here("cometbft", Failed("no Go toolchain\n  on the PATH")))
    text = markdown(made)
    assert "| cometbft, not measured |" in text
    assert "- cometbft: could not be had here: no Go toolchain on the PATH." in text
    assert "In turns: bftnode then etcd, 2 x" in text
    line = next(line for line in text.splitlines() if "callers' own" in line)
    assert line.endswith("| - | 8.00 x<br>reached: NO | - |")


def test_columns_of_what_was_measured_have_ratios() -> None:
    """And dashes where there is no counterpart."""
    made = results()
    made.systems.append(Described("cometbft", "CometBFT 0", "as it comes", 4))
    for pair in made.pairs:
        turn = command.Turn("cometbft", calibration(1.0))
        turn.rows = {"T1": measured(Load("sync", 1024), 2000.0, 500.0), "T3": measured(Load("commit", 1), 1.0, 1000.0)}
        pair.turns["cometbft"] = turn
    found = {row.quantity.topic: row for row in rows(made) if row.quantity.topic}
    assert found["T1"].cells[2] == (2000.0, 2000.0, 2000.0)
    assert found["T1"].against[1] == (15.0, 10.0, 20.0)
    assert found["T2"].cells[2] is None
    assert "bftnode then etcd then cometbft, 2 x" in markdown(made)


class Guest(Toy):
    """Its turn fails when it is started."""

    guest = True

    def create(self, path: Path) -> Running:
        raise Failed("no such program")


@pytest.mark.long
def test_a_guest_that_fails_takes_nothing_from_the_others(tmp_path: Path) -> None:
    """Its turn is left out, and said to be; who is no guest ends the comparison."""
    told: list[str] = []
    plan = Plan(frozenset({"T3"}), 0.1, 0.1, quick=True)
    made, guest = Toy(), Guest()
    made.name = "ours"
    pair = command._pair(results(), [guest, made], plan, tmp_path, "pair 1 of 1", told.append)
    assert list(pair.turns) == ["ours"]
    assert any("not in the table, for its turn failed: no such program" in text for text in told)
    guest.guest = False
    with pytest.raises(Failed, match="no such program"):
        command._pair(results(), [guest, made], plan, tmp_path, "pair 1 of 1", told.append)
    assert list(tmp_path.iterdir()) == []


def test_the_option() -> None:
    """Where it is not given nobody needs Go."""
    assert command.parser().parse_args([]).guests == []
    assert command.parser().parse_args(["--with", "cometbft"]).guests == ["cometbft"]
