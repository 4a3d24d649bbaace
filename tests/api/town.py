"""A town: four nodes with real certificates, TLS and API servers, and one ledger in memory that orders at once.

The ledger is an honest implementation of what the nodes agree on: the real execution, blocks, certificates and
proofs. What a node does with its clients is its backend's; those at the end misbehave, one way each.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from bftnode.api.backend import Subscriber
from bftnode.api.limits import ApiLimits
from bftnode.api.server import ApiServer
from bftnode.api.tls import server_context
from bftnode.apps.execution import CLIENT_PREFIX, Executor, Scoped
from bftnode.apps.kv import KeyValue
from bftnode.node.home import member_of
from bftnode.node.identity import Identity, checkpoint_signer, create_identity
from bftnode.protocol import client_messages as cm
from bftnode.protocol.blocks import Block, Header, genesis_block, make_block
from bftnode.protocol.certificates import COMMIT, Certificate, VoteSignature, vote_body
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.cosigning import CheckpointSigner, Cosigned, MemberCosignatures
from bftnode.protocol.ed25519 import public_key_of, signer, verify
from bftnode.protocol.envelope import signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import Genesis, ParametersFile, make_genesis
from bftnode.protocol.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash, root_of
from bftnode.protocol.nonces import ClientRecord, ClientWindow
from bftnode.protocol.receipts import Receipt
from bftnode.protocol.results import OperationResult, TransactionResult
from bftnode.protocol.transactions import Transaction, open_transaction

HOST = "127.0.0.1"
PATIENCE_S = 20.0
ADMINISTRATOR = bytes(range(32))
STRANGER = bytes(range(1, 33))


class Map:
    """An ordered map of bytes."""

    def __init__(self, content: dict[bytes, bytes | None]) -> None:
        self.content: dict[bytes, bytes] = {}
        self.update(content)

    def update(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value

    def get(self, key: bytes) -> bytes | None:
        return self.content.get(key)

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        keys = sorted(key for key in self.content if key >= start and (end is None or key < end))
        return [(key, self.content[key]) for key in keys[:limit]]


class Ledger:
    """What all correct nodes agree on. `held`: nothing is ordered until `release`."""

    def __init__(self, genesis: Genesis, seeds: Sequence[bytes], cosigners: Sequence[CheckpointSigner]) -> None:
        self.members = genesis.membership()
        self.cosigners = cosigners
        self._signers = [signer(seed) for seed in seeds]
        self.executor = Executor(KeyValue(), genesis.administrator_keys(), 100)
        self.state = Map(self.executor.initial_state())
        self.blocks: list[Block] = [genesis_block(self.members.chain_id)]
        self.entries: list[cm.Entry] = []
        self.results: dict[bytes, bytes] = {}
        self.forgotten: set[bytes] = set()
        self.pending: dict[bytes, Transaction] = {}
        self.held = False
        self.backends: list[MemoryBackend] = []
        self._frontier = Frontier()
        self._advanced = trio.Event()

    @property
    def height(self) -> int:
        return self.blocks[-1].seq

    def window(self, client: bytes) -> ClientWindow | None:
        raw = self.state.get(CLIENT_PREFIX + client)
        return None if raw is None else ClientWindow.load(decode(raw, ClientRecord, 4096))

    def release(self) -> None:
        self.held = False
        self.order()

    def order(self) -> None:
        """One block of all that is pending."""
        if self.held or not self.pending:
            return
        transactions = tuple(self.pending.values())
        self.pending.clear()
        raws = tuple(item.raw for item in transactions)
        leaves = [leaf_hash(raw) for raw in raws]
        first, seq = self._frontier.size, self.height + 1
        self._frontier, _ = self._frontier.append(leaves)
        header = Header(
            self.members.chain_id,
            0,
            seq,
            self.blocks[-1].hash,
            1000 * seq,
            root_of(leaves),
            self._frontier.size,
            self._frontier.root(),
            0,
            0,
        )
        self.blocks.append(make_block(header, raws, leaves))
        done = self.executor.execute(seq, header.time_ms, first, transactions, self.state)
        self.state.update(done.changes)
        self.entries += [cm.Entry(first + i, seq, header.time_ms, raw) for i, raw in enumerate(raws)]
        for result in done.results:
            self.results[result.transaction] = encode(result)
        for backend in self.backends:
            backend.executed(done.results)
        self._advanced.set()
        self._advanced = trio.Event()

    async def reach(self, height: int, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            while self.height < height:
                await self._advanced.wait()
            return
        raise Refused(Reason.NOT_READY, f"height {self.height}")

    def certificate(self, block: Block) -> Certificate:
        body = vote_body(0, 0, block.seq, block.hash)
        votes = tuple(
            VoteSignature(i, 1, 1, self._signers[i](signing_bytes(self.members.chain_id, COMMIT, i, 1, 1, body)))
            for i in range(self.members.quorum)
        )
        return Certificate(COMMIT, 0, 0, block.seq, block.hash, votes)

    def node_at(self, level: int, place: int) -> bytes:
        entries = self.entries[place << level : (place + 1) << level]
        return root_of([leaf_hash(entry.envelope) for entry in entries])

    def cosigned(self, size: int | None) -> Cosigned | None:
        """Every block's log is cosigned by a quorum."""
        sizes = {block.header.log_size: block.header for block in self.blocks[1:]}
        header = sizes.get(max(sizes, default=0) if size is None else min((s for s in sizes if s >= size), default=0))
        if header is None:
            return None
        place, time_s = (header.log_size, header.log_root), header.time_ms // 1000
        by = tuple(
            MemberCosignatures(one.member, one.cosign(*place, time_s)) for one in self.cosigners[: self.members.quorum]
        )
        first = self.cosigners[0]
        return Cosigned(header.seq, *place, time_s, first.member, first.sign(*place), by)

    def checkpoint(self, size: int | None) -> bytes:
        cosigned = self.cosigned(size)
        if cosigned is None:
            raise Refused(Reason.NOT_FOUND, "no checkpoint is cosigned")
        return self.cosigners[0].keys.note(cosigned)

    def receipt(self, index: int) -> Receipt:
        head = self.blocks[-1]
        path = tuple(inclusion_proof(index, len(self.entries), self.node_at))
        return Receipt(head.header_raw, index, path, self.certificate(head))


