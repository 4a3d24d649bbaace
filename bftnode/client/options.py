"""What a user may tune, each with what it does. The defaults suit a cluster on one continent."""

from dataclasses import dataclass, field

from bftnode.client.session import Retry


@dataclass(frozen=True, slots=True)
class Options:
    timeout_s: float = 30.0  # of one call, where the call names none; then OutcomeUnknown
    valid_for_blocks: int = 10_000  # an envelope can be executed so many blocks long from now
    max_inflight: int = 4  # coalesced envelopes that wait for results; meanwhile calls gather for the next
    batch_operations_max: int = 1000  # operations in one coalesced envelope
    batch_bytes_max: int = 100_000  # and their bytes; a longer operation travels alone
    outstanding_max: int = 8000  # envelopes without an outcome; `submit` and `call_alone` wait for room
    calls_max: int = 100_000  # operations in `call`; more wait for room
    requests_max: int = 32  # reads at once at one member; more wait
    connect_timeout_s: float = 5.0  # TCP, TLS and greeting with one member; then it is tried again later
    reconnect_first_s: float = 0.1  # pause before a member is tried again; doubles with each failure
    reconnect_max_s: float = 5.0
    ping_s: float = 20.0  # an idle connection is used so often, which also tells the height
    silence_s: float = 60.0  # a member that sends nothing so long, pings unanswered, is connected afresh
    quorum_grace_s: float = 2.0  # the first envelope waits so long for a quorum of members before f+1 are enough
    read_rounds: int = 8  # times that a quorum read is repeated while members answer from different heights
    read_wait_s: float = 2.0  # how long one member is given for one answer of a quorum read
    retry: Retry = field(default_factory=Retry)
