"""What was acknowledged is read back from every member by its own word: a loss would be seen."""

from pathlib import Path

import trio

from bftnode.apps import kv
from bftnode.client.operations import application_operation
from comparison.acknowledgements import PREFIX, read_back
from tests.e2e.cluster import Cluster, running


async def test_a_loss_is_seen_at_every_member_that_is_up(tmp_path: Path) -> None:
    """More than a page of them; one that nobody wrote, and one with another value, are missing everywhere."""
    written = {PREFIX + b"%d" % number: bytes(64) for number in range(1200)}
    lost = {PREFIX + b"never": b"", PREFIX + b"0": b"of before"}
    async with running(Cluster(tmp_path)) as cluster, cluster.client() as client:
        await cluster.equal(client)
        with trio.fail_after(60):
            await client.submit_many([application_operation(kv.put(*item)) for item in written.items()])
            assert await read_back(client, written) == {0: 0, 1: 0, 2: 0, 3: 0}
            cluster.kill(2)
            assert await read_back(client, {**written, **lost}) == {0: 2, 1: 2, 3: 2}
