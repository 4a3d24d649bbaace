"""What can be configured: every limit and timeout with its unit, its range, its default, and what happens at it.

Each fact is said once, here; config.py reads these structs' values and writes them out as a documented file. What
all members must agree on is not configuration but the genesis ([parameters]); nothing here can make two members
disagree. docs/operations.md, "Configuration and home".
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bftnode.api.limits import ApiLimits
from bftnode.net.limits import NetLimits
from bftnode.protocol import limits
from bftnode.protocol.tlog.witness import REQUEST_BYTES_MAX
from bftnode.replica.position import Timing
from bftnode.web.server import WebLimits

LISTEN_PATTERN = r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}\Z"

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "console", "json"]


def _bounded(least: int, most: int, description: str) -> Meta:
    return Meta(ge=least, le=most, description=description)


DAY_MS = 86_400_000
GIB = 1024**3


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of node.toml."""


class NodeSection(Section, frozen=True):
    """What this process is called and how it logs."""

    name: (
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z",
                description="The member's name in the genesis. Optional: the key decides who this node is. If it is "
                "set and the genesis calls the key otherwise, the node does not start.",
                examples=["org-1"],
            ),
        ]
        | None
    ) = None
    log_level: Annotated[LogLevel, Meta(description="debug, info, warning or error. Less important is not logged.")] = (
        "info"
    )
    log_format: Annotated[
        LogFormat,
        Meta(description="console (for people), json (one object a line) or auto: console on a terminal, else json."),
    ] = "auto"


class PeerSection(Section, frozen=True):
    """Connections between members."""

    listen: (
        Annotated[
            str,
            Meta(
                pattern=LISTEN_PATTERN,
                max_length=260,
                description="host:port to listen on for other members. Default: this member's peer_address in the "
                "genesis.",
                examples=["0.0.0.0:7000"],
            ),
        ]
        | None
    ) = None
    strangers_max: Annotated[
        int,
        _bounded(
            1,
            65_536,
            "Inbound connections that have not shown a member's certificate yet. One more closes the oldest.",
        ),
    ] = 64
    handshake_timeout_ms: Annotated[
        int, _bounded(100, 60_000, "From TCP connect to both signatures. A connection that takes longer is closed.")
    ] = 5000
    read_idle_timeout_ms: Annotated[
        int,
        _bounded(
            1000,
            DAY_MS,
            "A link on which nothing arrives for so long is closed and dialled again (members say STATUS twice a "
            "second).",
        ),
    ] = 15_000
    write_stall_timeout_ms: Annotated[
        int, _bounded(1000, DAY_MS, "A link whose peer takes not one byte of a pending write for so long is closed.")
    ] = 10_000
    linger_ms: Annotated[
        int,
        _bounded(
            0, 60_000, "How long a refused connection stays half open for the peer to read why; then it is closed."
        ),
    ] = 1000
    outbox_frames_max: Annotated[
        int,
        _bounded(
            1,
            1_000_000,
            "Frames waiting for one peer. Past this or the next bound its oldest are dropped and counted; what "
            "matters is repeated when the peer's STATUS shows that it lacks it.",
        ),
    ] = 16_384
    outbox_bytes_max: Annotated[
        int, _bounded(limits.FRAME_BYTES_MAX, 16 * GIB, "Bytes waiting for one peer; as above.")
    ] = 2 * limits.FRAME_BYTES_MAX
    backoff_first_ms: Annotated[
        int, _bounded(1, 60_000, "The pause before a lost peer is dialled again; it doubles with each failure.")
    ] = 50
    backoff_max_ms: Annotated[int, _bounded(1, DAY_MS, "Where that doubling stops.")] = 5000
    backoff_reset_ms: Annotated[
        int, _bounded(0, DAY_MS, "A link that was up for so long makes the next pause the first one again.")
    ] = 10_000
    faults_max: Annotated[
        int,
        _bounded(
            1,
            1_000_000,
            "Protocol faults of one peer within faults_window_ms. That many disconnect it, and it is neither dialled "
            "nor let in for barred_ms.",
        ),
    ] = 64
    faults_window_ms: Annotated[int, _bounded(1, DAY_MS, "The window in which a peer's faults are counted.")] = 60_000
    barred_ms: Annotated[int, _bounded(0, DAY_MS, "For how long; afterwards the peer may come back by itself.")] = (
        30_000
    )
    notice_interval_ms: Annotated[
        int,
        _bounded(
            0, DAY_MS, "At most one log line per event, peer and reason in so long; the next says how many it counts."
        ),
    ] = 60_000


