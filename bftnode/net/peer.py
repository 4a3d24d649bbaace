"""What is known about one other member: where it is, whether it is linked, how it behaved. Plain bookkeeping."""

from collections import deque
from typing import NamedTuple

from bftnode.net.backoff import Backoff
from bftnode.net.limits import NetLimits
from bftnode.net.link import Link
from bftnode.protocol.errors import Reason


class PeerInfo(NamedTuple):
    """A member as the genesis (and the configuration, for its address) describes it."""

    member: int
    name: str
    public_key: bytes
    certificate_pem: str
    address: tuple[str, int]  # host, port


class PeerStatistics(NamedTuple):
    """One peer, for telemetry. Counts are since the start of the process, over all its connections."""

    name: str
    connected: bool
    since: float | None  # seconds since 1970 of the present link
    connections: int
    bytes_in: int
    bytes_out: int
    frames_in: int
    frames_out: int
    queued_frames: int
    dropped_full: int  # frames dropped because the outbox was full
    dropped_unlinked: int  # frames dropped because there was no link
    faults: int  # reported by `reject`
    last_refusal: Reason | None  # why the last connection or attempt ended
    round_trip_us: int | None


class Peer:
    """One other member, over all its connections."""

    def __init__(self, info: PeerInfo, limits: NetLimits) -> None:
        self.info = info
        self.backoff = Backoff(limits.backoff_first_s, limits.backoff_max_s)
        self.link: Link | None = None
        self.barred_until = 0.0  # monotonic seconds
        self.last_refusal: Reason | None = None
        self.dropped_unlinked = 0
        self._limits = limits
        self._recent_faults: deque[float] = deque(maxlen=limits.faults_max)
        self._faults = 0
        self._connections = 0
        self._past = (0, 0, 0, 0, 0)

    def fault(self, now: float) -> bool:
        """Count one protocol fault; True when it is one too many within the window, and the count starts anew."""
        self._faults += 1
        recent = self._recent_faults
        recent.append(now)
        if len(recent) < self._limits.faults_max or now - recent[0] > self._limits.faults_window_s:
            return False
        recent.clear()
        return True

    def adopt(self, link: Link) -> None:
        self.link = link
        self._connections += 1

    def part(self, link: Link) -> None:
        """`link` has ended: keep its counts. It may have been replaced already."""
        self._past = tuple(map(sum, zip(self._past, _counts(link), strict=True)))  # type: ignore[assignment]  # 5 and 5
        if self.link is link:
            self.link = None

    def statistics(self) -> PeerStatistics:
        link = self.link
        now = _counts(link) if link is not None else (0, 0, 0, 0, 0)
        bytes_in, bytes_out, frames_in, frames_out, dropped = map(sum, zip(self._past, now, strict=True))
        return PeerStatistics(
            name=self.info.name,
            connected=link is not None,
            since=None if link is None else link.since,
            connections=self._connections,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            frames_in=frames_in,
            frames_out=frames_out,
            queued_frames=0 if link is None else link.queued_frames,
            dropped_full=dropped,
            dropped_unlinked=self.dropped_unlinked,
            faults=self._faults,
            last_refusal=self.last_refusal,
            round_trip_us=None if link is None else link.round_trip_us(),
        )


def _counts(link: Link) -> tuple[int, int, int, int, int]:
    return (link.bytes_in, link.bytes_out, link.frames_in, link.frames_out, link.dropped)
