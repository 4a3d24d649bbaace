"""`receipt`: proof that an entry is in the log, in a file, for anyone and for later."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click

from bftnode import verify_receipt
from bftnode.cli.cluster import Access, access_options, members_named, reached
from bftnode.cli.entries import time_text
from bftnode.cli.errors import INTEGRITY, NOT_READY, CommandFailed
from bftnode.cli.options import FILE, example, id_argument, json_option
from bftnode.cli.output import note, print_fields, print_json, print_line
from bftnode.client.client import Client
from bftnode.client.outcomes import ResultForgotten
from bftnode.node.home import write_new
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import leaf_hash, verify_inclusion
from bftnode.protocol.receipts import write_receipt
from bftnode.protocol.tlog.policy import write_policy
from bftnode.protocol.tlog.proofs import parse_proof, write_proof

RECORD_BYTES_MAX = 1024 * 1024
"""A longer record is in no entry."""

SALT_FILE_BYTES_MAX = 1024
"""A longer file is no salt."""


@click.group(
    epilog=example(
        "bftnode receipt get 5fd9... --standard -o door.tlog-proof --home demo/client",
        "bftnode receipt verify door.tlog-proof --policy demo.policy",
        "bftnode receipt compare door.tlog-proof --home demo/client",
    )
)
def receipt() -> None:
    """Get, verify and compare receipts: proof that an entry is in the log, for anyone and for later."""


@receipt.command(
    epilog=example(
        "bftnode receipt get 5fd9... -o door.receipt --home demo/client",
        "bftnode receipt get 5fd9... --standard -o door.tlog-proof --home demo/client",
    )
)
@click.argument("transaction", metavar="ID", callback=id_argument)
@click.option("--standard", is_flag=True, help="A .tlog-proof (C2SP), once a checkpoint covers the entry.")
@click.option("-o", "--out", type=FILE, help="The file to make. Default: standard output.")
@click.option("--without-entry", is_flag=True, help="Leave the entry out: it is kept, and shown, elsewhere.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="With --standard: for a checkpoint that covers it; one comes every second or two.",
)
@access_options
def get(
    access: Access,
    transaction: bytes,
    standard: bool,
    out: Path | None,
    without_entry: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Get the receipt of a transaction, by its id. It is checked before it is written.

    The quick one holds at once: the votes of a quorum. The standard one is what other people's tools read: a checkpoint
    that one member signed and a quorum cosigned. Either has the entry in it, so that the file alone can be verified.
    """
    made = access.run(lambda client: _made(client, transaction, standard, without_entry, wait_s))
    if out is None:
        sys.stdout.buffer.write(made)
        return
    write_new(out, made.decode("utf-8"))
    if as_json:
        print_json({"file": str(out), "kind": "standard" if standard else "quick", "bytes": len(made)})
    else:
        note(f"the receipt is in {out}; `bftnode receipt verify {out} --policy FILE` checks it")


async def _made(client: Client, transaction: bytes, standard: bool, without_entry: bool, wait_s: float) -> bytes:
    """Raises Refused, OutcomeUnknown."""
    index = await log_index_of(client, transaction)
    if standard:
        raw = await client.standard_receipt(index, wait_s=wait_s)
        return write_proof(replace(parse_proof(raw), extra=None)) if without_entry else raw
    proven = await client.receipt(index)
    return write_receipt(proven.receipt, None if without_entry else proven.entry.envelope)


async def log_index_of(client: Client, transaction: bytes) -> int:
    """Where an envelope stands in the log. Raises Refused, OutcomeUnknown."""
    try:
        return (await client.wait(transaction)).index
    except ResultForgotten as forgotten:
        return forgotten.log_index


@receipt.command(
    epilog=example(
        "bftnode receipt verify door.tlog-proof --policy demo.policy --record door.txt",
        "bftnode receipt verify door.receipt --policy demo.policy --json",
    )
)
@click.argument("file", type=FILE)
@click.option("--policy", type=FILE, required=True, help="What is believed: `bftnode genesis policy` writes it.")
@click.option("--record", type=FILE, help="What the receipt is to be for: the record, the operation or the entry.")
@click.option("--salt", type=FILE, help="The record is private: the file with the salt that opens its commitment.")
@json_option
def verify(file: Path, policy: Path, record: Path | None, salt: Path | None, as_json: bool) -> None:
    """Verify a receipt, offline: quick ones and .tlog-proof files.

    Believes nothing but the policy. The same as `python -m bftnode.verify_receipt`, which is one file that stands
    alone. Exit code 5 and what is wrong, if it is not proved.
    """
    verdict = _proved(file, _read(policy, verify_receipt.POLICY_BYTES_MAX), record, salt)
    if as_json:
        print_json(verify_receipt.as_json(verdict))
        return
    standard = verdict.kind == verify_receipt.PROOF
    print_fields(
        [
            ("receipt", "valid"),
            ("log", verdict.log),
            ("entry", verdict.index),
            ("log size", verdict.size),
            ("log root", verdict.root.hex()),
            ("written by", verdict.client.hex() if verdict.client is not None else "nobody that is known"),
            *(
                ("cosigned by" if standard else "committed by", f"{name}, {time_text(when * 1000)}")
                for name, when in verdict.signers.items()
            ),
        ]
    )


