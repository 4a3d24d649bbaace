"""How a correct replica stands: views and certificates only rise, nobody stops, nobody doubts its own disk."""

from bftnode.protocol.certificates import PREPARE, rank_of
from simulations.judges.court import Judged
from simulations.world import Violation


class Standing:
    """Remembers where every correct member stood after its last turn."""

    def __init__(self) -> None:
        self._stood: dict[int, tuple[int, bool]] = {}  # member -> (view, active)
        self._ranks: dict[int, tuple[int, int, int]] = {}

    def on_start(self, node: Judged) -> None:
        """A certificate that it learnt and promised nothing with may be forgotten in a crash."""
        self._ranks.pop(node.member, None)

    def on_turn(self, node: Judged) -> None:
        """What a correct node did last has not moved it back."""
        position = node.replica.position
        stands = (position.view, position.active)
        if stands < self._stood.get(node.member, (0, True)):
            raise Violation("view-monotone", f"{node.name} goes from {self._stood[node.member]} back to {stands}")
        self._stood[node.member] = stands
        rank = rank_of(position.highest)
        commit = node.replica.agreement.last_commit
        if commit.seq and rank < (commit.view, commit.seq, PREPARE):
            raise Violation("certificate-monotone", f"{node.name}: {rank} after COMMIT at {commit.view}/{commit.seq}")
        if rank < self._ranks.get(node.member, rank):
            raise Violation("certificate-monotone", f"{node.name}: {rank} after {self._ranks[node.member]}")
        self._ranks[node.member] = rank
        if rank[0] > position.view:
            raise Violation("view-over", f"{node.name} stays in view {position.view} with a certificate of {rank[0]}")
        if position.halted:
            raise Violation("halted", f"{node.name}: {position.halted}")
        if position.quarantine:
            raise Violation("quarantined", f"{node.name}, whose disk is as it left it")
