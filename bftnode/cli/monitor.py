"""`log monitor`: follows a cluster's log and raises an alarm when it is not the log that it was."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from bftnode.cli.cluster import Access, access_options, members_named, reached
from bftnode.cli.errors import INTEGRITY, NOT_READY, CommandFailed
from bftnode.cli.options import FILE, example
from bftnode.cli.output import note, print_json, print_line
from bftnode.client.client import Client
from bftnode.client.growth import FileMemory, Growth, SignedCheckpoint
from bftnode.client.monitor import Alarm, AlarmKind, Monitor
from bftnode.protocol.genesis import Genesis
from bftnode.web.post import post

WEBHOOK_TIMEOUT_S = 10.0


@click.command(
    epilog=example(
        "bftnode log monitor --home demo/client",
        "bftnode log monitor --home demo/client --once --json",
        "bftnode log monitor --webhook https://alarms.example/bftnode --keep-going",
    )
)
@click.option("--node", "nodes", multiple=True, help="Follow this member only, by name; may be repeated. Default: all.")
@click.option("--once", is_flag=True, help="Verify what there is now, and end.")
@click.option("--keep-going", is_flag=True, help="Go on after an alarm. Default: end with exit code 5, or 3 for stale.")
@click.option(
    "--stale",
    "stale_s",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a member may show an older log than the others.",
)
@click.option(
    "--audit",
    type=click.IntRange(0, 1000),
    default=10,
    show_default=True,
    help="Old entries that are read again from each member, each second.",
)
@click.option("--state", type=FILE, help="Where the largest verified checkpoint is kept. Default: beside the key.")
@click.option("--webhook", metavar="URL", help="Each alarm is sent there as a JSON object, by POST.")
@access_options
def monitor(
    access: Access,
    nodes: tuple[str, ...],
    once: bool,
    keep_going: bool,
    stale_s: float,
    audit: int,
    state: Path | None,
    webhook: str | None,
    as_json: bool,
) -> None:
    """Follow the log, verify every new checkpoint, compare the members, raise an alarm.

    Believes nothing but the genesis and what it verified before. Alarms: fork (two logs, each cosigned by a quorum),
    rewrite (a member's log is not the one whose checkpoints it shows), invalid (a checkpoint that is not one), stale (a
    member, or the cosigners of all, stand still). Exit code 5 at the first three, 3 at stale.
    """
    genesis = access.genesis()
    following = members_named(genesis, nodes)
    growth = Growth(genesis.policy(), FileMemory(state or access.memory_path()))
    if webhook is not None and not webhook.startswith(("https://", "http://")):
        raise click.UsageError("--webhook is an http or https URL")
    alarms: list[Alarm] = []
    known = "nothing" if growth.largest is None else f"{growth.largest.checkpoint.size} entries"
    note(f"following {', '.join(genesis.members[member].name for member in following)}; verified before: {known}")

    async def work(client: Client) -> None:
        async def alarm(raised: Alarm) -> None:
            alarms.append(raised)
            fields = _alarm_json(raised, genesis)
            print_json(fields) if as_json else print_line(_alarm_line(fields))
            if webhook is not None:
                await trio.to_thread.run_sync(_call, webhook, fields, abandon_on_cancel=True)
            if not keep_going:
                scope.cancel()

        watching = Monitor(
            client, following, growth, alarm, partial(_saw, genesis, as_json), stale_s=stale_s, audit=audit
        )
        with trio.CancelScope() as scope:
            if once:
                await reached(client, following, access.timeout_s)
                await watching.once()
            else:
                await watching.run()

    access.run(work, remembering=False)
    if (alarms and not keep_going) or (alarms and once):
        raise _failure(alarms[0], genesis)
    largest = growth.largest
    note("no checkpoint yet" if largest is None else f"verified up to {largest.checkpoint.size} entries")


def _saw(genesis: Genesis, as_json: bool, member: int, signed: SignedCheckpoint) -> None:
    name, place = genesis.members[member].name, signed.checkpoint
    if as_json:
        cosigned = sorted(signed.cosigned)
        fields = {"event": "checkpoint", "node": name, "size": place.size, "root": place.root.hex()}
        print_json({**fields, "cosigned": cosigned})
    else:
        print_line(f"{name}: {place.size} entries, root {place.root.hex()[:16]}, {len(signed.cosigned)} cosigners")


def _alarm_json(alarm: Alarm, genesis: Genesis) -> dict[str, Any]:
    return {
        "event": "alarm",
        "kind": str(alarm.kind),
        "node": None if alarm.member is None else genesis.members[alarm.member].name,
        "detail": alarm.detail,
        "checkpoints": [one.decode("utf-8", errors="replace") for one in alarm.notes if one],
    }


def _alarm_line(fields: dict[str, Any]) -> str:
    return f"ALARM {fields['kind']}: {fields['node'] or 'the cluster'}: {fields['detail']}"


HINTS = {
    AlarmKind.STALE: "`bftnode status` shows who is behind; `bftnode why` what is missing",
    AlarmKind.REWRITE: "keep the checkpoints of --json; `bftnode log verify` on its data finds what was changed",
}
"""What is not here, members' data against each other may explain."""


def _failure(alarm: Alarm, genesis: Genesis) -> CommandFailed:
    who = "the cluster" if alarm.member is None else genesis.members[alarm.member].name
    return CommandFailed(
        f"{who}: {alarm.detail}",
        f"monitor.{alarm.kind}",
        HINTS.get(alarm.kind, "keep the checkpoints of --json; `bftnode log verify` and `forensics` say more"),
        NOT_READY if alarm.kind is AlarmKind.STALE else INTEGRITY,
    )


def _call(url: str, fields: dict[str, Any]) -> None:
    """The webhook; one that fails is told, and the monitor goes on."""
    try:
        status, _ = post(url, json.dumps(fields).encode(), "application/json", WEBHOOK_TIMEOUT_S)
    except OSError as error:
        print(f"note: the webhook was not reached: {error}", file=sys.stderr)
    else:
        if not 200 <= status < 300:
            print(f"note: the webhook answered with status {status}", file=sys.stderr)
