"""f+1 of seven conspire, the first primary among them: two halves commit two histories, and are found out."""

from simulations.coalition import split
from simulations.scenarios.coalitions import expect_fork

ENDING = "the log forked, as more than f can bring about; it was seen, and f+1 conspirators are named"

covers = ("X02", "X07", "N01", "O02")


def play() -> None:
    """Both halves commit in view 0. When they hear of each other a member stops, and f+1 culprits have names."""
    expect_fork(split(7, (0, 1, 2), 0), 7, detected=True)
