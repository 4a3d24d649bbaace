"""Executing a block: every envelope in order, exactly once, each operation with its own result.

The replicated state is one ordered map: the application's entries under b"a", clients and their nonce windows
under b"c", results by (client, nonce) under b"r". All of it is covered by the state digest, so it is part of what
a checkpoint certifies (faults.md K13). Execution decides deterministically what agreement let through: an
envelope with a used nonce, of a removed client or past its time executes as a rejection, alike everywhere
(docs/protocol.md, "Transactions"; N20). A client signature is not judged again here: what is committed is
executed as ordered.
"""

from collections.abc import Sequence
from typing import NamedTuple

from bftnode.apps.contract import Application, Context, ReadableState, StateDigest
from bftnode.protocol import limits
from bftnode.protocol.codec import Byte, PublicKey, Wire, decode, encode
from bftnode.protocol.ed25519 import check_public_key
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT, ClientRecord, ClientWindow
from bftnode.protocol.results import OperationResult, TransactionResult
from bftnode.protocol.transactions import Transaction

APPLICATION_PREFIX = b"a"
CLIENT_PREFIX = b"c"
RESULT_PREFIX = b"r"
COUNT_KEY = b"n"  # how many clients are admitted

SYSTEM = 0
APPLICATION = 1

ADMIT = 1
REMOVE = 2


class SystemOperation(Wire, frozen=True):
    """An administrator's operation: ADMIT a client with a role, or REMOVE one (role 0)."""

    action: Byte
    client: PublicKey
    role: Byte


def application_operation(operation: bytes) -> bytes:
    """An application's operation as it stands in an envelope."""
    return bytes((APPLICATION,)) + operation


def system_operation(operation: SystemOperation) -> bytes:
    return bytes((SYSTEM,)) + encode(operation)


def result_key(client: bytes, nonce: int) -> bytes:
    return RESULT_PREFIX + client + nonce.to_bytes(8, "big")


class Execution(NamedTuple):
    """What executing one block did."""

    results: list[TransactionResult]
    changes: dict[bytes, bytes | None]  # key -> new value or None (deleted), to be applied with the block
    clients: dict[bytes, int]  # client -> role, 0 for removed, where it changed


class Overlay:
    """The map during one block: reads fall through to the state before it, writes stay here.

    `checkpoint` and `rollback` undo one operation.
    """

    def __init__(self, base: ReadableState) -> None:
        self._base = base
        self.changes: dict[bytes, bytes | None] = {}
        self._undo: list[tuple[bytes, bool, bytes | None]] | None = None

    def get(self, key: bytes) -> bytes | None:
        if key in self.changes:
            return self.changes[key]
        return self._base.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        if self._undo is not None:
            self._undo.append((key, key in self.changes, self.changes.get(key)))
        self.changes[key] = value

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        inside = [key for key in self.changes if key >= start and (end is None or key < end)]
        if not inside:
            return self._base.scan(start, end, limit)
        # Each deleted key can hide one entry of the base, so that many more are asked for.
        merged: dict[bytes, bytes | None] = dict(self._base.scan(start, end, limit + len(inside)))
        beyond = max(merged) if len(merged) == limit + len(inside) else None
        for key in inside:
            if beyond is None or key <= beyond:
                merged[key] = self.changes[key]
        present = [(key, value) for key, value in sorted(merged.items()) if value is not None]
        return present[:limit]

    def checkpoint(self) -> None:
        self._undo = []

    def rollback(self) -> None:
        assert self._undo is not None, "rollback follows checkpoint"
        for key, had, value in reversed(self._undo):
            if had:
                self.changes[key] = value
            else:
                del self.changes[key]
        self._undo = []


