"""From nothing to homes that are ready to run, offline: init, keygen, genesis, testnet, config, client new."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bftnode.cli.testnet import free_ports
from bftnode.node.config import default_toml, known_keys
from bftnode.node.home import Home, load_genesis, my_index
from bftnode.storage.records import SCHEMA
from tests.cli.commands import bftnode


def ok(*arguments: str, **environment: str) -> str:
    result = bftnode(*arguments, **environment)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def ok_json(*arguments: str) -> Any:
    return json.loads(ok(*arguments, "--json"))


def test_four_organisations_make_a_cluster(tmp_path: Path) -> None:
    """Each makes its own keys; one assembles; all install the same file and are ready."""
    for i in range(4):
        made = ok_json(
            "init",
            "--home",
            str(tmp_path / f"org{i}"),
            "--name",
            f"org-{i}",
            "--peer",
            f"h{i}:1",
            "--client",
            f"h{i}:2",
        )
        assert made["name"] == f"org-{i}"
        assert Path(made["member_file"]).exists()
    admin = ok("keygen", "--out", str(tmp_path / "admin.key")).strip()
    members = [str(tmp_path / f"org{i}" / "member.toml") for i in range(4)]
    file = str(tmp_path / "genesis.toml")
    created = ok_json(
        "genesis", "create", "--name", "c", "--admin", admin, "--member", *members, "--parameter", "window=4",
        "--out", file,
    )  # fmt: skip
    assert (created["n"], created["f"], created["quorum"], created["parameters"]["window"]) == (4, 1, 3, 4)
    assert created["administrators"] == [admin]
    shown = {json.dumps(ok_json("genesis", "install", file, "--home", str(tmp_path / f"org{i}"))) for i in range(4)}
    assert len(shown) == 4, "each says where it was put"
    checks = [ok_json("config", "check", "--home", str(tmp_path / f"org{i}")) for i in range(4)]
    assert sorted(check["member"] for check in checks) == [0, 1, 2, 3]
    assert {check["chain_id"] for check in checks} == {created["chain_id"]}
    assert "org-2" in ok("genesis", "show", BFTNODE_HOME=str(tmp_path / "org1"))


def test_a_genesis_is_not_overwritten(tmp_path: Path) -> None:
    """Nor is a key, nor a home."""
    admin = ok("keygen", "--out", str(tmp_path / "key")).strip()
    assert bftnode("keygen", "--out", str(tmp_path / "key")).exit_code == 78
    ok("testnet", "--dir", str(tmp_path / "demo"))
    assert "is not empty" in bftnode("testnet", "--dir", str(tmp_path / "demo")).stderr
    members = [str(path) for path in sorted(tmp_path.glob("demo/*/member.toml"))]
    arguments = ("genesis", "create", "--name", "c", "--admin", admin, *members)
    out = str(tmp_path / "demo" / "client" / "config" / "genesis.toml")
    result = bftnode(*arguments, "--out", out)
    assert result.exit_code == 78
    assert "is not overwritten" in result.stderr


def test_a_testnet_is_ready_to_run(tmp_path: Path) -> None:
    """Homes in the order of the genesis, different ports, an administrator's client home."""
    made = ok_json("testnet", "--dir", str(tmp_path / "d"), "--nodes", "5", "--application", "log")
    genesis = load_genesis(tmp_path / "d" / "client" / "config" / "genesis.toml")
    assert genesis.chain_id().hex() == made["chain_id"]
    assert genesis.application == "log"
    assert [member.name for member in genesis.members] == [f"node{i}" for i in range(5)]
    addresses = [
        address for member in made["members"] for address in (member["peer_address"], member["client_address"])
    ]
    assert len(set(addresses)) == 10
    for i in range(5):
        home = Home(tmp_path / "d" / f"node{i}")
        assert my_index(home.load_genesis(), home.load_identity()) == i
        ok("config", "check", "--home", str(home.path))
    assert Home(tmp_path / "d" / "client").client_key_path.exists()


def test_a_testnet_takes_the_ports_that_it_is_told(tmp_path: Path) -> None:
    """Two a member, one after the other."""
    made = ok_json("testnet", "--dir", str(tmp_path / "d"), "--base-port", "20000")
    assert [member["peer_address"] for member in made["members"]] == [f"127.0.0.1:{20000 + 2 * i}" for i in range(4)]
    assert made["members"][3]["client_address"] == "127.0.0.1:20007"


