"""`unsafe-rejoin`: the operator's decision about a member that has forgotten what it said."""

from pathlib import Path

import click

from bftnode.apps.execution import Executor
from bftnode.apps.registry import load_application
from bftnode.cli.homes import the_home
from bftnode.cli.options import example, home_option, json_option
from bftnode.cli.output import note, print_json, print_line
from bftnode.node.home import my_index
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.errors import Reason, Refused
from bftnode.replica.nonces import QuarantineRecord
from bftnode.replica.position import Quarantine
from bftnode.storage.directory import identity_of
from bftnode.storage.store import Storage, Turn


@click.command(name="unsafe-rejoin", epilog=example("bftnode unsafe-rejoin --home /srv/bftnode --yes"))
@home_option
@click.option("--yes", is_flag=True, help="I know that no other process runs with this member's key.")
@json_option
def unsafe_rejoin(home: Path | None, yes: bool, as_json: bool) -> None:
    """Let a quarantined member take part again.

    The member must be stopped. It is quarantined when the others have seen messages of it that it does not
    remember: its disk was rolled back or lost, or a second process signs with its key. Be sure that it is not the
    latter: two that vote with one key are a faulty member. Then it votes again once the log has passed everything
    that it may have voted for.
    """
    target = the_home(home)
    genesis = target.load_genesis()
    me = my_index(genesis, target.load_identity())
    identity_of(target.data_path)  # data that are not there would be made
    if not yes:
        raise click.UsageError(f"this lets {genesis.members[me].name} vote again: say --yes if you mean it")
    membership = genesis.membership()
    config = target.load_config({}, {}).config
    executor = Executor(
        load_application(genesis.application), genesis.administrator_keys(), membership.parameters.clients_max
    )
    storage = Storage.open(
        target.data_path,
        membership,
        me,
        executor,
        map_bytes_initial=config.storage.map_bytes_initial,
        map_bytes_max=config.storage.map_bytes_max,
    )
    try:
        raw = storage.recover().journal.get("quarantine")
        state = Quarantine.NONE if raw is None else Quarantine(decode(raw, QuarantineRecord, 64).state)
        if state != Quarantine.WAITING:
            raise Refused(
                Reason.UNEXPECTED,
                f"{genesis.members[me].name} does not wait for a decision: it is {state.name.lower()}",
            )
        record = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
        storage.commit(Turn(journal={"quarantine": record}))
    finally:
        storage.close()
    if as_json:
        print_json({"member": me, "name": genesis.members[me].name, "quarantine": "allowed"})
    else:
        print_line(f"{genesis.members[me].name} may take part again")
    note("next: start it; it votes once the log has passed what it may have voted for")
