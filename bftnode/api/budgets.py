"""What somebody may cost a node without being of use: a budget that refills with time, one a name. Pure.

For client keys: envelopes that were rejected (faults.md P32). For addresses: connections, whose handshakes cost a node
more than whoever dials. Who has overspent has to wait until the budget is refilled; who
spends no faster than it refills never notices it.
"""

from collections.abc import Hashable

NAMES_MAX = 10_000
"""Budgets that are not full. At the bound the one that was begun first counts as refilled, so that nobody can fill a
node's memory with names; client keys are fewer than that where a cluster has its default of `clients_max`."""


class Budgets:
    """Of `size` each, refilled by `per_s` a second. Times are monotonic seconds."""

    def __init__(self, size: float, per_s: float) -> None:
        self._size = size
        self._per_s = per_s
        self._spent: dict[Hashable, tuple[float, float]] = {}  # name -> what was spent and not refilled, and when

    def spend(self, name: Hashable, cost: float, now: float) -> float:
        """Take `cost` out of a budget, also beyond its end; seconds to wait until it is not overspent, or 0."""
        spent = self._spent_by(name, now) + cost
        if name not in self._spent and len(self._spent) >= NAMES_MAX:
            self._forget_one(now)
        self._spent[name] = (spent, now)
        return max(0.0, (spent - self._size) / self._per_s)

    def wait_s(self, name: Hashable, now: float) -> float:
        """Seconds until this budget is not overspent, or 0."""
        return max(0.0, (self._spent_by(name, now) - self._size) / self._per_s)

    def _spent_by(self, name: Hashable, now: float) -> float:
        spent, at = self._spent.get(name, (0.0, now))
        return max(0.0, spent - (now - at) * self._per_s)

    def _forget_one(self, now: float) -> None:
        """All that are full again, or else the oldest."""
        for name in [name for name in self._spent if not self._spent_by(name, now)]:
            del self._spent[name]
        if len(self._spent) >= NAMES_MAX:
            del self._spent[next(iter(self._spent))]
