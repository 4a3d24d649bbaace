"""Acknowledged means durable at a quorum: what a client may believe survives the loss of power everywhere.

A client believes a result when f+1 members sent it. At that moment every correct member among q that voted COMMIT has
the block on its disk (docs/protocol.md, "What must survive a crash"; decision 009): q, less those who owe nothing.
"""

from simulations.disks import Committed
from simulations.judges.court import Court, Judged
from simulations.world import Violation


class Acknowledged:
    """Counts who has executed a height, and looks at all disks when clients may believe it."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self._executed_by: dict[int, dict[int, None]] = {}  # height -> members
        self._believed = 0  # the highest height that clients may believe
        self._owed = court.quorum - len(court.faulty)

    def on_committed(self, node: Judged, committed: Committed) -> None:
        """A member has executed a block and tells its clients."""
        block = committed.effect.block
        if block.seq <= self._believed:
            return
        members = self._executed_by.setdefault(block.seq, {})
        members[node.member] = None
        if len(members) > self._court.faulty_max:
            self._believed = block.seq
            del self._executed_by[block.seq]
            self._look(block.seq, block.hash)

    def _look(self, seq: int, block: bytes) -> None:
        holders = [node.name for node in self._court.nodes.values() if node.disk.durable(block, seq)]
        if len(holders) < self._owed:
            who = ", ".join(holders) or "nobody"
            raise Violation("acknowledged", f"clients believe height {seq}; on their disks have it {who}")
