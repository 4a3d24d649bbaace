"""What operators do to a stopped member's data: verify the log, list clients, decide about a quarantine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bftnode.apps.execution import Executor
from bftnode.apps.registry import load_application
from bftnode.node.home import Home
from bftnode.protocol.codec import decode, encode
from bftnode.replica.nonces import QuarantineRecord
from bftnode.replica.position import Quarantine
from bftnode.storage.store import Storage, Turn
from tests.cli.commands import bftnode


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A member that has run, with nothing in its log."""
    assert bftnode("testnet", "--dir", str(tmp_path / "d")).exit_code == 0
    home = Home(tmp_path / "d" / "node2")
    opened(home).close()
    return home


def opened(home: Home) -> Storage:
    genesis = home.load_genesis()
    executor = Executor(load_application(genesis.application), genesis.administrator_keys(), 100)
    return Storage.open(home.data_path, genesis.membership(), 2, executor)


def quarantine(home: Home, record: QuarantineRecord | None) -> QuarantineRecord | None:
    """Write it, if given; what is in the journal."""
    storage = opened(home)
    try:
        if record is not None:
            storage.commit(Turn(journal={"quarantine": encode(record)}))
        raw = storage.recover().journal.get("quarantine")
        return None if raw is None else decode(raw, QuarantineRecord, 64)
    finally:
        storage.close()


def test_a_waiting_member_may_rejoin(home: Home) -> None:
    """The operator's decision is in the journal; the replica does the rest."""
    quarantine(home, QuarantineRecord(Quarantine.WAITING, 0, 0))
    result = bftnode("unsafe-rejoin", "--home", str(home.path), "--yes", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"member": 2, "name": "node2", "quarantine": "allowed"}
    assert quarantine(home, None) == QuarantineRecord(Quarantine.ALLOWED, 0, 0)


@pytest.mark.parametrize("state", [None, Quarantine.NONE, Quarantine.ALLOWED, Quarantine.PROBATION])
def test_nobody_else_may(home: Home, state: Quarantine | None) -> None:
    """A member that does not wait for a decision gets none: its journal stays as it is."""
    record = None if state is None else QuarantineRecord(state, 3, 4)
    quarantine(home, record)
    result = bftnode("unsafe-rejoin", "--home", str(home.path), "--yes")
    assert result.exit_code == 1
    assert f"it is {(state or Quarantine.NONE).name.lower()}" in result.stderr
    assert quarantine(home, None) == record


def test_it_wants_to_hear_yes(home: Home) -> None:
    """Without --yes it is a usage error that says what it would do."""
    quarantine(home, QuarantineRecord(Quarantine.WAITING, 0, 0))
    result = bftnode("unsafe-rejoin", "--home", str(home.path))
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert quarantine(home, None) == QuarantineRecord(Quarantine.WAITING, 0, 0)


def test_a_running_member_is_left_alone(home: Home) -> None:
    """Its directory is locked."""
    storage = opened(home)
    try:
        result = bftnode("unsafe-rejoin", "--home", str(home.path), "--yes")
    finally:
        storage.close()
    assert result.exit_code == 78
    assert "(data.locked)" in result.stderr


def test_a_member_without_data_is_not_given_any(tmp_path: Path) -> None:
    """An empty data directory has nothing to decide about."""
    assert bftnode("testnet", "--dir", str(tmp_path / "d")).exit_code == 0
    home = tmp_path / "d" / "node0"
    result = bftnode("unsafe-rejoin", "--home", str(home), "--yes")
    assert result.exit_code == 1
    assert "no data directory" in result.stderr
    assert not list((home / "data").iterdir())


def test_clients_are_listed_from_the_disk(home: Home) -> None:
    """At height 0 that is the administrator of the genesis; alive or stopped."""
    storage = opened(home)
    command = [sys.executable, "-m", "bftnode", "client", "list", "--home", str(home.path), "--json"]
    alive = subprocess.run(command, capture_output=True, text=True, check=True)
    storage.close()
    stopped = bftnode("client", "list", "--home", str(home.path), "--json")
    assert alive.stdout == stopped.stdout
    administrator = home.load_genesis().administrators[0]
    assert json.loads(stopped.stdout) == {"public_key": administrator, "role": "administrator", "highest_nonce": 0}


def test_an_empty_log_is_valid(home: Home) -> None:
    """The report's fields are those that others parse."""
    result = bftnode("log", "verify", "--home", str(home.path), "--json", "--state")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["ok"], report["blocks"], report["entries"], report["fault"]) == (True, 0, 0, None)
    assert {"head", "log_root", "state_checked", "records_checked"} <= set(report)


def test_a_damaged_disk_is_an_integrity_failure(home: Home) -> None:
    """Exit code 5, with the report on standard output all the same."""
    data = home.data_path / "lmdb" / "data.mdb"
    content = bytearray(data.read_bytes())
    place = content.index(home.load_genesis().chain_id())
    content[place] ^= 1
    data.write_bytes(content)
    result = bftnode("log", "verify", "--home", str(home.path), "--json")
    assert result.exit_code == 5, result.output
    assert json.loads(result.stdout)["ok"] is False
    assert "(data.integrity)" in result.stderr


def test_another_clusters_data_is_not_verified(home: Home, tmp_path: Path) -> None:
    """The genesis and the data must be of one cluster."""
    assert bftnode("testnet", "--dir", str(tmp_path / "e")).exit_code == 0
    home.genesis_path.write_bytes((tmp_path / "e" / "node2" / "config" / "genesis.toml").read_bytes())
    result = bftnode("log", "verify", "--home", str(home.path))
    assert result.exit_code == 78
    assert "(data.foreign)" in result.stderr