class ClientSection(Section, frozen=True):
    """Connections of clients and operators."""

    listen: (
        Annotated[
            str,
            Meta(
                pattern=LISTEN_PATTERN,
                max_length=260,
                description="host:port to listen on for clients. Default: this member's client_address in the genesis.",
                examples=["0.0.0.0:7001"],
            ),
        ]
        | None
    ) = None
    connections_max: Annotated[
        int, _bounded(1, 65_536, "Connections of all admitted clients. One more is told BUSY and closed.")
    ] = 1000
    connections_per_client_max: Annotated[
        int, _bounded(1, 65_536, "Connections with one client key. One more is told so and closed.")
    ] = 16
    strangers_max: Annotated[
        int,
        _bounded(
            1,
            65_536,
            "Connections that have not shown a key yet. One more takes the place of the oldest of the address that has "
            "most, or is closed unheard; admitted clients stay.",
        ),
    ] = 256
    handshake_timeout_ms: Annotated[
        int, _bounded(100, 60_000, "From TCP connect to the client's proof of its key. A slower connection is closed.")
    ] = 5000
    idle_timeout_ms: Annotated[
        int, _bounded(1000, DAY_MS, "A client that is silent for so long is closed (clients ping and reconnect).")
    ] = 300_000
    frame_timeout_ms: Annotated[
        int, _bounded(100, DAY_MS, "From the first byte of a client's frame to its last. A slower one is closed.")
    ] = 60_000
    outbox_bytes_max: Annotated[
        int,
        _bounded(
            1024 * 1024,
            GIB,
            "Bytes waiting for one client that does not read. Past it the connection is closed: results can be asked "
            "for again.",
        ),
    ] = 16 * 1024 * 1024
    outstanding_max: Annotated[
        int,
        _bounded(
            1, 1_000_000, "Transactions of one connection that wait for an outcome. More are answered BUSY, not taken."
        ),
    ] = 20_000
    requests_max: Annotated[
        int, _bounded(1, 10_000, "Reads of one connection being worked on. One more is answered BUSY.")
    ] = 64
    query_wait_ms_max: Annotated[
        int,
        _bounded(0, 60_000, "How long a read waits for the height that it asks for; then it is answered NOT_READY."),
    ] = 10_000
    linger_ms: Annotated[
        int, _bounded(0, 60_000, "How long a closing client may take to read why; then it is closed all the same.")
    ] = 1000
    notice_interval_ms: Annotated[
        int, _bounded(0, DAY_MS, "At most one log line per event and reason in so long; what is left out is counted.")
    ] = 10_000


class TimingSection(Section, frozen=True):
    """The replica's durations. Members may differ: no safety depends on them."""

    view_change_timeout_ms: Annotated[
        int,
        _bounded(
            10,
            DAY_MS,
            "How long the oldest pending transaction may wait before this replica asks for another primary. It "
            "doubles with each view that brings nothing.",
        ),
    ] = 1000
    view_change_timeout_max_ms: Annotated[int, _bounded(10, DAY_MS, "Where that doubling stops.")] = 60_000
    status_interval_ms: Annotated[
        int, _bounded(10, 60_000, "How often STATUS is sent. What was lost is resent after one to two of them.")
    ] = 500
    fetch_timeout_ms: Annotated[
        int, _bounded(10, DAY_MS, "How long a peer may take to send missing blocks; then another one is asked.")
    ] = 2000
    courtesy_delay_ms: Annotated[
        int,
        _bounded(
            10,
            DAY_MS,
            "How long a replica that left the view alone waits until the others follow it (it cannot come back).",
        ),
    ] = 20_000
    courtesy_interval_ms: Annotated[
        int, _bounded(10, DAY_MS, "The least time between two such courtesies: nobody can make the cluster restless.")
    ] = 60_000


