"""Six of seven fall silent: nothing is agreed on and nothing forks; they come back, and all goes on."""

from simulations.coalition import silent
from simulations.world import Violation

covers = ("X01",)


def play() -> None:
    """Not a promise is broken but liveness, and that only while they are away."""
    came = silent(7, tuple(range(1, 7)), 0)
    if came.forked or came.live or not came.recovered:
        raise Violation("scenario", f"expected a halt and a recovery, not {came}")
