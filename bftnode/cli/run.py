"""`run`: hands a home and its configuration to the daemon."""

import os
import resource
from pathlib import Path

import click

from bftnode.cli.homes import the_home
from bftnode.cli.options import example, home_option, set_option
from bftnode.node.home import check_secrets
from bftnode.protocol.errors import Reason, Refused

RECORD_BYTES_MAX = 1 << 30


@click.command(
    epilog=example(
        "bftnode run --home /srv/bftnode", "bftnode run --home demo/node0 --set timing.view_change_timeout_ms=500"
    )
)
@home_option
@set_option
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="As --set node.log_level.")
@click.option("--log-format", type=click.Choice(["auto", "console", "json"]), help="As --set node.log_format.")
@click.option("--record", is_flag=True, help=f"As --set recording.bytes_max={RECORD_BYTES_MAX}: for `replay-incident`.")
@click.pass_context
def run(
    ctx: click.Context,
    home: Path | None,
    flags: dict[str, str],
    log_level: str | None,
    log_format: str | None,
    record: bool,
) -> None:
    """Run a member until it is told to stop.

    Logs go to standard error. SIGTERM and SIGINT end it in order, a second one at once; SIGHUP reads the
    configuration again.
    """
    from bftnode.node.daemon import main  # noqa: PLC0415  # half a second: `run --help` and errors do without

    if not __debug__:
        raise Refused(Reason.CONFIGURATION, "Python runs with -O: without its assertions bftnode does not start")
    target = the_home(home)
    if log_level is not None:
        flags["node.log_level"] = log_level
    if log_format is not None:
        flags["node.log_format"] = log_format
    if record:
        flags.setdefault("recording.bytes_max", str(RECORD_BYTES_MAX))
    config = target.load_config(os.environ, flags).config
    check_secrets(target.secrets_path)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the keys (faults.md A17)
    ctx.exit(main(target, config))
