"""The load's own client keys: made once, admitted by an administrator, used again."""

from pathlib import Path

import pytest
import trio

from bftnode.apps import kv
from bftnode.cli.keyring import admit, keyring
from bftnode.client.client import open_client
from bftnode.client.nonces import CountingNonces
from bftnode.client.operations import admit_client, application_operation
from bftnode.node.identity import create_client_key
from bftnode.protocol.ed25519 import public_key_of
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.nonces import CLIENT
from tests.api.town import ADMINISTRATOR, PATIENCE_S, STRANGER, Town, running


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"))


def test_keys_and_their_nonces_are_kept(tmp_path: Path) -> None:
    """The same keys the next time, more where more are asked for, and no nonce twice."""
    key = tmp_path / "client.key"
    create_client_key(key)
    with keyring(key, 2) as first:
        assert [one.nonces.take() for one in first for _ in range(2)] == [1, 2, 1, 2]
    with keyring(key, 3) as second:
        assert [one.key.public_key for one in second][:2] == [one.key.public_key for one in first]
        assert [one.nonces.take() for one in second] == [3, 3, 1]
    assert (tmp_path / "client.bench").stat().st_mode & 0o777 == 0o700


async def test_an_administrator_admits_them_and_each_signs_its_own(tmp_path: Path, town: Town) -> None:
    """Over the connections of one client; admitting them again changes nothing."""
    with keyring(tmp_path / "client.key", 3) as keys:
        async with (
            running(town) as cluster,
            open_client(cluster.genesis, ADMINISTRATOR, next_nonce=CountingNonces()) as client,
        ):
            with trio.fail_after(PATIENCE_S):
                with pytest.raises(Refused) as caught:
                    await client.call_alone(application_operation(kv.get(b"a")), by=keys[0])
                assert caught.value.reason is Reason.TX_UNKNOWN_CLIENT
                assert await admit(client, keys)
                assert await admit(client, keys)
                for one in keys:
                    assert (await client.submit([admit_client(bytes(32), CLIENT)], by=one)).code == ""
            signed = [cluster.ledger.window(one.key.public_key) for one in keys]
            assert [window and window.highest for window in signed] == [2, 1, 1]


async def test_who_is_no_administrator_admits_nobody(tmp_path: Path, town: Town) -> None:
    """It is told so; keys that are admitted already are of use all the same."""
    with keyring(tmp_path / "client.key", 1) as keys:
        async with running(town) as cluster:
            async with open_client(cluster.genesis, ADMINISTRATOR, next_nonce=CountingNonces()) as administrator:
                await administrator.submit([admit_client(public_key_of(STRANGER), CLIENT)])
            async with open_client(cluster.genesis, STRANGER, next_nonce=CountingNonces()) as client:
                assert not await admit(client, keys)
