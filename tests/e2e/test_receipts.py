"""Receipts, monitor, tiles and witnesses with real daemons and real data directories, as a user has them."""

import json
import urllib.request
from pathlib import Path

import lmdb
import pytest
import trio

from bftnode.apps.execution import application_operation
from bftnode.apps.log import append
from bftnode.client.client import Client
from bftnode.protocol.blocks import Header, make_block
from bftnode.protocol.codec import encode
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of, verify_inclusion
from bftnode.protocol.tlog.checkpoints import parse_signed_checkpoint
from bftnode.protocol.tlog.policy import parse_policy, write_policy
from bftnode.protocol.tlog.proofs import parse_proof
from bftnode.storage import pieces
from bftnode.storage.log import LogReader, node_records
from bftnode.storage.records import NAMES, Databases, Logged, database, number, put
from tests.e2e.cluster import Cluster, running
from theatre.ports import Ports

DEADLINE_S = 60.0
RECORDS = [b"the door was opened", b"the door was closed", b"the safe was opened", b"the safe was closed"]


async def append_all(client: Client) -> list[bytes]:
    """Each record in an envelope of its own; their ids."""
    return [(await client.submit((application_operation(append(record)),))).transaction for record in RECORDS]


async def until_cosigned(client: Client, members: int = 4) -> None:
    """Every member has a checkpoint of all records."""
    with trio.fail_after(DEADLINE_S):
        assert await client.connected_to(range(members), DEADLINE_S) == list(range(members))
        for member in range(members):
            await client.checkpoint_of(member, len(RECORDS), 10.0)


async def test_receipts_outlive_the_cluster(tmp_path: Path) -> None:
    """Both kinds, got with the command line, verified with the policy file alone when everything else is gone."""
    async with running(Cluster(tmp_path, application="log")) as cluster:
        async with cluster.client() as client:
            transactions = await append_all(client)
        for words, file in ((["--standard"], "safe.tlog-proof"), ([], "safe.receipt")):
            done = cluster.bftnode("receipt", "get", transactions[2].hex(), *words, "-o", str(tmp_path / file))
            assert done.returncode == 0, done.stderr
        policy = tmp_path / "e2e.policy"
        policy.write_text(write_policy(cluster.genesis.policy()))
        await cluster.stop()
        record = tmp_path / "record"
        record.write_bytes(RECORDS[2])
        for file in ("safe.tlog-proof", "safe.receipt"):
            arguments = ("receipt", "verify", str(tmp_path / file), "--policy", str(policy))
            done = cluster.bftnode(*arguments, "--record", str(record), home=tmp_path)
            assert done.returncode == 0, done.stderr
            record.write_bytes(b"the safe was never opened")
            assert cluster.bftnode(*arguments, "--record", str(record), home=tmp_path).returncode == 5
            record.write_bytes(RECORDS[2])
        assert (tmp_path / "safe.receipt").stat().st_size < 2048 * 4 // 3 + len(RECORDS[2]) + 400


@pytest.mark.covers("D16")
async def test_a_history_rewritten_by_root_is_caught_three_times(tmp_path: Path) -> None:
    """The whole log of a member is made anew with one record another: hashes, roots, tree and seals all fit.

    `log verify` finds the block that no quorum voted for; the monitor names the member; who holds a receipt sees it.
    """
    async with running(Cluster(tmp_path, application="log")) as cluster:
        async with cluster.client() as client:
            transactions = await append_all(client)
            await until_cosigned(client)
            receipt = parse_proof(await client.standard_receipt(2))
        assert cluster.bftnode("log", "monitor", "--once").returncode == 0
        assert cluster.bftnode("log", "verify", home=cluster.home(3).path).returncode == 0
        await cluster.stop(3)
        rewrite(cluster.home(3).data_path / "lmdb", entry=2, old=b"safe was opened", new=b"safe was locked")

        verified = cluster.bftnode("log", "verify", "--json", home=cluster.home(3).path)
        assert verified.returncode == 5, verified.stderr
        assert json.loads(verified.stdout)["fault"]["height"] is not None

        cluster.start(3)
        async with cluster.client() as client:
            assert await client.connected_to([0, 3], DEADLINE_S) == [0, 3]
        done = cluster.bftnode("log", "monitor", "--once", "--json")
        assert done.returncode == 5, done.stderr
        alarms = [json.loads(line) for line in done.stdout.splitlines() if '"alarm"' in line]
        assert [(alarm["kind"], alarm["node"]) for alarm in alarms] == [("rewrite", cluster.genesis.members[3].name)]

        checkpoint, _ = parse_signed_checkpoint(receipt.checkpoint)
        async with cluster.client() as client:
            assert await client.connected_to([0, 3], 10.0) == [0, 3]
            shown = [await client.entry_of(member, 2, checkpoint.size) for member in (0, 3)]
        assert [b"opened" in entry.envelope for entry, _ in shown] == [True, False]
        holds = [
            verify_inclusion(leaf_hash(entry.envelope), 2, checkpoint.size, path, checkpoint.root)
            for entry, path in shown
        ]
        assert holds == [True, False]
        assert transactions


