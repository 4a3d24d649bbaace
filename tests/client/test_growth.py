"""A log only grows: what a client remembers of it, and the log that it therefore refuses."""

from pathlib import Path

import pytest

from bftnode.apps import kv
from bftnode.apps.execution import application_operation
from bftnode.client.client import Client, open_client
from bftnode.client.growth import FileMemory, Growth
from bftnode.client.nonces import CountingNonces
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import leaf_hash
from bftnode.protocol.tlog.checkpoints import parse_signed_checkpoint
from bftnode.protocol.tlog.policy import check_checkpoint
from bftnode.protocol.tlog.proofs import check_included, parse_proof
from tests.api.town import ADMINISTRATOR, MemoryBackend, Running, Town, running
from tests.client.test_client import QUICK


class FalseProofs(MemoryBackend):
    """A member whose proofs prove nothing."""

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        return [bytes(32)] * 3

    async def consistency(self, old: int, new: int) -> list[bytes]:
        return [bytes(32)] * 3


class OldCheckpoints(MemoryBackend):
    """A member that shows the first checkpoint, whatever it is asked for."""

    async def checkpoint(self, size: int | None, timeout_s: float) -> bytes:
        return self.ledger.checkpoint(1)


async def put(client: Client, *keys: bytes) -> None:
    for key in keys:
        await client.submit((application_operation(kv.put(key, b"value")),))


def remembering(cluster: Running, path: Path, first: int = 1):
    return open_client(
        cluster.genesis,
        ADMINISTRATOR,
        next_nonce=CountingNonces(first),
        options=QUICK,
        memory=FileMemory(path),
    )


async def test_a_standard_receipt_is_a_proof_by_the_policy(town: Town, tmp_path: Path) -> None:
    """Checkpoint, quorum, inclusion: nothing but the policy is needed; and the checkpoint is remembered."""
    async with running(town) as cluster, remembering(cluster, tmp_path / "memory") as client:
        await put(client, b"a", b"b", b"c")
        raw = await client.standard_receipt(1)
        entry = (await client.entries(1, 1)).entries[0]
    proof = parse_proof(raw)
    assert proof.extra == entry.envelope
    verified = check_checkpoint(proof.checkpoint, town.genesis.policy())
    check_included(proof, leaf_hash(entry.envelope), verified.checkpoint)
    assert len(verified.cosigned) == 3
    assert (tmp_path / "memory").stat().st_mode & 0o777 == 0o600
    assert parse_signed_checkpoint((tmp_path / "memory").read_bytes())[0].size >= 2


@pytest.mark.covers("O04", "X04")
async def test_a_client_refuses_a_log_that_does_not_extend_the_one_that_it_verified(town: Town, tmp_path: Path) -> None:
    """All members agree on another history, with all their keys; who remembers a checkpoint is not deceived."""
    path = tmp_path / "memory"
    async with running(town) as cluster, remembering(cluster, path) as client:
        await put(client, b"a", b"b")
        await client.checkpoint()
    async with running(town) as cluster:
        async with open_client(cluster.genesis, ADMINISTRATOR, next_nonce=CountingNonces(), options=QUICK) as innocent:
            await put(innocent, b"c", b"d", b"e")
            assert (await innocent.checkpoint()).checkpoint.size == 3, "who remembers nothing notices nothing"
        async with remembering(cluster, path, 10) as client:
            for act in (put(client, b"f"), client.checkpoint(), client.receipt(0), client.query(kv.get(b"a"))):
                with pytest.raises(Refused) as caught:
                    await act
                assert caught.value.reason is Reason.INTEGRITY


@pytest.mark.covers("O04")
async def test_a_client_refuses_a_log_that_has_shrunk(town: Town, tmp_path: Path) -> None:
    """The same history, cut off: nobody can show the checkpoint that was verified."""
    path = tmp_path / "memory"
    async with running(town) as cluster, remembering(cluster, path) as client:
        await put(client, b"a", b"b")
        await client.checkpoint()
    async with running(town) as cluster, remembering(cluster, path) as client:
        with pytest.raises(Refused) as caught:
            await client.ready()
        assert caught.value.reason is Reason.INTEGRITY


@pytest.mark.covers("A07")
@pytest.mark.parametrize("kind", [FalseProofs, OldCheckpoints])
async def test_a_member_that_proves_nothing_stops_nobody(town: Town, tmp_path: Path, kind: type[MemoryBackend]) -> None:
    """Any one other member's proof is enough, in this life and the next."""
    path = tmp_path / "memory"
    async with running(town, kinds={0: kind}) as cluster:
        async with remembering(cluster, path) as client:
            await put(client, b"a", b"b")
            assert (await client.checkpoint(2)).checkpoint.size == 2
            await put(client, b"c")
            assert (await client.checkpoint(3)).checkpoint.size == 3
            assert (await client.receipt(0)).receipt.index == 0
            assert parse_proof(await client.standard_receipt(2)).index == 2
        async with remembering(cluster, path, 10) as client:
            await put(client, b"d")


async def test_the_memory_of_another_cluster_is_refused(town: Town, tmp_path: Path) -> None:
    """It says nothing of this one; whoever put it there is told."""
    (tmp_path / "memory").write_bytes(b"something else\n")
    with pytest.raises(Refused) as caught:
        Growth(town.genesis.policy(), FileMemory(tmp_path / "memory"))
    assert caught.value.reason is Reason.INTEGRITY


class Away(MemoryBackend):
    """A member that has nothing to show just now."""

    async def checkpoint(self, size: int | None, timeout_s: float) -> bytes:
        raise Refused(Reason.BUSY, "too many requests at once")

    async def consistency(self, old: int, new: int) -> list[bytes]:
        raise Refused(Reason.BUSY, "too many requests at once")


async def test_members_that_are_only_slow_are_not_accused(town: Town, tmp_path: Path) -> None:
    """One of four shows what was verified, false proofs or nothing: that is no other log, only not this one yet."""
    path = tmp_path / "memory"
    async with running(town) as cluster, remembering(cluster, path) as client:
        await put(client, b"a", b"b")
        await client.checkpoint()
    kinds = {0: FalseProofs, 1: Away, 2: Away, 3: Away}
    async with running(town, kinds=kinds) as cluster, remembering(cluster, path) as client:
        with pytest.raises(Refused) as caught:
            await client.ready()
        assert caught.value.reason is Reason.NOT_READY