class MemoryBackend:
    """A correct node, as `bftnode.api.backend.Backend` asks for it."""

    def __init__(self, ledger: Ledger, member: int) -> None:
        self.ledger = ledger
        self.member = member
        self.subscribers: dict[bytes, dict[Subscriber, None]] = {}
        self.submitted: list[list[bytes]] = []  # the envelopes of each submit
        self.payloads: dict[int, tuple[bytes, bytes]] = {}  # as they came: what a correct node checks is its backend's
        self.forgot = 0
        self.changed = trio.Event()
        ledger.backends.append(self)

    def client_role(self, public_key: bytes) -> int:
        window = self.ledger.window(public_key)
        return 0 if window is None else window.role

    def highest_nonce(self, public_key: bytes) -> int:
        window = self.ledger.window(public_key)
        return 0 if window is None else window.highest

    def height(self) -> int:
        return self.ledger.height

    async def submit(self, envelopes: Sequence[bytes], names: Sequence[bytes], subscriber: Subscriber) -> int:
        await trio.lowlevel.checkpoint()
        self.submitted.append(list(envelopes))
        self.tell()
        rejected = sum(self.take(raw, subscriber) for raw in envelopes)
        self.ledger.order()
        return rejected

    def take(self, raw: bytes, subscriber: Subscriber) -> bool:
        """One envelope: RESULT, REJECT or ACK. Whether it was rejected."""
        name = cm.envelope_id(raw)
        if self._known(name, subscriber):
            return False
        try:
            transaction = open_transaction(raw, self.ledger.members.chain_id)
            self.ledger.executor.validate(transaction)
            if not transaction.signature_valid(verify):
                raise Refused(Reason.TX_SIGNATURE, "forged")
            window = self.ledger.window(transaction.body.client)
            if window is None or not window.role:
                raise Refused(Reason.TX_UNKNOWN_CLIENT)
            reason = window.refusal(transaction.body.nonce)
            if reason is not None:
                raise Refused(reason)
            if transaction.body.valid_until <= self.ledger.height:
                raise Refused(Reason.TX_EXPIRED)
        except Refused as refused:
            self.say(subscriber, cm.Reject(name, str(refused.reason)))
            if refused.reason is Reason.TX_SIGNATURE:
                raise
            return True
        self.say(subscriber, cm.Ack(name))
        self.subscribers.setdefault(name, {})[subscriber] = None
        self.ledger.pending.setdefault(name, transaction)
        return False

    async def wait(self, transactions: Sequence[bytes], subscriber: Subscriber) -> None:
        await trio.lowlevel.checkpoint()
        for name in transactions:
            if not self._known(name, subscriber):
                pending = name in self.ledger.pending
                self.say(subscriber, cm.Ack(name) if pending else cm.Unknown(name))
                self.subscribers.setdefault(name, {})[subscriber] = None

    def _known(self, name: bytes, subscriber: Subscriber) -> bool:
        if name in self.ledger.forgotten:
            self.say(subscriber, cm.Forgotten(name, 1, 0))
        elif name in self.ledger.results:
            self.say(subscriber, self.result(name, self.ledger.results[name]))
        else:
            return False
        return True

    def executed(self, results: Iterable[TransactionResult]) -> None:
        for result in results:
            for subscriber in self.subscribers.pop(result.transaction, {}):
                self.say(subscriber, self.result(result.transaction, encode(result)))

    def result(self, name: bytes, raw: bytes) -> cm.TransactionAnswer:
        return cm.Result(name, raw)

    def say(self, subscriber: Subscriber, answer: cm.TransactionAnswer) -> None:
        subscriber.deliver([encode(answer)])

    def tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until_submitted(self, times: int) -> None:
        with trio.fail_after(PATIENCE_S):
            while len(self.submitted) < times:
                await self.changed.wait()

    def forget(self, subscriber: Subscriber) -> None:
        self.forgot += 1
        for waiting in self.subscribers.values():
            waiting.pop(subscriber, None)
        self.tell()

    async def query(self, query: bytes, min_height: int, timeout_s: float) -> tuple[int, bytes]:
        await self.ledger.reach(min_height, timeout_s)
        return self.ledger.height, self.ledger.executor.application.query(Scoped(self.ledger.state), query)

    async def entries(self, first: int, limit: int) -> tuple[int, Sequence[cm.Entry]]:
        await trio.lowlevel.checkpoint()
        return len(self.ledger.entries), self.ledger.entries[first : first + limit]

    async def receipt(self, index: int) -> Receipt:
        await trio.lowlevel.checkpoint()
        if index >= len(self.ledger.entries):
            raise Refused(Reason.NOT_FOUND, f"no entry {index}")
        return self.ledger.receipt(index)

    async def checkpoint(self, size: int | None, timeout_s: float) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.ledger.checkpoint(size)

    async def inclusion(self, index: int, size: int) -> Sequence[bytes]:
        await trio.lowlevel.checkpoint()
        if not 0 <= index < size <= len(self.ledger.entries):
            raise Refused(Reason.NOT_FOUND, "no such entry")
        return inclusion_proof(index, size, self.ledger.node_at)

    async def consistency(self, old: int, new: int) -> Sequence[bytes]:
        await trio.lowlevel.checkpoint()
        if not 0 <= old <= new <= len(self.ledger.entries):
            raise Refused(Reason.NOT_FOUND, "no such sizes")
        return consistency_proof(old, new, self.ledger.node_at)

    async def block(self, seq: int) -> tuple[bytes, bytes, Certificate | None]:
        await trio.lowlevel.checkpoint()
        if not 0 < seq <= self.ledger.height:
            raise Refused(Reason.NOT_FOUND, f"no block {seq}")
        block = self.ledger.blocks[seq]
        return block.header_raw, block.payload, self.ledger.certificate(block)

    async def keep_payload(self, record: int, salt: bytes, payload: bytes, min_height: int, timeout_s: float) -> None:
        await self.ledger.reach(min_height, timeout_s)
        self.payloads[record] = (salt, payload)

    async def payload(self, record: int) -> tuple[bytes, bytes]:
        await trio.lowlevel.checkpoint()
        if record not in self.payloads:
            raise Refused(Reason.NOT_FOUND, f"no payload of record {record}")
        return self.payloads[record]

    def status(self) -> cm.NodeStatus:
        height = self.ledger.height
        oldest = next(iter(self.ledger.pending), None)
        return cm.NodeStatus(
            member=self.member,
            software="town",
            state="ok",
            view=0,
            active=True,
            primary=0,
            committed=height,
            executed=height,
            tip=height,
            checkpoint=0,
            log_size=len(self.ledger.entries),
            head=self.ledger.blocks[-1].hash,
            pending=len(self.ledger.pending),
            oldest=None if oldest is None else cm.PendingStatus(oldest, 0),
            in_flight=(cm.BlockStatus(height + 1, bytes(32), (0, 1), ()),),
            peers=tuple(cm.PeerStatus(i, True, 0, height) for i in range(4) if i != self.member),
        )


