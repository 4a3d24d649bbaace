"""The client: one key, connected to all members, believing what f+1 of them say. docs/protocol.md, "Transactions".

It works while up to f members are down, slow or lying; it never raises because of what one member did. Calls end with
a result, with `Refused` (nothing was or will be executed), with `ResultForgotten`, or with `OutcomeUnknown` when time
is up: then `wait` tells later, and repeating the same envelope would be safe. Nothing is executed twice.

    async with open_client(genesis, seed, next_nonce=FileNonces(path)) as client:
        result = await client.call(application_operation(kv.put(b"key", b"value")))
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import trio

from bftnode.client.batch import Batch, Call, Gathering, envelopes_of
from bftnode.client.growth import Growth, LogMemory, SignedCheckpoint
from bftnode.client.link import Link, MemberStatus
from bftnode.client.nonces import NonceSource
from bftnode.client.operations import BARRIER, BARRIER_CODES
from bftnode.client.options import Options
from bftnode.client.outcomes import Believed, ExecutedLongAgo, Outcome, OutcomeUnknown, ResultForgotten
from bftnode.client.parking import Waiting
from bftnode.client.reads import LogPage, ProvenEntry, QueryAnswer, Reads
from bftnode.client.session import Key, Session
from bftnode.protocol.client_messages import BlockValue, Entry, NodeStatus, reason_of
from bftnode.protocol.commitments import PAYLOAD_BYTES_MAX
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.results import OperationResult, TransactionResult
from bftnode.protocol.transactions import Transaction

Consistency = Literal["local", "quorum", "linearizable"]

_TICK_S = 0.05
_NOT_ALONE = frozenset((str(Reason.TX_INVALID_OPERATION), str(Reason.TX_SIZE)))
"""One operation can bring these upon an envelope; those that travelled with it are sent again, each alone."""


class Signatory(NamedTuple):
    """Another key than the client's own, and its nonces: who works for many (a gateway, a load generator) sends the
    envelopes of all over its own connections, so that a further key costs no further TLS connections to all members.

    Nodes admit connections and envelopes each by the key that signed them. `nonces` are its maker's to close; what the
    cluster knows of them is told for the client's own key alone.
    """

    key: Key
    nonces: NonceSource


def signatory(seed: bytes, nonces: NonceSource) -> Signatory:
    """Of the key with this secret seed (32 bytes)."""
    return Signatory(Key(public_key_of(seed), signer(seed)), nonces)


@asynccontextmanager
async def open_client(
    genesis: Genesis,
    seed: bytes,
    *,
    next_nonce: NonceSource,
    options: Options | None = None,
    memory: LogMemory | None = None,
) -> AsyncIterator["Client"]:
    """A client that connects in the background; closing it abandons what is outstanding.

    Takes `next_nonce` over and closes it. With a `memory` it refuses, in all its lives, a log that does not extend the
    largest checkpoint that it has verified: every call then raises Refused(INTEGRITY). Raises Refused(CONFIGURATION |
    AUTH_WEAK_KEY) for a bad genesis, Refused(INTEGRITY) for the memory of another cluster.
    """
    failure: Exception | None = None
    client = Client(genesis, seed, next_nonce, options or Options(), memory)
    try:
        async with trio.open_nursery() as nursery:
            client.start(nursery)
            try:
                yield client
            except Exception as error:
                # The user's own exception leaves as it is, not in a group because we have tasks.
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        next_nonce.close()
    if failure is not None:
        raise failure


class Client:
    """Made by `open_client`. All methods may be used by many tasks at once."""

    def __init__(
        self,
        genesis: Genesis,
        seed: bytes,
        next_nonce: NonceSource,
        options: Options,
        memory: LogMemory | None = None,
    ) -> None:
        sign = signer(seed)
        self.members = genesis.membership()
        self.public_key = public_key_of(seed)
        self._options = options
        self._nonces = next_nonce
        self._session = Session(self.members, self.public_key, sign, options.retry)
        self._links = [
            Link(number, member, self._session, sign, options, self._settled, self._changed_now)
            for number, member in enumerate(genesis.members)
        ]
        self._reads = Reads(self._links, self._session, options, Growth(genesis.policy(), memory))
        self._grows = memory is None  # whether the log was seen to extend what was verified in an earlier life
        self._waiters: dict[bytes, list[Callable[[Outcome], None]]] = {}
        self._room = trio.Semaphore(options.outstanding_max)
        self._changed = trio.Event()
        self._ready = False
        self._opened_at = 0.0
        self._gathering = Gathering(options.batch_operations_max, options.batch_bytes_max)
        self._calls_room = trio.Semaphore(options.calls_max)
        self._calls_wake = trio.Event()
        self._deadlines: dict[Waiting, float] = {}  # of all that is waited for
        self._in_flight = 0  # envelopes of calls
        self._calls_out = 0  # in them
        self._gathered_long = False  # what has gathered leaves whatever is out

    def start(self, nursery: trio.Nursery) -> None:
        """The background tasks; `open_client` does it."""
        self._opened_at = trio.current_time()
        for link in self._links:
            nursery.start_soon(link.run)
        nursery.start_soon(self._tick)
        nursery.start_soon(self._send_calls)

    # Writing

    async def submit(
        self,
        operations: Sequence[bytes],
        *,
        valid_for_blocks: int | None = None,
        timeout_s: float | None = None,
        on_signed: Callable[[Transaction], None] | None = None,
        by: Signatory | None = None,
    ) -> TransactionResult:
        """Sign one envelope of these operations, have it ordered, and return what f+1 members say became of it.

        `code` of the result is empty, or why the whole envelope was rejected when its turn came. `on_signed` is told
        the envelope before it leaves, so that its id is known whatever happens then. `by`: who signs, if not the
        client's own key. Raises Refused for what never was and never will be executed, OutcomeUnknown, ResultForgotten.
        """
        deadline = trio.current_time() + self._timeout(timeout_s)
        entered = (self._ready and _enter_now(self._room)) or await self._entered(self._room, deadline)
        if not entered:
            raise Refused(Reason.NOT_READY, f"time is up before it was sent: {self._why_not_ready()}")
        try:
            transaction = self._sign(operations, valid_for_blocks, by)
            if on_signed is not None:
                on_signed(transaction)
            return _result_of(await self._outcome(transaction.id, transaction, deadline))
        finally:
            self._room.release()

    async def call(self, operation: bytes, *, timeout_s: float | None = None) -> OperationResult:
        """One operation, in an envelope with those of concurrent callers.

        A call that comes alone leaves at once. While envelopes are out, calls gather, and the next one leaves when as
        many have gathered as are out, or as fill it, or in 50 ms: a small one would wait at the primary for the block
        before it, and the calls after it for the block that it is in. At most `max_inflight` are out. Operations of
        different calls have no order among them. Raises as `submit` does; a `code` in the result says why this
        operation, or its whole envelope, did nothing.
        """
        call = Call(operation)
        deadline = trio.current_time() + self._timeout(timeout_s)
        if (self._ready and _enter_now(self._calls_room)) or await self._entered(self._calls_room, deadline):
            self._deadlines[call] = deadline
            try:
                self._gathering.add(call)
                self._calls_wake.set()
                await call.wait()
            finally:
                del self._deadlines[call]
                self._calls_room.release()
                if call.outcome is None and call.refused is None:
                    self._leave(call)
        if call.refused is not None:
            raise call.refused
        if call.outcome is not None:
            return _operation_result(_result_of(call.outcome), call.place)
        if call.batch is None:
            raise Refused(Reason.NOT_READY, f"time is up before it was sent: {self._why_not_ready()}")
        raise OutcomeUnknown(call.batch.name, self._why_not_ready())

    async def call_alone(
        self, operation: bytes, *, timeout_s: float | None = None, by: Signatory | None = None
    ) -> OperationResult:
        """One operation in an envelope of its own; many of them share frames, so this is fast too."""
        return _operation_result(await self.submit((operation,), timeout_s=timeout_s, by=by), 0)

    async def submit_many(
        self, operations: Sequence[bytes], *, timeout_s: float | None = None
    ) -> list[OperationResult]:
        """Many operations in as few envelopes as hold them; their results, in order.

        Operations of one envelope are executed one after the other with nothing in between; envelopes have no order
        among themselves. An operation that is refused wherever it travels has its reason for a `code`, and the others
        are executed. Raises as `submit` does, for the first envelope without results, when all have an outcome or time
        is up: the others may have been executed.
        """
        deadline = trio.current_time() + self._timeout(timeout_s)
        envelopes = list(envelopes_of(operations, self._options.batch_operations_max, self._options.batch_bytes_max))
        results: list[list[OperationResult]] = [[] for _ in envelopes]
        failures: dict[int, Exception] = {}

        async def send(place: int) -> None:
            try:
                results[place] = await self._submit_envelope(envelopes[place], deadline)
            except (Refused, OutcomeUnknown, ResultForgotten, OSError) as error:
                failures[place] = error

        async with trio.open_nursery() as nursery:
            for place in range(len(envelopes)):
                nursery.start_soon(send, place)
        if failures:
            raise failures[min(failures)]
        return [result for envelope in results for result in envelope]

    async def _submit_envelope(self, operations: Sequence[bytes], deadline: float) -> list[OperationResult]:
        try:
            result = await self.submit(operations, timeout_s=deadline - trio.current_time())
        except Refused as refused:
            code = str(refused.reason)
            if code not in _NOT_ALONE:
                raise
        else:
            return [_operation_result(result, place) for place in range(len(operations))]
        if len(operations) == 1:
            return [OperationResult(code, b"")]
        # Rejected for good, so sending its operations again executes none twice. Halves find the bad one.
        half = len(operations) // 2
        first = await self._submit_envelope(operations[:half], deadline)
        return first + await self._submit_envelope(operations[half:], deadline)

    async def wait(self, transaction: bytes, timeout_s: float | None = None) -> TransactionResult:
        """What became of a transaction, by its id, whoever sent it. Raises OutcomeUnknown, ResultForgotten, Refused."""
        deadline = trio.current_time() + self._timeout(timeout_s)
        with trio.move_on_at(deadline) as patience:
            await self._room.acquire()
        if patience.cancelled_caught:
            raise OutcomeUnknown(transaction, "too many others wait for theirs")
        try:
            return _result_of(await self._outcome(transaction, None, deadline))
        finally:
            self._room.release()

    # Reading

    async def query(
        self,
        query: bytes,
        consistency: Consistency = "quorum",
        member: int | None = None,
        timeout_s: float | None = None,
    ) -> QueryAnswer:
        """Ask the application.

        local: one member's word, `member`'s or any connected one's. It may be old, and it may be a lie.
        quorum: 2f+1 members sent the same value, from states at least as new as all that this client was told before:
        its own writes and earlier quorum reads. True, and never going back; another client's write that has just been
        acknowledged may be missing. linearizable: a transaction that does nothing is ordered first, then f+1 members
        answer from a state that contains it: everything acknowledged to anybody before this call began is seen.

        Raises Refused(NOT_READY) when members do not agree in time, or with the application's reason.
        """
        if len(query) > 64 * 1024:
            raise Refused(Reason.CODEC_SIZE, "a query is at most 65536 bytes")
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            match consistency:
                case "local":
                    return await self._reads.local(query, member)
                case "quorum":
                    return await self._reads.matching(query, self._session.floor, self.members.quorum)
                case "linearizable":
                    # Its outcome being unknown is no harm: it does nothing. Time being up is this call's.
                    barrier = await self.submit((BARRIER,), timeout_s=float("inf"))
                    if barrier.code or barrier.results[0].code not in BARRIER_CODES:
                        raise Refused(reason_of(barrier.code), "the barrier was not executed")
                    return await self._reads.matching(query, barrier.seq, self.members.some_correct)
        raise Refused(Reason.NOT_READY, f"members did not agree in time; {self._why_not_ready()}")

    async def entries(self, first: int, limit: int, timeout_s: float | None = None) -> LogPage:
        """Entries of the log that f+1 members sent alike: at most `limit` (1000), maybe fewer. Raises Refused."""
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            return await self._reads.entries(first, limit)
        raise Refused(Reason.NOT_READY, "members did not agree in time")

    async def receipt(self, log_index: int, timeout_s: float | None = None) -> ProvenEntry:
        """An entry and its checked proof, from any one member. Raises Refused(NOT_FOUND | NOT_READY | INTEGRITY)."""
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            return await self._reads.receipt(log_index)
        raise Refused(Reason.NOT_READY, "no member answered in time")

    async def checkpoint(
        self, size: int | None = None, *, wait_s: float = 0.0, timeout_s: float | None = None
    ) -> SignedCheckpoint:
        """The smallest cosigned checkpoint of at least `size` entries, or the largest; the largest is remembered.

        Raises Refused(NOT_FOUND) when no member has one in `wait_s`, Refused(NOT_READY | INTEGRITY).
        """
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            return await self._reads.checkpoint(size, wait_s)
        raise Refused(Reason.NOT_READY, "no member answered in time")

    async def standard_receipt(self, log_index: int, *, wait_s: float = 5.0, timeout_s: float | None = None) -> bytes:
        """The .tlog-proof of an entry (C2SP tlog-proof), with the entry in it: checked, and once a checkpoint covers
        it, which takes a second or two. Raises as `checkpoint`."""
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            return await self._reads.standard_receipt(log_index, wait_s)
        raise Refused(Reason.NOT_READY, "no member answered in time")

    async def keep_payload(
        self, record: int, salt: bytes, payload: bytes, *, min_height: int = 0, timeout_s: float | None = None
    ) -> dict[int, Refused | None]:
        """Hand what opens a private record (log application) to all members; each one's refusal, or None: kept there.

        It is not ordered. f+1 members that keep it are at least one that shows it later. `min_height`: of the block
        that has the record, for members that are behind. Raises Refused(NOT_READY | CODEC_SIZE).
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise Refused(Reason.CODEC_SIZE, f"a payload is at most {PAYLOAD_BYTES_MAX} bytes")
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            return await self._reads.keep_payload(record, salt, payload, min_height)
        raise Refused(Reason.NOT_READY, "members did not answer in time")

    async def payload(
        self, record: int, client: bytes, commitment: bytes, timeout_s: float | None = None
    ) -> tuple[bytes, bytes]:
        """(salt, payload) of a private record of this client and commitment, from any member that has what opens it.

        Raises Refused(NOT_FOUND | NOT_READY | INTEGRITY).
        """
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            return await self._reads.payload(record, client, commitment)
        raise Refused(Reason.NOT_READY, "no member answered in time")

    # One member's word, for who compares members (monitor.py). All raise Refused, NOT_READY where it is not there.

    async def checkpoint_of(self, member: int, size: int | None, wait_s: float) -> bytes:
        """The signed note that this member shows, unverified: as `checkpoint`."""
        return await self._reads.checkpoint_of(member, size, wait_s)

    async def consistency_of(self, member: int, old: int, new: int) -> tuple[bytes, ...]:
        """This member's proof that one size of its log is the beginning of another, unverified."""
        return await self._reads.consistency_of(member, old, new)

    async def entry_of(self, member: int, index: int, size: int) -> tuple[Entry, tuple[bytes, ...]]:
        """An entry that this member shows, and its path to the root of `size` entries, unverified."""
        return await self._reads.entry_of(member, index, size)

    async def log_size_of(self, member: int) -> int:
        """Entries in this member's log, as it says."""
        return await self._reads.log_size_of(member)

    async def block(self, seq: int, member: int | None = None, timeout_s: float | None = None) -> BlockValue:
        """A committed block, unchecked: see `Reads.block`. Raises Refused."""
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            return await self._reads.block(seq, member)
        raise Refused(Reason.NOT_READY, "no member answered in time")

    async def status_all(self, timeout_s: float = 5.0) -> dict[int, NodeStatus | str]:
        """What every member says about itself, or why it says nothing. Never raises Refused."""
        deadline = trio.current_time() + timeout_s
        with trio.move_on_at(deadline):
            while not all(link.connected or link.refused for link in self._links):
                await self._changed.wait()
        return await self._reads.status_all(max(deadline - trio.current_time(), 0.5))

    def member_status(self) -> list[MemberStatus]:
        """How this client stands with each member."""
        return [link.status(self._session.reported_height(link.number)) for link in self._links]

    def height(self) -> int:
        """A height that a correct member has reached, as far as this client knows."""
        return self._session.height()

    async def connected_to(self, members: Sequence[int], timeout_s: float) -> list[int]:
        """Which of these members are connected, once all are or time is up."""
        with trio.move_on_after(timeout_s):
            while not all(self._links[member].connected for member in members):
                await self._changed.wait()
        return [member for member in members if self._links[member].connected]

    async def ready(self, timeout_s: float | None = None) -> None:
        """Wait until enough members are connected to submit. Raises Refused with what stands in the way."""
        with trio.move_on_after(self._timeout(timeout_s)):
            await self._until_ready()
            return
        raise Refused(Reason.NOT_READY, self._why_not_ready())

    # Outcomes

    async def _outcome(self, name: bytes, transaction: Transaction | None, deadline: float) -> Outcome:
        """Register with the session and wait. Raises OutcomeUnknown at the deadline, with how it stands."""
        caller = _Caller()
        settle = caller.settle
        self._register(name, transaction, settle)
        progress = ""
        # Woken by whoever has the outcome or, at the deadline, by `_tick`: a scope for each operation would be a sixth
        # of what it costs here.
        self._deadlines[caller] = deadline
        try:
            await caller.wait()
        finally:
            del self._deadlines[caller]
            if caller.outcome is None:
                progress = self._session.progress(name)
                self._unregister(name, settle)
        if caller.outcome is None:
            raise OutcomeUnknown(name, f"{progress}; {self._why_not_ready()}")
        return caller.outcome

    async def _entered(self, room: trio.Semaphore, deadline: float) -> bool:
        """Acquire, once enough members are there; False: time was up. Raises Refused as `_until_ready`. Callers try
        `_enter_now` before: it spares them a coroutine."""
        with trio.move_on_at(deadline):
            await self._until_ready()
            await room.acquire()
            return True
        return False

    def _register(
        self, name: bytes, transaction: Transaction | None, settle: Callable[[Outcome], None], *, alone: bool = True
    ) -> None:
        """`alone`: other callers may have something to send in the same moment, and it may share a frame."""
        self._waiters.setdefault(name, []).append(settle)
        if transaction is None:
            self._session.watch(name, _now_ms())
        else:
            self._session.submit(transaction, _now_ms())
        for link in self._links:
            if alone:
                link.wake()
            else:
                link.send_now()

    def _unregister(self, name: bytes, settle: Callable[[Outcome], None]) -> None:
        """What nobody waits for any more is not sent again."""
        waiters = self._waiters.get(name, [])
        if settle in waiters:
            waiters.remove(settle)
        if not waiters:
            self._waiters.pop(name, None)
            self._session.forget(name)

    def _settled(self, name: bytes, outcome: Outcome) -> None:
        for settle in self._waiters.pop(name, ()):
            settle(outcome)

    def _sign(
        self, operations: Sequence[bytes], valid_for_blocks: int | None = None, by: Signatory | None = None
    ) -> Transaction:
        blocks = self._options.valid_for_blocks if valid_for_blocks is None else valid_for_blocks
        if by is None:
            return self._session.sign(operations, self._nonces.take(), blocks)
        return self._session.sign(operations, by.nonces.take(), blocks, by.key)

    async def _tick(self) -> None:
        while True:
            await trio.sleep(_TICK_S)
            now = trio.current_time()
            if len(self._gathering):
                self._gathered_long = True
                self._calls_wake.set()
            for caller in [caller for caller, deadline in self._deadlines.items() if deadline <= now]:
                caller.wake()
            due_ms = self._session.next_due_ms()
            if due_ms is not None and due_ms <= _now_ms():
                self._session.tick(_now_ms())
                for link in self._links:
                    link.wake()

    # Coalescing

    async def _send_calls(self) -> None:
        """Envelopes out of what has gathered, at most `max_inflight` without an outcome."""
        while True:
            await self._calls_wake.wait()
            self._calls_wake = trio.Event()
            while self._in_flight < self._options.max_inflight:
                if not (self._gathering.is_worth(self._calls_out) or self._gathered_long):
                    break
                self._gathered_long = False
                batch = self._gathering.take()
                if batch is None:
                    break
                self._launch(batch)

    def _launch(self, batch: Batch) -> None:
        try:
            transaction = self._sign([call.operation for call in batch.calls])
        except (Refused, OSError) as error:
            # Too long (then it is alone in its envelope), or the nonce file cannot be written.
            for call in batch.calls:
                call.refused = error
                call.wake()
            return
        batch.name = transaction.id
        self._in_flight += 1
        self._calls_out += len(batch.calls)

        def settle(outcome: Outcome) -> None:
            self._in_flight -= 1
            self._calls_out -= len(batch.calls)
            self._calls_wake.set()
            self._distribute(batch, outcome)

        batch.settle = settle
        self._register(transaction.id, transaction, settle, alone=False)

    def _distribute(self, batch: Batch, outcome: Outcome) -> None:
        again = len(batch.calls) > 1 and _code_of(outcome) in _NOT_ALONE
        for call in batch.calls:
            if again and not call.abandoned:
                # The envelope is rejected for good, so sending its operations in others executes none twice.
                call.alone, call.batch = True, None
                self._gathering.add(call)
            else:
                call.outcome = outcome
                call.wake()

    def _leave(self, call: Call) -> None:
        """A caller has no more time. An envelope for which nobody waits is not sent again."""
        call.abandoned = True
        batch = call.batch
        if batch is None:
            return
        batch.waiting -= 1
        if not batch.waiting:
            assert batch.settle is not None, "a batch in flight was registered"
            self._unregister(batch.name, batch.settle)
            self._in_flight -= 1
            self._calls_out -= len(batch.calls)
            self._calls_wake.set()

    # Readiness

    async def _until_ready(self) -> None:
        """A quorum of members is connected; or, after a grace, f+1. Then envelopes can be dated and numbered.

        Raises Refused when f+1 members turn this client away for one reason: an unknown key, another cluster.
        """
        while not self._ready:
            connected = len(self._reads.connected())
            enough = connected >= self.members.quorum
            waited = trio.current_time() - self._opened_at >= self._options.quorum_grace_s
            if enough or (waited and connected >= self.members.some_correct):
                if not self._grows:
                    await self._reads.check_growth()
                    self._grows = True
                self._nonces.skip_to(self._session.highest_nonce())
                self._ready = True
                return
            self._raise_if_turned_away()
            with trio.move_on_after(0.2):
                await self._changed.wait()

    def _raise_if_turned_away(self) -> None:
        reasons = [link.refused for link in self._links if link.refused is not None and not link.connected]
        for refused in reasons:
            alike = sum(1 for other in reasons if other.reason is refused.reason)
            if refused.reason in _TURNED_AWAY and alike >= self.members.some_correct:
                raise Refused(refused.reason, f"{alike} of {self.members.n} members: {refused.detail}")

    def _why_not_ready(self) -> str:
        connected = len(self._reads.connected())
        away = [f"{link.member.name}: {link.refused}" for link in self._links if not link.connected and link.refused]
        return "; ".join([f"{connected} of {self.members.n} members are connected", *away[:3]])

    def _changed_now(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _timeout(self, timeout_s: float | None) -> float:
        return self._options.timeout_s if timeout_s is None else timeout_s


class _Caller(Waiting):
    """Who waits for the outcome of an envelope."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        super().__init__()
        self.outcome: Outcome | None = None

    def settle(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.wake()


_TURNED_AWAY = frozenset(
    (Reason.AUTH_UNKNOWN_KEY, Reason.WRONG_CHAIN, Reason.WRONG_VERSION, Reason.TLS_UNTRUSTED, Reason.ID_MISMATCH)
)


def _enter_now(room: trio.Semaphore) -> bool:
    """Acquire without the checkpoint of `acquire`, where there is room: it is on the path of every operation."""
    try:
        room.acquire_nowait()
    except trio.WouldBlock:
        return False
    return True


def _now_ms() -> int:
    return int(trio.current_time() * 1000)


def _code_of(outcome: Outcome) -> str:
    """Why an envelope was rejected before it was ordered, or nothing."""
    return "" if isinstance(outcome, Believed | ExecutedLongAgo) else outcome.code


def _result_of(outcome: Outcome) -> TransactionResult:
    """Raises Refused for what was rejected before ordering, ResultForgotten."""
    if isinstance(outcome, Believed):
        return outcome.result
    if isinstance(outcome, ExecutedLongAgo):
        raise ResultForgotten(outcome)
    raise Refused(reason_of(outcome.code), "rejected before it was ordered; nothing was executed")


def _operation_result(result: TransactionResult, place: int) -> OperationResult:
    return OperationResult(result.code, b"") if result.code else result.results[place]