def rewrite(path: Path, *, entry: int, old: bytes, new: bytes) -> None:
    """What somebody who may write the disk, and has no key but this member's, can do: a chain that fits together."""
    env = lmdb.open(str(path), map_size=2**30, max_dbs=len(NAMES), create=False)
    with env.begin(write=True) as txn:
        databases = Databases(*(database(name, env.open_db(name.encode(), txn=txn)) for name in NAMES))
        log = LogReader(txn, databases)
        blocks = [log.block(seq) for seq in range(log.height() + 1)]
        parent, frontier, hashes = blocks[0].hash, Frontier(), []
        for block in blocks[1:]:
            first = frontier.size
            raws = tuple(
                raw.replace(old, new) if first + place == entry else raw for place, raw in enumerate(block.transactions)
            )
            leaves = [leaf_hash(raw) for raw in raws]
            frontier, nodes = frontier.append(leaves)
            hashes += [digest for _, _, digest in nodes]
            fields = {name: getattr(block.header, name) for name in block.header.__struct_fields__}
            fields.update(parent=parent, transactions_root=root_of(leaves), log_root=frontier.root())
            header = Header(**fields)
            again = make_block(header, raws, leaves)
            parent = again.hash
            first_piece = pieces.write(txn, databases.blocks, again.payload)
            logged = Logged(again.header_raw, first_piece, len(again.payload), log.logged(again.seq).certificate)
            put(txn, databases.log, number(again.seq), encode(logged))
            put(txn, databases.hashes, again.hash, number(again.seq))
        txn.drop(databases.nodes.handle, delete=False)
        for key, value in node_records(0, hashes):
            put(txn, databases.nodes, key, value)
    env.close()


async def test_tiles_and_a_witness_of_another_cluster(tmp_path: Path) -> None:
    """A member of another cluster cosigns this one's checkpoints; both show what they have over HTTP."""
    ports = Ports(2)
    web, door = (f"127.0.0.1:{port}" for port in ports.numbers)
    other = Cluster(tmp_path / "other", application="log")
    (tmp_path / "ours").mkdir()
    cluster = Cluster(tmp_path / "ours", application="log")
    (tmp_path / "logs.policy").write_text(write_policy(cluster.genesis.policy()))
    key = other.genesis.checkpoint_keys().cosigning_keys[0][0]
    (tmp_path / "ask.policy").write_text(f"witness other {key.text} http://{door}\nquorum none\n")
    assert parse_policy((tmp_path / "ask.policy").read_bytes()).witnesses[0].key == key
    ports.close()
    try:
        # Alone, without a quorum of its own cluster: a witness needs none.
        witness = {"BFTNODE_WEB__LISTEN": door, "BFTNODE_WITNESS__LOGS": str(tmp_path / "logs.policy")}
        other.start(0, environment=witness)
        asking = {
            "BFTNODE_WEB__LISTEN": web,
            "BFTNODE_WITNESS__ASK": str(tmp_path / "ask.policy"),
            "BFTNODE_WITNESS__ASK_INTERVAL_MS": "200",
        }
        cluster.start(0, environment=asking)
        cluster.start(1, 2, 3)
        async with cluster.client() as client:
            await append_all(client)
            await until_cosigned(client)
        with trio.fail_after(DEADLINE_S):
            while True:
                note = await fetched(f"http://{web}/checkpoint")
                if f"— {key.name} ".encode() in note:
                    break
                await trio.lowlevel.checkpoint()
        assert (await fetched(f"http://{web}/tile/0/000.p/{len(RECORDS)}")) == b"".join(
            [leaf_hash(envelope) for envelope in await envelopes(cluster)]
        )
    finally:
        other.kill(*other.processes)
        cluster.kill(*cluster.processes)
        other.ports.close()
        cluster.ports.close()


async def envelopes(cluster: Cluster) -> list[bytes]:
    async with cluster.client() as client:
        return [entry.envelope for entry in (await client.entries(0, 10)).entries]


async def fetched(url: str) -> bytes:
    """What a server answers; empty while it does not."""

    def work() -> bytes:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return bytes(response.read())
        except OSError:
            return b""

    return await trio.to_thread.run_sync(work)
