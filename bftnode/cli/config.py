"""`config`: is it right, what is it, whence, and what could it be."""

import os
from pathlib import Path

import click
import msgspec

from bftnode.apps.registry import load_application
from bftnode.cli.homes import the_home
from bftnode.cli.options import example, home_option, json_option, set_option
from bftnode.cli.output import print_fields, print_json, print_line
from bftnode.node.config import default_toml
from bftnode.node.home import my_index
from bftnode.protocol.errors import Reason, Refused
from bftnode.storage.directory import VERSION_NAME, check_identity, identity_of
from bftnode.storage.records import SCHEMA, Identity


@click.group(epilog=example("bftnode config check --home /srv/bftnode"))
def config() -> None:
    """Check, show and document the configuration."""


@config.command(epilog=example("bftnode config check --home /srv/bftnode"))
@home_option
@set_option
@json_option
def check(home: Path | None, flags: dict[str, str], as_json: bool) -> None:
    """Check a whole member's home without starting it: configuration, genesis, keys, permissions, data.

    Exit code 78 and one line about the first thing that is wrong.
    """

    target = the_home(home)
    settings = target.load_config(os.environ, flags).config
    genesis = target.load_genesis()
    identity = target.load_identity()
    index = my_index(genesis, identity)
    name = genesis.members[index].name
    if settings.node.name not in (None, name):
        raise Refused(
            Reason.CONFIGURATION, f"{target.config_path}: node.name is {settings.node.name}, the genesis says {name}"
        )
    load_application(genesis.application)
    if (target.data_path / VERSION_NAME).exists():
        expected = Identity(SCHEMA, genesis.chain_id(), index, identity.public_key)
        check_identity(identity_of(target.data_path), expected)
    fields = {"home": str(target.path), "member": index, "name": name, "chain_id": genesis.chain_id().hex()}
    if as_json:
        print_json({"ok": True, **fields})
    else:
        print_fields([("ok", "nothing is wrong"), *fields.items()])


@config.command(epilog=example("bftnode config show --home /srv/bftnode --origin"))
@home_option
@set_option
@click.option("--origin", is_flag=True, help="Also say where each value is from.")
@json_option
def show(home: Path | None, flags: dict[str, str], origin: bool, as_json: bool) -> None:
    """Show the configuration in force: flags, environment, file and defaults together."""

    loaded = the_home(home).load_config(os.environ, flags)
    values = msgspec.to_builtins(loaded.config)
    if as_json:
        print_json({"config": values, "origins": loaded.origins} if origin else {"config": values})
        return
    for section, table in values.items():
        print_line(f"[{section}]")
        for key, value in table.items():
            text = f'"{value}"' if isinstance(value, str) else "(from the genesis)" if value is None else str(value)
            whence = f"  # {loaded.origins[f'{section}.{key}']}" if origin else ""
            print_line(f"{key} = {text}{whence}")


@config.command(epilog=example("bftnode config defaults > node.toml"))
def defaults() -> None:
    """Print a node.toml with every key, its meaning, its range and its default."""

    click.echo(default_toml(), nl=False)
