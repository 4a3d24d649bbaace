"""The API server: accepts clients, counts them, judges their deadlines. Each connection is connection.py's.

One task a connection; one watchdog for all of them. The listener survives whatever a client does, and running out
of file descriptors (trio.serve_listeners waits and goes on).
"""

import ipaddress
import ssl
from collections import Counter
from collections.abc import Sequence

import trio

from bftnode.api.backend import Backend
from bftnode.api.budgets import Budgets
from bftnode.api.complaints import Complaints
from bftnode.api.connection import Connection, Service
from bftnode.api.limits import ApiLimits
from bftnode.protocol.errors import Reason, Refused
from bftnode.tls.stream import TlsStream


class ApiServer:
    """One node's door for clients. `serve` it once."""

    def __init__(
        self, chain_id: bytes, member: int, backend: Backend, context: ssl.SSLContext, limits: ApiLimits
    ) -> None:
        self._context = context
        self._limits = limits
        self._complaints = Complaints(limits.complaint_interval_s)
        rejected = Budgets(limits.rejected_max, limits.rejected_per_s)
        self._service = Service(chain_id, member, backend, limits, self._complaints, rejected, self._admit)
        self._dials = Budgets(limits.dials_max, limits.dials_per_s)
        self._greeting: dict[Connection, str] = {}  # not admitted yet, and from which network; in order of arrival
        self._admitted: dict[Connection, None] = {}  # in order of arrival
        self._of_client: Counter[bytes] = Counter()
        self._totals: Counter[str] = Counter()

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until cancelled; closes the listeners. Started when clients can connect."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await nursery.start(trio.serve_listeners, self._serve_one, list(listeners))
            task_status.started()

    def statistics(self) -> dict[str, int]:
        """Counters by name, for telemetry: refusals under `refused.` and the reason."""
        found = {
            "connections": len(self._admitted),
            "greeting": len(self._greeting),
            "accepted": self._totals["accepted"],
            "frames_in": self._totals["frames_in"] + sum(one.frames_in for one in self._admitted),
            "envelopes_in": self._totals["envelopes_in"] + sum(one.envelopes_in for one in self._admitted),
            "answers_out": self._totals["answers_out"] + sum(one.answers_out for one in self._admitted),
        }
        found.update((f"refused.{reason}", count) for reason, count in sorted(self._complaints.counts.items()))
        return found

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        self._totals["accepted"] += 1
        address = _address(stream)
        network = _network(address)
        refused = None
        if self._dials.wait_s(network, trio.current_time()):
            refused = Refused(Reason.BUSY, "too many connections from one address")
        elif not self._has_room(network):
            refused = Refused(Reason.BUSY, f"{len(self._greeting)} connections are not introduced yet")
        else:
            self._dials.spend(network, 1, trio.current_time())
        if refused is not None:
            self._complaints.refused(trio.current_time(), address, refused)
            await trio.aclose_forcefully(stream)
            return
        tls = TlsStream(stream.socket, self._context, server_side=True)
        connection = Connection(self._service, tls, address)
        self._greeting[connection] = network
        try:
            await connection.serve()
        finally:
            self._greeting.pop(connection, None)
            if connection in self._admitted:
                self._dismiss(connection)

    def _has_room(self, network: str) -> bool:
        """For one more that has to introduce itself. Where there is none, the network that has most of it gives up its
        oldest one to another: who opens connections and says nothing is in nobody's way but its own."""
        if len(self._greeting) < self._limits.greetings_max:
            return True
        counts = Counter(self._greeting.values())
        ((crowd, most),) = counts.most_common(1)
        if most <= counts[network] + 1:
            return False
        oldest = next(connection for connection, its in self._greeting.items() if its == crowd)
        del self._greeting[oldest]
        oldest.end(Refused(Reason.BUSY, "made room for a connection from another address"))
        return True

    def _admit(self, connection: Connection) -> None:
        """The client has shown its key. Raises Refused(BUSY | CLIENT_LIMIT)."""
        assert connection.client is not None, "admitted by its key"
        limits = self._limits
        if len(self._admitted) >= limits.connections_max:
            raise Refused(Reason.BUSY, f"{limits.connections_max} clients are connected")
        if self._of_client[connection.client] >= limits.connections_per_client_max:
            raise Refused(Reason.CLIENT_LIMIT, f"{limits.connections_per_client_max} connections have this key already")
        self._greeting.pop(connection, None)
        self._admitted[connection] = None
        self._of_client[connection.client] += 1

    def _dismiss(self, connection: Connection) -> None:
        assert connection.client is not None, "was admitted by its key"
        del self._admitted[connection]
        self._of_client[connection.client] -= 1
        if not self._of_client[connection.client]:
            del self._of_client[connection.client]
        for name in ("frames_in", "envelopes_in", "answers_out"):
            self._totals[name] += getattr(connection, name)

    async def _watch(self) -> None:
        """Ends what is overdue. Once a second is fine for deadlines of minutes; tests have shorter ones."""
        pause_s = min(1.0, self._limits.idle_deadline_s / 4, self._limits.frame_deadline_s / 4)
        while True:
            await trio.sleep(pause_s)
            now = trio.current_time()
            for connection in list(self._admitted):
                refused = connection.overdue(now)
                if refused is not None:
                    connection.end(refused)


def _network(address: str) -> str:
    """Who dials, as far as connections are counted: a host, or in IPv6 the network of 64 bits that a host has."""
    host = address.rpartition(":")[0]
    try:
        network = ipaddress.ip_network((host.partition("%")[0], 64 if ":" in host else 32), strict=False)
    except ValueError:
        return ""  # gone already
    return str(network.network_address)


def _address(stream: trio.SocketStream) -> str:
    """Of the client, as the kernel says it; for the log."""
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "gone"
    return f"{host}:{port}"
