"""Forensics over whole histories: what correct replicas keep never convicts a correct one (faults.md X07)."""

import itertools
from dataclasses import replace

import pytest

from bftnode.protocol.forensics import Testimony, investigate
from simulations.judges.observer import testimony_of as kept_on
from simulations.simulation import Simulation
from simulations.swarm import draw

SEEDS = range(24)
NEW_VIEWS_LEAST = 100
"""That the seeds must bring: histories without view changes would show nothing."""


def heard(simulation: Simulation) -> list[Testimony]:
    """What all who are no liars hold at the end, those whose disk was rolled back included."""
    return [kept_on(node.disk) for node in simulation.obliged()]


@pytest.mark.covers("X07", "O12")
def test_an_honest_history_names_nobody() -> None:
    """Crashes, cuts, storms of view changes, no liar: no two nodes' testimonies contain a contradiction."""
    new_views = 0
    for seed in SEEDS:
        simulation = Simulation(replace(draw(seed, (4, 5, 7)), liars={}, amnesiacs=()))
        assert simulation.run().violation is None
        testimonies = heard(simulation)
        new_views += sum(len(testimony.new_views) for testimony in testimonies)
        for left, right in itertools.combinations(testimonies, 2):
            found = investigate(left, right, simulation.members, simulation.keyring.verify)
            assert (found.fork_height, found.culprits) == (None, ()), seed
    assert new_views >= NEW_VIEWS_LEAST


@pytest.mark.covers("X07", "O12")
def test_up_to_f_liars_make_no_fork_and_nobody_else_is_named() -> None:
    """The same seeds with their liars and amnesiacs: only these may be named; some are."""
    named = 0
    for seed in SEEDS:
        plan = draw(seed, (4, 5, 7))
        simulation = Simulation(plan)
        assert simulation.run().violation is None
        for left, right in itertools.combinations(heard(simulation), 2):
            found = investigate(left, right, simulation.members, simulation.keyring.verify)
            assert found.fork_height is None, seed
            culprits = {culprit.member for culprit in found.culprits}
            assert culprits <= {*plan.liars, *plan.amnesiacs}, seed
            named += len(culprits)
    assert named > 0
