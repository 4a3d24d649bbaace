"""Where a replica stands: the few facts that every part of it reads. Each has one owner that writes it."""

from dataclasses import dataclass, field
from enum import IntEnum

from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import Hash32, UInt, Wire
from bftnode.replica.events import Now


class Quarantine(IntEnum):
    """Whether this replica may vote (docs/protocol.md, "What must survive a crash"; owner: nonces.py)."""

    NONE = 0
    WAITING = 1  # it has forgotten what it said; an operator decides
    ALLOWED = 2  # the operator decided; it is learning how far its old votes may reach
    PROBATION = 3  # it votes again once the log is past everything that it may have voted for


class ViewRecord(Wire, frozen=True):
    """Journal record "view"."""

    view: UInt
    active: bool


class VoteRecord(Wire, frozen=True):
    """Journal records "prepare" and "commit": the last vote of that phase. (0, 0) is below every vote."""

    view: UInt
    seq: UInt
    block: Hash32


NO_VOTE = VoteRecord(0, 0, bytes(32))


class ClosedRecord(Wire, frozen=True):
    """Journal record "closed": life `boot` ended in order. Up to (view, seq) an earlier one, that did not, may have
    cast PREPAREs that are not on record."""

    boot: UInt
    view: UInt
    seq: UInt


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in ms. They may differ between members: no safety depends on them."""

    view_change_timeout_ms: int = 1000  # base; doubles with each view that brings nothing
    view_change_timeout_max_ms: int = 60_000  # where the doubling stops
    status_interval_ms: int = 500  # how often STATUS is sent; what was lost is resent after one to two of them
    fetch_timeout_ms: int = 2000  # after which another peer is asked
    courtesy_delay_ms: int = 20_000  # how long a lone replica's VIEW-CHANGE waits for the others' courtesy
    courtesy_interval_ms: int = 60_000  # the least time between two courtesies


@dataclass(slots=True)
class Position:
    """view, active: written by view_change.py. highest: by agreement.py. halted: set once, never cleared."""

    view: int = 0
    active: bool = True
    highest: Certificate | None = None
    quarantine: Quarantine = Quarantine.NONE
    halted: str = ""
    introduced: bool = False  # q-1 members have said in this boot what they have seen of this one; by nonces.py
    now: Now = field(default=Now(0, 0))

    @property
    def may_vote(self) -> bool:
        return self.introduced and not self.quarantine and not self.halted
