"""Failures: one line and a hint on standard error, a code, an exit code; never a traceback, never a secret."""

import errno
import re
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import click
import pytest
from click.testing import Result

from bftnode.cli.errors import EXIT_CODES, CommandFailed, complaint_of, of_reason
from bftnode.client.outcomes import ExecutedLongAgo, OutcomeUnknown, ResultForgotten
from bftnode.protocol.errors import Reason, Refused
from bftnode.storage.errors import DiskFull, IntegrityError, StorageBroken
from tests.cli.commands import bftnode, every_command

ERROR = re.compile(r"error: [^\n]+ \([a-z_.]+\)\n(  hint: [^\n]+\n)?\Z")
KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"  # RFC 8032, 7.1, test 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("nope",), 2, "No such command 'nope'"),
        (("kv", "nope"), 2, "No such command 'nope'"),
        (("init",), 2, "--home"),
        (("init", "--home", "x", "--name", "Org", "--peer", "a:1", "--client", "a:2"), 78, "the name 'Org'"),
        (("testnet", "--dir", "x", "--nodes", "3"), 2, "--nodes"),
        (("testnet", "--dir", "x", "--application", "sql"), 78, "no application 'sql'"),
        (("testnet", "--dir", "x", "--base-port", "65530"), 2, "beyond 65535"),
        (("genesis", "create", "--name", "c", "--admin", "AB"), 78, "--admin 'AB'"),
        (("genesis", "create", "--name", "c", "--admin", KEY, "nothing.toml"), 78, "nothing.toml: No such file"),
        (("genesis", "create", "--name", "c", "--admin", KEY), 78, "0 members"),
        (("genesis", "create", "--name", "c", "--admin", KEY, "--parameter", "w=1"), 78, "--parameter 'w=1'"),
        (("genesis", "create", "--name", "c", "--admin", "00" * 32), 78, f"--admin {'00' * 32}: "),
        (("genesis", "create", "--name", "C", "--admin", KEY), 78, "--name 'C'"),
        (("genesis", "show", "nothing.toml"), 78, "nothing.toml: No such file"),
        (("genesis", "show"), 78, "--home"),
        (("run",), 78, "--home"),
        (("run", "--home", "nowhere"), 78, "nowhere is not a directory"),
        (("run", "--home", ".", "--set", "peer.lisen=a:1"), 78, "the nearest known one is peer.listen"),
        (("run", "--home", ".", "--set", "peer"), 2, "SECTION.KEY=VALUE"),
        (("run", "--home", ".", "--log-level", "loud"), 2, "--log-level"),
        (("config", "check", "--home", "."), 78, "genesis.toml: No such file"),
        (("status",), 78, "--home"),
        (("status", "--home", "."), 78, "genesis.toml: No such file"),
        (("status", "--timeout", "0"), 2, "--timeout"),
        (("tx", "wait", "xyz"), 2, "64 hexadecimal digits"),
        (("tx", "submit", "abc"), 2, "hexadecimal digits"),
        (("tx", "submit"), 2, "HEX"),
        (("kv", "put", "a"), 2, "VALUE or as --file"),
        (("kv", "put", "a", "zz", "--hex"), 2, "hexadecimal digits"),
        (("kv", "put", "a" * 401, "1", "--print"), 1, "400"),
        (("kv", "cas", "a", "b"), 2, "--expect"),
        (("kv", "cas", "a", "b", "--delete", "--expect-absent"), 2, "--delete"),
        (("kv", "get", "a", "--consistency", "eventual"), 2, "--consistency"),
        (("log", "append"), 2, "--file"),
        (("log", "show", "--", "-1"), 2, "INDEX"),
        (("log", "verify", "--home", "."), 78, "genesis.toml: No such file"),
        (("client", "admit", "me"), 2, "64 hexadecimal digits"),
        (("client", "list", "--home", "."), 1, "no data directory"),
        (("bench", "--mode", "fast"), 2, "--mode"),
        (("unsafe-rejoin",), 78, "--home"),
        (("completion", "tcsh"), 2, "tcsh"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_wrong_input_is_one_line_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    """The message names the file, key or flag; nothing is on standard output; nothing is made."""
    monkeypatch.chdir(tmp_path)
    result = bftnode(*arguments)
    assert result.exit_code == exit_code, result.stderr
    assert ERROR.match(result.stderr), result.stderr
    assert said in result.stderr
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_batches_that_cannot_be_read_name_the_line() -> None:
    """Line by line: no object, an unknown write, a missing field, a wrong type, digits that are none."""
    for lines, said in (
        ("[]", "-:1: not a JSON object"),
        ('{"op": "put", "key": "a", "value": "1"}\nx', "-:2: not a JSON object"),
        ('{"op": "move", "key": "a"}', "-:1: not a put, delete or cas"),
        ('{"op": "put", "key": "a"}', "-:1: not a put, delete or cas"),
        ('{"op": "put", "key": null, "value": "1"}', "-:1: key is a string"),
        ('{"op": "cas", "key": "a", "expected": 1, "value": null}', "-:1: expected is a string"),
        ("", "has no writes"),
        ('{"op": "delete", "key": "a"}\n' * 1025, "at most 1024"),
    ):
        result = bftnode("kv", "batch", "-", "--print", input=lines)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    result = bftnode("kv", "batch", "-", "--hex", "--print", input='{"op": "delete", "key": "xy"}')
    assert "-:1: key is not an even number" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (Refused(Reason.CONFIGURATION, "x"), "configuration", 78),
        (Refused(Reason.DATA_LOCKED, "x"), "data.locked", 78),
        (Refused(Reason.TX_DENIED, "x"), "tx.denied", 6),
        (Refused(Reason.NOT_READY, "x"), "not_ready", 3),
        (Refused(Reason.INTEGRITY, "x"), "data.integrity", 5),
        (Refused(Reason.TX_EXPIRED), "tx.expired", 1),
        (OutcomeUnknown(bytes(32), "late"), "outcome_unknown", 7),
        (ResultForgotten(ExecutedLongAgo(bytes(32), 1, 1)), "result_forgotten", 1),
        (DiskFull("x"), "disk.full", 3),
        (IntegrityError("log/00", "x"), "data.integrity", 5),
        (StorageBroken("x"), "storage.broken", 1),
        (FileNotFoundError(errno.ENOENT, "No such file", "name"), "os.enoent", 1),
        (OSError("no number"), "os.os", 1),
        (CommandFailed("x", "no_quorum", "", 3), "no_quorum", 3),
        (click.UsageError("x"), "usage", 2),
        (click.ClickException("x"), "failure", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (ZeroDivisionError("x"), "internal", 1),
        (ExceptionGroup("", [ValueError("x"), ExceptionGroup("", [Refused(Reason.BUSY)])]), "busy", 3),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_failure_has_a_code_and_an_exit_code(error: BaseException, code: str, exit_code: int) -> None:
    """In one place, whoever raised it; of a group, the part that is known."""
    complaint = complaint_of(error)
    assert (complaint.code, complaint.exit_code) == (code, exit_code)


def test_every_reason_is_a_complaint() -> None:
    """A reason without an entry is a failure with a hint all the same."""
    for reason in Reason:
        complaint = of_reason(reason, "")
        assert complaint.exit_code == EXIT_CODES.get(reason, 1)
        assert complaint.hint


@pytest.mark.covers("A19")
def test_control_characters_do_not_reach_the_terminal() -> None:
    """Not from an argument, and not from a file's name: a line is a line."""
    evil = "a\x1b[31m\r\nerror: forged\u202e"
    for arguments in ((evil,), ("genesis", "show", evil), ("tx", "wait", evil), ("client", "list", "--home", evil)):
        result = bftnode(*arguments)
        assert result.exit_code != 0
        assert ERROR.match(result.stderr), repr(result.stderr)
        assert result.stderr.replace("\n", "").isprintable()
        assert result.stderr.count("error:") == 2, "ours, and the forged one inside it"


def test_a_traceback_only_with_debug() -> None:
    """For those who look for a defect."""
    command = [sys.executable, "-m", "bftnode"]
    quiet = subprocess.run([*command, "genesis", "show", "nothing"], capture_output=True, text=True, check=False)
    loud = subprocess.run(
        [*command, "--debug", "genesis", "show", "nothing"], capture_output=True, text=True, check=False
    )
    assert quiet.returncode == 78
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


@pytest.mark.covers("O15")
def test_loose_permissions_stop_the_start(tmp_path: Path) -> None:
    """run and config check name the file."""
    home = tmp_path / "demo" / "node0"
    assert bftnode("testnet", "--dir", str(tmp_path / "demo")).exit_code == 0
    assert bftnode("config", "check", "--home", str(home)).exit_code == 0
    key = home / "secrets" / "signing.key"
    key.chmod(stat.S_IRUSR | stat.S_IRGRP)
    for verb in (("run",), ("config", "check")):
        result = bftnode(*verb, "--home", str(home))
        assert result.exit_code == 78
        assert f"{key} is open to others (mode 0440); chmod 600 {key}" in result.stderr


@pytest.mark.covers("O15")
def test_a_loose_client_key_is_not_used(tmp_path: Path) -> None:
    """Before anything is sent."""
    home = tmp_path / "demo" / "client"
    assert bftnode("testnet", "--dir", str(tmp_path / "demo")).exit_code == 0
    (home / "secrets" / "client.key").chmod(0o604)
    result = bftnode("status", "--home", str(home))
    assert result.exit_code == 78
    assert "client.key is open to others" in result.stderr


@pytest.mark.covers("A17")
def test_no_output_holds_a_secret(tmp_path: Path) -> None:
    """Every command, with homes full of keys, failing or not, with --debug: no key is in what it prints."""
    demo = tmp_path / "demo"
    made = [bftnode("testnet", "--dir", str(demo))]
    made += [bftnode("keygen", "--out", str(tmp_path / "k"))]
    made += [bftnode("client", "new", "--dir", str(tmp_path / "c"))]
    files = [*demo.glob("*/secrets/*.key"), tmp_path / "k", tmp_path / "c" / "secrets" / "client.key"]
    secrets = [line for file in files for line in file.read_text().splitlines() if "-----" not in line]
    assert len(secrets) >= 4 * 3 + 3
    (demo / "node0" / "secrets" / "tls.crt").write_text("not a certificate")
    outputs = [result.output for result in made]
    for words, command in every_command():
        if isinstance(command, click.Group) or words[0] in ("run", "bench"):
            continue
        for home in ("node0", "node1", "client"):
            arguments = (*words, "--home", str(demo / home)) if _has_home(command) else words
            options = {option.name for option in command.params}
            # `log monitor` goes on for ever where nothing stops it.
            extra = ["--timeout", "0.05"] if "timeout" in options else []
            extra += ["--once"] if "once" in options else []
            outputs.append(_said(bftnode("--debug", *arguments, *extra)))
    for i in (0, 1):
        run = [sys.executable, "-m", "bftnode", "--debug", "run", "--set", "node.name=other"]
        done = subprocess.run([*run, "--home", str(demo / f"node{i}")], capture_output=True, text=True, check=False)
        assert done.returncode
        outputs.append(done.stdout + done.stderr)
    for output in outputs:
        assert not [secret for secret in secrets if secret in output]


def _said(result: Result) -> str:
    """All that a user would have read, the traceback included."""
    error = result.exception
    return result.output + ("" if error is None else "".join(traceback.format_exception(error)))


def _has_home(command: click.Command) -> bool:
    return any(option.name == "home" for option in command.params)


def test_an_interrupt_is_clean(tmp_path: Path) -> None:
    """SIGINT while a client command waits: one line, exit code 130."""
    assert bftnode("testnet", "--dir", str(tmp_path / "demo")).exit_code == 0
    command = [sys.executable, "-m", "bftnode", "kv", "put", "a", "1", "--home", str(tmp_path / "demo" / "client")]
    script = (
        "import os, signal, sys, trio, bftnode.cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "async def interrupt(client):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    await trio.sleep_forever()\n"
        "from bftnode.cli.cluster import Access\n"
        "Access.submit = lambda self, *operations: self.run(interrupt)\n"
        f"sys.argv = {command[2:]!r}\n"
        "bftnode.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted (interrupted)\n")
