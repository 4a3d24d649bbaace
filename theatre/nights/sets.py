"""All sets of real nights, by name."""

from simulations.work import Work
from theatre.nights.disks import FSYNC, FULL, ROLLBACKS
from theatre.nights.histories import HISTORIES
from theatre.nights.kills import KILLS
from theatre.nights.rotten import BITFLIPS, TRUNCATIONS, ZEROED

SETS: dict[str, Work] = {
    work.name: work for work in (KILLS, HISTORIES, BITFLIPS, TRUNCATIONS, ZEROED, ROLLBACKS, FULL, FSYNC)
}
