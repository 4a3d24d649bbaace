"""The protocol's price is what the formula says: counted in the world, for the smallest clusters."""

import pytest

from simulations.growth import Formula, block, change, report


@pytest.mark.parametrize("n", [4, 7])
def test_a_block_costs_what_the_formula_says(n: int) -> None:
    """Not a message, signature or verification more or less: votes beyond a quorum are not looked at."""
    counted, said = block(n), Formula(n)
    assert counted.messages == said.block_messages
    assert counted.signatures == said.block_signatures
    assert counted.verifications == said.block_verifications
    assert counted.bytes > (n - 1) * counted.payload


def test_the_formula_of_four() -> None:
    """Three proposals, twelve PREPAREs, twelve COMMITs; each member checks two of the others' votes a phase."""
    said = Formula(4)
    assert (said.quorum, said.block_messages, said.block_signatures, said.block_verifications) == (3, 27, 9, 19)
    assert (said.change_messages, said.change_signatures) == (12, 4)


@pytest.mark.covers("C14")
@pytest.mark.parametrize("n", [4, 7])
def test_a_view_change_verifies_each_vote_once(n: int) -> None:
    """Not once for each certificate that it is in. VIEW-CHANGEs that are repeated are signed afresh, so verified again,
    alone and in the NEW-VIEW; of two phases there may be votes."""
    counted, said = change(n), Formula(n)
    assert counted.signatures >= said.change_signatures
    assert counted.messages >= said.change_messages
    again = (counted.signatures - said.change_signatures) * (n - 2) + (n - 1) * said.quorum
    assert counted.verifications <= said.change_verifications + again + (n - 1) * n
    assert counted.busiest_ms > 0


@pytest.mark.covers("C14")
def test_a_view_change_of_thirteen_is_far_below_a_signature_for_every_vote_that_is_reported() -> None:
    """Twelve certificates of nine votes at twelve members would be 1,331."""
    assert change(13).verifications < 600


def test_the_page_has_a_row_for_every_size() -> None:
    """In both tables."""
    lines = report((4,), lambda _: None).splitlines()
    assert sum(line.startswith("| 4 | 3 | 27.0 | 27 |") for line in lines) == 1
    assert sum(line.startswith("| 4 |") for line in lines) == 2
