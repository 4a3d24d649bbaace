"""`log`: the replicated log from the shell, whatever the application; `append` is the log application's."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import trio

from bftnode.apps import log as application
from bftnode.apps.execution import Executor
from bftnode.apps.registry import load_application
from bftnode.cli.cluster import Access, access_options, need_application, refused_by
from bftnode.cli.entries import entry_json, entry_line
from bftnode.cli.errors import FAILURE, INTEGRITY, CommandFailed
from bftnode.cli.homes import the_home
from bftnode.cli.monitor import monitor
from bftnode.cli.options import DIRECTORY, FILE, example, home_option, json_option
from bftnode.cli.output import decorated, note, print_fields, print_json, print_line
from bftnode.cli.private import append_private, erase, keep, read
from bftnode.cli.tiles import TileFolder
from bftnode.client.client import Client
from bftnode.client.operations import application_operation
from bftnode.protocol.blocks import open_header
from bftnode.protocol.client_messages import ENTRIES_MAX, Entry
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.tlog.checkpoints import Checkpoint
from bftnode.protocol.tlog.policy import write_policy
from bftnode.storage.directory import LMDB_NAME
from bftnode.storage.environment import opened_read_only
from bftnode.storage.log import LogReader
from bftnode.storage.verify import VerifyReport, verify_log

FOLLOW_INTERVAL_S = 0.5

POLICY = "policy"
"""In a folder of tiles, the policy by which its checkpoint is valid; none of c2sp.org/tlog-tiles' files."""

CHECKPOINT_WAIT_S = 5.0
"""How long an export waits for a first checkpoint."""

BEYOND = 2**62
"""An index that no log reaches: asking for it tells the log's size."""


@click.group(epilog=example("bftnode log tail -f --home demo/client"))
def log() -> None:
    """Append to, read and verify the replicated log.

    An entry is one client's signed envelope. What is read from the cluster is what f+1 members sent alike.
    """


@log.command(epilog=example("bftnode log append 'door opened' --home demo/client", "bftnode log append --file report"))
@click.argument("data", required=False)
@click.option("--file", type=click.File("rb"), help="Read the record from a file, - for standard input.")
@click.option("--hex", "as_hex", is_flag=True, help="DATA is given in hexadecimal digits.")
@click.option("--private", is_flag=True, help="Log a commitment; members keep DATA beside the log, to be erased.")
@click.option("--salt", type=FILE, help="With --private: the file to make, with the salt that opens the commitment.")
@click.option("--print", "print_only", is_flag=True, help="Print the operation for `tx submit`; send nothing.")
@access_options
def append(
    access: Access,
    data: str | None,
    file: Any,
    as_hex: bool,
    private: bool,
    salt: Path | None,
    print_only: bool,
    as_json: bool,
) -> None:
    """Append a record of up to 192 KiB. For clusters of the log application.

    With --private the log has only a salted commitment to it (docs/receipts.md, "Privacy"). Who keeps the record and
    the file with the salt can show it, whatever becomes of the cluster.
    """
    if private != (salt is not None) or (private and print_only):
        raise click.UsageError("--private goes with --salt FILE, and not with --print")
    if (data is None) == (file is None):
        raise click.UsageError("give the record either as DATA or as --file FILE")
    if data is None:
        record = file.read(application.RECORD_BYTES_MAX + 1)
    elif as_hex:
        try:
            record = bytes.fromhex(data)
        except ValueError:
            raise click.UsageError("DATA is not an even number of hexadecimal digits") from None
    else:
        record = os.fsencode(data)
    if private and salt is not None:
        need_application(access.genesis(), "log", "log append")
        append_private(access, record, salt, as_json)
        return
    operation = application.append(record)
    if print_only:
        print_line(operation.hex())
        return
    need_application(access.genesis(), "log", "log append")
    result = access.submit(application_operation(operation))
    done = result.results[0]
    if done.code:
        raise refused_by(done.code, f"the record was refused in transaction {result.transaction.hex()}")
    answer = application.open_answer(done.value)
    if not isinstance(answer, application.Appended):
        raise Refused(Reason.UNEXPECTED, "the answer is not one to an append")
    if as_json:
        place = {"transaction": result.transaction.hex(), "seq": result.seq, "index": result.index}
        print_json({**place, "record": answer.index})
    else:
        print_line(f"record {answer.index}, log entry {result.index}, block {result.seq}")


