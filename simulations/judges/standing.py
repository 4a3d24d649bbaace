"""How a correct replica stands: views and certificates only rise, nobody stops, nobody doubts its own disk."""

from bftnode.protocol.certificates import PREPARE, Certificate, rank_of
from bftnode.replica.position import VoteRecord
from simulations.judges.court import Judged
from simulations.world import Violation


class Standing:
    """Remembers where every correct member stood after its last turn."""

    def __init__(self) -> None:
        self._stood: dict[int, tuple[int, bool]] = {}  # member -> (view, active)
        self._ranks: dict[int, tuple[int, int, int]] = {}
        # As it was looked at last: most turns move nobody, and then there is nothing to compare.
        self._looked_at: dict[int, tuple[tuple[int, bool], Certificate | None, VoteRecord]] = {}

    def on_start(self, node: Judged) -> None:
        """A certificate that it learnt and promised nothing with may be forgotten in a crash."""
        self._ranks.pop(node.member, None)
        self._looked_at.pop(node.member, None)

    def on_turn(self, node: Judged) -> None:
        """What a correct node did last has not moved it back."""
        position, commit = node.replica.position, node.replica.agreement.last_commit
        stands = (position.view, position.active)
        looked_at = self._looked_at.get(node.member)
        if (
            looked_at is None
            or looked_at[0] != stands
            or looked_at[1] is not position.highest
            or looked_at[2] is not commit
        ):
            self._looked_at[node.member] = (stands, position.highest, commit)
            self._moved(node, stands, position.highest, commit)
        if position.halted:
            raise Violation("halted", f"{node.name}: {position.halted}")
        if position.quarantine:
            raise Violation("quarantined", f"{node.name}, whose disk is as it left it")

    def _moved(self, node: Judged, stands: tuple[int, bool], highest: Certificate | None, commit: VoteRecord) -> None:
        """It stands elsewhere than after its turn before: not further back."""
        if stands < self._stood.get(node.member, (0, True)):
            raise Violation("view-monotone", f"{node.name} goes from {self._stood[node.member]} back to {stands}")
        self._stood[node.member] = stands
        rank = rank_of(highest)
        if commit.seq and rank < (commit.view, commit.seq, PREPARE):
            raise Violation("certificate-monotone", f"{node.name}: {rank} after COMMIT at {commit.view}/{commit.seq}")
        if rank < self._ranks.get(node.member, rank):
            raise Violation("certificate-monotone", f"{node.name}: {rank} after {self._ranks[node.member]}")
        self._ranks[node.member] = rank
        if rank[0] > stands[0]:
            raise Violation("view-over", f"{node.name} stays in view {stands[0]} with a certificate of {rank[0]}")
