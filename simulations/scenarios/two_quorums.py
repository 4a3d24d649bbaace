"""A primary shows two halves of the cluster different blocks, and votes for both: no two halves are a quorum."""

from random import Random

from simulations.adversaries.equivocating_primary import EquivocatingPrimary
from simulations.scenarios.stage import Stage

covers = ("N01", "N11", "P1")


class Halves(EquivocatingPrimary):
    """Sees to it that the halves are as equal as they can be."""

    def __init__(self) -> None:
        super().__init__(Random("halves"))
        self.votes_for_both = False
        self.commits_early = True
        self.often = 1.0

    def _group(self, view: int) -> list[int]:
        others = self.others()
        return others[: len(others) // 2]


def play(n: int = 4) -> None:
    stage = Stage(n, liars={0: [Halves()]})
    others = list(range(1, n))
    half = others[: len(others) // 2]
    stage.network.cut_between(half, [place for place in others if place not in half])
    wanted = [stage.submit(), stage.submit()]
    stage.run(3000)
    stage.network.join()
    for transaction in wanted:
        stage.expect_executed(transaction)
