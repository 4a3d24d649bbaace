"""The daemon: opens everything, introduces the rooms to each other, lives, and ends in order.

Start-up is indentation: storage, then the replica, then the network and the clients' listener, then the driver.
What ends a node is its operator (a signal), a broken disk or a broken belief; never a message.
"""

import dataclasses
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog
import trio

from bftnode import __version__
from bftnode.api.server import ApiServer
from bftnode.api.tls import server_context
from bftnode.apps.execution import Executor, Scoped
from bftnode.apps.log import Records
from bftnode.apps.registry import load_application
from bftnode.net.link import Receive
from bftnode.net.network import PeerNetwork
from bftnode.net.peer import PeerInfo
from bftnode.node import telemetry
from bftnode.node.backend import NodeBackend
from bftnode.node.config import NodeConfig, host_and_port, load_config
from bftnode.node.driver import Driver, Mouth, clock
from bftnode.node.envelopes import Envelopes
from bftnode.node.home import Home, my_index
from bftnode.node.identity import Identity, checkpoint_signer
from bftnode.node.inbox import Inbox
from bftnode.node.keeper import Keeper
from bftnode.node.outside import Log, OutsideWitnesses
from bftnode.node.policies import logs_to_witness, witnesses_to_ask
from bftnode.node.recorder import Recorder, code_in_use
from bftnode.protocol import ed25519
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import Genesis, write_genesis
from bftnode.replica.core import Replica
from bftnode.replica.events import Linked, Now, Unlinked
from bftnode.replica.recording import FORMAT, Start, woke
from bftnode.replica.recovery import Recovered
from bftnode.storage.directory import PAYLOADS_NAME, RECORDING_NAME
from bftnode.storage.errors import StorageBroken
from bftnode.storage.payloads import Payloads
from bftnode.storage.store import Storage
from bftnode.web.server import Handler, Request, Response, WebServer
from bftnode.web.tiles import Tiles
from bftnode.web.witness import Record, WitnessDoor

GIL_INTERVAL_S = 0.0005
"""How long a worker thread may keep the interpreter from the event loop. Python's 5 ms would be most of a commit's
latency; smaller values cost throughput in switching."""

GC_THRESHOLDS = (200_000, 20, 50)
"""Reference counting frees what a node makes; the collector only looks for cycles, of which there are few. Python's
default of 700 would look hundreds of times a second, through everything that is in memory."""

EXIT_OK = 0
EXIT_FAILURE = 1


class Mask(Protocol):
    """What stands between a replica and its network. Production wears none; `theatre/` plays malicious members with
    it, so that they differ from the others in this and in nothing else."""

    def ears(self, receive: Receive) -> Receive:
        """Who is given the frames that come in, instead of `receive`."""

    def mouth(self, replica: Replica, storage: Storage, mouth: Mouth) -> Mouth:
        """Who is given the frames that go out, instead of `mouth`."""

    async def live(self) -> None:
        """For ever, beside the driver."""


def main(home: Home, config: NodeConfig, mask: Mask | None = None) -> int:
    """Run a node until a signal ends it; the exit code. Raises Refused for what is wrong before it starts."""
    identity = home.load_identity()
    genesis = home.load_genesis()
    membership = genesis.membership()
    if identity.public_key not in membership.public_keys:
        raise Refused(
            Reason.CONFIGURATION,
            f"{home.secrets_path}: this key is not a member of {home.genesis_path}: use the genesis that contains it",
        )
    me = my_index(genesis, identity)
    name = genesis.members[me].name
    if config.node.name is not None and config.node.name != name:
        raise Refused(Reason.CONFIGURATION, f"node.name is {config.node.name!r}; the genesis calls this key {name!r}")
    ed25519.self_check()
    sys.setswitchinterval(GIL_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()
    executor = Executor(
        load_application(genesis.application), genesis.administrator_keys(), membership.parameters.clients_max
    )
    writer = telemetry.LineWriter(sys.stderr)
    telemetry.configure(config.node.log_level, config.node.log_format, writer, {"node": name})
    log = structlog.get_logger("node")
    try:
        storage = Storage.open(
            home.data_path,
            membership,
            me,
            executor,
            map_bytes_initial=config.storage.map_bytes_initial,
            map_bytes_max=config.storage.map_bytes_max,
        )
        try:
            daemon = Daemon(home, config, genesis, me, identity, storage, executor, writer, mask)
            trio.run(daemon.run, strict_exception_groups=True)
        finally:
            storage.close()
    except* (StorageBroken, AssertionError) as group:
        # The disk or a belief of ours is broken: going on could contradict what was said. Stop, and say why.
        log.error("node_stopped", reason="broken", detail=_first_line(group))
        raise
    finally:
        writer.close()
    return EXIT_OK


def _first_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]