@log.command(epilog=example("bftnode log show 17 --home demo/client --json"))
@click.argument("index", type=click.IntRange(0, BEYOND))
@access_options
def show(access: Access, index: int, as_json: bool) -> None:
    """Show one entry of the log, by its index."""
    genesis = access.genesis()
    entries = access.run(lambda client: client.entries(index, 1)).entries
    if not entries:
        raise CommandFailed(f"the log has no entry {index} yet", "not_found", "bftnode log tail", FAILURE)
    fields = entry_json(entries[0], genesis.chain_id())
    if as_json:
        print_json(fields)
        return
    line = entry_line(entries[0], genesis.chain_id(), genesis.application).split("\t")
    fields["time"], fields["says"] = line[2], line[4]
    print_fields((name, value) for name, value in fields.items() if name not in ("operations", "envelope", "time_ms"))


@log.command(name="range", epilog=example("bftnode log range 100 --count 20 --home demo/client"))
@click.argument("first", type=click.IntRange(0, BEYOND))
@click.option("--count", type=click.IntRange(1), default=20, show_default=True, help="Print at most so many.")
@access_options
def range_(access: Access, first: int, count: int, as_json: bool) -> None:
    """Show entries from an index on: index, block, agreed time, client, what it says."""
    genesis = access.genesis()

    async def work(client: Client) -> None:
        async for entry in _entries(client, first, first + count):
            _print(entry, genesis, as_json)

    access.run(work)


