"""`tx`: transactions by their bytes and ids, whatever the application."""

from typing import Any

import click

from bftnode.cli.cluster import Access, access_options
from bftnode.cli.errors import FAILURE, CommandFailed
from bftnode.cli.options import example, hex_arguments, id_argument
from bftnode.cli.output import print_fields, print_json, shown
from bftnode.client.operations import application_operation
from bftnode.client.outcomes import OutcomeUnknown, ResultForgotten
from bftnode.protocol.results import TransactionResult

GET_TIMEOUT_S = 3.0
"""What was executed is answered at once; a member that does not answer in so long does not know it."""


@click.group(epilog=example("bftnode tx wait 5fd9... --home demo/client"))
def tx() -> None:
    """Submit transactions, wait for them, look them up."""


@tx.command(
    epilog=example("bftnode tx submit $(bftnode kv put a 1 --print) $(bftnode kv delete b --print) --home demo/client")
)
@click.argument("operations", nargs=-1, required=True, metavar="HEX...", callback=hex_arguments)
@access_options
def submit(access: Access, operations: tuple[bytes, ...], as_json: bool) -> None:
    """Submit one envelope of the application's operations and wait until it is executed.

    The operations are in hexadecimal digits, as `kv ... --print` and `log append ... --print` give them. They are
    applied in order, each with its own result. The transaction's id is noted on standard error before it is sent.
    """
    _print(access.submit(*(application_operation(operation) for operation in operations)), as_json)


@tx.command(epilog=example("bftnode tx wait 5fd9... --timeout 60 --home demo/client"))
@click.argument("transaction", metavar="ID", callback=id_argument)
@access_options
def wait(access: Access, transaction: bytes, as_json: bool) -> None:
    """Wait until a transaction is executed, whoever sent it. Exit code 7 when that is not known in time."""
    _print(access.run(lambda client: client.wait(transaction)), as_json)


@tx.command(epilog=example("bftnode tx get 5fd9... --home demo/client --json"))
@click.argument("transaction", metavar="ID", callback=id_argument)
@access_options
def get(access: Access, transaction: bytes, as_json: bool) -> None:
    """Look a transaction up: its place in the log and its results, if it was executed."""
    try:
        result = access.run(lambda client: client.wait(transaction, min(GET_TIMEOUT_S, access.timeout_s)))
    except ResultForgotten as forgotten:
        result = TransactionResult(transaction, forgotten.seq, forgotten.log_index, "result_forgotten", ())
    except OutcomeUnknown as unknown:
        raise CommandFailed(
            f"{transaction.hex()} is not known to be executed: {unknown.detail}",
            "not_found",
            f"bftnode tx wait {transaction.hex()}",
            FAILURE,
        ) from None
    _print(result, as_json)


def _print(result: TransactionResult, as_json: bool) -> None:
    if as_json:
        print_json(transaction_json(result))
        return
    print_fields(
        [
            ("transaction", result.transaction.hex()),
            ("block", result.seq),
            ("log index", result.index),
            ("outcome", result.code or "executed"),
            *((f"result {i}", one.code or shown(one.value)) for i, one in enumerate(result.results)),
        ]
    )


def transaction_json(result: TransactionResult) -> dict[str, Any]:
    return {
        "transaction": result.transaction.hex(),
        "seq": result.seq,
        "index": result.index,
        "code": result.code,
        "results": [{"code": one.code, "value": one.value.hex()} for one in result.results],
    }
