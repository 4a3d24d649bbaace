"""Receipts, monitor, tiles and witnesses with real daemons and real data directories, as a user has them."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
import trio
from msgspec.structs import replace

from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.log import append
from bftnode.apps.registry import load_application
from bftnode.client.client import Client
from bftnode.node.identity import load_seed
from bftnode.protocol.blocks import Header, make_block
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import signer
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of
from bftnode.protocol.tlog.policy import parse_policy, write_policy
from bftnode.protocol.transactions import open_transaction, sign_transaction
from bftnode.storage import pieces
from bftnode.storage.derived import flush, flush_first, replay
from bftnode.storage.log import LogReader
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
    """The whole log of a member is made anew with one record another: signature, hashes, roots, tree, state and seals.

    `log verify` finds the block that no quorum voted for; the monitor names the member; who holds a receipt sees it.
    """
    async with running(Cluster(tmp_path, application="log")) as cluster:
        async with cluster.client() as client:
            transactions = await append_all(client)
            await until_cosigned(client)
        name = cluster.genesis.members[3].name
        files = [str(tmp_path / "safe.tlog-proof"), str(tmp_path / "safe.receipt")]
        for words, file in zip((["--standard"], []), files, strict=True):
            done = cluster.bftnode("receipt", "get", transactions[2].hex(), *words, "-o", file)
            assert done.returncode == 0, done.stderr
            assert cluster.bftnode("receipt", "compare", file).returncode == 0
        assert cluster.bftnode("log", "monitor", "--once").returncode == 0
        assert cluster.bftnode("log", "verify", home=cluster.home(3).path).returncode == 0
        await cluster.stop(3)
        absent = cluster.bftnode("receipt", "compare", files[0], "--timeout", "2")
        assert absent.returncode == 3, absent.stderr
        assert f"{name}: does not show" in absent.stdout
        seed = load_seed(cluster.key_path)
        rewrite(
            cluster.home(3).data_path / "lmdb",
            cluster.genesis,
            entry=2,
            forged=lambda envelope: signed_again(envelope, cluster.genesis, seed, b"was opened", b"was locked"),
        )

        verified = cluster.bftnode("log", "verify", "--json", home=cluster.home(3).path)
        assert verified.returncode == 5, verified.stderr
        fault = json.loads(verified.stdout)["fault"]
        assert fault["log_index"] == 2
        assert fault["detail"] == "the block is not the one that a quorum signed: its certificate commits another"

        cluster.start(3)
        async with cluster.client() as client:
            assert await client.connected_to([0, 3], DEADLINE_S) == [0, 3]
        done = cluster.bftnode("log", "monitor", "--once", "--json")
        assert done.returncode == 5, done.stderr
        alarms = [json.loads(line) for line in done.stdout.splitlines() if '"alarm"' in line]
        assert [(alarm["kind"], alarm["node"]) for alarm in alarms] == [("rewrite", name)]

        for file in files:
            done = cluster.bftnode("receipt", "compare", file, "--json")
            assert done.returncode == 5, done.stderr
            said = [json.loads(line) for line in done.stdout.splitlines()]
            assert [one["same"] for one in said] == [True, True, True, False]
            assert said[3]["says"] == "shows another entry 2 than the receipt proves"
        assert (
            cluster.bftnode("receipt", "compare", files[0], "--node", cluster.genesis.members[0].name).returncode == 0
        )


def rewrite(path: Path, genesis: Genesis, *, entry: int, forged: Callable[[bytes], bytes]) -> None:
    """What somebody can do who may write the disk, and has every key but a quorum's: a chain that fits together.

    The log is made anew with one envelope another; what follows from it (tree, places, state) is what executing it
    gives; every seal is right.
    """
    env = lmdb.open(str(path), map_size=2**30, max_dbs=len(NAMES), create=False)
    with env.begin(write=True) as txn:
        databases = Databases(*(database(name, env.open_db(name.encode(), txn=txn)) for name in NAMES))
        log = LogReader(txn, databases)
        blocks = [log.block(seq) for seq in range(log.height() + 1)]
        parent, frontier = blocks[0].hash, Frontier()
        for block in blocks[1:]:
            first = frontier.size
            raws = tuple(forged(raw) if first + place == entry else raw for place, raw in enumerate(block.transactions))
            leaves = [leaf_hash(raw) for raw in raws]
            frontier, _ = frontier.append(leaves)
            fields = {name: getattr(block.header, name) for name in block.header.__struct_fields__}
            fields.update(parent=parent, transactions_root=root_of(leaves), log_root=frontier.root())
            again = make_block(Header(**fields), raws, leaves)
            parent = again.hash
            first_piece = pieces.write(txn, databases.blocks, again.payload)
            logged = Logged(again.header_raw, first_piece, len(again.payload), log.logged(again.seq).certificate)
            put(txn, databases.log, number(again.seq), encode(logged))
        for derived in (databases.hashes, databases.nodes, databases.transactions, databases.state):
            txn.drop(derived.handle, delete=False)
        clients_max = genesis.membership().parameters.clients_max
        executor = Executor(load_application(genesis.application), genesis.administrator_keys(), clients_max)
        flush_first(txn, databases, blocks[0], executor.initial_state())
        head, pending = replay(txn, databases, executor)
        flush(txn, databases, pending, head.seq)
    env.close()


def signed_again(envelope: bytes, genesis: Genesis, seed: bytes, old: bytes, new: bytes) -> bytes:
    """The envelope with other words, signed by its client: whose key it is may lie as well."""
    body = open_transaction(envelope, genesis.chain_id()).body
    operations = tuple(operation.replace(old, new) for operation in body.operations)
    assert operations != body.operations
    return sign_transaction(replace(body, operations=operations), signer(seed)).raw


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