class LyingBackend(MemoryBackend):
    """Says that everything ended otherwise than it did."""

    def result(self, name: bytes, raw: bytes) -> cm.TransactionAnswer:
        true = decode(raw, TransactionResult, 1 << 20)
        forged = tuple(OperationResult("", b"forged") for _ in true.results)
        return cm.Result(name, encode(TransactionResult(name, true.seq, true.index, "", forged)))

    async def query(self, query: bytes, min_height: int, timeout_s: float) -> tuple[int, bytes]:
        await trio.lowlevel.checkpoint()
        return 2**63 - 1, b"forged"

    async def entries(self, first: int, limit: int) -> tuple[int, Sequence[cm.Entry]]:
        _, entries = await super().entries(first, limit)
        return 2**40, [msgspec.structs.replace(entry, envelope=b"forged") for entry in entries]

    async def payload(self, record: int) -> tuple[bytes, bytes]:
        await trio.lowlevel.checkpoint()
        return bytes(32), b"forged"

    def height(self) -> int:
        return 2**63 - 1

    def highest_nonce(self, public_key: bytes) -> int:
        return 2**62


class RejectingBackend(MemoryBackend):
    """Claims that nothing can ever be executed."""

    def take(self, raw: bytes, subscriber: Subscriber) -> bool:
        self.say(subscriber, cm.Reject(cm.envelope_id(raw), str(Reason.TX_NONCE_USED)))
        return False


