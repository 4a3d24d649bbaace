"""`init` and `keygen`: keys are made where they are used, and never leave that machine."""

from pathlib import Path

import click

from bftnode.cli.options import DIRECTORY, FILE, example, json_option
from bftnode.cli.output import note, print_fields, print_json
from bftnode.node.home import Home, create_home
from bftnode.node.identity import create_client_key


@click.command(
    epilog=example(
        "bftnode init --home /srv/bftnode --name org-1 --peer org1.example:7000 --client org1.example:7001",
        "# then hand /srv/bftnode/member.toml to whoever assembles the genesis",
    )
)
@click.option(
    "--home", type=DIRECTORY, required=True, envvar="BFTNODE_HOME", metavar="DIR", help="The directory to make."
)
@click.option("--name", required=True, help="The member's name: a-z, 0-9 and -.")
@click.option("--peer", required=True, metavar="HOST:PORT", help="Where the other members reach it.")
@click.option("--client", "client_", required=True, metavar="HOST:PORT", help="Where clients reach it.")
@json_option
def init(home: Path, name: str, peer: str, client_: str, as_json: bool) -> None:
    """Make a member's home: keys, configuration, directories.

    The directory must be new or empty. member.toml in it is the public part, safe to publish.
    """

    member = create_home(home, name, peer, client_)
    made = Home(home)
    fields = {
        "name": member.name,
        "public_key": member.public_key,
        "member_file": str(made.member_path),
        "home": str(home),
    }
    if as_json:
        print_json(fields)
    else:
        print_fields(fields.items())
    note(f"next: send {made.member_path} to whoever assembles the genesis, then")
    note(f"      bftnode genesis install GENESIS --home {home}")


@click.command(epilog=example("bftnode keygen --out admin.key"))
@click.option(
    "--out", type=FILE, required=True, metavar="FILE", help="The file to make (mode 0600); never overwritten."
)
@json_option
def keygen(out: Path, as_json: bool) -> None:
    """Make a client's or administrator's key file.

    Prints the public key: what `genesis create --admin` and `client admit` take. The file itself is the secret.
    """

    public_key = create_client_key(out).hex()
    if as_json:
        print_json({"public_key": public_key, "key_file": str(out)})
    else:
        click.echo(public_key)
