"""What is printed: stable for machines, harmless for terminals, plain where nobody looks at colours."""

import json
import os
import pty
import subprocess
import sys

import pytest

from bftnode.apps import kv, log
from bftnode.cli.entries import describe, entry_json, entry_line, time_text
from bftnode.cli.output import json_bytes, print_table, printable, shown
from bftnode.client.operations import BARRIER, admit_client, application_operation, remove_client
from bftnode.protocol.client_messages import Entry
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.nonces import ADMINISTRATOR
from bftnode.protocol.transactions import TransactionBody, open_transaction, sign_transaction

CHAIN = bytes(range(32))
SEED = bytes(31) + b"\x07"
EVIL = b'\x1b]0;owned\x07\r\n{"index": 0}\tx'


def entry(*operations: bytes) -> Entry:
    body = TransactionBody(CHAIN, public_key_of(SEED), 3, 100, operations)
    return Entry(7, 5, 1_700_000_000_123, sign_transaction(body, signer(SEED)).raw)


@pytest.mark.covers("A19")
@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202eevil", "\x9b1m", "\ud800", "\x00"])
def test_printable_is_one_harmless_line(text: str) -> None:
    """Controls, bidirectional overrides, lone surrogates: escaped."""
    assert printable(text).isprintable()
    printable(text).encode("utf-8")


def test_printable_leaves_people_their_letters() -> None:
    """Escaping is for what is not printable only."""
    assert printable("größe 東京 \\ ok") == "größe 東京 \\ ok"


def test_bytes_are_shown_as_text_where_they_are_text() -> None:
    """Otherwise in hexadecimal digits; JSON says which."""
    assert shown(b"abc") == "abc"
    assert shown(b"\xff") == "0xff"
    assert json_bytes(key=b"a", value=None) == {"key": "a", "value": None, "encoding": "utf-8"}
    assert json_bytes(key=b"a", value=b"\xff") == {"key": "61", "value": "ff", "encoding": "hex"}


@pytest.mark.covers("A19")
def test_a_clients_bytes_cannot_forge_lines() -> None:
    """Keys, values and records stand in one line, escaped; in JSON they are digits."""
    for application, operation in (
        ("kv", kv.put(EVIL, EVIL)),
        ("kv", kv.delete(EVIL)),
        ("log", log.append(EVIL)),
        ("other", EVIL),
    ):
        one = entry(application_operation(operation))
        line = entry_line(one, CHAIN, application)
        assert line.count("\t") == 4
        assert line.replace("\t", "").isprintable()
        assert json.dumps(entry_json(one, CHAIN)).isascii()


def test_an_exported_entry_can_be_checked() -> None:
    """The envelope is there as it was signed; the rest is what it says."""
    one = entry(application_operation(kv.get(b"a")), application_operation(kv.get(b"b")))
    fields = entry_json(one, CHAIN)
    transaction = open_transaction(bytes.fromhex(fields["envelope"]), CHAIN)
    assert fields["transaction"] == transaction.id.hex()
    assert [bytes.fromhex(item) for item in fields["operations"]] == list(transaction.body.operations)
    assert {"index", "seq", "time_ms", "client", "nonce", "valid_until"} <= set(fields)
    assert entry_line(one, CHAIN, "kv") == (
        f"7\t5\t2023-11-14T22:13:20.123Z\t{public_key_of(SEED).hex()[:16]}\tget a (+1 operations)"
    )


@pytest.mark.parametrize(
    ("operation", "application", "words"),
    [
        (application_operation(kv.put(b"a", b"1")), "kv", "put a 1"),
        (application_operation(kv.delete(b"a")), "kv", "delete a"),
        (application_operation(kv.compare_and_swap(b"a", None, b"1")), "kv", "cas a"),
        (application_operation(kv.scan(b"a")), "kv", "scan a"),
        (application_operation(kv.batch([kv.Put(b"a", b"1")])), "kv", "batch of 1 writes"),
        (application_operation(log.append(b"x" * 100)), "log", f"append {'x' * 57}..."),
        (application_operation(b"??"), "kv", "unreadable operation of 3 bytes"),
        (application_operation(b"??"), "sql", "operation of 3 bytes"),
        (b"", "kv", "unreadable operation of 0 bytes"),
        (
            admit_client(public_key_of(SEED), ADMINISTRATOR),
            "kv",
            f"admit administrator {public_key_of(SEED).hex()[:16]}",
        ),
        (remove_client(public_key_of(SEED)), "kv", f"remove client {public_key_of(SEED).hex()[:16]}"),
        (BARRIER, "kv", "barrier of a linearizable read"),
    ],
)
def test_operations_in_words(operation: bytes, application: str, words: str) -> None:
    """What cannot be read is said to be so: whatever is in the log can be shown."""
    assert describe(operation, application) == words


def test_times_beyond_the_calendar_are_numbers() -> None:
    """An agreed time is any integer of 63 bits."""
    assert time_text(0) == "1970-01-01T00:00:00.000Z"
    assert time_text(2**63 - 1) == str(2**63 - 1)


@pytest.mark.covers("A19")
def test_tables_are_plain_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are aligned, cells are escaped, nothing is drawn."""
    print_table(["name", "state"], [("a", "ok"), ("longer", "\x1b[31mbad\n")])
    assert capsys.readouterr().out == "name    state\na       ok\nlonger  \\x1b[31mbad\\n\n"


@pytest.mark.parametrize(("variable", "decorated"), [(None, True), ("1", False)])
def test_no_color_is_respected_on_a_terminal(variable: str | None, decorated: bool) -> None:
    """On a real terminal there is emphasis, with NO_COLOR none. Columns are never cut."""
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"}
    if variable is not None:
        environment["NO_COLOR"] = variable
    ours, theirs = pty.openpty()
    script = "from bftnode.cli.output import print_table; print_table(['name'], [('[red]a[/red]',)])"
    subprocess.run([sys.executable, "-c", script], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    printed = os.read(ours, 4096).decode()
    os.close(ours)
    assert ("\x1b[" in printed) == decorated
    assert "[red]a[/red]" in printed, "cells are no markup"
