"""What clients' connections ask of a node, answered from the replica, the storage and the application.

Answers about a transaction go to everyone who submitted it here or waits for it. A result that was kept answers a
resubmission (docs/protocol.md, "Transactions"); what is older than its nonce's window is FORGOTTEN.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import trio

from bftnode import __version__
from bftnode.api.backend import Subscriber
from bftnode.apps.execution import Executor, Scoped
from bftnode.net.network import PeerNetwork
from bftnode.node.driver import Driver
from bftnode.node.envelopes import INLINE_MAX, Envelopes
from bftnode.node.inbox import Inbox
from bftnode.node.keeper import Keeper
from bftnode.node.telemetry import Notes
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate
from bftnode.protocol.client_messages import (
    ENTRIES_BYTES_TARGET,
    STATUS_BLOCKS_MAX,
    Ack,
    BlockStatus,
    Entry,
    Forgotten,
    Nack,
    NodeStatus,
    PeerStatus,
    PendingStatus,
    Reject,
    Result,
    Unknown,
)
from bftnode.protocol.codec import encode
from bftnode.protocol.cosigning import CheckpointKeys, Cosigned
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.receipts import Receipt
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.tlog.tiles import Tile
from bftnode.protocol.transactions import Transaction
from bftnode.replica.effects import Accuse, Answer, Note
from bftnode.replica.position import Quarantine
from bftnode.storage.errors import DiskFull
from bftnode.storage.store import Storage

PASSING = frozenset({Reason.BUSY, Reason.NOT_READY, Reason.DISK_FULL})
"""Refusals that pass: NACK, the client tries again. All others are REJECT."""

FORGIVEN = frozenset(
    {str(item) for item in (Reason.OUT_OF_WINDOW, Reason.STALE, Reason.REPLAY, Reason.BAD_TIME, Reason.UNREQUESTED)}
)
"""Refusals that a correct peer can cause by being ahead, behind, or late; they are counted, not held against it."""


READS_MAX = 8
"""Reads that clients ask for which are under way at a time, in threads; the next ones wait. What is submitted does not
wait for them."""

VERIFIED_TOGETHER = 256
"""Envelopes of one client that are checked in one go: a millisecond of the event loop, ten of a thread. Other clients'
come in between."""

ACK_AFTER_S = 0.25
"""An envelope that is in custody is acknowledged when its result has not come for so long: mostly the result comes
first, and one word instead of two is a tenth of what a small transaction costs: where rounds take long because the
machine is busy, more words would make them longer. Clients repeat after a second."""


OFFERS_MAX = 64
"""Payloads that are being looked at, each in memory; one more is refused as BUSY."""

ERASING_S = 0.1
"""After so long a member looks again whether something was ordered to be erased, if blocks were executed."""


class NodeBackend:
    """Serves api/ and listens to the driver. `introduce` comes before anything else; `acknowledge` runs beside it."""

    def __init__(
        self,
        genesis: Genesis,
        me: int,
        storage: Storage,
        executor: Executor,
        inbox: Inbox,
        envelopes: Envelopes,
        network: PeerNetwork,
        keeper: Keeper | None,
    ) -> None:
        """`keeper`: of private records' payloads; None where the application has none."""
        self._genesis = genesis
        self._me = me
        self._storage = storage
        self._executor = executor
        self._inbox = inbox
        self._envelopes = envelopes
        self._network = network
        self._keeper = keeper
        self._keeping = trio.CapacityLimiter(1)  # of payloads: a slow disk holds up no other read
        self._offers = 0
        self._driver: Driver | None = None
        self._reads = trio.CapacityLimiter(READS_MAX)
        self._waiting: dict[bytes, list[Subscriber]] = {}
        self._of: dict[Subscriber, set[bytes]] = {}
        self._grown = trio.Event()
        self._cosigned = trio.Event()  # a checkpoint was written
        self._in_custody: dict[bytes, None] = {}  # taken since ACKs were sent last
        self._taken = trio.Event()
        self.notes = Notes()

    @cached_property
    def _keys(self) -> CheckpointKeys:
        return self._genesis.checkpoint_keys()

    def introduce(self, driver: Driver) -> None:
        self._driver = driver

    # ---- api: transactions

    def client_role(self, public_key: bytes) -> int:
        """0: not admitted."""
        assert self._driver is not None, "introduced"
        window = self._driver.replica.clients.get(public_key)
        return 0 if window is None else window.role

    def highest_nonce(self, public_key: bytes) -> int:
        assert self._driver is not None, "introduced"
        window = self._driver.replica.clients.get(public_key)
        return 0 if window is None else window.highest

    async def submit(self, envelopes: Sequence[bytes], names: Sequence[bytes], subscriber: Subscriber) -> int:
        """Check, verify and hand over; every envelope is answered, now or when it has been executed. How many were
        rejected at once. Raises Refused(TX_SIGNATURE) at the first that is forged, when those before it are taken.

        In this order: its size, its form, whether its client may have it ordered, its signature (faults.md P32).
        """
        rejected = 0
        for start in range(0, len(envelopes), VERIFIED_TOGETHER):
            end = start + VERIFIED_TOGETHER
            rejected += await self._submit(envelopes[start:end], names[start:end], subscriber)
        return rejected

    async def _submit(self, envelopes: Sequence[bytes], names: Sequence[bytes], subscriber: Subscriber) -> int:
        assert self._driver is not None, "introduced"
        if self._driver.disk_full:
            subscriber.deliver([encode(Nack(name, str(Reason.DISK_FULL))) for name in names])
            return 0
        pool, next_seq = self._driver.replica.pool, self._driver.replica.chain.height + 1
        good: list[Transaction] = []
        fresh: list[Transaction] = []
        refused: dict[bytes, Reason] = {}  # what the log may know more of
        answers: list[bytes] = []
        for raw, name in zip(envelopes, names, strict=True):
            known = pool.known(raw) or self._envelopes.verified(raw)
            if known is not None:
                good.append(known)
                continue
            try:
                transaction = self._envelopes.read(raw, name)
            except Refused as malformed:
                answers.append(encode(Reject(name, str(malformed.reason))))
                continue
            reason = pool.refusal(transaction, next_seq)
            if reason is None:
                fresh.append(transaction)
            elif reason in PASSING:
                subscriber.deliver([encode(Nack(name, str(reason)))])
            else:
                refused[name] = reason
        rejected = len(answers)
        if refused:
            outcomes = await trio.to_thread.run_sync(self._outcomes, refused)
            rejected += outcomes.count(None)
            pairs = zip(refused.items(), outcomes, strict=True)
            answers += [kept or encode(Reject(name, str(reason))) for (name, reason), kept in pairs]
        if answers:
            subscriber.deliver(answers)
        if len(fresh) > INLINE_MAX:
            signed = await trio.to_thread.run_sync(self._envelopes.signed, fresh)
        else:
            signed = self._envelopes.signed(fresh)
        self._envelopes.remember(signed)
        self._take([*good, *signed], subscriber)
        if len(signed) < len(fresh):
            forged = fresh[len(signed)]
            subscriber.deliver([encode(Reject(forged.id, str(Reason.TX_SIGNATURE)))])
            raise Refused(Reason.TX_SIGNATURE, "an envelope is not signed by the client that it names")
        return rejected

    def _take(self, transactions: Sequence[Transaction], subscriber: Subscriber) -> None:
        """Hand over to the replica, which answers."""
        for transaction in transactions:
            self._subscribe(transaction.id, subscriber)
        if transactions and not self._inbox.submit(transactions):
            for transaction in transactions:
                self._unsubscribe(transaction.id, subscriber)
            subscriber.deliver([encode(Nack(transaction.id, str(Reason.BUSY))) for transaction in transactions])

    async def wait(self, transactions: Sequence[bytes], subscriber: Subscriber) -> None:
        """What became of these; those that are not executed yet are answered again when they are."""
        assert self._driver is not None, "introduced"
        for transaction in transactions:
            # First subscribed, then looked up: what is executed in between is answered twice, never not at all.
            self._subscribe(transaction, subscriber)
            answer = await trio.to_thread.run_sync(self._outcome, transaction)
            if answer is not None:
                self._unsubscribe(transaction, subscriber)
            elif self._driver.replica.pool.holds(transaction):
                answer = encode(Ack(transaction))
            subscriber.deliver([answer if answer is not None else encode(Unknown(transaction))])

    def _outcomes(self, transactions: Iterable[bytes]) -> list[bytes | None]:
        return [self._outcome(transaction) for transaction in transactions]

    def _outcome(self, transaction: bytes) -> bytes | None:
        """RESULT or FORGOTTEN for what stands in the log."""
        found = self._storage.find_transaction(transaction)
        if found is None:
            return None
        if found.result is None:
            return encode(Forgotten(transaction, found.seq, found.log_index))
        return encode(Result(transaction, encode(found.result)))

    def forget(self, subscriber: Subscriber) -> None:
        """The connection is gone."""
        for transaction in self._of.pop(subscriber, set()):
            subscribers = self._waiting.get(transaction)
            if subscribers is not None:
                subscribers.remove(subscriber)
                if not subscribers:
                    del self._waiting[transaction]

    def _subscribe(self, transaction: bytes, subscriber: Subscriber) -> None:
        mine = self._of.setdefault(subscriber, set())
        if transaction not in mine:
            mine.add(transaction)
            self._waiting.setdefault(transaction, []).append(subscriber)

    def _unsubscribe(self, transaction: bytes, subscriber: Subscriber) -> None:
        mine = self._of.get(subscriber)
        if mine is not None and transaction in mine:
            mine.remove(transaction)
            subscribers = self._waiting[transaction]
            subscribers.remove(subscriber)
            if not subscribers:
                del self._waiting[transaction]

    def _answer(self, transaction: bytes, answer: bytes, *, final: bool) -> None:
        for subscriber in list(self._waiting.get(transaction, ())):
            subscriber.deliver([answer])
            if final:
                self._unsubscribe(transaction, subscriber)

    # ---- api: reads

    async def query(self, query: bytes, min_height: int, timeout_s: float) -> tuple[int, bytes]:
        """The application's answer at a height of at least `min_height`.

        Raises Refused(NOT_READY) when that height does not come in time, and what the application refuses.
        """
        await self._reach(min_height, timeout_s)
        return await trio.to_thread.run_sync(self._query, query, limiter=self._reads)

    async def _reach(self, min_height: int, timeout_s: float) -> None:
        """Raises Refused(NOT_READY)."""
        with trio.move_on_after(timeout_s):
            while self._storage.height < min_height:
                await self._grown.wait()
        if self._storage.height < min_height:
            raise Refused(Reason.NOT_READY, f"this node is at height {self._storage.height}, below {min_height}")

    def _query(self, query: bytes) -> tuple[int, bytes]:
        with self._storage.reading() as view:
            return view.height, self._executor.application.query(Scoped(view.state), query)

    async def entries(self, first: int, limit: int) -> tuple[int, list[Entry]]:
        """(entries in the log, those from `first` on)."""
        assert self._driver is not None, "introduced"
        await self._driver.settle()
        found = await trio.to_thread.run_sync(self._storage.entries, first, limit, limiter=self._reads)
        page: list[Entry] = []
        size = 0
        for item in found:
            if size >= ENTRIES_BYTES_TARGET:
                break
            page.append(Entry(*item))
            size += len(item.envelope)
        return self._driver.log_size, page

    async def receipt(self, index: int) -> Receipt:
        """Raises Refused(NOT_FOUND)."""
        assert self._driver is not None, "introduced"
        await self._driver.settle()
        receipt = await trio.to_thread.run_sync(self._storage.receipt, index, limiter=self._reads)
        if receipt is None:
            raise Refused(Reason.NOT_FOUND, f"no certified block holds entry {index} yet")
        return receipt

    async def checkpoint(self, size: int | None, timeout_s: float) -> bytes:
        """Raises Refused(NOT_FOUND)."""
        found: Cosigned | None = None
        with trio.move_on_after(timeout_s):
            while True:
                grown = self._cosigned
                with trio.CancelScope(shield=True):
                    found = await trio.to_thread.run_sync(self._storage.checkpoint, size, limiter=self._reads)
                if found is not None:
                    break
                await grown.wait()
        if found is None:
            detail = (
                "no checkpoint is cosigned yet" if size is None else f"no checkpoint of {size} entries is cosigned yet"
            )
            raise Refused(Reason.NOT_FOUND, detail)
        return self._keys.note(found)

    async def newest_checkpoint(self) -> bytes:
        """Raises Refused(NOT_FOUND)."""
        return await self.checkpoint(None, 0.0)

    async def tile(self, tile: Tile) -> bytes:
        """Raises Refused(NOT_FOUND)."""
        found = await trio.to_thread.run_sync(self._storage.tile, tile, limiter=self._reads)
        if found is None:
            raise Refused(Reason.NOT_FOUND, "no cosigned checkpoint covers this tile yet")
        return found

    async def inclusion(self, index: int, size: int) -> Sequence[bytes]:
        """Raises Refused(NOT_FOUND)."""
        return await self._proof(self._storage.inclusion, index, size)

    async def consistency(self, old: int, new: int) -> Sequence[bytes]:
        """Raises Refused(NOT_FOUND)."""
        return await self._proof(self._storage.consistency, old, new)

    async def _proof(self, read: Callable[[int, int], tuple[bytes, ...] | None], a: int, b: int) -> tuple[bytes, ...]:
        path = await trio.to_thread.run_sync(read, a, b, limiter=self._reads)
        if path is None:
            raise Refused(
                Reason.NOT_FOUND, "the log is not written so far here, or the numbers are the wrong way round"
            )
        return path

    async def block(self, seq: int) -> tuple[bytes, bytes, Certificate | None]:
        """Raises Refused(NOT_FOUND)."""
        assert self._driver is not None, "introduced"
        await self._driver.settle()
        found = await trio.to_thread.run_sync(self._storage.block_at, seq, limiter=self._reads)
        if found is None:
            raise Refused(Reason.NOT_FOUND, f"no block of height {seq} is committed here")
        return found

    async def keep_payload(self, record: int, salt: bytes, payload: bytes, min_height: int, timeout_s: float) -> None:
        """Raises Refused(NOT_FOUND | NOT_READY | INTEGRITY | DISK_FULL | BUSY)."""
        keeper = self._expect_keeper()
        if self._offers == OFFERS_MAX:
            raise Refused(Reason.BUSY, f"{OFFERS_MAX} payloads are being looked at")
        self._offers += 1
        try:
            await self._reach(min_height, timeout_s)
            await trio.to_thread.run_sync(keeper.keep, record, salt, payload, limiter=self._keeping)
        finally:
            self._offers -= 1

    async def payload(self, record: int) -> tuple[bytes, bytes]:
        """Raises Refused(NOT_FOUND)."""
        return await trio.to_thread.run_sync(self._expect_keeper().read, record, limiter=self._reads)

    def _expect_keeper(self) -> Keeper:
        if self._keeper is None:
            raise Refused(Reason.NOT_FOUND, "the application of this cluster has no private records")
        return self._keeper

    async def erase(self) -> None:
        """For ever: carry out the erasures that are executed. Raises StorageBroken: the node ends, and says why."""
        while self._keeper is not None:
            grown = self._grown
            try:
                erased = await trio.to_thread.run_sync(self._keeper.carry_out, limiter=self._keeping)
            except DiskFull:
                erased = 0  # what is erased was not noted; again after the next block, which needs room as well
            if erased:
                self.notes.say(Note("payloads_erased", {"count": erased}))
            await grown.wait()
            await trio.sleep(ERASING_S)

    def height(self) -> int:
        return self._storage.height

    def status(self) -> NodeStatus:
        """Where this node is, and why it is not further."""
        assert self._driver is not None, "introduced"
        replica = self._driver.replica
        position, agreement, chain = replica.position, replica.agreement, replica.chain
        state = "ok"
        if position.halted:
            state = "diverged"
        elif self._driver.disk_full:
            state = "disk_full"
        elif position.quarantine != Quarantine.NONE:
            state = "quarantined"
        peers = {member: peer.status for member, peer in replica.sync.peers.items()}
        if state == "ok" and any(
            status.committed > chain.height + replica.members.parameters.window for status in peers.values()
        ):
            state = "catching_up"
        oldest = replica.pool.oldest()
        links = self._network.statistics()
        in_flight = [
            BlockStatus(
                seq,
                block,
                replica.votes.seen(PREPARE, position.view, seq, block),
                replica.votes.seen(COMMIT, position.view, seq, block),
            )
            for seq, block in sorted(agreement.accepted.items())
            if seq > chain.height
        ]
        stable = replica.checkpoints.stable
        return NodeStatus(
            member=self._me,
            software=__version__,
            state=state,
            view=position.view,
            active=position.active,
            primary=replica.members.primary_of(position.view),
            committed=chain.height,
            executed=self._storage.height,
            tip=max(agreement.tip.block.seq, chain.height),
            checkpoint=0 if stable is None else stable.seq,
            log_size=self._driver.log_size,
            head=chain.head.block.hash,
            pending=len(replica.pool),
            oldest=None
            if oldest is None
            else PendingStatus(oldest.id, max(0, position.now.monotonic_ms - replica.pool.head_since_ms)),
            in_flight=tuple(in_flight[:STATUS_BLOCKS_MAX]),
            peers=tuple(
                PeerStatus(
                    member,
                    links[member].connected,
                    peers[member].view if member in peers else 0,
                    peers[member].committed if member in peers else 0,
                )
                for member in range(replica.members.n)
                if member != self._me
            ),
        )

    # ---- the driver's ears

    def answered(self, answers: Sequence[Answer]) -> None:
        """The replica took envelopes into custody, or did not."""
        for item in answers:
            transaction, reason = item.transaction, item.reason
            if reason is None:
                self._in_custody[transaction.id] = None
            elif reason in PASSING:
                self._answer(transaction.id, encode(Nack(transaction.id, str(reason))), final=True)
            elif transaction.id in self._waiting:
                kept = self._outcome(transaction.id)
                self._answer(transaction.id, kept or encode(Reject(transaction.id, str(reason))), final=True)

        if self._in_custody:
            self._taken.set()

    async def acknowledge(self) -> None:
        """For ever: ACK for what is in custody and was not executed at once."""
        while True:
            await self._taken.wait()
            self._taken = trio.Event()
            while self._in_custody:
                waiting, self._in_custody = self._in_custody, {}
                await trio.sleep(ACK_AFTER_S)
                mail: dict[Subscriber, list[bytes]] = {}
                for transaction in waiting:
                    for subscriber in self._waiting.get(transaction, ()):
                        mail.setdefault(subscriber, []).append(encode(Ack(transaction)))
                for subscriber, answers in mail.items():
                    subscriber.deliver(answers)

    def executed(self, results: Sequence[TransactionResult], encoded: Sequence[bytes]) -> None:
        """A block was executed."""
        mail: dict[Subscriber, list[bytes]] = {}
        for result, raw in zip(results, encoded, strict=True):
            subscribers = self._waiting.pop(result.transaction, None)
            if subscribers is None:
                continue
            # The second occurrence of an executed envelope is rejected; its outcome is that of the first.
            answer = self._outcome(result.transaction) if result.code else None
            answer = answer or encode(Result(result.transaction, raw))
            for subscriber in subscribers:
                mail.setdefault(subscriber, []).append(answer)
                self._of[subscriber].remove(result.transaction)
        for subscriber, answers in mail.items():
            subscriber.deliver(answers, now=True)
        self._grown.set()
        self._grown = trio.Event()

    def noted(self, note: Note) -> None:
        """Count and log; what breaks the protocol is held against the peer that it came from."""
        self.notes.say(note)
        if note.name == "refused" and note.fields["reason"] not in FORGIVEN and note.fields["member"] != self._me:
            self._network.reject(int(note.fields["member"]), Reason(str(note.fields["reason"])))

    def accused(self, accusation: Accuse) -> None:
        self.notes.say(Note("accusation", {"culprit": accusation.culprit, "proved": accusation.proved}))

    def checkpointed(self) -> None:
        """A cosigned checkpoint is written."""
        self._cosigned.set()
        self._cosigned = trio.Event()

    def disk_full(self, full: bool) -> None:
        """Whoever waits is not told: the outcome comes when there is room again."""
