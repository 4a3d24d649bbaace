"""Executing a block: every envelope in order, exactly once, each operation with its own result.

The replicated state is one ordered map: the application's entries under b"a", clients and their nonce windows
under b"c", results by (client, nonce) under b"r", how many are admitted under b"n". All of it is covered by the
state digest, so it is part of what a checkpoint certifies (faults.md K13). Execution decides deterministically
what agreement let through: an envelope with a used nonce, of a removed client or past its time executes as a
rejection, alike everywhere (docs/protocol.md, "Transactions"; N20). A client signature is not judged again here:
what is committed is executed as ordered.

What a refused operation leaves in the state is its code alone. The sentence beside it is for people and may come
from a library; were it kept, two versions of msgspec would be two different states (K10).
"""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from bftnode.apps.contract import Application, Context, ReadableState
from bftnode.protocol import limits
from bftnode.protocol.codec import Byte, PublicKey, UInt, Wire, decoder_of, encode
from bftnode.protocol.ed25519 import check_public_key
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT, ClientRecord, ClientWindow
from bftnode.protocol.results import OperationResult, TransactionResult
from bftnode.protocol.transactions import Transaction

APPLICATION_PREFIX = b"a"
CLIENT_PREFIX = b"c"
RESULT_PREFIX = b"r"
COUNT_KEY = b"n"

SYSTEM = 0
APPLICATION = 1

ADMIT = 1
REMOVE = 2

T = TypeVar("T")

_APPLICATION_BYTE = bytes((APPLICATION,))
_SYSTEM_BYTE = bytes((SYSTEM,))


class SystemOperation(Wire, frozen=True):
    """An administrator's operation: ADMIT a client with a role, or REMOVE one (role 0)."""

    action: Byte
    client: PublicKey
    role: Byte


class Counts(Wire, frozen=True):
    """What stands under COUNT_KEY, so that no limit needs a walk over a million clients."""

    clients: UInt  # admitted, administrators among them
    administrators: UInt


_open_system: Callable[[bytes], SystemOperation] = decoder_of(SystemOperation, 64)
_open_counts: Callable[[bytes], Counts] = decoder_of(Counts, 64)
_open_client: Callable[[bytes], ClientRecord] = decoder_of(ClientRecord, 4096)


def application_operation(operation: bytes) -> bytes:
    """An application's operation as it stands in an envelope."""
    return _APPLICATION_BYTE + operation


def system_operation(operation: SystemOperation) -> bytes:
    return _SYSTEM_BYTE + encode(operation)


def open_system_operation(operation: bytes) -> SystemOperation:
    """Raises Refused(TX_INVALID_OPERATION).

    Whether the key is one that we would admit is not looked at here: that takes 30 microseconds, an envelope has
    4096 operations, and only an administrator may ask for it.
    """
    if operation[:1] != _SYSTEM_BYTE:
        raise Refused(Reason.TX_INVALID_OPERATION, "an operation starts with 0 (system) or 1 (application)")
    try:
        system = _open_system(operation[1:])
    except Refused as refused:
        raise Refused(Reason.TX_INVALID_OPERATION, refused.detail) from None
    roles = (CLIENT, ADMINISTRATOR) if system.action == ADMIT else (0,)
    if system.action not in (ADMIT, REMOVE) or system.role not in roles:
        raise Refused(Reason.TX_INVALID_OPERATION, "ADMIT takes role 1 or 2, REMOVE takes role 0")
    return system


def result_key(client: bytes, nonce: int) -> bytes:
    return RESULT_PREFIX + client + nonce.to_bytes(8, "big")


class Execution(NamedTuple):
    """What executing one block did."""

    results: list[TransactionResult]
    encoded: list[bytes]  # the same, as they are kept and sent
    changes: dict[bytes, bytes | None]  # key -> new value or None (deleted), to be applied with the block
    clients: dict[bytes, int]  # client -> role, 0 for removed, where it changed


class Overlay:
    """The map during one block: reads fall through to the state before it, writes stay here.

    `checkpoint` and `rollback` undo one operation. What the base raises is never `Refused`: a disk that cannot be
    read is no property of an operation.
    """

    def __init__(self, base: ReadableState) -> None:
        self._base = base
        self.changes: dict[bytes, bytes | None] = {}
        self._undo: list[tuple[bytes, bool, bytes | None]] = []
        self._sorted: list[bytes] | None = None  # the keys of `changes`; most blocks never scan and never pay for it

    def get(self, key: bytes) -> bytes | None:
        if key in self.changes:
            return self.changes[key]
        return self._base.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        changes = self.changes
        if key in changes:
            self._undo.append((key, True, changes[key]))
        else:
            self._undo.append((key, False, None))
            if self._sorted is not None:
                insort(self._sorted, key)
        changes[key] = value

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        if self._sorted is None:
            self._sorted = sorted(self.changes)
        return merged_scan(self._base, self.changes, self._sorted, start, end, limit)

    def checkpoint(self) -> None:
        self._undo.clear()

    def rollback(self) -> None:
        for key, had, value in reversed(self._undo):
            if had:
                self.changes[key] = value
                continue
            del self.changes[key]
            if self._sorted is not None:
                del self._sorted[bisect_left(self._sorted, key)]
        self._undo.clear()


