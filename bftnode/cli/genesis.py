"""`genesis`: the one file that says who the members are, from its parts to every home."""

from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from bftnode.apps.registry import installed_applications
from bftnode.cli.homes import the_home
from bftnode.cli.options import FILE, example, home_option, json_option
from bftnode.cli.output import note, print_fields, print_json, print_line, print_table
from bftnode.node.home import install_genesis, load_genesis, read_text, write_new
from bftnode.protocol.ed25519 import check_public_key
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import (
    CosignatureKind,
    Genesis,
    Name,
    ParametersFile,
    certificate_pin,
    make_genesis,
    parse_member,
    write_genesis,
)
from bftnode.protocol.tlog.policy import write_policy

MEMBER_BYTES_MAX = 64 * 1024


@click.group(
    epilog=example("bftnode genesis create --name demo --admin $(bftnode keygen --out admin.key) org-*/member.toml")
)
def genesis() -> None:
    """Assemble, install and show the file that says who the members are."""


@genesis.command(
    epilog=example(
        "bftnode genesis create --name demo --application kv --admin HEX --member org-*/member.toml --out genesis.toml"
    )
)
@click.option("--name", required=True, help="The cluster's name: a-z, 0-9 and -.")
@click.option("--application", default="kv", show_default=True, help="What the cluster replicates.")
@click.option(
    "--admin", "admins", multiple=True, required=True, metavar="HEX", help="A first administrator's public key."
)
@click.option("--member", "members", multiple=True, type=FILE, metavar="FILE", help="A member.toml. May be repeated.")
@click.argument("more", nargs=-1, type=FILE, metavar="[FILE]...")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="NAME=NUMBER", help="What all must agree on; see genesis show."
)
@click.option(
    "--cosignature",
    "cosignatures",
    multiple=True,
    type=click.Choice(get_args(CosignatureKind)),
    default=("ed25519",),
    show_default=True,
    help="How members cosign checkpoints; twice: both. ml-dsa-44 survives quantum computers.",
)
@click.option("--out", type=FILE, default=Path("genesis.toml"), show_default=True, help="The file to make.")
@json_option
def create(
    name: str,
    application: str,
    admins: tuple[str, ...],
    members: tuple[Path, ...],
    more: tuple[Path, ...],
    parameters: tuple[str, ...],
    cosignatures: tuple[CosignatureKind, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Assemble a genesis from the members' public parts.

    A cluster of 3f+1 members tolerates f that lie: 4 for one, 7 for two. Every member must get the same file;
    compare the chain id over another channel.
    """

    parts = []
    for path in (*members, *more):
        try:
            parts.append(parse_member(read_text(path, MEMBER_BYTES_MAX)))
        except Refused as refused:
            raise Refused(refused.reason, f"{path}: {refused.detail.removeprefix(f'{path}: ')}") from None
    for word, what in ((name, "--name"), (application, "--application")):
        _check_word(word, what)
    for key in admins:
        _check_key(key)
    made = make_genesis(name, application, list(admins), parts, _parameters(parameters), cosignatures)
    write_new(out, write_genesis(made))
    if application not in installed_applications():
        note(f"note: no application {application!r} is installed here; the members need it")
    _print(made, as_json, out)


@genesis.command(epilog=example("bftnode genesis install genesis.toml --home /srv/bftnode"))
@click.argument("file", type=FILE)
@home_option
@json_option
def install(file: Path, home: Path | None, as_json: bool) -> None:
    """Put a genesis into a home, after checking that the home's keys are in it."""

    target = the_home(home)
    read = load_genesis(file)
    install_genesis(target, read)
    _print(read, as_json, target.genesis_path)


@genesis.command(epilog=example("bftnode genesis show genesis.toml", "bftnode genesis show --home demo/node0 --json"))
@click.argument("file", type=FILE, required=False)
@home_option
@json_option
def show(file: Path | None, home: Path | None, as_json: bool) -> None:
    """Show a genesis: the chain id, what it tolerates, members, administrators, parameters."""

    path = file if file is not None else the_home(home).genesis_path
    _print(load_genesis(path), as_json, path)


@genesis.command(epilog=example("bftnode genesis policy genesis.toml > demo.policy"))
@click.argument("file", type=FILE, required=False)
@home_option
@json_option
def policy(file: Path | None, home: Path | None, as_json: bool) -> None:
    """Print the policy: what a stranger needs to check receipts of this cluster.

    A file in the format of c2sp.org/tlog-policy: the members' log keys, each member a witness, and a quorum of them.
    Whoever is given it should compare it over another channel: it is what receipts are believed by (docs/receipts.md).
    """

    read = load_genesis(file if file is not None else the_home(home).genesis_path)
    made = read.policy()
    if as_json:
        print_json(
            {
                "chain_id": read.chain_id().hex(),
                "origin": made.logs[0].key.name,
                "logs": [log.key.text for log in made.logs],
                "witnesses": {witness.name: witness.key.text for witness in made.witnesses},
                "groups": {group.name: [group.threshold, *group.members] for group in made.groups},
                "quorum": made.quorum,
            }
        )
        return
    click.echo(write_policy(made), nl=False)


def _check_word(word: str, what: str) -> None:

    try:
        msgspec.convert(word, Name)
    except msgspec.ValidationError:
        raise Refused(Reason.CONFIGURATION, f"{what} {word!r} is not made of a-z, 0-9 and -") from None


def _check_key(key: str) -> None:
    if len(key) != 64 or any(digit not in "0123456789abcdef" for digit in key):
        raise Refused(Reason.CONFIGURATION, f"--admin {key!r} is not a public key: 64 lower-case hexadecimal digits")
    try:
        check_public_key(bytes.fromhex(key))
    except Refused as refused:
        raise Refused(refused.reason, f"--admin {key}: {refused.detail}") from None


def _parameters(pairs: tuple[str, ...]) -> ParametersFile:
    known = [field.name for field in msgspec.structs.fields(ParametersFile)]
    values = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if name not in known or not text.isascii() or not text.isdigit():
            raise Refused(
                Reason.CONFIGURATION, f"--parameter {pair!r} is not NAME=NUMBER with a NAME of {', '.join(known)}"
            )
        values[name] = int(text)
    return ParametersFile(**values)


def _print(shown: Genesis, as_json: bool, path: Path) -> None:
    membership = shown.membership()
    if as_json:
        print_json(_as_json(shown, path))
        return
    print_fields(
        [
            ("file", path),
            ("cluster", shown.name),
            ("chain id", shown.chain_id().hex()),
            ("application", shown.application),
            ("cosignatures", ", ".join(shown.cosignatures)),
            ("members", f"{membership.n}: {membership.f} may be faulty, {membership.quorum} are a quorum"),
            *((f"parameters.{name}", value) for name, value in msgspec.structs.asdict(shown.parameters).items()),
            *(("administrator", key) for key in shown.administrators),
        ]
    )
    print_line()
    print_table(
        ["#", "name", "public key", "peers", "clients"],
        [
            (index, item.name, item.public_key, item.peer_address, item.client_address)
            for index, item in enumerate(shown.members)
        ],
    )


def _as_json(shown: Genesis, path: Path) -> dict[str, Any]:
    membership = shown.membership()
    return {
        "file": str(path),
        "name": shown.name,
        "chain_id": shown.chain_id().hex(),
        "application": shown.application,
        "cosignatures": shown.cosignatures,
        "n": membership.n,
        "f": membership.f,
        "quorum": membership.quorum,
        "administrators": shown.administrators,
        "parameters": msgspec.structs.asdict(shown.parameters),
        "members": [
            {
                "index": index,
                "name": item.name,
                "public_key": item.public_key,
                "log_key": item.log_key,
                "ml_dsa_key": item.ml_dsa_key,
                "certificate_sha256": certificate_pin(item.tls_certificate).hex(),
                "peer_address": item.peer_address,
                "client_address": item.client_address,
            }
            for index, item in enumerate(shown.members)
        ],
    }
