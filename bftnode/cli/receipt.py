"""`receipt`: proof that an entry is in the log, in a file, for anyone and for later."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from bftnode import verify_receipt
from bftnode.cli.cluster import Access, access_options
from bftnode.cli.entries import time_text
from bftnode.cli.errors import INTEGRITY, CommandFailed
from bftnode.cli.options import FILE, example, id_argument, json_option
from bftnode.cli.output import note, print_fields, print_json
from bftnode.client.client import Client
from bftnode.client.outcomes import ResultForgotten
from bftnode.node.home import write_new
from bftnode.protocol.receipts import write_receipt
from bftnode.protocol.tlog.proofs import parse_proof, write_proof

RECORD_BYTES_MAX = 1024 * 1024
"""A longer record is in no entry."""

SALT_FILE_BYTES_MAX = 1024
"""A longer file is no salt."""


@click.group(
    epilog=example(
        "bftnode receipt get 5fd9... --standard -o door.tlog-proof --home demo/client",
        "bftnode receipt verify door.tlog-proof --policy demo.policy",
    )
)
def receipt() -> None:
    """Get and verify receipts: proof that an entry is in the log, for anyone and for later."""


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
    try:
        verdict = verify_receipt.verify(
            _read(file, verify_receipt.RECEIPT_BYTES_MAX),
            _read(policy, verify_receipt.POLICY_BYTES_MAX),
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


def _read(path: Path, bytes_max: int) -> bytes:
    """At most one byte more than is allowed, so that what is too long is seen to be."""
    with path.open("rb") as file:
        return file.read(bytes_max + 1)
