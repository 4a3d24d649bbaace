"""`bftnode`: which verbs there are, and where each one's module is.

A verb's module is imported when the verb is called, so that `bftnode --help` and completion take as long as click
does. The short texts stand here for the same reason; a test holds them against the commands' own.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from bftnode.cli.errors import Complaint, complaint_of, say

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("bftnode.cli.members:init", "Make a member's home: keys, configuration, directories."),
    "keygen": ("bftnode.cli.members:keygen", "Make a client's or administrator's key file."),
    "genesis": ("bftnode.cli.genesis:genesis", "Assemble, install and show the file that says who the members are."),
    "testnet": ("bftnode.cli.testnet:testnet", "Make the homes of a whole cluster on this machine."),
    "run": ("bftnode.cli.run:run", "Run a member until it is told to stop."),
    "status": ("bftnode.cli.status:status", "Show every member as it sees itself."),
    "why": ("bftnode.cli.why:why", "Say why the oldest transaction has not committed."),
    "tx": ("bftnode.cli.tx:tx", "Submit transactions, wait for them, look them up."),
    "kv": ("bftnode.cli.kv:kv", "Use the key-value application."),
    "log": ("bftnode.cli.log:log", "Append to, read and verify the replicated log."),
    "receipt": (
        "bftnode.cli.receipt:receipt",
        "Get, verify and compare receipts: proof that an entry is in the log, for anyone and for later.",
    ),
    "client": ("bftnode.cli.clients:client", "Make, admit and remove clients."),
    "config": ("bftnode.cli.config:config", "Check, show and document the configuration."),
    "forensics": ("bftnode.cli.forensics:forensics", "Compare two logs or receipts, and name who signed both sides."),
    "bench": ("bftnode.cli.bench:bench", "Measure committed operations per second and their latency."),
    "unsafe-rejoin": ("bftnode.cli.rejoin:unsafe_rejoin", "Let a quarantined member take part again."),
    "completion": ("bftnode.cli.shell:completion", "Print the completion script of a shell."),
    "version": ("bftnode.cli.shell:version", "Print the versions of bftnode and of what it stands on."),
}


class Root(click.Group):
    """Loads a verb when it is called, and ends every failure in the one form."""

    debug = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command), f"{module}.{name} is a command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> NoReturn:
        self.debug = False
        extra.update(standalone_mode=False, prog_name="bftnode")
        try:
            code = super().main(args, **extra)
        except Exception as error:
            if self.debug:
                raise
            self._end(complaint_of(error))
        except BaseExceptionGroup as group:  # trio's, around a KeyboardInterrupt
            if self.debug or group.split(KeyboardInterrupt)[0] is None:
                raise
            self._end(complaint_of(click.Abort()))
        sys.exit(code if isinstance(code, int) else 0)

    @staticmethod
    def _end(complaint: Complaint) -> NoReturn:
        say(complaint)
        sys.exit(complaint.exit_code)


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    assert isinstance(ctx.command, Root), "an option of the root"
    ctx.command.debug = value


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Example:
  bftnode testnet --dir demo && bftnode run --home demo/node0
\b
Exit codes: 0 ok, 1 failure, 2 usage, 3 no quorum or not ready, 5 integrity, 6 denied,
7 timeout (outcome unknown: `bftnode tx wait ID` tells), 78 bad configuration, 130 interrupted.""",
)
@click.option(
    "--debug", is_flag=True, expose_value=False, is_eager=True, callback=_set_debug, help="Show tracebacks of failures."
)
def cli() -> None:
    """A Byzantine fault-tolerant replicated log: run a member, use a cluster, look into it.

    Client commands find the cluster in --home DIR (or BFTNODE_HOME): config/genesis.toml and secrets/client.key;
    --genesis and --key name other files.
    """
