"""What the command line prints: JSON for machines, tables and lines for people, notes beside them.

Nothing that came from a file, a peer or a client reaches a terminal with its control characters (faults.md A19).
Without a terminal, or with NO_COLOR, there is no decoration.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click


def printable(text: str) -> str:
    """`text` on one line, everything that is no printable character escaped."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


def shown(data: bytes) -> str:
    """Bytes for people: their text if they are UTF-8, else 0x and hexadecimal digits."""
    try:
        return printable(data.decode("utf-8"))
    except UnicodeDecodeError:
        return "0x" + data.hex()


def json_bytes(**fields: bytes | None) -> dict[str, str | None]:
    """Bytes for machines: all fields as text, or all in hexadecimal digits; "encoding" says which."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        texts = {name: value.decode("utf-8") for name, value in given.items()}
        encoding = "utf-8"
    except UnicodeDecodeError:
        texts = {name: value.hex() for name, value in given.items()}
        encoding = "hex"
    return {**{name: texts.get(name) for name in fields}, "encoding": encoding}


def print_json(value: Any) -> None:
    """One object on one line of standard output. ASCII only, so no terminal is in danger."""
    click.echo(json.dumps(value, separators=(", ", ": ")))


def print_line(text: str = "") -> None:
    """A line of data."""
    click.echo(printable(text))


def note(text: str) -> None:
    """A line for people, on standard error."""
    click.echo(printable(text), err=True)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """`name  value` lines, aligned."""
    rows = [(name, str(value)) for name, value in fields]
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print_line(f"{name.ljust(width)}  {value}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table: drawn on a terminal, aligned columns elsewhere."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if decorated():
        from rich.console import Console  # noqa: PLC0415  # costs 30 ms, which only a table is worth
        from rich.table import Table  # noqa: PLC0415  # as above
        from rich.text import Text  # noqa: PLC0415  # as above

        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[place]) for row in [list(columns), *cells]) for place in range(len(columns))]
    for row in [list(columns), *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def decorated() -> bool:
    """Whether standard output is a terminal that wants colours and frames."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