def merged_scan(
    base: ReadableState,
    changes: dict[bytes, bytes | None],
    keys: list[bytes],
    start: bytes,
    end: bytes | None,
    limit: int,
) -> list[tuple[bytes, bytes]]:
    """`base.scan` as it would be after `changes`, whose keys are `keys` in ascending order."""
    last = len(keys) if end is None else bisect_left(keys, end)
    if bisect_left(keys, start) >= last:
        return base.scan(start, end, limit)
    found: list[tuple[bytes, bytes]] = []
    while len(found) < limit:
        asked = max(limit - len(found), 16)  # by ones it would crawl over what was deleted
        page = base.scan(start, end, asked)
        # A full page says nothing about what follows its last key; a short one is followed by nothing.
        beyond = page[-1][0] + b"\x00" if len(page) == asked else None
        mine = keys[bisect_left(keys, start) : last if beyond is None else bisect_left(keys, beyond, hi=last)]
        merged: dict[bytes, bytes | None] = dict(page)
        merged.update((key, changes[key]) for key in mine)
        found += [(key, value) for key, value in sorted(merged.items()) if value is not None]
        if beyond is None:
            break
        start = beyond
    return found[:limit]


class Scoped:
    """An application's view for queries: its own keys, without the prefix."""

    def __init__(self, state: ReadableState) -> None:
        self._state = state

    def get(self, key: bytes) -> bytes | None:
        return self._state.get(APPLICATION_PREFIX + key)

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        stop = APPLICATION_PREFIX + end if end is not None else bytes((APPLICATION_PREFIX[0] + 1,))
        return [(key[1:], value) for key, value in self._state.scan(APPLICATION_PREFIX + start, stop, limit)]


class ScopedOverlay(Scoped):
    """An application's view while its operations are applied."""

    def __init__(self, overlay: Overlay) -> None:
        super().__init__(overlay)
        self._put = overlay.put

    def put(self, key: bytes, value: bytes) -> None:
        self._put(APPLICATION_PREFIX + key, value)

    def delete(self, key: bytes) -> None:
        self._put(APPLICATION_PREFIX + key, None)


class Executor:
    """Executes blocks of one chain on whatever map it is handed."""

    def __init__(self, application: Application, administrators: Sequence[bytes], clients_max: int) -> None:
        assert len(set(administrators)) == len(administrators) > 0, "a checked genesis names different administrators"
        self.application = application
        self._administrators = tuple(administrators)
        self._clients_max = clients_max

    def initial_state(self) -> dict[bytes, bytes | None]:
        """The map at height 0: the first administrators."""
        changes: dict[bytes, bytes | None] = {
            CLIENT_PREFIX + key: encode(ClientWindow(ADMINISTRATOR).record()) for key in self._administrators
        }
        changes[COUNT_KEY] = encode(Counts(len(self._administrators), len(self._administrators)))
        return changes

    def validate(self, transaction: Transaction) -> None:
        """Refuse an envelope with an operation that can never be applied; else mark it as validated.

        Raises Refused(TX_INVALID_OPERATION).
        """
        for operation in transaction.body.operations:
            if operation[:1] == _APPLICATION_BYTE:
                self.application.validate(operation[1:])
            else:
                open_system_operation(operation)
        transaction.validated = True

    def execute(
        self, seq: int, time_ms: int, first_index: int, transactions: Sequence[Transaction], base: ReadableState
    ) -> Execution:
        """The results of a block's envelopes, in order, and what they change in `base`."""
        turn = _BlockTurn(self.application, self._clients_max, base)
        results = [
            turn.execute(transaction, seq, first_index + offset, time_ms)
            for offset, transaction in enumerate(transactions)
        ]
        return Execution(results, turn.encoded, turn.finish(), turn.clients)


