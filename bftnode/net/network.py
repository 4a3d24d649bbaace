"""All connections of this replica to the other members: one link per pair, made, supervised and replaced here.

Of each pair the member with the higher index dials; both keep the newest connection that completed the greeting,
so that a peer which came back is not shut out by its own ghost. Every connection belongs to one call of
`_connection`, which turns whatever happens there into a counted, logged, rate-limited refusal: no message can
take down more than the connection that it came by (faults.md T08). A frame for a member without a link is
dropped and counted; what matters is repeated by the protocol's STATUS.

Owns listeners, dialling, bounds on who may wait at the door. Not the frames' meaning, nor clients, who have a
listener of their own (api/).
"""

import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import trio

from bftnode.net.door import Door
from bftnode.net.greeting import RefusedByPeer, Self, greet, refuse
from bftnode.net.limits import NetLimits
from bftnode.net.link import Link, Receive
from bftnode.net.notices import Notices
from bftnode.net.peer import Peer, PeerInfo, PeerStatistics
from bftnode.net.tls import client_context, server_context, shown_pin, valid_until
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import certificate_pin
from bftnode.protocol.membership import Membership
from bftnode.tls.contexts import refusal_of
from bftnode.tls.stream import TlsStream

ACCEPT_PAUSE_S = 0.1
BACKLOG = 256


