"""The bounds and deadlines of connections between replicas, each with what happens when it is reached."""

from dataclasses import dataclass

from bftnode.protocol import limits


@dataclass(frozen=True, slots=True)
class NetLimits:
    handshake_s: float = 5.0
    """From TCP connect to both ACKs. A connection that takes longer is closed: conn.deadline."""

    read_idle_s: float = 15.0
    """A link on which nothing arrives for so long is closed (replicas say STATUS each second): conn.deadline."""

    write_stall_s: float = 10.0
    """A link whose peer takes not one byte of a pending write for so long is closed: conn.deadline."""

    linger_s: float = 1.0
    """How long a refused connection stays half open for the peer to read why. Then it is closed anyway."""

    watch_interval_s: float = 1.0
    """How often deadlines of live links are looked at; they are late by at most as much."""

    outbox_frames_max: int = 16_384
    outbox_bytes_max: int = 2 * limits.FRAME_BYTES_MAX
    """Frames waiting for one peer. Past either bound its oldest are dropped and counted: send.backpressure. What
    matters is repeated when the peer's STATUS shows that it lacks it."""

    strangers_max: int = 64
    """Inbound connections that have not shown a member's certificate. One more closes the oldest: conn.evicted. A
    flood delays a member's reconnect by as long as it fills this between the member's TLS messages, not for ever."""

    backoff_first_s: float = 0.05
    backoff_max_s: float = 5.0
    """The pause before dialling again doubles from the one to the other."""

    backoff_reset_s: float = 10.0
    """A link that was up for so long makes the next pause the first one again."""

    faults_max: int = 64
    faults_window_s: float = 60.0
    barred_s: float = 30.0
    """A peer with so many protocol faults within the window is disconnected and neither dialled nor let in for
    `barred_s`: peer.barred. Not for ever: a peer that was merely buggy or misconfigured comes back by itself."""

    notice_interval_s: float = 60.0
    """At most one log line per event, peer and reason in so long; the next says how many it stands for."""

    def __post_init__(self) -> None:
        assert self.outbox_bytes_max >= limits.FRAME_BYTES_MAX, "an outbox holds at least one frame of any legal size"
        assert min(self.outbox_frames_max, self.strangers_max, self.faults_max) >= 1
        assert 0 < self.backoff_first_s <= self.backoff_max_s