class _BlockTurn:
    """One block being executed: the overlay, and the windows of the clients that it met."""

    def __init__(self, application: Application, clients_max: int, base: ReadableState) -> None:
        self.clients: dict[bytes, int] = {}
        self.encoded: list[bytes] = []  # results, in order
        self._application = application
        self._clients_max = clients_max
        self._overlay = Overlay(base)
        self._scoped = ScopedOverlay(self._overlay)
        self._windows: dict[bytes, ClientWindow | None] = {}
        self._touched: dict[bytes, ClientWindow] = {}

    def execute(self, transaction: Transaction, seq: int, log_index: int, time_ms: int) -> TransactionResult:
        """One envelope: rejected as a whole, or its nonce is used and each operation has a result."""
        body = transaction.body
        window = self._window(body.client)
        code = _refusal(window, body.nonce, body.valid_until, seq)
        if code is not None:
            rejected = TransactionResult(transaction.id, seq, log_index, str(code), ())
            self.encoded.append(encode(rejected))
            return rejected
        assert window is not None, "an unknown client was refused"
        for gone in window.use(body.nonce):
            self._overlay.put(result_key(body.client, gone), None)
        self._touched[body.client] = window
        context = Context(seq, log_index, time_ms, body.client, window.role)
        outcome = self._apply_all(body.operations, context, window, transaction.validated)
        result = TransactionResult(transaction.id, seq, log_index, "", outcome)
        encoded = encode(result)
        self.encoded.append(encoded)
        self._overlay.put(result_key(body.client, body.nonce), encoded)
        return result

    def finish(self) -> dict[bytes, bytes | None]:
        """All that the block changes, the windows that it touched included."""
        for client, window in self._touched.items():
            self._overlay.put(CLIENT_PREFIX + client, encode(window.record()))
        return self._overlay.changes

    def _apply_all(
        self, operations: Sequence[bytes], context: Context, window: ClientWindow, validated: bool
    ) -> tuple[OperationResult, ...]:
        """Of each operation, in order, all of it and its value, or nothing of it and a code."""
        apply, validate = self._application.apply, self._application.validate
        scoped, overlay = self._scoped, self._overlay
        outcome: list[OperationResult] = []
        room, last = limits.RESULTS_BYTES_MAX, _NOTHING
        for operation in operations:
            overlay.checkpoint()
            if operation[:1] != _APPLICATION_BYTE:
                # The role is read each time: an administrator may remove itself in the middle of its envelope.
                code = self._apply_system(operation, window.role)
                outcome.append(OperationResult("" if code is None else str(code), b""))
                continue
            content = operation[1:]
            try:
                if not validated:
                    # Not every replica saw this block before it was certified, and none judges it again.
                    _validate(validate, content)
                value = apply(scoped, content, context)
                if len(value) > room or len(value) > limits.RESULT_BYTES_MAX:
                    raise Refused(Reason.TX_RESULT_SIZE)
            except Refused as refused:
                overlay.rollback()
                outcome.append(OperationResult(str(refused.reason), b""))
                continue
            room -= len(value)
            if value is not last.value:  # the answers of a thousand puts are one object
                last = OperationResult("", value)
            outcome.append(last)
        return tuple(outcome)

    def _apply_system(self, operation: bytes, role: int) -> Reason | None:
        """Admit or remove a client, or the reason why not. Every guard stands before the first change."""
        try:
            system = open_system_operation(operation)
            if role != ADMINISTRATOR:
                return Reason.TX_DENIED
            if system.action == ADMIT:
                check_public_key(system.client)
        except Refused:
            return Reason.TX_INVALID_OPERATION
        window = self._window(system.client)
        before, after = (0 if window is None else window.role), system.role
        if system.action == REMOVE and before == 0:
            return Reason.NOT_FOUND
        stored = self._overlay.get(COUNT_KEY)
        assert stored is not None, "the initial state has counts"
        counts = _open_own(_open_counts, stored)
        clients = counts.clients - (before != 0) + (after != 0)
        administrators = counts.administrators - (before == ADMINISTRATOR) + (after == ADMINISTRATOR)
        if clients > counts.clients and clients > self._clients_max:
            return Reason.CLIENT_LIMIT
        if administrators == 0:
            # Removed or demoted, the last one would leave a cluster that nobody can administer.
            return Reason.TX_DENIED
        if after == before:
            return None
        # A client that comes back keeps its used nonces: nothing of it can be replayed.
        window = window or ClientWindow(after)
        window.role = after
        self._windows[system.client] = self._touched[system.client] = window
        self._overlay.put(COUNT_KEY, encode(Counts(clients, administrators)))
        self.clients[system.client] = after
        return None

    def _window(self, client: bytes) -> ClientWindow | None:
        if client not in self._windows:
            raw = self._overlay.get(CLIENT_PREFIX + client)
            self._windows[client] = None if raw is None else ClientWindow.load(_open_own(_open_client, raw))
        return self._windows[client]


_NOTHING = OperationResult("", b"")


def _validate(validate: Callable[[bytes], None], operation: bytes) -> None:
    try:
        validate(operation)
    except Refused as refused:
        raise Refused(Reason.TX_INVALID_OPERATION, refused.detail) from None


NO_STATE = bytes(32)
"""The state digest before there is a state."""


def digest_after(before: bytes, changes: dict[bytes, bytes | None]) -> bytes:
    """The state digest, of 32 bytes, after `changes`: SHA-256 over the one before and the hash of what was changed.

    That is the msgpack array of [key, new value or nil] in ascending order of key: one pass in C (decision 013).
    """
    changed = hashlib.sha256(encode(sorted(changes.items()))).digest()
    return hashlib.sha256(before + changed).digest()


def _open_own(reader: Callable[[bytes], T], raw: bytes) -> T:
    """Read what we wrote ourselves. A failure is a broken state, never a refused operation."""
    try:
        return reader(raw)
    except Refused as refused:
        raise AssertionError(f"our own state does not decode: {refused}") from refused


def _refusal(window: ClientWindow | None, nonce: int, valid_until: int, seq: int) -> Reason | None:
    if window is None or window.role == 0:
        return Reason.TX_UNKNOWN_CLIENT
    if seq > valid_until:
        return Reason.TX_EXPIRED
    return window.refusal(nonce)