@log.command(epilog=example("bftnode log tail -n 5 --follow --home demo/client"))
@click.option(
    "-n", "--count", type=click.IntRange(0), default=10, show_default=True, help="Begin so many before the end."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as entries come, until interrupted.")
@access_options
def tail(access: Access, count: int, follow: bool, as_json: bool) -> None:
    """Show the last entries of the log."""
    genesis = access.genesis()

    async def work(client: Client) -> None:
        size = (await client.entries(BEYOND, 1)).log_size
        at = max(0, size - count)
        while True:
            async for entry in _entries(client, at, BEYOND if follow else size):
                _print(entry, genesis, as_json)
                at = entry.index + 1
            if not follow:
                return
            await trio.sleep(FOLLOW_INTERVAL_S)

    access.run(work)


@log.command(
    epilog=example(
        "bftnode log export --first 0 --home demo/client > log.jsonl",
        "bftnode log export --tiles /var/www/log --home demo/client",
    )
)
@click.option("--first", type=click.IntRange(0, BEYOND), default=0, show_default=True, help="The first index.")
@click.option("--count", type=click.IntRange(1), help="At most so many. Default: all that there are now.")
@click.option("--tiles", type=DIRECTORY, metavar="DIR", help="Write the log as static files, or what is new of it.")
@access_options
def export(access: Access, first: int, count: int | None, tiles: Path | None, as_json: bool) -> None:
    """Export entries as JSON lines, with the envelopes' own bytes; or the log as static files.

    With --tiles: C2SP tlog-tiles, up to the newest checkpoint that a quorum cosigned. Said again, it adds what is new.
    Every hash is computed from the entries; exit code 5 if they do not lead to the checkpoint, or if DIR holds another
    log. --json changes nothing of entries.
    """
    genesis = access.genesis()
    if tiles is not None:
        if first or count is not None:
            raise click.UsageError("--tiles exports all of the log: no --first and no --count")
        _export_tiles(access, genesis, tiles, as_json)
        return

    async def work(client: Client) -> int:
        end = (await client.entries(BEYOND, 1)).log_size
        written = 0
        async for entry in _entries(client, first, end if count is None else min(end, first + count)):
            print_json(entry_json(entry, genesis.chain_id()))
            written += 1
        return written

    note(f"{access.run(work)} entries exported")


def _export_tiles(access: Access, genesis: Genesis, path: Path, as_json: bool) -> None:
    folder = TileFolder(path)

    async def work(client: Client) -> Checkpoint:
        signed = await client.checkpoint(folder.size, wait_s=CHECKPOINT_WAIT_S)
        latest = await client.checkpoint()
        if latest.checkpoint.size > signed.checkpoint.size:
            signed = latest
        async for entry in _entries(client, folder.start, signed.checkpoint.size):
            folder.add(entry.envelope)
        folder.finish(signed.checkpoint, signed.note)
        return signed.checkpoint

    before = folder.size
    made = access.run(work)
    (path / POLICY).write_text(write_policy(genesis.policy()), encoding="ascii")
    if as_json:
        print_json({"origin": made.origin, "size": made.size, "root": made.root.hex(), "new": made.size - before})
    else:
        print_line(f"{made.size} entries of {made.origin}, {made.size - before} of them new, are in {path}")


@log.command(epilog=example("bftnode log verify --home demo/node0 --json"))
@home_option
@click.option("--state", is_flag=True, help="Also execute the whole log again in memory and compare the state.")
@json_option
def verify(home: Path | None, state: bool, as_json: bool) -> None:
    """Verify the log in a member's data directory, offline: hash chain, Merkle roots, certificates, signatures.

    Believes nothing but the genesis. The member may run; stopped, its other records are checked too. Exit code 5
    and the first entry that is not proved, if anything is wrong.
    """
    target = the_home(home)
    genesis = target.load_genesis()
    membership = genesis.membership()
    executor = None
    if state:
        application_ = load_application(genesis.application)
        executor = Executor(application_, genesis.administrator_keys(), membership.parameters.clients_max)
    report = verify_log(target.data_path, membership, _progress if decorated() else None, executor)
    root = _log_root(target.data_path, report) if report.ok else None
    fault = report.fault
    if as_json:
        print_json(
            {
                "ok": report.ok,
                "blocks": report.height,
                "entries": report.log_size,
                "head": report.head.hex(),
                "log_root": root,
                "state_checked": report.state_checked,
                "derived_height": report.derived_height,
                "records_checked": report.records_checked,
                "fault": None
                if fault is None
                else {"height": fault.height, "log_index": fault.log_index, "detail": fault.detail},
            }
        )
    else:
        print_fields(
            [
                ("blocks", report.height),
                ("entries", report.log_size),
                ("head", report.head.hex()),
                ("log root", root or "not proved"),
                ("state", _state(report)),
            ]
        )
    if fault is not None:
        where = "outside the log" if fault.height is None else f"block {fault.height}, entry {fault.log_index}"
        raise CommandFailed(
            f"{target.data_path} is not proved from here on: {where}: {fault.detail}",
            "data.integrity",
            "keep a copy of data/; a member with an empty data/ fetches the log from the others",
            INTEGRITY,
        )
    note(f"valid: {report.log_size} entries in {report.height} blocks")


for command in (monitor, read, keep, erase):
    log.add_command(command)


async def _entries(client: Client, first: int, end: int) -> AsyncIterator[Entry]:
    """Entries first <= index < end, as far as there are any now."""
    at = first
    while at < end:
        page = await client.entries(at, min(end - at, ENTRIES_MAX))
        if not page.entries:
            return
        for entry in page.entries:
            yield entry
        at += len(page.entries)


def _print(entry: Entry, genesis: Genesis, as_json: bool) -> None:
    if as_json:
        print_json(entry_json(entry, genesis.chain_id()))
    else:
        click.echo(entry_line(entry, genesis.chain_id(), genesis.application))


def _progress(done: int, total: int) -> None:
    if done == total or done % 1024 == 0:
        note(f"{done} of {total} blocks")


def _state(report: VerifyReport) -> str:
    if not report.state_checked:
        return "not checked (--state)"
    if report.derived_height == report.height:
        return "executed again and equal"
    return f"executed again and equal as of block {report.derived_height}, up to which it is written"


def _log_root(data_path: Path, report: VerifyReport) -> str:
    """The Merkle root of the verified log: its last header names it, and the report names that header's hash."""
    with opened_read_only(data_path / LMDB_NAME, lock=True) as (env, databases), env.begin() as txn:
        return open_header(LogReader(txn, databases).header_raw(report.height)).log_root.hex()
