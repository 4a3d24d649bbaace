"""The bounds of the API, each with what happens at it. The node's configuration fills them in."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ApiLimits:
    connections_max: int = 1000  # admitted clients' connections; one more is told BUSY and closed
    connections_per_client_max: int = 16  # with one key; one more is told CLIENT_LIMIT and closed
    greetings_max: int = 256  # not yet admitted; one more takes a place of the address with most, or is closed
    greeting_deadline_s: float = 5.0  # from accept to AUTH, TLS included; later is closed
    idle_deadline_s: float = 300.0  # without a whole frame from the client (it pings); then closed
    frame_deadline_s: float = 60.0  # from the first byte of a frame to its last; later is closed (slow body)
    outbox_bytes_max: int = 16 * MIB  # answers that the client has not read; more closes its connection
    outstanding_max: int = 20_000  # transactions of one connection waiting for an outcome; more are answered BUSY
    requests_max: int = 64  # numbered requests of one connection being worked on; more are refused as BUSY
    query_wait_s_max: float = 10.0  # a query waits for its height at most so long, whatever it asks for
    parting_s: float = 1.0  # for a closing client to read why; then closed all the same
    dials_max: int = 500  # connections that one address may open at once; one more is closed unheard
    dials_per_s: float = 50.0  # and how many more each second: their handshakes take some per cent of a core
    rejected_max: int = 8192  # envelopes that one key's connections bring and that are rejected; then they have to wait
    rejected_per_s: float = 200.0  # and how many more each second: looking at them takes a per cent of a core
    forgery_cost: int = 4096  # a wrong signature counts as so many rejections, and ends the connection
    complaint_interval_s: float = 10.0  # one log line per event and reason in it; what is left out is counted
