"""`kv`: the key-value application from the shell."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from bftnode.apps import kv as application
from bftnode.cli.cluster import Access, access_options, need_application, refused_by
from bftnode.cli.errors import FAILURE, CommandFailed
from bftnode.cli.options import example
from bftnode.cli.output import json_bytes, note, print_json, print_line, shown
from bftnode.client.client import Client, Consistency
from bftnode.client.operations import application_operation
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.results import TransactionResult

BATCH_LINE_BYTES_MAX = 256 * 1024
"""A longer line of a batch file is refused: no operation is so long."""

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R", bound=application.Result)


@click.group(epilog=example("bftnode kv put color red --home demo/client", "bftnode kv get color --home demo/client"))
def kv() -> None:
    """Use the key-value application.

    Keys have 1 to 400 bytes, values up to 63 KiB. For clusters of the application kv.
    """


hex_option = click.option("--hex", "as_hex", is_flag=True, help="Keys and values are given in hexadecimal digits.")
print_option = click.option(
    "--print",
    "print_only",
    is_flag=True,
    help="Print the operation in hexadecimal digits for `tx submit`; send nothing.",
)
consistency_option = click.option(
    "--consistency",
    type=click.Choice(["local", "quorum", "linearizable"]),
    default="quorum",
    show_default=True,
    help="local: one member's word. quorum: 2f+1 agree. linearizable: sees all that was acknowledged before.",
)


@kv.command(epilog=example("bftnode kv put color red --home demo/client", "bftnode kv put photo --file photo.jpg"))
@click.argument("key")
@click.argument("value", required=False)
@click.option("--file", type=click.File("rb"), help="Read the value from a file, - for standard input.")
@hex_option
@print_option
@access_options
def put(access: Access, key: str, value: str | None, file: Any, as_hex: bool, print_only: bool, as_json: bool) -> None:
    """Put a value under a key."""
    if (value is None) == (file is None):
        raise click.UsageError("give the value either as VALUE or as --file FILE")
    # One byte more than fits, so that a longer file is refused rather than cut.
    data = file.read(application.VALUE_BYTES_MAX + 1) if value is None else _bytes(value, as_hex, "VALUE")
    operation = application.put(_bytes(key, as_hex, "KEY"), data)
    if _printed(operation, print_only):
        return
    result = _submit(access, operation, application.Done, "put")
    if as_json:
        print_json(_place(result[0]))
    else:
        note(f"ok, in block {result[0].seq}")


@kv.command(epilog=example("bftnode kv get color --consistency linearizable --home demo/client"))
@click.argument("key")
@consistency_option
@click.option("--raw", is_flag=True, help="Print the value's bytes as they are, without a line end.")
@hex_option
@access_options
def get(access: Access, key: str, consistency: Consistency, raw: bool, as_hex: bool, as_json: bool) -> None:
    """Get the value under a key. Exit code 1 if there is none."""
    name = _bytes(key, as_hex, "KEY")
    height, found = _query(access, application.get(name), consistency, application.Found, "get")
    if as_json:
        print_json({"height": height, "found": found.value is not None, **json_bytes(key=name, value=found.value)})
        if found.value is None:
            click.get_current_context().exit(FAILURE)
    elif found.value is None:
        _not_found(name)
    elif raw:
        sys.stdout.buffer.write(found.value)
        sys.stdout.buffer.flush()
    else:
        click.echo(shown(found.value))


@kv.command(epilog=example("bftnode kv delete color --home demo/client"))
@click.argument("key")
@hex_option
@print_option
@access_options
def delete(access: Access, key: str, as_hex: bool, print_only: bool, as_json: bool) -> None:
    """Delete a key. Deleting what is not there is no error; --json says whether it was."""
    operation = application.delete(_bytes(key, as_hex, "KEY"))
    if _printed(operation, print_only):
        return
    result, deleted = _submit(access, operation, application.Deleted, "delete")
    if as_json:
        print_json({**_place(result), "existed": deleted.existed})
    else:
        note("deleted" if deleted.existed else "there was no such key")


@kv.command(
    epilog=example(
        "bftnode kv cas lock alice --expect-absent --home demo/client",
        "bftnode kv cas lock --delete --expect alice --home demo/client",
    )
)
@click.argument("key")
@click.argument("value", required=False)
@click.option("--expect", metavar="VALUE", help="What the key must hold.")
@click.option("--expect-absent", is_flag=True, help="The key must not be there.")
@click.option("--delete", "remove", is_flag=True, help="Delete it instead of giving it a new value.")
@hex_option
@print_option
@access_options
def cas(
    access: Access,
    key: str,
    value: str | None,
    expect: str | None,
    expect_absent: bool,
    remove: bool,
    as_hex: bool,
    print_only: bool,
    as_json: bool,
) -> None:
    """Compare and swap: write only if the key holds what is expected. Exit code 1 if it holds something else."""
    if (expect is None) != expect_absent:
        raise click.UsageError("give either --expect VALUE or --expect-absent")
    if (value is None) != remove:
        raise click.UsageError("give either the new VALUE or --delete")
    expected = None if expect is None else _bytes(expect, as_hex, "--expect")
    new = None if value is None else _bytes(value, as_hex, "VALUE")
    operation = application.compare_and_swap(_bytes(key, as_hex, "KEY"), expected, new)
    if _printed(operation, print_only):
        return
    result, swapped = _submit(access, operation, application.Swapped, "cas")
    if as_json:
        print_json({**_place(result), "swapped": swapped.swapped, **json_bytes(found=swapped.found)})
    elif swapped.swapped:
        note("swapped")
    if not swapped.swapped:
        if as_json:
            click.get_current_context().exit(FAILURE)
        held = "is absent" if swapped.found is None else f"holds {shown(swapped.found)[:200]}"
        raise CommandFailed(f"not swapped: the key {held}", "not_swapped", "nothing was written", FAILURE)


@kv.command(epilog=example("bftnode kv scan user/ --limit 20 --home demo/client --json"))
@click.argument("prefix", default="")
@click.option("--start", default="", help="Begin at this key.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Print at most so many.")
@consistency_option
@hex_option
@access_options
def scan(
    access: Access, prefix: str, start: str, limit: int, consistency: Consistency, as_hex: bool, as_json: bool
) -> None:
    """List keys and values in ascending order of key: KEY, a tab, VALUE.

    Several pages are several reads: what is written meanwhile may or may not be in them.
    """
    need_application(access.genesis(), "kv", "kv scan")
    stem, at = _bytes(prefix, as_hex, "PREFIX"), _bytes(start, as_hex, "--start")

    async def pages(client: Client) -> None:
        nonlocal at
        left = limit
        while left:
            query = application.scan(stem, at, min(left, application.PAGE_ENTRIES_MAX))
            page = _expect((await client.query(query, consistency)).value, application.Page)
            for entry in page.entries:
                if as_json:
                    print_json(json_bytes(key=entry.key, value=entry.value))
                else:
                    click.echo(f"{shown(entry.key)}\t{shown(entry.value)}")
            left -= len(page.entries)
            if page.next is None:
                return
            at = page.next
        note(f"there is more: --start {shown(at)}")

    access.run(pages)


@kv.command(
    epilog=example("""echo '{"op": "put", "key": "a", "value": "1"}' | bftnode kv batch - --home demo/client""")
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@hex_option
@print_option
@access_options
def batch(access: Access, file: Path, as_hex: bool, print_only: bool, as_json: bool) -> None:
    """Make many writes, all or none, from JSON lines (- for standard input).

    \b
    {"op": "put", "key": "a", "value": "1"}
    {"op": "delete", "key": "b"}
    {"op": "cas", "key": "c", "expected": null, "value": "2"}

    Where a cas fails, nothing is written and the exit code is 1. null is absence.
    """
    with click.open_file(str(file), encoding="utf-8") as lines:
        writes = []
        for number, line in enumerate(iter(lambda: lines.readline(BATCH_LINE_BYTES_MAX), ""), 1):
            if line.strip():
                writes.append(_write(line, as_hex, f"{file}:{number}"))
            if len(writes) > application.BATCH_WRITES_MAX:
                raise click.UsageError(f"{file}: a batch has at most {application.BATCH_WRITES_MAX} writes")
    if not writes:
        raise click.UsageError(f"{file} has no writes")
    operation = application.batch(writes)
    if _printed(operation, print_only):
        return
    result, batched = _submit(access, operation, application.Batched, "batch")
    if as_json:
        print_json({**_place(result), "written": batched.failed is None, "failed": batched.failed})
        if batched.failed is not None:
            click.get_current_context().exit(FAILURE)
    elif batched.failed is not None:
        raise CommandFailed(
            f"write {batched.failed} found another value", "not_swapped", "nothing was written", FAILURE
        )
    else:
        note(f"{len(writes)} writes made in block {result.seq}")


def _bytes(text: str, as_hex: bool, what: str) -> bytes:
    if not as_hex:
        return os.fsencode(text)  # the argument's own bytes, also where they are no UTF-8
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.UsageError(f"{what} {text!r} is not an even number of hexadecimal digits") from None


def _printed(operation: bytes, print_only: bool) -> bool:
    if print_only:
        print_line(operation.hex())
    return print_only


def _submit(access: Access, operation: bytes, kind: type[R], verb: str) -> tuple[TransactionResult, R]:
    """The transaction and its one result. Raises Refused."""
    need_application(access.genesis(), "kv", f"kv {verb}")
    result = access.submit(application_operation(operation))
    done = result.results[0]
    if done.code:
        raise refused_by(done.code, f"the operation was refused in transaction {result.transaction.hex()}")
    return result, _expect(done.value, kind)


def _query(access: Access, query: bytes, consistency: Consistency, kind: type[R], verb: str) -> tuple[int, R]:
    need_application(access.genesis(), "kv", f"kv {verb}")
    answer = access.run(lambda client: client.query(query, consistency))
    return answer.height, _expect(answer.value, kind)


def _expect(raw: bytes, kind: type[R]) -> R:
    """The result, of the kind that was asked for: a local read's member may answer anything."""
    found = application.open_result(raw)
    if not isinstance(found, kind):
        raise Refused(Reason.UNEXPECTED, "the answer is not one to this question")
    return found


