"""`completion` and `version`."""

import platform
from importlib.metadata import version as version_of

import click
from click.shell_completion import get_completion_class

import bftnode
from bftnode.cli.options import example, json_option
from bftnode.cli.output import print_fields, print_json

STANDS_ON = ("trio", "msgpack", "msgspec", "PyNaCl", "lmdb", "cryptography")


@click.command(
    epilog=example(
        'eval "$(bftnode completion bash)"', "bftnode completion fish > ~/.config/fish/completions/bftnode.fish"
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells of the choice"
    click.echo(kind(ctx.find_root().command, {}, "bftnode", "_BFTNODE_COMPLETE").source())


@click.command(epilog=example("bftnode version --json"))
@json_option
def version(as_json: bool) -> None:
    """Print the versions of bftnode and of what it stands on."""
    versions = {"bftnode": bftnode.__version__, "python": platform.python_version()}
    versions.update((name.lower(), version_of(name)) for name in STANDS_ON)
    if as_json:
        print_json(versions)
    else:
        print_fields(versions.items())
