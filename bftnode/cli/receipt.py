"""`receipt`: proof that an entry is in the log, in a file, for anyone and for later."""

from pathlib import Path

import click

from bftnode import verify_receipt
from bftnode.cli.entries import time_text
from bftnode.cli.errors import INTEGRITY, CommandFailed
from bftnode.cli.options import FILE, example, json_option
from bftnode.cli.output import print_fields, print_json

RECORD_BYTES_MAX = 1024 * 1024
"""A longer record is in no entry."""


@click.group(
    epilog=example(
        "bftnode receipt verify door.tlog-proof --policy demo.policy",
    )
)
def receipt() -> None:
    """Verify receipts: proof that an entry is in the log, offline."""


@receipt.command(
    epilog=example(
        "bftnode receipt verify door.tlog-proof --policy demo.policy --record door.txt",
        "bftnode receipt verify door.receipt --policy demo.policy --json",
    )
)
@click.argument("file", type=FILE)
@click.option("--policy", type=FILE, required=True, help="What is believed: `bftnode genesis policy` writes it.")
@click.option("--record", type=FILE, help="What the receipt is to be for: the record, the operation or the entry.")
@json_option
def verify(file: Path, policy: Path, record: Path | None, as_json: bool) -> None:
    """Verify a receipt, offline: quick ones and .tlog-proof files.

    Believes nothing but the policy. The same as `python -m bftnode.verify_receipt`, which is one file that stands
    alone. Exit code 5 and what is wrong, if it is not proved.
    """
    try:
        verdict = verify_receipt.verify(
            _read(file, verify_receipt.RECEIPT_BYTES_MAX),
            _read(policy, verify_receipt.POLICY_BYTES_MAX),
            None if record is None else _read(record, RECORD_BYTES_MAX),
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