class Scoped:
    """An application's view: its own keys, without the prefix."""

    def __init__(self, state: Overlay | ReadableState) -> None:
        self._state = state

    def get(self, key: bytes) -> bytes | None:
        return self._state.get(APPLICATION_PREFIX + key)

    def scan(self, start: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        stop = APPLICATION_PREFIX + end if end is not None else bytes((APPLICATION_PREFIX[0] + 1,))
        return [(key[1:], value) for key, value in self._state.scan(APPLICATION_PREFIX + start, stop, limit)]

    def put(self, key: bytes, value: bytes) -> None:
        assert isinstance(self._state, Overlay), "queries do not write"
        self._state.put(APPLICATION_PREFIX + key, value)

    def delete(self, key: bytes) -> None:
        assert isinstance(self._state, Overlay), "queries do not write"
        self._state.put(APPLICATION_PREFIX + key, None)


class Executor:
    """Executes blocks of one chain on whatever map it is handed."""

    def __init__(self, application: Application, administrators: Sequence[bytes], clients_max: int) -> None:
        self.application = application
        self._administrators = tuple(administrators)
        self._clients_max = clients_max

    def initial_state(self) -> dict[bytes, bytes | None]:
        """The map at height 0: the first administrators."""
        changes: dict[bytes, bytes | None] = {
            CLIENT_PREFIX + key: encode(ClientWindow(ADMINISTRATOR).record()) for key in self._administrators
        }
        changes[COUNT_KEY] = encode(len(self._administrators))
        return changes

    def validate(self, transaction: Transaction) -> None:
        """Refuse an envelope with an operation that can never be applied. Raises Refused(TX_INVALID_OPERATION)."""
        for operation in transaction.body.operations:
            if operation[:1] == b"\x01":
                self.application.validate(operation[1:])
            else:
                open_system_operation(operation)

    def execute(
        self, seq: int, time_ms: int, first_index: int, transactions: Sequence[Transaction], base: ReadableState
    ) -> Execution:
        """The results of a block's envelopes, in order, and what they change in `base`."""
        overlay = Overlay(base)
        clients: dict[bytes, int] = {}
        windows: dict[bytes, ClientWindow | None] = {}
        results = []
        for offset, transaction in enumerate(transactions):
            body = transaction.body
            context = Context(seq, first_index + offset, time_ms, body.client)
            if body.client not in windows:
                windows[body.client] = _load_window(overlay, body.client)
            window = windows[body.client]
            code = _refusal(window, body.nonce, body.valid_until, seq)
            if code is not None:
                results.append(TransactionResult(transaction.id, seq, context.index, code, ()))
                continue
            assert window is not None, "an unknown client was refused"
            for nonce in window.use(body.nonce):
                overlay.put(result_key(body.client, nonce), None)
            outcome = tuple(
                self._apply(overlay, operation, context, window.role, windows, clients) for operation in body.operations
            )
            result = TransactionResult(transaction.id, seq, context.index, "", outcome)
            overlay.put(result_key(body.client, body.nonce), encode(result))
            results.append(result)
        for client, final in windows.items():
            if final is not None:
                overlay.put(CLIENT_PREFIX + client, encode(final.record()))
        return Execution(results, overlay.changes, clients)

    def _apply(
        self,
        overlay: Overlay,
        operation: bytes,
        context: Context,
        role: int,
        windows: dict[bytes, ClientWindow | None],
        clients: dict[bytes, int],
    ) -> OperationResult:
        overlay.checkpoint()
        try:
            if operation[:1] == b"\x01":
                self.application.validate(operation[1:])
                value = self.application.apply(Scoped(overlay), operation[1:], context)
                if len(value) > limits.RESULT_BYTES_MAX:
                    raise Refused(Reason.TX_INVALID_OPERATION, "the result is too large")
                return OperationResult("", value)
            self._apply_system(overlay, operation, role, windows, clients)
            return OperationResult("", b"")
        except Refused as refused:
            overlay.rollback()
            return OperationResult(str(refused.reason), refused.detail.encode()[:200])

    def _apply_system(
        self,
        overlay: Overlay,
        operation: bytes,
        role: int,
        windows: dict[bytes, ClientWindow | None],
        clients: dict[bytes, int],
    ) -> None:
        system = open_system_operation(operation)
        if role != ADMINISTRATOR:
            raise Refused(Reason.TX_DENIED, "only an administrator admits or removes clients")
        if system.client not in windows:
            windows[system.client] = _load_window(overlay, system.client)
        window = windows[system.client]
        count = decode(overlay.get(COUNT_KEY) or b"\x00", int, 16)
        admitted = window is not None and window.role != 0
        if system.action == ADMIT:
            if not admitted and count >= self._clients_max:
                raise Refused(Reason.CLIENT_LIMIT, f"{count} clients are admitted; the genesis allows no more")
            # A client that comes back keeps its used nonces: nothing of it can be replayed.
            window = window or ClientWindow(system.role)
            window.role = system.role
            overlay.put(COUNT_KEY, encode(count + (not admitted)))
        else:
            if window is None or not admitted:
                raise Refused(Reason.NOT_FOUND, "no such client")
            if window.role == ADMINISTRATOR and self._is_last_administrator(overlay, windows, system.client):
                raise Refused(Reason.TX_DENIED, "the last administrator cannot be removed")
            window.role = 0
            overlay.put(COUNT_KEY, encode(count - 1))
        windows[system.client] = window
        clients[system.client] = window.role

    @staticmethod
    def _is_last_administrator(overlay: Overlay, windows: dict[bytes, ClientWindow | None], client: bytes) -> bool:
        roles = {
            key[1:]: decode(value, ClientRecord, 4096).role
            for key, value in overlay.scan(CLIENT_PREFIX, b"d", 10_000_000)
        }
        roles.update({key: window.role for key, window in windows.items() if window is not None})
        return not any(role == ADMINISTRATOR for key, role in roles.items() if key != client)


def open_system_operation(operation: bytes) -> SystemOperation:
    """Raises Refused(TX_INVALID_OPERATION)."""
    if operation[:1] != b"\x00":
        raise Refused(Reason.TX_INVALID_OPERATION, "an operation starts with 0 (system) or 1 (application)")
    try:
        system = decode(operation[1:], SystemOperation, 64)
        check_public_key(system.client)
    except Refused as refused:
        raise Refused(Reason.TX_INVALID_OPERATION, refused.detail) from None
    roles = (CLIENT, ADMINISTRATOR) if system.action == ADMIT else (0,)
    if system.action not in (ADMIT, REMOVE) or system.role not in roles:
        raise Refused(Reason.TX_INVALID_OPERATION, "ADMIT takes role 1 or 2, REMOVE takes role 0")
    return system


def advance_digest(digest: StateDigest, changes: dict[bytes, bytes | None], base: ReadableState) -> None:
    """Account for `changes` on top of `base`, before they are applied to it."""
    for key, value in changes.items():
        digest.replace(key, base.get(key), value)


def _load_window(overlay: Overlay, client: bytes) -> ClientWindow | None:
    raw = overlay.get(CLIENT_PREFIX + client)
    return None if raw is None else ClientWindow.load(decode(raw, ClientRecord, 4096))


def _refusal(window: ClientWindow | None, nonce: int, valid_until: int, seq: int) -> Reason | None:
    if window is None or window.role == 0:
        return Reason.TX_UNKNOWN_CLIENT
    if seq > valid_until:
        return Reason.TX_EXPIRED
    return window.refusal(nonce)
