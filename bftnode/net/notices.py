"""Log lines that outsiders can cause: at most one per event, peer and reason in an interval (faults.md A19).

The keys are our own words and member numbers, never a peer's text or address, so there are boundedly many.
"""

import logging
from typing import Any

import structlog

log = structlog.get_logger("bftnode.net")


class Notices:
    """Says a thing once, then counts it until the interval is over."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._said: dict[tuple[str, int | None, str], tuple[float, int]] = {}

    def say(
        self,
        now: float,
        event: str,
        member: int | None,
        reason: str = "",
        *,
        level: int = logging.WARNING,
        **fields: Any,
    ) -> None:
        """Log `event` about `member` (None: a stranger), or count it. `now` is monotonic seconds."""
        key = (event, member, reason)
        said_at, unsaid = self._said.get(key, (-self._interval_s, 0))
        if now - said_at < self._interval_s:
            self._said[key] = (said_at, unsaid + 1)
            return
        self._said[key] = (now, 0)
        if reason:
            fields["reason"] = reason
        if unsaid:
            fields["unsaid"] = unsaid  # how many like it since the last line
        log.log(level, event, peer=member, **fields)
