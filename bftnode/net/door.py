"""Who waits to be let in: bounds on connections that have not completed the greeting.

Two queues, so that a flood of strangers never displaces a member: connections that have shown no certificate yet
(the oldest makes room for one more), and those that showed a member's (one per member, the newest). Holds cancel
scopes only; whose they are is the network's business. Implements faults.md W09.
"""

import trio


class Door:
    """`knock`, then `prove`, then `leave`, each with the scope of the connection's task; `leave` at any time."""

    def __init__(self, strangers_max: int) -> None:
        self._strangers_max = strangers_max
        self._strangers: dict[trio.CancelScope, None] = {}  # oldest first
        self._proven: dict[int, trio.CancelScope] = {}

    def knock(self, scope: trio.CancelScope) -> None:
        """A connection has come in."""
        if len(self._strangers) >= self._strangers_max:
            self.evict_oldest()
        self._strangers[scope] = None

    def prove(self, scope: trio.CancelScope, member: int) -> None:
        """It has shown the certificate of `member`."""
        self._strangers.pop(scope, None)
        older = self._proven.get(member)
        if older is not None:
            older.cancel()
        self._proven[member] = scope

    def leave(self, scope: trio.CancelScope, member: int | None) -> None:
        """It waits no longer: it is a link now, or closed."""
        self._strangers.pop(scope, None)
        if member is not None and self._proven.get(member) is scope:
            del self._proven[member]

    def evict_oldest(self) -> None:
        """Close the stranger who has waited longest, if any."""
        if self._strangers:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.cancel()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._proven)
