"""Agreement, prefix order, one state: all logs are prefixes of one, and whoever executed a height did the same."""

from bftnode.protocol.codec import encode
from simulations.disks import Committed
from simulations.judges.court import Court, Judged
from simulations.world import Violation


class Order:
    """Compares each appended block with the first one at its height, wiped members' included: they run correct code."""

    def __init__(self, court: Court) -> None:
        self._log = court.log

    def on_committed(self, node: Judged, committed: Committed) -> bool:
        """Whether nobody had this height before."""
        block, log = committed.effect.block, self._log
        results = tuple(encode(result) for result in committed.results)
        if block.seq < len(log):
            known, known_results, digest = log[block.seq]
            if known != block.hash:
                raise Violation("agreement", f"{node.name} appends another block at height {block.seq}")
            if known_results != results or digest != committed.digest:
                raise Violation("one-state", f"{node.name} executes height {block.seq} differently")
            return False
        if block.seq != len(log):
            raise Violation("order", f"{node.name} appends height {block.seq} where {len(log)} is next")
        log.append((block.hash, results, committed.digest))
        return True