def test_free_ports_differ() -> None:
    """Even many of them."""
    assert len(set(free_ports(100))) == 100


def test_config_defaults_is_the_documented_file() -> None:
    """Byte for byte, so that it can be redirected into a file."""
    assert ok("config", "defaults") == default_toml()


def test_config_show_says_what_and_whence(tmp_path: Path) -> None:
    """Every key; with --origin where it is from."""
    ok("testnet", "--dir", str(tmp_path / "d"))
    home = str(tmp_path / "d" / "node0")
    (tmp_path / "d" / "node0" / "config" / "node.toml").write_text("[shutdown]\ngrace_ms = 7\n")
    arguments = ("config", "show", "--home", home, "--origin", "--set", "node.log_level=debug")
    shown = ok(*arguments, BFTNODE_INBOX__TURN_FRAMES_MAX="9")
    assert "grace_ms = 7  # file " in shown
    assert 'log_level = "debug"  # flag --set' in shown
    assert "turn_frames_max = 9  # environment BFTNODE_INBOX__TURN_FRAMES_MAX" in shown
    assert "requests_max = 64  # default" in shown
    found = ok_json(*arguments)
    assert set(found["origins"]) == {f"{section}.{key}" for section, key in known_keys()}
    assert found["config"]["shutdown"] == {"grace_ms": 7}


def test_config_check_knows_the_member_by_its_key(tmp_path: Path) -> None:
    """A name that the genesis does not give this key, and another cluster's data, are refused."""
    ok("testnet", "--dir", str(tmp_path / "d"))
    home = tmp_path / "d" / "node0"
    ok("config", "check", "--home", str(home), "--set", "node.name=node0")
    result = bftnode("config", "check", "--home", str(home), "--set", "node.name=node1")
    assert result.exit_code == 78
    assert "node.name is node1, the genesis says node0" in result.stderr
    (home / "data" / "VERSION").write_text(
        f'schema = {SCHEMA}\nchain_id = "{"00" * 32}"\nmember = 0\npublic_key = "{"00" * 32}"\n'
    )
    result = bftnode("config", "check", "--home", str(home))
    assert result.exit_code == 78
    assert "(data.foreign)" in result.stderr


def test_a_client_home_for_a_new_client(tmp_path: Path) -> None:
    """Prints the public key alone, for an administrator's command line."""
    ok("testnet", "--dir", str(tmp_path / "d"))
    genesis = tmp_path / "d" / "client" / "config" / "genesis.toml"
    key = ok("client", "new", "--dir", str(tmp_path / "alice"), "--genesis", str(genesis)).strip()
    assert len(bytes.fromhex(key)) == 32
    assert load_genesis(tmp_path / "alice" / "config" / "genesis.toml") == load_genesis(genesis)


def test_the_version_names_what_it_stands_on() -> None:
    """For bug reports."""
    versions = ok_json("version")
    assert {"bftnode", "python", "trio", "lmdb", "pynacl"} <= set(versions)
    assert f"bftnode       {versions['bftnode']}\n" in ok("version")


def test_python_without_assertions_does_not_run(tmp_path: Path) -> None:
    """Beliefs are checked, or there is no node."""
    environment = {**os.environ, "BFTNODE_HOME": str(tmp_path)}
    command = [sys.executable, "-O", "-m", "bftnode", "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 78
    assert "-O" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("kv", "put", "a", "1"),
        ("kv", "delete", "a"),
        ("kv", "cas", "a", "1", "--expect-absent"),
        ("log", "append", "x"),
    ],
    ids=" ".join,
)
def test_operations_are_printed_for_submission(arguments: tuple[str, ...]) -> None:
    """--print needs no cluster, and `tx submit` takes what it prints."""
    assert bytes.fromhex(ok(*arguments, "--print").strip())


def test_keys_and_values_may_be_any_bytes(tmp_path: Path) -> None:
    """As hexadecimal digits, from a file, or as the bytes of the argument."""
    (tmp_path / "value").write_bytes(b"\xff\x00")
    by_hex = ok("kv", "put", "ff", "ff00", "--hex", "--print")
    by_file = ok("kv", "put", "ff", "--hex", "--file", str(tmp_path / "value"), "--print")
    by_bytes = ok("kv", "put", os.fsdecode(b"\xff"), "--file", str(tmp_path / "value"), "--print")
    assert by_hex == by_file == by_bytes