class Daemon:
    """One running node."""

    def __init__(
        self,
        home: Home,
        config: NodeConfig,
        genesis: Genesis,
        me: int,
        identity: Identity,
        storage: Storage,
        executor: Executor,
        writer: telemetry.LineWriter,
        mask: Mask | None = None,
    ) -> None:
        self._home = home
        self._config = config
        self._genesis = genesis
        self._me = me
        self._identity = identity
        self._storage = storage
        self._executor = executor
        self._writer = writer
        self._mask = mask
        self._keys = genesis.checkpoint_keys()
        self._signer = checkpoint_signer(identity, self._keys, me)
        self._log = structlog.get_logger("node")
        self._scope = trio.CancelScope()
        self._stopping = False

    async def run(self) -> None:
        """Until a signal, or until something breaks."""
        began = time.monotonic()
        config, me, storage = self._config, self._me, self._storage
        membership = self._genesis.membership()
        sign = ed25519.signer(self._identity.seed)
        envelopes = Envelopes(membership.chain_id, self._executor)
        inbox = Inbox(
            [member for member in range(membership.n) if member != me],
            config.inbox.peer_frames_max,
            config.inbox.peer_bytes_max,
            config.inbox.submissions_max,
            config.inbox.turn_frames_max,
        )
        recovered, born = storage.recover(), clock()
        recorder = self._recorder(recovered, born)
        replica = Replica(
            membership,
            me,
            sign if recorder is None else recorder.signing(sign),
            ed25519.verify,
            envelopes.open,
            recovered,
            born,
            config.replica_timing(),
            self._signer if recorder is None else recorder.cosigning(self._signer),
        )
        own = self._genesis.members[me]
        network = PeerNetwork(
            membership,
            me,
            sign,
            self._peers(),
            self._identity.certificate_path,
            self._identity.tls_key_path,
            host_and_port(config.peer.listen or own.peer_address),
            inbox.receive if self._mask is None else self._mask.ears(inbox.receive),
            config.net_limits(),
            lambda member, up: inbox.put(Linked(member) if up else Unlinked(member)),
        )
        backend = NodeBackend(self._genesis, me, storage, self._executor, inbox, envelopes, network, self._keeper())
        mouth = network if self._mask is None else self._mask.mouth(replica, storage, network)
        driver = Driver(
            replica,
            storage,
            inbox,
            envelopes,
            mouth,
            backend,
            config.storage.disk_retry_interval_ms / 1000,
            record=None if recorder is None else recorder.turn,
        )
        backend.introduce(driver)
        context = server_context(self._identity.certificate_path, self._identity.tls_key_path)
        api = ApiServer(membership.chain_id, me, backend, context, config.api_limits())
        web = WebServer(self._handler(backend), config.web_limits())
        outside = self._outside(driver)
        host, port = host_and_port(config.client.listen or own.client_address)
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._signals)
                with _naming("peer.listen"):
                    await nursery.start(network.run)
                with _naming("client.listen"):
                    listeners = await trio.open_tcp_listeners(port, host=host)
                await nursery.start(api.serve, listeners)
                if config.web.listen is not None:
                    await nursery.start(self._serve_web, web, config.web.listen)
                if outside is not None:
                    nursery.start_soon(outside.run)
                nursery.start_soon(backend.acknowledge)
                nursery.start_soon(backend.erase)
                nursery.start_soon(driver.run)
                if self._mask is not None:
                    nursery.start_soon(self._mask.live)
                self._log.info(
                    "node_started",
                    version=__version__,
                    chain=membership.chain_id.hex()[:16],
                    member=me,
                    members=membership.n,
                    height=replica.chain.height,
                    view=replica.position.view,
                    peers=config.peer.listen or own.peer_address,
                    clients=config.client.listen or own.client_address,
                    ms=int((time.monotonic() - began) * 1000),
                )
        self._log.info("node_stopped", reason="signal", height=storage.height)

    def _recorder(self, recovered: Recovered, born: Now) -> Recorder | None:
        """Raises Refused(CONFIGURATION) where it cannot be written."""
        config = self._config.recording
        if not config.bytes_max:
            return None
        try:
            folder = self._home.data_path / RECORDING_NAME
            recorder = Recorder(folder, config.bytes_max, config.lives_max, self._log.warning)
        except OSError as error:
            raise Refused(Reason.CONFIGURATION, f"recording: {error.filename}: {error.strerror}") from None
        timing = dataclasses.asdict(self._config.replica_timing())
        genesis = write_genesis(self._genesis)
        recorder.begin(
            Start(FORMAT, __version__, code_in_use(), genesis, self._me, timing, born.wall_ms), woke(recovered, born)
        )
        self._log.info("recording", path=str(recorder.path), bytes_max=config.bytes_max)
        return recorder

    def _keeper(self) -> Keeper | None:
        application, storage = self._executor.application, self._storage
        if not isinstance(application, Records):
            return None

        def query(query: bytes) -> bytes:
            with storage.reading() as view:
                return application.query(Scoped(view.state), query)

        path = self._home.data_path / PAYLOADS_NAME
        return Keeper(Payloads(path, self._config.storage.payload_bytes_max), query)

    def _peers(self) -> list[PeerInfo]:
        return [
            PeerInfo(
                index, item.name, bytes.fromhex(item.public_key), item.tls_certificate, host_and_port(item.peer_address)
            )
            for index, item in enumerate(self._genesis.members)
        ]

    # ---- the world

    async def _serve_web(
        self, web: WebServer, listen: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        host, port = host_and_port(listen)
        with _naming("web.listen"):
            listeners = await trio.open_tcp_listeners(port, host=host)
        await web.serve(listeners, task_status=task_status)

    def _handler(self, backend: NodeBackend) -> Handler:
        """What is served over HTTP: tiles, and the door of a witness if it is one. Raises Refused(CONFIGURATION)."""
        tiles = Tiles(backend)
        if self._config.witness.logs is None:
            return tiles
        logs = logs_to_witness(Path(self._config.witness.logs), self._keys.origin)
        signer = self._signer
        door = WitnessDoor(
            logs, Record(self._home.witness_path), lambda checkpoint: signer.witness(checkpoint, int(time.time()))
        )

        async def handle(request: Request) -> Response:
            return await (door if door.serves(request) else tiles)(request)

        return handle

    def _outside(self, driver: Driver) -> OutsideWitnesses | None:
        """Raises Refused(CONFIGURATION)."""
        ask = self._config.witness.ask
        if ask is None:
            return None
        log = Log(lambda: self._storage.checkpoint(None), self._storage.consistency, driver.keep)
        witnesses = witnesses_to_ask(Path(ask))
        return OutsideWitnesses(witnesses, self._keys, log, self._config.witness.ask_interval_ms / 1000)

    # ---- signals

    async def _signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """TERM and INT: stop in order, at once at the second. HUP: read the log level again."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            await self._obey(signals)

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                self._reload()
                continue
            self._log.info("node_stopping", signal=signal.Signals(number).name)
            # A disk that does not answer must not keep a node from ending; and a second signal ends it at once.
            timer = threading.Timer(self._config.shutdown.grace_ms / 1000, os._exit, (EXIT_FAILURE,))
            timer.daemon = True
            timer.start()
            # Every promise is durable before it is made, so there is little to save: connections end, the turn that
            # is being written ends, what was left behind is written. Work in threads is waited for.
            self._scope.cancel()

    def _reload(self) -> None:
        try:
            config = load_config(self._home.config_path, os.environ, {}).config
        except Refused as refused:
            self._log.error("reload_refused", detail=refused.detail)
            return
        telemetry.configure(
            config.node.log_level, config.node.log_format, self._writer, {"node": self._genesis.members[self._me].name}
        )
        self._log.info("reloaded", log_level=config.node.log_level)


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """A port that is taken is the operator's to mend. Raises Refused(CONFIGURATION) naming the key."""
    try:
        yield
    except OSError as error:
        raise Refused(Reason.CONFIGURATION, f"{key}: cannot listen: {error.strerror or error}") from None
