"""`log read`, and private records: `log append --private`, `log keep`, `log erase` (docs/receipts.md, "Privacy")."""

import re
import secrets
from pathlib import Path
from typing import Any

import click

from bftnode.apps import log
from bftnode.cli.cluster import Access, access_options, need_application, refused_by
from bftnode.cli.entries import time_text
from bftnode.cli.errors import FAILURE, NOT_READY, CommandFailed
from bftnode.cli.options import FILE, example
from bftnode.cli.output import json_bytes, note, print_fields, print_json, print_line, shown
from bftnode.client.client import Client
from bftnode.client.operations import application_operation
from bftnode.node.home import write_new
from bftnode.protocol.commitments import PAYLOAD_BYTES_MAX, SALT_BYTES, commitment_of
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import Transaction

RECORD = click.IntRange(0, 2**63 - 1)


def append_private(access: Access, payload: bytes, salt_path: Path, as_json: bool) -> None:
    """The salt is on the disk before anything leaves: without it, what was committed to is lost. Raises Refused."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise Refused(Reason.TX_INVALID_OPERATION, f"a record is at most {PAYLOAD_BYTES_MAX} bytes")
    salt = secrets.token_bytes(SALT_BYTES)
    write_new(salt_path, salt.hex() + "\n")

    async def work(client: Client) -> tuple[TransactionResult, log.Appended, dict[int, Refused | None]]:
        operation = log.commit(commitment_of(client.public_key, salt, payload))
        result = await client.submit([application_operation(operation)], on_signed=_told)
        done = _answer(result)
        if not isinstance(done, log.Appended):
            raise Refused(Reason.UNEXPECTED, "the answer is not one to an append")
        return result, done, await client.keep_payload(done.index, salt, payload, min_height=result.seq)

    result, done, said = access.run(work)
    fields = {"transaction": result.transaction.hex(), "seq": result.seq, "index": result.index, "record": done.index}
    _print_kept(
        said,
        fields,
        f"record {done.index}, log entry {result.index}, block {result.seq}",
        access,
        as_json,
    )


@click.command(epilog=example("bftnode log read 17 --home demo/client", "bftnode log read 17 -o door.txt"))
@click.argument("index", type=RECORD)
@click.option("-o", "--out", type=FILE, help="The file to make, with the record's bytes.")
@click.option("--salt", type=FILE, help="The file to make, with the salt of a private record.")
@access_options
def read(access: Access, index: int, out: Path | None, salt: Path | None, as_json: bool) -> None:
    """Read a record, by its own index: what f+1 members sent alike, or what opens its commitment.

    A private record is shown with its payload, if a member keeps it. Exit code 1 if --out asks for what there is not.
    """
    need_application(access.genesis(), "log", "log read")

    async def work(client: Client) -> tuple[log.Record, tuple[bytes, bytes] | None]:
        record = await _record(client, index)
        if isinstance(record.data, bytes) or record.data.erased is not None:
            return record, None
        try:
            return record, await client.payload(index, record.client, record.data.hash)
        except Refused as refused:
            note(f"no member shows the payload: {refused}")
            return record, None

    record, opening = access.run(work)
    data = record.data if isinstance(record.data, bytes) else None if opening is None else opening[1]
    if out is not None:
        if data is None:
            raise CommandFailed(
                f"record {index} has no payload that is kept", "not_found", "log read says why", FAILURE
            )
        with open(out, "xb") as file:
            file.write(data)
    if salt is not None:
        if opening is None:
            raise CommandFailed(f"record {index} has no salt that is kept", "not_found", "log read says why", FAILURE)
        write_new(salt, opening[0].hex() + "\n")
    _print_record(record, data, as_json)


@click.command(epilog=example("bftnode log keep 17 --file door.txt --salt door.salt --home demo/client"))
@click.argument("index", type=RECORD)
@click.option("--file", type=FILE, required=True, help="The record.")
@click.option("--salt", type=FILE, required=True, help="The file with its salt.")
@access_options
def keep(access: Access, index: int, file: Path, salt: Path, as_json: bool) -> None:
    """Hand the payload of a private record to the members again: to those that were away, or have new disks."""
    need_application(access.genesis(), "log", "log keep")
    with file.open("rb") as payload_file:
        payload = payload_file.read(PAYLOAD_BYTES_MAX + 1)
    opening = _read_salt(salt)
    said = access.run(lambda client: client.keep_payload(index, opening, payload))
    _print_kept(said, {"record": index}, f"record {index}", access, as_json)


@click.command(epilog=example("bftnode log erase 17 --home demo/client"))
@click.argument("index", type=RECORD)
@access_options
def erase(access: Access, index: int, as_json: bool) -> None:
    """Have the payload of a private record erased by all members, by an entry of the log.

    For the record's client, and for administrators. The record, its receipts and its commitment stay. Whoever has a
    copy still has it: docs/receipts.md, "Privacy".
    """
    need_application(access.genesis(), "log", "log erase")
    result = access.submit(application_operation(log.erase(index)))
    _answer(result)
    if as_json:
        place = {"transaction": result.transaction.hex(), "seq": result.seq, "index": result.index}
        print_json({**place, "record": index})
    else:
        print_line(f"record {index} is erased, by log entry {result.index} in block {result.seq} or before")


def _told(transaction: Transaction) -> None:
    note(f"transaction {transaction.id.hex()}")


def _answer(result: TransactionResult) -> log.Answer:
    """Of the one operation. Raises Refused."""
    code = result.code or result.results[0].code
    if code:
        raise refused_by(code, f"refused in transaction {result.transaction.hex()}")
    return log.open_answer(result.results[0].value)


async def _record(client: Client, index: int) -> log.Record:
    """Raises Refused(NOT_FOUND)."""
    answer = log.open_answer((await client.query(log.read(index))).value)
    if not isinstance(answer, log.Found):
        raise Refused(Reason.UNEXPECTED, "the answer is not one to a read")
    if answer.record is None:
        raise Refused(Reason.NOT_FOUND, f"there is no record {index} yet")
    return answer.record


def _read_salt(path: Path) -> bytes:
    """Raises Refused(CONFIGURATION)."""
    with path.open("rb") as file:
        raw = file.read(SALT_BYTES * 2 + 2)
    if re.fullmatch(rb"[0-9a-f]{64}\n?", raw) is None:
        raise Refused(Reason.CONFIGURATION, f"{path}: a salt is 64 hexadecimal digits")
    return bytes.fromhex(raw.decode())


def _print_kept(
    said: dict[int, Refused | None], fields: dict[str, Any], place: str, access: Access, as_json: bool
) -> None:
    """Raises CommandFailed where fewer than f+1 members keep it: then maybe nobody who is correct does."""
    genesis = access.genesis()
    kept = [genesis.members[member].name for member, refused in sorted(said.items()) if refused is None]
    for member, refused in sorted(said.items()):
        if refused is not None:
            note(f"not kept by {genesis.members[member].name}: {refused}")
    if as_json:
        print_json({**fields, "kept_by": kept})
    else:
        print_line(f"{place}, kept by {len(kept)} of {len(said)} members")
    if len(kept) < genesis.membership().some_correct:
        raise CommandFailed(
            f"the payload of record {fields['record']} is kept by {len(kept)} members only",
            "not_ready",
            "the record is in the log; `bftnode log keep` hands the payload over again",
            NOT_READY,
        )


def _print_record(record: log.Record, data: bytes | None, as_json: bool) -> None:
    private = record.data if isinstance(record.data, log.Commitment) else None
    erased = None if private is None else private.erased
    if as_json:
        by = None if erased is None else {"index": erased.log_index, "seq": erased.seq, "client": erased.client.hex()}
        print_json(
            {
                "record": record.index,
                "index": record.log_index,
                "seq": record.seq,
                "time_ms": record.time_ms,
                "client": record.client.hex(),
                "commitment": None if private is None else private.hash.hex(),
                "erased": by,
                **json_bytes(data=data),
            }
        )
        return
    rows: list[tuple[str, object]] = [
        ("record", record.index),
        ("log entry", record.log_index),
        ("block", record.seq),
        ("time", time_text(record.time_ms)),
        ("client", record.client.hex()),
    ]
    if private is not None:
        rows.append(("commitment", private.hash.hex()))
    if erased is not None:
        who = f"{erased.client.hex()[:16]}, log entry {erased.log_index}, {time_text(erased.time_ms)}"
        rows.append(("erased by", who))
    rows.append(("data", "not kept" if data is None else shown(data)))
    print_fields(rows)
