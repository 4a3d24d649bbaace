"""Log lines and counters for what clients do wrong: bounded, whatever they send (faults.md A19).

A line has our own words and numbers, the address that the kernel names and a public key; never bytes or text that a
client chose. One line per event and reason in an interval; the next says how many were left out.
"""

from collections import Counter

import structlog

from bftnode.protocol.errors import Reason, Refused

log = structlog.get_logger("bftnode.api")


class Complaints:
    """`refused` and `crashed` are the two ways in which a connection ends badly. Times are monotonic seconds."""

    def __init__(self, interval_s: float) -> None:
        self.counts: Counter[str] = Counter()  # keyed by Reason values and a few words of ours
        self._interval_s = interval_s
        self._said: dict[str, tuple[float, int]] = {}

    def refused(self, now: float, address: str, refused: Refused, client: bytes | None = None) -> None:
        """A connection was closed, or a request refused, for a reason that is the client's."""
        reason = str(refused.reason)
        self.counts[reason] += 1
        unsaid = self._turn(now, reason)
        if unsaid is not None:
            log.warning(
                "client_refused",
                reason=reason,
                detail=refused.detail,
                address=address,
                client=None if client is None else client.hex(),
                unsaid=unsaid,
            )

    def crashed(self, now: float, address: str, error: BaseException) -> None:
        """Our own mistake while we served a client: the connection ends, the node does not (faults.md T08)."""
        self.counts["crash"] += 1
        unsaid = self._turn(now, "crash")
        if unsaid is not None:
            log.error("client_connection_crashed", address=address, unsaid=unsaid, exc_info=error)

    def _turn(self, now: float, key: str) -> int | None:
        """How many were left out since the last line, or None if it is too early for another."""
        said_at, unsaid = self._said.get(key, (-self._interval_s, 0))
        if now - said_at < self._interval_s:
            self._said[key] = (said_at, unsaid + 1)
            return None
        self._said[key] = (now, 0)
        return unsaid


assert len(Reason) < 200, "the table of complaints is bounded by the reasons that exist"
