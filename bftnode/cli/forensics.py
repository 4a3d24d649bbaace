"""`forensics`: two things that contradict each other, and who is to blame."""

from pathlib import Path
from typing import Any

import click

from bftnode.cli.errors import INTEGRITY, CommandFailed
from bftnode.cli.options import example, json_option
from bftnode.cli.output import note, print_json, print_line
from bftnode.cli.testimonies import read_exhibit, trimmed, write_exhibit
from bftnode.node.home import Home, load_genesis
from bftnode.protocol.bundle import write_bundle
from bftnode.protocol.certificates import COMMIT, Certificate
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.forensics import Findings, Testimony, investigate
from bftnode.protocol.genesis import Genesis

EXHIBIT = click.Path(exists=True, path_type=Path)


@click.command(
    epilog=example(
        "bftnode forensics /backup/node0 /backup/node3 --bundle proof.json",
        "bftnode forensics receipt.jsonl /srv/bftnode --json",
    )
)
@click.argument("a", type=EXHIBIT)
@click.argument("b", type=EXHIBIT)
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BFTNODE_GENESIS",
    metavar="FILE",
    help="The cluster. Default: the genesis in A or B, where one is a home. Or BFTNODE_GENESIS.",
)
@click.option("--bundle", type=click.Path(dir_okay=False, path_type=Path), help="Write the proofs to this file.")
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what A says to this file, to be compared elsewhere.",
)
@json_option
def forensics(
    a: Path, b: Path, genesis_file: Path | None, bundle: Path | None, export: Path | None, as_json: bool
) -> None:
    """Compare two logs or receipts, and name who signed both sides.

    A and B are each a home or data directory (a member's, running or stopped, or a copy), a receipt, or a log exported
    with --export. Nothing in them is believed that is not signed. Exit code 0: they do not contradict each other. 5:
    they do; who is named is proved guilty by a pair of signed statements (and the headers between them, where they are
    votes on two branches), which --bundle writes for a third party (`python -m bftnode.verify_bundle BUNDLE GENESIS`).
    """
    genesis = _genesis(genesis_file, a, b)
    chain_id = genesis.chain_id()
    left, right = read_exhibit(a, chain_id), read_exhibit(b, chain_id)
    if export is not None:
        export.write_text(write_exhibit(left), encoding="ascii")
        note(f"what {a} says is in {export}")
    left, right = trimmed(left, right)
    found = investigate(left, right, genesis.membership(), verify)
    if bundle is not None and found.culprits:
        bundle.write_text(write_bundle(found.culprits, genesis), encoding="ascii")
        note(f"the proofs are in {bundle}")
    sides = [_side(where, testimony, found, genesis) for where, testimony in ((a, left), (b, right))]
    if as_json:
        print_json(_as_json(found, sides, genesis))
    else:
        _print(found, sides, genesis)
    if found.fork_height is None and not found.culprits:
        return
    some = genesis.membership().some_correct
    raise CommandFailed(
        "the members' signed statements contradict each other" if found.fork_height is None else "the log has forked",
        "forensics.contradiction",
        "check the bundle with `python -m bftnode.verify_bundle`; keep both sides as they are"
        if len(found.culprits) >= some
        else f"fewer than {some} are proved: compare with members that were active in the views between the two sides",
        INTEGRITY,
    )


def _genesis(file: Path | None, *exhibits: Path) -> Genesis:
    if file is not None:
        return load_genesis(file)
    for path in exhibits:
        if path.is_dir() and Home(path).genesis_path.exists():
            return Home(path).load_genesis()
    raise Refused(Reason.CONFIGURATION, "neither side is a home with a genesis: say --genesis FILE")


def _side(where: Path, testimony: Testimony, found: Findings, genesis: Genesis) -> dict[str, Any]:
    """The lowest commit certificates of one side at or above the fork: one, or those of a node that met both."""
    at_or_above = found.fork_height if found.fork_height is not None else 2**63
    commits = [item for item in testimony.certificates if item.phase == COMMIT and item.seq >= at_or_above]
    lowest = min((item.seq for item in commits), default=0)
    by_block = {item.block: item for item in commits if item.seq == lowest}
    return {"from": str(where), "certificates": [_shown(item, genesis) for item in by_block.values()]}


def _shown(certificate: Certificate, genesis: Genesis) -> dict[str, Any]:
    signed = [genesis.members[vote.sender].name for vote in certificate.votes if vote.sender < len(genesis.members)]
    place = {"view": certificate.view, "height": certificate.seq}
    return {**place, "block": certificate.block.hex(), "signed": signed}


def _as_json(found: Findings, sides: list[dict[str, Any]], genesis: Genesis) -> dict[str, Any]:
    return {
        "fork_height": found.fork_height,
        "sides": sides,
        "culprits": [
            {"member": one.member, "name": genesis.members[one.member].name, "proved": one.proved}
            for one in found.culprits
        ],
    }


def _print(found: Findings, sides: list[dict[str, Any]], genesis: Genesis) -> None:
    if found.fork_height is None:
        print_line("no fork: no two certificates commit different blocks at one height")
    else:
        print_line(f"fork at height {found.fork_height}")
        for where, certificate in ((side["from"], item) for side in sides for item in side["certificates"]):
            print_line(
                f"  {where}: height {certificate['height']} is committed in view {certificate['view']} as"
                f" {certificate['block'][:16]}, signed by {', '.join(certificate['signed'])}"
            )
    for culprit in found.culprits:
        print_line(f"culprit: {genesis.members[culprit.member].name}: {culprit.proved}")
    if found.fork_height is not None and not found.culprits:
        print_line("nobody is proved guilty by what these two hold")
