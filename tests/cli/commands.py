"""Running the command line in this process, and finding every command there is."""

from collections.abc import Iterator

import click
from click.testing import CliRunner, Result

from bftnode.cli.root import cli


def bftnode(*arguments: str, input: str | None = None, **environment: str | None) -> Result:  # noqa: A002  # click's word
    """One command. No variable of ours leaks in; standard output and error are apart."""
    environment = {"BFTNODE_HOME": None, "BFTNODE_GENESIS": None, "BFTNODE_KEY": None, **environment}
    return CliRunner().invoke(cli, arguments, input=input, env=environment)


def every_command() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """(words, command) of the root, all groups and all commands."""
    todo: list[tuple[tuple[str, ...], click.Command]] = [((), cli)]
    while todo:
        words, command = todo.pop()
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None, name
                todo.append(((*words, name), found))