class SilentBackend(MemoryBackend):
    """Takes everything and answers nothing."""

    def take(self, raw: bytes, subscriber: Subscriber) -> bool:
        return False

    async def wait(self, transactions: Sequence[bytes], subscriber: Subscriber) -> None:
        await trio.lowlevel.checkpoint()

    async def query(self, query: bytes, min_height: int, timeout_s: float) -> tuple[int, bytes]:
        await trio.sleep_forever()
        raise AssertionError


class BusyBackend(MemoryBackend):
    """Has no room for an envelope the first `refusals` times that it is asked."""

    refusals = 2

    def take(self, raw: bytes, subscriber: Subscriber) -> bool:
        if len(self.submitted) > self.refusals:
            return super().take(raw, subscriber)
        self.say(subscriber, cm.Nack(cm.envelope_id(raw), str(Reason.BUSY)))
        return False


class GarbageBackend(MemoryBackend):
    """Answers with bytes that are no answer."""

    def say(self, subscriber: Subscriber, answer: cm.TransactionAnswer) -> None:
        subscriber.deliver([b"\x93\x63" + bytes(34)])


class BrokenBackend(MemoryBackend):
    """Has a mistake of its own in it."""

    async def submit(self, envelopes: Sequence[bytes], names: Sequence[bytes], subscriber: Subscriber) -> int:
        await trio.lowlevel.checkpoint()
        raise KeyError("a mistake of ours")


