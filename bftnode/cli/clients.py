"""`client`: who may submit. Admission and removal are transactions like any other, signed by an administrator."""

from pathlib import Path

import click

from bftnode.apps.execution import CLIENT_PREFIX, Executor
from bftnode.apps.registry import load_application
from bftnode.cli.cluster import Access, access_options, refused_by
from bftnode.cli.errors import FAILURE, CommandFailed
from bftnode.cli.homes import the_home
from bftnode.cli.options import DIRECTORY, FILE, example, home_option, id_argument, json_option
from bftnode.cli.output import note, print_json, print_line, print_table
from bftnode.client.operations import admit_client, remove_client
from bftnode.node.home import create_client_home, load_genesis
from bftnode.protocol.codec import decode
from bftnode.protocol.errors import Reason
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT, ClientRecord
from bftnode.protocol.results import TransactionResult
from bftnode.storage.derived import state_at_head
from bftnode.storage.directory import LMDB_NAME, identity_of
from bftnode.storage.environment import opened_read_only
from bftnode.storage.state import entries

CLIENT_RECORD_BYTES_MAX = 4096
ROLES = {CLIENT: "client", ADMINISTRATOR: "administrator", 0: "removed"}


@click.group(epilog=example("bftnode client admit $(bftnode client new --dir alice) --home demo/client"))
def client() -> None:
    """Make, admit and remove clients."""


@client.command(epilog=example("bftnode client new --dir alice --genesis genesis.toml"))
@click.option("--dir", "directory", type=DIRECTORY, required=True, metavar="DIR", help="The home to make.")
@click.option("--genesis", type=FILE, envvar="BFTNODE_GENESIS", metavar="FILE", help="Also put this genesis into it.")
@json_option
def new(directory: Path, genesis: Path | None, as_json: bool) -> None:
    """Make a client's home with a new key. Prints the public key, which an administrator admits."""
    public_key = create_client_home(directory, None if genesis is None else load_genesis(genesis)).hex()
    if as_json:
        print_json({"public_key": public_key, "home": str(directory)})
    else:
        click.echo(public_key)
    note(f"next: an administrator runs: bftnode client admit {public_key}")


@client.command(epilog=example("bftnode client admit 9f2c... --home demo/client"))
@click.argument("public_key", metavar="KEY", callback=id_argument)
@click.option("--administrator", is_flag=True, help="As an administrator, who may admit and remove others.")
@access_options
def admit(access: Access, public_key: bytes, administrator: bool, as_json: bool) -> None:
    """Admit a client by its public key. For administrators."""
    role = ADMINISTRATOR if administrator else CLIENT
    _report(access.submit(admit_client(public_key, role)), public_key, ROLES[role], as_json)


@client.command(epilog=example("bftnode client remove 9f2c... --home demo/client"))
@click.argument("public_key", metavar="KEY", callback=id_argument)
@access_options
def remove(access: Access, public_key: bytes, as_json: bool) -> None:
    """Remove a client: from the next block on, nothing of it is executed. For administrators."""
    _report(access.submit(remove_client(public_key)), public_key, ROLES[0], as_json)


@client.command(name="list", epilog=example("bftnode client list --home demo/node0"))
@home_option
@json_option
def list_(home: Path | None, as_json: bool) -> None:
    """List the clients in a member's data directory, as that member's disk has them. The member may run."""
    target = the_home(home)
    identity_of(target.data_path)
    genesis = target.load_genesis()
    clients_max = genesis.membership().parameters.clients_max
    executor = Executor(load_application(genesis.application), genesis.administrator_keys(), clients_max)
    rows = []
    with opened_read_only(target.data_path / LMDB_NAME, lock=True) as (env, databases), env.begin() as txn:
        state = state_at_head(txn, databases, executor)
        for key, raw in entries(state, CLIENT_PREFIX, bytes((CLIENT_PREFIX[0] + 1,))):
            record = decode(raw, ClientRecord, CLIENT_RECORD_BYTES_MAX)
            rows.append((key[len(CLIENT_PREFIX) :].hex(), ROLES.get(record.role, str(record.role)), record.highest))
    if as_json:
        for public_key, role, highest in rows:
            print_json({"public_key": public_key, "role": role, "highest_nonce": highest})
    else:
        print_table(["public key", "role", "highest nonce"], rows)


def _report(result: TransactionResult, public_key: bytes, role: str, as_json: bool) -> None:
    code = result.results[0].code
    if code == Reason.NOT_FOUND:
        raise CommandFailed(
            f"{public_key.hex()} is no client", code, "`bftnode client list --home MEMBER` lists them", FAILURE
        )
    if code:
        raise refused_by(code, f"{public_key.hex()} is not {role}: refused in transaction {result.transaction.hex()}")
    if as_json:
        print_json(
            {
                "public_key": public_key.hex(),
                "role": role,
                "transaction": result.transaction.hex(),
                "seq": result.seq,
                "index": result.index,
            }
        )
    else:
        print_line(f"{public_key.hex()} is {role} from block {result.seq + 1} on")
