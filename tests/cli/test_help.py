"""Help: every command has it, with an example that exists, and the first page costs nothing."""

import os
import re
import subprocess
import sys

import click
import pytest

from bftnode.cli.root import COMMANDS, cli
from tests.cli.commands import bftnode, every_command

ALL = sorted(every_command(), key=lambda item: item[0])
EVERY_COMMAND = pytest.mark.parametrize(
    ("words", "command"), ALL, ids=[" ".join(words) or "bftnode" for words, _ in ALL]
)
HELP_CPU_S_MAX = 0.15


@EVERY_COMMAND
def test_every_help_has_an_example(words: tuple[str, ...], command: click.Command) -> None:
    """--help and -h end well and show what to type."""
    result = bftnode(*words, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert f"bftnode {' '.join(words)}".strip() in result.stdout.split("Example:")[1]
    assert command.help, "the first line says what it does"
    assert result.stderr == ""


@EVERY_COMMAND
def test_examples_use_options_that_exist(words: tuple[str, ...], command: click.Command) -> None:
    """An example that does not work is worse than none."""
    for line in re.findall(r"bftnode ((?:[a-z-]+ )+.*)", str(command.epilog)):
        for call in re.split(r"\$\(bftnode |\)|&&|\|| & ", line):
            parts = call.split("#")[0].split()
            if not parts or parts[0] not in COMMANDS:
                continue
            found: click.Command | None = cli
            context = click.Context(cli)
            while parts and isinstance(found, click.Group):
                found = found.get_command(context, parts.pop(0))
            assert found is not None, f"{words}: {call!r} names a command that does not exist"
            known = {name for parameter in found.params for name in parameter.opts}
            used = {part.split("=")[0] for part in parts if re.match(r"--?[a-z]", part)}
            assert used <= known, f"{words}: {call!r} uses {used - known}"


def test_the_short_texts_are_the_commands_own() -> None:
    """The table that spares imports says what each command says of itself."""
    for name, (_, short) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == short, name


def test_the_first_page_loads_none_of_the_rooms() -> None:
    """bftnode --help imports click and next to nothing of ours, so it comes at once."""
    script = "import sys, bftnode.cli.root as root\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"trio", "msgspec", "msgpack", "lmdb", "nacl", "cryptography", "structlog", "rich", "asyncio"}
    assert not heavy & set(loaded)
    assert not [name for name in loaded if name.startswith(("bftnode.node", "bftnode.client", "bftnode.replica"))]


def test_the_first_page_is_fast() -> None:
    """Under 150 ms of processor time (the best of five: the machine has other work)."""
    spent = []
    for _ in range(5):
        before = os.times()
        done = subprocess.run([sys.executable, "-m", "bftnode", "--help"], capture_output=True, text=True, check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert "Commands:" in done.stdout
    assert min(spent) < HELP_CPU_S_MAX


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    """Each shell has one, and it asks us through click's variable."""
    result = bftnode("completion", shell)
    assert result.exit_code == 0
    assert "_BFTNODE_COMPLETE" in result.stdout


def test_completion_completes() -> None:
    """What the script asks: the verbs that begin so."""
    environment = {**os.environ, "_BFTNODE_COMPLETE": "bash_complete", "COMP_WORDS": "bftnode un", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from bftnode.cli import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["plain,unsafe-rejoin"]
