"""`testnet`: a whole cluster's homes on one machine, to try things out."""

import socket
from contextlib import ExitStack
from pathlib import Path

import click

from bftnode.apps.registry import load_application
from bftnode.cli.options import DIRECTORY, example, json_option
from bftnode.cli.output import note, print_json, print_table
from bftnode.node.home import (
    Home,
    create_client_home,
    create_keys,
    install_genesis,
    publish_member,
)
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import ParametersFile, make_genesis
from bftnode.protocol.quorums import MEMBERS_MAX, MEMBERS_MIN

LOOPBACK = "127.0.0.1"


@click.command(
    epilog=example(
        "bftnode testnet --dir demo",
        "for i in 0 1 2 3; do bftnode run --home demo/node$i & done",
        "bftnode kv put color red --home demo/client",
    )
)
@click.option("--dir", "directory", type=DIRECTORY, required=True, metavar="DIR", help="The directory to make.")
@click.option("--nodes", type=click.IntRange(MEMBERS_MIN, MEMBERS_MAX), default=4, show_default=True, help="Members.")
@click.option("--application", default="kv", show_default=True, help="What the cluster replicates: kv or log.")
@click.option(
    "--base-port",
    type=click.IntRange(1, 65_535),
    help="The first of 2 consecutive ports a member. Default: ports that are free now.",
)
@json_option
def testnet(directory: Path, nodes: int, application: str, base_port: int | None, as_json: bool) -> None:
    """Make the homes of a whole cluster on this machine.

    DIR/node0, node1, ... are members on loopback; DIR/client is an administrator's home. All keys are in one place,
    so this is for trying out, not for use.
    """

    load_application(application)
    if directory.exists() and any(directory.iterdir()):
        raise Refused(Reason.CONFIGURATION, f"{directory} is not empty; a testnet is made in a new directory")
    if base_port is not None and base_port + 2 * nodes - 1 > 65_535:
        raise click.BadParameter(f"{2 * nodes} ports from {base_port} on go beyond 65535", param_hint="--base-port")
    ports = free_ports(2 * nodes) if base_port is None else list(range(base_port, base_port + 2 * nodes))
    # Members are ordered by public key: named after it, node0 is member 0, the primary of view 0.
    made = []
    for number in range(nodes):
        path = directory / f"new{number}"
        made.append((create_keys(path, "testnet"), path))
    members, homes = [], []
    for number, (identity, path) in enumerate(sorted(made, key=lambda pair: pair[0].public_key)):
        home = Home(path.rename(directory / f"node{number}"))
        peer, client = (f"{LOOPBACK}:{port}" for port in ports[2 * number : 2 * number + 2])
        members.append(publish_member(home, identity, f"node{number}", peer, client))
        homes.append(home)
    client_home = Home(directory / "client")
    administrator = create_client_home(client_home.path, None).hex()
    genesis = make_genesis("testnet", application, [administrator], members, ParametersFile())
    for home in (*homes, client_home):
        install_genesis(home, genesis)
    if as_json:
        print_json(
            {
                "chain_id": genesis.chain_id().hex(),
                "client_home": str(client_home.path),
                "members": [
                    {
                        "name": member.name,
                        "home": str(home.path),
                        "peer_address": member.peer_address,
                        "client_address": member.client_address,
                    }
                    for member, home in zip(members, homes, strict=True)
                ],
            }
        )
        return
    rows = [
        (member.name, home.path, member.peer_address, member.client_address)
        for member, home in zip(members, homes, strict=True)
    ]
    print_table(["member", "home", "peers", "clients"], [*rows, ("(client)", client_home.path, "", "")])
    note(f"next: for i in $(seq 0 {nodes - 1}); do bftnode run --home {directory}/node$i & done")
    note(f"      bftnode status --home {client_home.path}")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now. Someone may take one before the members do; then make anew."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return sorted(one.getsockname()[1] for one in sockets)
