"""All sets of real nights, by name."""

from simulations.work import Work
from theatre.nights.kills import Kills

SETS: dict[str, Work] = {work.name: work for work in (Kills(),)}
