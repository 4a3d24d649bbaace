"""What stories of more than f conspirators have in common (they are played by the replica, judged by an observer)."""

from bftnode.protocol.quorums import max_faulty
from simulations.coalition import Came
from simulations.world import Violation


def expect_fork(came: Came, n: int, *, detected: bool | None) -> None:
    """Raises Violation where the fork could not be made, was not seen, or not blamed on f+1 conspirators."""
    if not came.forked:
        raise Violation("scenario", f"{n} members, f = {max_faulty(n)}: the conspirators could not fork the log")
    if not came.exposed or came.detected is not detected:
        raise Violation("detection", f"the fork was not seen: {came}")
    if not came.blamed:
        raise Violation("attribution", f"not f+1 conspirators, or somebody else, are blamed: {came}")
