"""The client for programs without trio: a thread runs it, and calls wait for it. Usable from many threads at once."""

import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar

import trio

from bftnode.client.client import Client, Consistency, open_client
from bftnode.client.nonces import NonceSource
from bftnode.client.options import Options
from bftnode.client.reads import QueryAnswer
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.results import OperationResult, TransactionResult

T = TypeVar("T")


class SyncClient:
    """`with SyncClient(genesis, seed, next_nonce=...) as client:`; the methods are those of `Client`."""

    def __init__(
        self, genesis: Genesis, seed: bytes, *, next_nonce: NonceSource, options: Options | None = None
    ) -> None:
        self._open: Callable[[], AbstractAsyncContextManager[Client]] = lambda: open_client(
            genesis, seed, next_nonce=next_nonce, options=options
        )
        self._thread = threading.Thread(target=self._main, name="bftnode-client", daemon=True)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._client: Client | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._closing: trio.Event | None = None

    def __enter__(self) -> "SyncClient":
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._closing is not None and self._token is not None:
            self._token.run_sync_soon(self._closing.set)
        self._thread.join()

    def submit(self, operations: Sequence[bytes], *, timeout_s: float | None = None) -> TransactionResult:
        return self.run(lambda client: client.submit(operations, timeout_s=timeout_s))

    def call(self, operation: bytes, *, timeout_s: float | None = None) -> OperationResult:
        return self.run(lambda client: client.call(operation, timeout_s=timeout_s))

    def submit_many(self, operations: Sequence[bytes], *, timeout_s: float | None = None) -> list[OperationResult]:
        return self.run(lambda client: client.submit_many(operations, timeout_s=timeout_s))

    def wait(self, transaction: bytes, timeout_s: float | None = None) -> TransactionResult:
        return self.run(lambda client: client.wait(transaction, timeout_s))

    def query(self, query: bytes, consistency: Consistency = "quorum", member: int | None = None) -> QueryAnswer:
        return self.run(lambda client: client.query(query, consistency, member))

    def run(self, action: Callable[[Client], Awaitable[T]]) -> T:
        """Anything else that a `Client` can do. Raises what it raises, and trio.RunFinishedError after the end."""
        client, token = self._client, self._token
        if client is None or token is None:
            raise RuntimeError("the client is not open: use it in a with statement")

        async def act() -> T:
            return await action(client)

        return trio.from_thread.run(act, trio_token=token)

    def _main(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # carried over to the thread that opens us
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        async with self._open() as self._client:
            self._token = trio.lowlevel.current_trio_token()
            self._closing = trio.Event()
            self._started.set()
            await self._closing.wait()
