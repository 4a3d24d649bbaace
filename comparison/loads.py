"""What is asked of a system, and what its load generator reports. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from comparison.failures import Failed

Kind = Literal["put", "txn", "commit", "sync", "single", "coalesced", "many", "alone"]
"""put and txn: etcd's ways, a put at a time or a transaction of some. commit and sync: CometBFT's, broadcast_tx_commit,
or broadcast_tx_sync and a look into the blocks. The others are modes of `bftnode bench`."""

VALUE_BYTES = 128
WARM_UP_S = 1.0
"""Both generators' own; it is left out of what they report."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many callers in a closed loop or, with a rate, so many operations a second and at most so many in flight."""

    kind: Kind
    callers: int
    batch: int = 1
    rate: float | None = None
    operations: int | None = None  # so many, instead of a time

    @property
    def label(self) -> str:
        """For progress lines and keys: `coalesced x64`, `many x4 of 1000`, `put at 2500/s`."""
        if self.rate is not None:
            return f"{self.kind} at {self.rate:.0f}/s"
        return f"{self.kind} x{self.callers}" + (f" of {self.batch}" if self.batch > 1 else "")


@dataclass(frozen=True, slots=True)
class Report:
    """What counted."""

    operations: int
    operations_per_s: float
    duration_s: float
    median_ms: float
    p99_ms: float
    failures: int


def read_report(text: str) -> Report:
    """Out of the JSON of either generator; fields that are not used here are ignored. Raises Failed."""
    try:
        fields: Mapping[str, Any] = json.loads(text)
        if not fields["operations"]:
            raise Failed(f"nothing was committed: {text.strip()[:500]}")
        return Report(
            operations=int(fields["operations"]),
            operations_per_s=float(fields["operations_per_s"]),
            duration_s=float(fields["duration_s"]),
            median_ms=float(fields["latency_ms_median"]),
            p99_ms=float(fields["latency_ms_p99"]),
            failures=int(fields["refused"]) + int(fields["outcome_unknown"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"not a report ({error!r}): {text.strip()[:500]}") from None


@dataclass(frozen=True, slots=True)
class Outage:
    """What a kill of the leader did."""

    seconds: float  # from the kill to the acknowledgement that ended the longest silence after it
    lost: int  # operations that were refused, or whose outcome nobody told
    acknowledged: int  # that were read back from every surviving member
    missing: int  # of these, what one of them lacked


def read_outage(text: str, killed_at: float, survivors: int) -> Outage:
    """Out of a report that lists silences; `killed_at` by the wall clock.

    What was committed before the kill may be acknowledged shortly after it, so the first acknowledgement would say
    nothing. Raises Failed when nothing was committed after the kill, when it silenced nobody, or when what was
    acknowledged was not read back from every survivor.
    """
    try:
        fields: Mapping[str, Any] = json.loads(text)
        silences: list[tuple[float, float]] = [(began, ended) for began, ended in fields["silences"]]
        last, lost = float(fields["last_acknowledged"]), int(fields["refused"]) + int(fields["outcome_unknown"])
        acknowledged, missing = int(fields["operations"]), int(fields["acknowledged_and_lost"])
        readers = int(fields["read_back_from"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"not a report ({error!r}): {text.strip()[:500]}") from None
    after = [(ended - began, ended) for began, ended in silences if ended > killed_at]
    if last < killed_at:
        raise Failed(f"after the kill nothing was committed, {lost} operations were refused or are unknown")
    if not after:
        raise Failed("after the kill commits went on as if nothing had happened")
    if readers != survivors:
        raise Failed(f"what was acknowledged was read back from {readers} of the {survivors} survivors")
    return Outage(max(after)[1] - killed_at, lost, acknowledged, missing)