def _proved(file: Path, policy: bytes, record: Path | None, salt: Path | None) -> verify_receipt.Verdict:
    """Raises CommandFailed, exit code 5."""
    try:
        return verify_receipt.verify(
            _read(file, verify_receipt.RECEIPT_BYTES_MAX),
            policy,
            None if record is None else _read(record, RECORD_BYTES_MAX),
            None if salt is None else _read(salt, SALT_FILE_BYTES_MAX),
        )
    except verify_receipt.NotProved as error:
        raise CommandFailed(
            f"{file} is not proved: {error}",
            "receipt.invalid",
            "docs/receipts.md says what a receipt has to hold; keep the file as it is",
            INTEGRITY,
        ) from None


@receipt.command(
    epilog=example(
        "bftnode receipt compare door.tlog-proof --home demo/client",
        "bftnode receipt compare door.receipt --node node3 --home demo/client --json",
    )
)
@click.argument("file", type=FILE)
@click.option("--node", "nodes", multiple=True, help="Ask this member only, by name; may be repeated. Default: all.")
@access_options
def compare(access: Access, file: Path, nodes: tuple[str, ...], as_json: bool) -> None:
    """Ask each member whether its log has what a receipt proves.

    The receipt is verified first, with the genesis. Believes no member: each has to show the entry, and to prove it in
    the very log that the receipt is of. Exit code 5 if one shows another log: it was changed after a quorum signed it.
    3 if that is not so, but one does not show it now.
    """
    genesis = access.genesis()
    following = members_named(genesis, nodes)
    verdict = _proved(file, write_policy(genesis.policy()).encode("ascii"), None, None)

    async def work(client: Client) -> list[_Shown]:
        await reached(client, following, access.timeout_s)
        return [await _shown(client, member, verdict) for member in following]

    shown = access.run(work, remembering=False)
    for member, one in zip(following, shown, strict=True):
        if as_json:
            name = genesis.members[member].name
            print_json({"node": name, "index": verdict.index, "size": verdict.size, "same": one.same, "says": one.says})
        else:
            print_line(f"{genesis.members[member].name}: {one.says}")
    others = [genesis.members[member].name for member, one in zip(following, shown, strict=True) if one.same is False]
    if others:
        raise CommandFailed(
            f"another log than the one of {file}: {', '.join(others)}",
            Reason.INTEGRITY,
            "keep the receipt; `bftnode log verify` on that member's data finds what was changed",
            INTEGRITY,
        )
    if not all(one.same for one in shown):
        raise CommandFailed(
            "not every member that was asked shows the entry now",
            Reason.NOT_READY,
            "`bftnode status` shows who answers, and how far they are",
            NOT_READY,
        )


class _Shown(NamedTuple):
    """Of one member. `same`: its log has the entry; None: that cannot be said now."""

    same: bool | None
    says: str


async def _shown(client: Client, member: int, verdict: verify_receipt.Verdict) -> _Shown:
    """Whether the member proves the receipt's entry in the receipt's log."""
    index, size = verdict.index, verdict.size
    try:
        entry, path = await client.entry_of(member, index, size)
    except Refused as refused:
        return _Shown(None, f"does not show entry {index} in a log of {size} entries now: {refused.detail}")
    if entry.envelope != verdict.entry:
        return _Shown(False, f"shows another entry {index} than the receipt proves")
    if not verify_inclusion(leaf_hash(entry.envelope), index, size, path, verdict.root):
        return _Shown(False, f"shows entry {index}, and cannot prove it in the log of {size} entries of the receipt")
    return _Shown(True, f"has entry {index}, and proves it in the log of {size} entries of the receipt")


def _read(path: Path, bytes_max: int) -> bytes:
    """At most one byte more than is allowed, so that what is too long is seen to be."""
    with path.open("rb") as file:
        return file.read(bytes_max + 1)
