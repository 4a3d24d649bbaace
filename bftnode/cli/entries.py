"""Entries of the log as they are shown and exported: one envelope, opened, with what its operations say."""

import datetime
from typing import Any

from bftnode.apps import kv, log
from bftnode.apps.execution import ADMIT, open_system_operation
from bftnode.cli.output import shown
from bftnode.client.operations import BARRIER
from bftnode.protocol.client_messages import Entry
from bftnode.protocol.errors import Refused
from bftnode.protocol.nonces import ADMINISTRATOR
from bftnode.protocol.transactions import open_transaction

SUMMARY_CHARACTERS_MAX = 60
"""What is shown of a key, value or record in a line for people; --json has all of it."""


def entry_json(entry: Entry, chain_id: bytes) -> dict[str, Any]:
    """Everything, stable: the envelope's bytes let anyone check its signature and its leaf."""
    transaction = open_transaction(entry.envelope, chain_id)
    body = transaction.body
    return {
        "index": entry.index,
        "seq": entry.seq,
        "time_ms": entry.time_ms,
        "transaction": transaction.id.hex(),
        "client": body.client.hex(),
        "nonce": body.nonce,
        "valid_until": body.valid_until,
        "operations": [operation.hex() for operation in body.operations],
        "envelope": entry.envelope.hex(),
    }


def entry_line(entry: Entry, chain_id: bytes, application: str) -> str:
    """One line for people."""
    body = open_transaction(entry.envelope, chain_id).body
    first = describe(body.operations[0], application)
    more = f" (+{len(body.operations) - 1} operations)" if len(body.operations) > 1 else ""
    return f"{entry.index}\t{entry.seq}\t{time_text(entry.time_ms)}\t{body.client.hex()[:16]}\t{first}{more}"


def time_text(time_ms: int) -> str:
    """An agreed time in UTC; as a number where a calendar has no name for it."""
    try:
        moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return str(time_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"


def describe(operation: bytes, application: str) -> str:
    """What an operation asks for, in words. What cannot be read is named so: it is in the log all the same."""
    if operation == BARRIER:
        return "barrier of a linearizable read"
    try:
        if operation[:1] != b"\x01":
            system = open_system_operation(operation)
            who = system.client.hex()[:16]
            if system.action != ADMIT:
                return f"remove client {who}"
            return f"admit {'administrator' if system.role == ADMINISTRATOR else 'client'} {who}"
        if application == "kv":
            return _describe_kv(kv.open_operation(operation[1:]))
        if application == "log":
            return _describe_log(log.open_operation(operation[1:]))
    except Refused:
        return f"unreadable operation of {len(operation)} bytes"
    return f"operation of {len(operation)} bytes"


def _describe_kv(operation: kv.Operation) -> str:
    match operation:
        case kv.Put():
            return f"put {_short(operation.key)} {_short(operation.value)}"
        case kv.Get():
            return f"get {_short(operation.key)}"
        case kv.Delete():
            return f"delete {_short(operation.key)}"
        case kv.CompareAndSwap():
            return f"cas {_short(operation.key)}"
        case kv.Scan():
            return f"scan {_short(operation.prefix)}"
        case kv.Batch():
            return f"batch of {len(operation.writes)} writes"


def _describe_log(operation: log.Operation) -> str:
    match operation:
        case log.Append():
            return f"append {_short(operation.data)}"
        case log.Commit():
            return f"append private {operation.commitment.hex()[:16]}"
        case log.Erase():
            return f"erase record {operation.index}"


def _short(data: bytes) -> str:
    text = shown(data[: 4 * SUMMARY_CHARACTERS_MAX])
    return text if len(text) <= SUMMARY_CHARACTERS_MAX else text[: SUMMARY_CHARACTERS_MAX - 3] + "..."
