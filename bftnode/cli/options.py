"""Options that many commands share, so that they are spelt and explained alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)


def home_option(function: F) -> F:
    return click.option(
        "--home", type=DIRECTORY, metavar="DIR", help="The home to use. Default: the variable BFTNODE_HOME."
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON: one object a line, stable field names.")(
        function
    )


def set_option(function: F) -> F:
    return click.option(
        "--set",
        "flags",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        callback=_pairs,
        help="Override one value of the configuration. May be repeated.",
    )(function)


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not SECTION.KEY=VALUE")
        pairs[name] = text
    return pairs


def id_argument(_: click.Context, __: click.Parameter, value: str) -> bytes:
    """A hash or public key: 64 hexadecimal digits."""
    data = _from_hex(value)
    if data is None or len(data) != 32:
        raise click.BadParameter(f"{value!r} is not 64 hexadecimal digits")
    return data


def hex_arguments(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[bytes, ...]:
    """Bytes as hexadecimal digits, any number of them."""
    items = []
    for value in values:
        data = _from_hex(value)
        if data is None:
            raise click.BadParameter(f"{value!r} is not an even number of hexadecimal digits")
        items.append(data)
    return tuple(items)


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def example(*lines: str) -> str:
    """An epilog: what to type."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
