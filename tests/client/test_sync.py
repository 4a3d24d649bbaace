"""The door for programs without trio: the same client in a thread."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import trio

from bftnode.apps import kv
from bftnode.apps.execution import application_operation
from bftnode.client.nonces import CountingNonces
from bftnode.client.sync import SyncClient
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import Genesis
from tests.api.town import ADMINISTRATOR, Town, running
from tests.client.test_client import QUICK


async def test_threads_use_one_client(town: Town) -> None:
    """Calls, reads and refusals cross over; leaving the block ends the thread."""

    def use(genesis: Genesis) -> None:
        with SyncClient(genesis, ADMINISTRATOR, next_nonce=CountingNonces(), options=QUICK) as client:
            with ThreadPoolExecutor(4) as pool:
                writes = [application_operation(kv.put(b"%d" % number, b"v")) for number in range(20)]
                assert all(result.code == "" for result in pool.map(client.call, writes))
            done = client.submit(writes[:2])
            assert client.wait(done.transaction) == done
            assert kv.open_result(client.query(kv.get(b"7")).value) == kv.Found(b"v")
            assert client.run(lambda inner: inner.entries(0, 1)).log_size >= 1
            with pytest.raises(Refused) as caught:
                client.call(b"\x01 no operation")
            assert caught.value.reason is Reason.TX_INVALID_OPERATION
        with pytest.raises(trio.RunFinishedError):
            client.call(writes[0])

    async with running(town) as cluster:
        await trio.to_thread.run_sync(use, cluster.genesis)


def test_a_genesis_that_cannot_be_is_refused_when_it_is_opened(town: Town) -> None:
    """In the thread that opens it; and nothing works before."""
    client = SyncClient(Genesis("x", "kv", [], []), ADMINISTRATOR, next_nonce=CountingNonces())
    with pytest.raises(RuntimeError):
        client.call(b"")
    with pytest.raises(Refused), client:
        pass
