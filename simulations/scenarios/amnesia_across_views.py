"""f+1 conspirators let one half commit, then change views with the other half and hide it: no two votes of one view."""

from simulations.coalition import split
from simulations.scenarios.coalitions import expect_fork

ENDING = "the log forked, as more than f can bring about; it was seen, and f+1 conspirators are named"

covers = ("X03", "V02", "X07", "X10")


def play() -> None:
    """What convicts them is a COMMIT here and a VIEW-CHANGE there that should have reported it."""
    expect_fork(split(7, (4, 5, 6), 1), 7, detected=True)
