"""Three of four show a client that hears nobody else a history of their own: its receipts convict them."""

from simulations.coalition import split
from simulations.scenarios.coalitions import expect_fork

ENDING = "the log forked, as more than f can bring about; it was seen, and f+1 conspirators are named"

covers = ("X04", "X05", "X06", "W16")


def play() -> None:
    """No honest member stands behind that history; one comparison with the honest member's is enough."""
    expect_fork(split(4, (1, 2, 3), 1, part=0), 4, detected=None)