def _place(result: TransactionResult) -> dict[str, Any]:
    return {"transaction": result.transaction.hex(), "seq": result.seq, "index": result.index}


def _not_found(key: bytes) -> NoReturn:
    raise CommandFailed(f"there is no key {shown(key)}", "not_found", "bftnode kv scan lists keys", FAILURE)


def _write(line: str, as_hex: bool, where: str) -> application.Write:
    try:
        item = json.loads(line)
    except ValueError:
        item = None
    if not isinstance(item, dict):
        raise click.UsageError(f"{where}: not a JSON object")
    fields = {"put": ("key", "value"), "delete": ("key",), "cas": ("key", "expected", "value")}.get(str(item.get("op")))
    if fields is None or set(item) != {"op", *fields}:
        raise click.UsageError(f"{where}: not a put, delete or cas with exactly its fields; see kv batch --help")
    absent = ("expected", "value") if item["op"] == "cas" else ()
    values: list[bytes | None] = []
    for name in fields:
        text = item[name]
        if text is None and name in absent:
            values.append(None)
        elif isinstance(text, str):
            values.append(bytes.fromhex(text) if as_hex and _is_hex(text, where, name) else text.encode("utf-8"))
        else:
            raise click.UsageError(f"{where}: {name} is a string")
    kinds = {"put": application.Put, "delete": application.Delete, "cas": application.CompareAndSwap}
    made: application.Write = kinds[item["op"]](*values)
    return made


def _is_hex(text: str, where: str, name: str) -> bool:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise click.UsageError(f"{where}: {name} is not an even number of hexadecimal digits") from None
    return True