class StorageSection(Section, frozen=True):
    """The log, the journal and the state on disk."""

    map_bytes_initial: Annotated[
        int,
        _bounded(1024 * 1024, 1024 * GIB, "Disk space that is reserved when the node is created; it grows by need."),
    ] = 64 * 1024 * 1024
    map_bytes_max: Annotated[
        int,
        _bounded(
            1024 * 1024,
            1024 * GIB,
            "What data/ may grow to. At it the node says disk_full, stops voting and goes on serving reads.",
        ),
    ] = 1024 * GIB
    payload_bytes_max: Annotated[
        int,
        _bounded(
            0,
            1024 * GIB,
            "What payloads of private records may take beside the log, each in whole blocks of 4 KiB. At it further "
            "ones are refused, and the records are ordered all the same.",
        ),
    ] = GIB
    disk_retry_interval_ms: Annotated[
        int,
        _bounded(10, DAY_MS, "How often a turn that found the disk full is written again; nothing is said meanwhile."),
    ] = 1000


class RecordingSection(Section, frozen=True):
    """What the replica is told, written down in data/recording to be replayed (docs/operations.md)."""

    bytes_max: Annotated[
        int,
        _bounded(
            0,
            1024 * GIB,
            "What the recording of one life, from a start to its end, may take. At it the recording ends and the node "
            "goes on. 0: nothing is recorded.",
        ),
    ] = 0
    lives_max: Annotated[
        int, _bounded(1, 10_000, "Lives whose recordings are kept, this one included; a start deletes the oldest.")
    ] = 8


class WebSection(Section, frozen=True):
    """The log over HTTP, as tiles (docs/receipts.md). Plain HTTP: for loopback, or behind a web server with TLS."""

    listen: (
        Annotated[
            str,
            Meta(
                pattern=LISTEN_PATTERN,
                max_length=260,
                description="host:port to listen on, for anyone who may read the log. Default: nothing is served.",
                examples=["127.0.0.1:7002"],
            ),
        ]
        | None
    ) = None
    connections_max: Annotated[int, _bounded(1, 65_536, "Connections at a time. One more is closed unheard.")] = 64
    idle_timeout_ms: Annotated[
        int, _bounded(100, DAY_MS, "An open connection without a request for so long is closed.")
    ] = 30_000
    request_timeout_ms: Annotated[
        int, _bounded(100, DAY_MS, "From the first byte of a request to the last of its answer; then it is closed.")
    ] = 10_000


class WitnessSection(Section, frozen=True):
    """Witnesses that are no members (docs/receipts.md): asking them, and being one for others' logs."""

    ask: (
        Annotated[
            str,
            Meta(
                max_length=4096,
                description="A policy file (C2SP tlog-policy) whose witness lines have URLs: they are asked to cosign "
                "this cluster's checkpoints. Default: nobody is asked.",
                examples=["/srv/bftnode/config/witnesses.policy"],
            ),
        ]
        | None
    ) = None
    ask_interval_ms: Annotated[
        int, _bounded(100, DAY_MS, "The least time between two checkpoints that witnesses are asked to cosign.")
    ] = 10_000
    logs: (
        Annotated[
            str,
            Meta(
                max_length=4096,
                description="A policy file whose log lines name the logs that this member is a witness for, with its "
                "log keys, at [web] listen. Default: for none.",
                examples=["/srv/bftnode/config/logs.policy"],
            ),
        ]
        | None
    ) = None


