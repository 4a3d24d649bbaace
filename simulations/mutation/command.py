"""`python -m simulations mutate`: its options, and what is done with them."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from simulations.mutation.play import draw
from simulations.mutation.work import campaign, tell
from simulations.slices import units_of

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COUNT_MAX = 20
"""Faults and envelopes of a small world: with more it is not small."""

USUAL = range(500)


def add_to(commands: "Commands", writable: Callable[[str], Path]) -> None:
    """The command beside the others; what files look like is theirs."""
    parser = commands.add_parser(
        "mutate",
        help="change a liar's messages field by field",
        description="Plays small worlds in which a liar's messages are changed, one field by one operator at a time, "
        "and rounds lose messages (simulations/mutation).",
        epilog="example: python -m simulations mutate --seeds 0..499",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=_count_of(2**63), metavar="N", help="play one and tell it")
    which.add_argument("--seeds", type=units_of, default=USUAL, metavar="A..B", help="both included (default 0..499)")
    for name, what in (
        ("network", "rounds that lose messages"),
        ("process", "rounds in which the liar's are changed"),
        ("transactions", "envelopes of correct clients"),
    ):
        parser.add_argument(f"--{name}", type=_count_of(COUNT_MAX), metavar="K", help=f"with --seed: so many {what}")
    parser.add_argument("--matrix", action="store_true", help="print the matrix; exit code 1 while a cell is empty")
    parser.add_argument("--write", type=writable, metavar="FILE.md", help="with --matrix: write it instead")


def obey(options: argparse.Namespace) -> int:
    """The exit code: 1 where a property was violated, or a cell of the matrix is empty."""
    if options.seed is not None:
        chosen = {"network": options.network, "process": options.process, "transactions": options.transactions}
        return tell(draw(options.seed, **chosen))
    return int(campaign(options.seeds, matrix=options.matrix, write=options.write) > 0)


def _count_of(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) > most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {most}")
        return int(text)

    return count