class Town:
    """Four identities, the genesis of their cluster, and their servers while they run."""

    def __init__(self, directory: Path) -> None:
        made = [create_identity(directory / str(i) / "secrets", f"m{i}") for i in range(4)]
        self.identities: list[Identity] = sorted(made, key=lambda identity: identity.public_key)
        members = [
            member_of(one, f"m{i}", f"{HOST}:{i + 1}", f"{HOST}:{i + 11}") for i, one in enumerate(self.identities)
        ]
        self.genesis = make_genesis("town", "kv", [public_key_of(ADMINISTRATOR).hex()], members, ParametersFile())

    def ledger(self) -> Ledger:
        keys = self.genesis.checkpoint_keys()
        cosigners = [checkpoint_signer(identity, keys, i) for i, identity in enumerate(self.identities)]
        return Ledger(self.genesis, [identity.seed for identity in self.identities], cosigners)


class Node:
    """One API server on loopback, which can stop and come back at the same address."""

    def __init__(self, town: Town, backend: MemoryBackend, limits: ApiLimits) -> None:
        self.backend = backend
        self.port = 0
        self.address = ""
        self._town = town
        self._limits = limits
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self.server = self._new_server()

    def _new_server(self) -> ApiServer:
        identity = self._town.identities[self.backend.member]
        context = server_context(identity.certificate_path, identity.tls_key_path)
        return ApiServer(self._town.genesis.chain_id(), self.backend.member, self.backend, context, self._limits)

    async def start(self, nursery: trio.Nursery) -> None:
        self._scope, self._stopped = trio.CancelScope(), trio.Event()
        self.server = self._new_server()
        listeners = await trio.open_tcp_listeners(self.port, host=HOST)
        self.port = listeners[0].socket.getsockname()[1]
        self.address = f"{HOST}:{self.port}"
        await nursery.start(self._run, listeners)

    async def _run(
        self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with self._scope:
            await self.server.serve(listeners, task_status=task_status)
        self._stopped.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._stopped.wait()


class Running:
    """A town whose nodes run; `genesis` has their addresses."""

    def __init__(self, genesis: Genesis, ledger: Ledger, nodes: list[Node], nursery: trio.Nursery) -> None:
        self.genesis = genesis
        self.ledger = ledger
        self.nodes = nodes
        self.nursery = nursery

    def backend(self, member: int) -> MemoryBackend:
        return self.nodes[member].backend


@asynccontextmanager
async def running(
    town: Town,
    *,
    kinds: dict[int, type[MemoryBackend]] | None = None,
    limits: ApiLimits | None = None,
    down: Sequence[int] = (),
) -> AsyncIterator[Running]:
    """All nodes, those in `kinds` with another backend, those in `down` not started."""
    ledger = town.ledger()
    nodes = [Node(town, (kinds or {}).get(i, MemoryBackend)(ledger, i), limits or ApiLimits()) for i in range(4)]
    with trio.fail_after(3 * PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                await node.start(nursery)
            for member in down:
                await nodes[member].stop()
            members = [
                msgspec.structs.replace(member, client_address=nodes[i].address)
                for i, member in enumerate(town.genesis.members)
            ]
            yield Running(msgspec.structs.replace(town.genesis, members=members), ledger, nodes, nursery)
            nursery.cancel_scope.cancel()