class ShutdownSection(Section, frozen=True):
    """SIGTERM and SIGINT."""

    grace_ms: Annotated[
        int,
        _bounded(
            0,
            DAY_MS,
            "How long the daemon may take to end. Then it ends all the same; nothing is lost by it.",
        ),
    ] = 5000


class InboxSection(Section, frozen=True):
    """What waits for the replica."""

    peer_frames_max: Annotated[
        int, _bounded(1, 1_000_000, "Frames of one peer. At it that peer alone is not read from until there is room.")
    ] = 4096
    peer_bytes_max: Annotated[int, _bounded(1, 16 * GIB, "Bytes of one peer; as above.")] = 32 * 1024 * 1024
    submissions_max: Annotated[
        int, _bounded(1, 1_000_000, "Client envelopes. One more is answered BUSY, and the client tries again.")
    ] = 8192
    turn_frames_max: Annotated[
        int,
        _bounded(1, 1_000_000, "Frames of one peer in one turn; the others' come first, the rest in the next turn."),
    ] = 256


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole node.toml. Made by `load_config`; every value is within its bounds."""

    node: NodeSection = NodeSection()
    peer: PeerSection = PeerSection()
    client: ClientSection = ClientSection()
    timing: TimingSection = TimingSection()
    storage: StorageSection = StorageSection()
    recording: RecordingSection = RecordingSection()
    web: WebSection = WebSection()
    witness: WitnessSection = WitnessSection()
    shutdown: ShutdownSection = ShutdownSection()
    inbox: InboxSection = InboxSection()

    def net_limits(self) -> NetLimits:
        """[peer] in the network's own terms."""
        peer = self.peer
        return NetLimits(
            handshake_s=peer.handshake_timeout_ms / 1000,
            read_idle_s=peer.read_idle_timeout_ms / 1000,
            write_stall_s=peer.write_stall_timeout_ms / 1000,
            linger_s=peer.linger_ms / 1000,
            outbox_frames_max=peer.outbox_frames_max,
            outbox_bytes_max=peer.outbox_bytes_max,
            strangers_max=peer.strangers_max,
            backoff_first_s=peer.backoff_first_ms / 1000,
            backoff_max_s=peer.backoff_max_ms / 1000,
            backoff_reset_s=peer.backoff_reset_ms / 1000,
            faults_max=peer.faults_max,
            faults_window_s=peer.faults_window_ms / 1000,
            barred_s=peer.barred_ms / 1000,
            notice_interval_s=peer.notice_interval_ms / 1000,
        )

    def api_limits(self) -> ApiLimits:
        """[client] in the API's own terms."""
        client = self.client
        return ApiLimits(
            connections_max=client.connections_max,
            connections_per_client_max=client.connections_per_client_max,
            greetings_max=client.strangers_max,
            greeting_deadline_s=client.handshake_timeout_ms / 1000,
            idle_deadline_s=client.idle_timeout_ms / 1000,
            frame_deadline_s=client.frame_timeout_ms / 1000,
            outbox_bytes_max=client.outbox_bytes_max,
            outstanding_max=client.outstanding_max,
            requests_max=client.requests_max,
            query_wait_s_max=client.query_wait_ms_max / 1000,
            parting_s=client.linger_ms / 1000,
            complaint_interval_s=client.notice_interval_ms / 1000,
        )

    def web_limits(self) -> WebLimits:
        """[web] in the server's own terms. A checkpoint that others bring may be as long as a note."""
        web = self.web
        return WebLimits(
            connections_max=web.connections_max,
            body_bytes_max=REQUEST_BYTES_MAX,
            idle_s=web.idle_timeout_ms / 1000,
            request_s=web.request_timeout_ms / 1000,
        )

    def replica_timing(self) -> Timing:
        """[timing] in the replica's own terms."""
        return Timing(**msgspec.structs.asdict(self.timing))