class PeerNetwork:
    """`run` it in a nursery; `send`, `broadcast`, `reject` and `statistics` from any task of the same loop.

    `receive(member, frame)` is called for each frame of an authenticated link. `on_link(member, up)` is called
    with True for each new link (one that replaces an older one, too) and with False when none is left.
    `wall_clock` (seconds since 1970) only decides when a certificate of a live link has ended.
    Raises Refused(CONFIGURATION) when genesis, keys and files do not belong together; OSError or ssl.SSLError for
    unusable files.
    """

    def __init__(
        self,
        membership: Membership,
        me: int,
        sign: Signer,
        peers: Sequence[PeerInfo],
        certificate_path: Path,
        key_path: Path,
        listen: tuple[str, int],
        receive: Receive,
        limits: NetLimits,
        on_link: Callable[[int, bool], None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        others = [info for info in peers if info.member != me]
        if sorted(info.member for info in others) != [m for m in range(membership.n) if m != me]:
            raise Refused(Reason.CONFIGURATION, "the peers are not the other members of the genesis")
        if any(info.public_key != membership.public_keys[info.member] for info in peers):
            raise Refused(Reason.CONFIGURATION, "a peer's public key is not the one in the genesis")
        my_pin = certificate_pin(certificate_path.read_text(encoding="ascii"))
        if any(certificate_pin(info.certificate_pem) != my_pin for info in peers if info.member == me):
            raise Refused(Reason.CONFIGURATION, f"{certificate_path} is not the certificate pinned for this member")
        self._self = Self(membership, me, my_pin, sign)
        self._peers: list[Peer | None] = [None] * membership.n
        for info in others:
            self._peers[info.member] = Peer(info, limits)
        self._others = [peer for peer in self._peers if peer is not None]
        self._pins = {certificate_pin(info.certificate_pem): info.member for info in others}
        trusted = [info.certificate_pem for info in others]
        self._server_context = server_context(certificate_path, key_path, trusted)
        self._client_context = client_context(certificate_path, key_path, trusted)
        self._listen = listen
        self._receive = receive
        self._limits = limits
        self._on_link = on_link
        self._wall_clock = wall_clock
        self._notices = Notices(limits.notice_interval_s)
        self._door = Door(limits.strangers_max)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial, supervise, until cancelled. Starts with the bound port; raises OSError if it cannot bind."""
        host, port = self._listen
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, nursery)
            for peer in self._others:
                if peer.info.member < self._self.me:
                    nursery.start_soon(self._dial_for_ever, peer)
            nursery.start_soon(self._watch)
            task_status.started(listeners[0].socket.getsockname()[1])

    # What the daemon does with it. ---------------------------------------------------------------------------

    def send(self, member: int, frame: bytes) -> None:
        """Queue a frame for one other member. Never blocks; see NetLimits.outbox_* for what is dropped when."""
        self._send(self._peer(member), frame)

    def _send(self, peer: Peer, frame: bytes) -> None:
        link = peer.link
        if link is None:
            peer.dropped_unlinked += 1
        elif dropped := link.send(frame):
            now, member = trio.current_time(), peer.info.member
            self._notices.say(now, "send.backpressure", member, dropped=dropped, total=link.dropped)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is sent within it to one member leaves in one write, at its end."""
        for peer in self._others:
            if peer.link is not None:
                peer.link.held = True
        try:
            yield
        finally:
            for peer in self._others:
                if peer.link is not None:
                    peer.link.release()

    def broadcast(self, frame: bytes) -> None:
        """Queue a frame for every other member."""
        for peer in self._others:
            self._send(peer, frame)

    def reject(self, member: int, reason: Reason) -> None:
        """The frames of this member broke the protocol. Too often: disconnected and barred for a while."""
        peer = self._peer(member)
        now = trio.current_time()
        self._notices.say(now, "peer.fault", member, str(reason))
        if peer.fault(now):
            peer.barred_until = now + self._limits.barred_s
            if peer.link is not None:
                peer.link.end(Refused(Reason.PEER_BARRED, f"{self._limits.faults_max} faults, the last: {reason}"))

    def statistics(self) -> dict[int, PeerStatistics]:
        """By member."""
        return {peer.info.member: peer.statistics() for peer in self._others}

    def _peer(self, member: int) -> Peer:
        peer = self._peers[member]
        assert peer is not None, "a replica does not send to itself"
        return peer

    # Tasks. --------------------------------------------------------------------------------------------------

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        """For ever. Where the system has no descriptor left (T14), links live on and we try again shortly."""
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    self._notices.say(trio.current_time(), "accept.paused", None, error=error.strerror)
                    self._door.evict_oldest()
                    await trio.sleep(ACCEPT_PAUSE_S)
                else:
                    nursery.start_soon(self._connection, stream.socket, None)

    async def _dial_for_ever(self, peer: Peer) -> None:
        while True:
            await trio.sleep(max(0.0, peer.barred_until - trio.current_time()))
            socket = await self._connect(peer)
            up_s = 0.0 if socket is None else await self._connection(socket, peer)
            if up_s >= self._limits.backoff_reset_s:
                peer.backoff.reset()
            await trio.sleep(peer.backoff.next_s())

    async def _connect(self, peer: Peer) -> trio.socket.SocketType | None:
        host, port = peer.info.address
        try:
            with trio.fail_after(self._limits.handshake_s):
                return (await trio.open_tcp_stream(host, port)).socket
        except trio.TooSlowError:
            self._refused(peer, Refused(Reason.CONN_UNREACHABLE, "no answer"))
        except OSError as error:
            self._refused(peer, Refused(Reason.CONN_UNREACHABLE, error.strerror or str(error)))
        except Exception as error:  # a name that cannot be encoded, say: this peer stays unreachable, no more
            self._failed(peer, error)
        return None

    async def _watch(self) -> None:
        """Deadlines of all live links, from one task: see Link.check."""
        while True:
            await trio.sleep(self._limits.watch_interval_s)
            now, wall = trio.current_time(), self._wall_clock()
            for peer in self._others:
                if peer.link is not None:
                    peer.link.check(now, wall)

    async def _connection(self, socket: trio.socket.SocketType, dialled: Peer | None) -> float:
        """The whole life of one connection, dialled or accepted. Returns for how many seconds it was a link.

        Nothing but cancellation leaves it.
        """
        peer = dialled
        scope = trio.CancelScope()
        up_at: float | None = None
        try:
            context = self._server_context if dialled is None else self._client_context
            stream = TlsStream(socket, context, server_side=dialled is None)
            with scope:
                try:
                    with trio.fail_after(self._limits.handshake_s):
                        if dialled is None:
                            self._door.knock(scope)
                        await stream.handshake()
                        pin = shown_pin(stream.tls)
                        member = self._proven(pin)
                        peer = peer or self._peer(member)
                        self._door.prove(scope, peer.info.member)
                        await self._check_peer(stream, member, peer, dialled is not None)
                        rest = await greet(stream, self._self, member, pin)
                    self._door.leave(scope, member)
                    up_at = trio.current_time()
                    await self._serve(peer, stream, rest)
                except trio.TooSlowError:
                    self._refused(peer, Refused(Reason.CONN_DEADLINE, "the handshake took too long"))
                except RefusedByPeer as refused:
                    self._refused(peer, refused)
                except (Refused, ssl.SSLError) as error:
                    self._refused(peer, error if isinstance(error, Refused) else refusal_of(error))
                    if up_at is None:
                        with trio.move_on_after(self._limits.linger_s):
                            await stream.linger()
                except OSError as error:
                    self._refused(peer, Refused(Reason.CONN_LOST, error.strerror or str(error)))
                except Exception as error:
                    self._failed(peer, error)
            if scope.cancelled_caught:
                self._refused(peer, Refused(Reason.CONN_EVICTED, "made room for a newer one"))
        finally:
            self._door.leave(scope, None if peer is None else peer.info.member)
            socket.close()
        return 0.0 if up_at is None else trio.current_time() - up_at

    async def _serve(self, peer: Peer, stream: TlsStream, rest: bytes) -> None:
        """The link, from its first frame to its end. Raises what ended it."""
        member = peer.info.member
        link = Link(member, stream, self._limits, self._receive, valid_until(stream.tls))
        link.check(trio.current_time(), self._wall_clock())
        older = peer.link
        peer.adopt(link)
        if older is not None:
            self._notices.say(trio.current_time(), "id.duplicate", member)
            older.end(Refused(Reason.ID_DUPLICATE, "the peer connected again"))
        try:
            self._on_link(member, True)
            now = trio.current_time()
            self._notices.say(now, "peer.link_up", member, level=logging.INFO, name=peer.info.name)
            await link.run(rest)
        finally:
            peer.part(link)
            if peer.link is None:
                self._on_link(member, False)

    # Who is spoken with. ----------------------------------------------------------------------------------------

    def _proven(self, pin: bytes) -> int:
        """Raises Refused(TLS_UNTRUSTED)."""
        member = self._pins.get(pin)
        if member is None:
            raise Refused(Reason.TLS_UNTRUSTED, "the certificate is of no other member")
        return member

    async def _check_peer(self, stream: TlsStream, member: int, peer: Peer, dialled: bool) -> None:
        """Whether we talk with `member` on this connection at all. Raises Refused, after telling the peer."""
        refused: Refused | None = None
        if member != peer.info.member:
            refused = Refused(Reason.ID_MISMATCH, f"member {member} answered for member {peer.info.member}")
        elif not dialled and member < self._self.me:
            refused = Refused(Reason.HANDSHAKE, "the member with the higher index dials")
        elif trio.current_time() < peer.barred_until:
            refused = Refused(Reason.PEER_BARRED, "too many faults a short while ago")
        if refused is not None:
            await refuse(stream, refused.reason)
            raise refused

    def _refused(self, peer: Peer | None, refused: Refused) -> None:
        """The end of a connection or attempt. `peer` is None for a stranger."""
        if peer is not None:
            peer.last_refusal = refused.reason
        member = None if peer is None else peer.info.member
        now = trio.current_time()
        self._notices.say(now, "peer.refused", member, str(refused.reason), detail=refused.detail)

    def _failed(self, peer: Peer | None, error: Exception) -> None:
        """A defect of ours that a connection ran into: said with its traceback, survived by everything else."""
        member = None if peer is None else peer.info.member
        now = trio.current_time()
        self._notices.say(now, "peer.task_failed", member, type(error).__name__, exc_info=error)
