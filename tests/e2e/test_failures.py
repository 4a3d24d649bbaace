"""Four real processes over real TLS and real disks, and what the world does to them.

Each test ends with the same two questions: do all members have the same valid log, verified offline, and is every
acknowledged record in it exactly once?
"""

import json
import resource
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import trio

from bftnode.apps import log as records
from bftnode.apps.execution import application_operation
from bftnode.client.client import Client
from bftnode.node.home import Home, create_client_home, create_home, install_genesis
from bftnode.protocol.genesis import ParametersFile, make_genesis
from bftnode.protocol.transactions import open_transaction
from tests.e2e.cluster import DEADLINE_S, Cluster, Load, running

CALLERS = 8


def appending(client: Client) -> Load:
    """Callers that append records, each in an envelope with those of the others."""

    async def submit(record: bytes) -> None:
        result = await client.call(application_operation(records.append(record)), timeout_s=DEADLINE_S)
        assert not result.code, result

    return Load(submit)


async def check(cluster: Cluster, load: Load | None = None) -> None:
    """All members equal; every acknowledged record in the log exactly once; every log valid offline."""
    async with cluster.client() as client:
        status = await cluster.equal(client)
        counted: Counter[bytes] = Counter()
        first, size = 0, status[0].log_size
        while first < size:
            page = await client.entries(first, 1000)
            for entry in page.entries:
                body = open_transaction(entry.envelope, client.members.chain_id).body
                counted.update(operation for operation in body.operations)
            first += len(page.entries)
    if load is not None:
        for record in load.acknowledged:
            assert counted[application_operation(records.append(record))] == 1, "acknowledged once, in the log once"
    assert await cluster.stop() == [0] * len(cluster.members)
    cluster.verify_all()


@pytest.mark.covers("D01", "V13", "P13")
async def test_kill_a_backup_under_load(tmp_path: Path) -> None:
    """kill -9 of a backup costs nothing; it comes back and catches up."""
    async with running(Cluster(tmp_path, application="log")) as cluster, cluster.client() as client:
        load = appending(client)
        async with load.calling(CALLERS):
            await load.more(100)
            cluster.kill(2)
            await load.more(200)
            cluster.start(2)
            await load.more(100)
        await check(cluster, load)


@pytest.mark.covers("N03", "V12", "P16", "P22")
async def test_kill_the_primary_under_load(tmp_path: Path) -> None:
    """kill -9 of the primary: the others change the view and go on; it comes back into the new view."""
    async with running(Cluster(tmp_path, application="log")) as cluster, cluster.client() as client:
        load = appending(client)
        async with load.calling(CALLERS):
            await load.more(100)
            cluster.kill(0)
            killed = time.monotonic()
            await load.more(CALLERS + 1)
            assert time.monotonic() - killed < 10, "the view change is a matter of seconds on the slowest machine"
            await load.more(200)
            cluster.start(0)
            await load.more(100)
        status = await cluster.equal(client)
        assert {one.view for one in status.values()} == {1}
        await check(cluster, load)


@pytest.mark.covers("N03", "V12")
async def test_a_primary_that_died_is_not_waited_for(tmp_path: Path) -> None:
    """Its system closes its connections, and the others go on after an eighth of the timer's time."""
    patient = {"BFTNODE_TIMING__VIEW_CHANGE_TIMEOUT_MS": "40000", "BFTNODE_TIMING__VIEW_CHANGE_TIMEOUT_MAX_MS": "40000"}
    async with running(Cluster(tmp_path, application="log"), patient) as cluster, cluster.client() as client:
        load = appending(client)
        async with load.calling(CALLERS):
            await load.more(100)
            cluster.kill(0)
            killed = time.monotonic()
            await load.more(CALLERS + 1)
            assert time.monotonic() - killed < 20, "half of the timer's time is plenty for an eighth of it"
        assert {one.view for one in (await cluster.equal(client, 1, 2, 3)).values()} == {1}
        found = [member for member in (1, 2, 3) if any(line["event"] == "primary_gone" for line in cluster.log(member))]
        assert len(found) >= 2, "f+1 find it gone, each by itself; their word may come before the third has"
        cluster.start(0)
        await check(cluster, load)


@pytest.mark.covers("T12", "X01", "D01")
async def test_kill_all_at_once_under_load(tmp_path: Path) -> None:
    """Power loss everywhere: the cluster recovers alone, and no acknowledged record is lost or doubled."""
    async with running(Cluster(tmp_path, application="log")) as cluster, cluster.client() as client:
        load = appending(client)
        async with load.calling(CALLERS):
            for _ in range(3):
                await load.more(100)
                cluster.kill(*cluster.members)
                cluster.start()
            await load.more(100)
        await check(cluster, load)


@pytest.mark.covers("T04", "T06")
async def test_stop_the_primary_for_longer_than_the_timeout(tmp_path: Path) -> None:
    """SIGSTOP of the primary until the others have left its view, then SIGCONT: it wakes in an old view, harmlessly."""
    async with running(Cluster(tmp_path, application="log")) as cluster, cluster.client() as client:
        load = appending(client)
        async with load.calling(CALLERS):
            await load.more(100)
            cluster.signal(0, signal.SIGSTOP)
            await load.more(200)
            cluster.signal(0, signal.SIGCONT)
            await load.more(100)
        await check(cluster, load)


@pytest.mark.covers("W20", "P36", "P41")
async def test_catch_up_after_thousands_of_blocks(tmp_path: Path) -> None:
    """A member that missed thousands of blocks fetches and executes them."""
    async with running(Cluster(tmp_path, application="log", block_transactions_max=1)) as cluster:
        async with cluster.client() as client:
            await cluster.equal(client)
            cluster.kill(3)
            missed = 2000

            async def submit(count: int) -> None:
                for i in range(count):
                    await client.submit([application_operation(records.append(b"%d" % i))], timeout_s=DEADLINE_S)

            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(submit, missed // 40)
            before = await cluster.equal(client, 0, 1, 2)
            assert before[0].committed >= missed
            cluster.start(3)
            after = await cluster.equal(client)
            assert after[3].executed >= missed
        await check(cluster)


@pytest.mark.covers("D08", "D07")
async def test_emptied_data_directory(tmp_path: Path) -> None:
    """A member that lost its disk follows without a vote, until an operator decides; then it takes part again."""
    async with running(Cluster(tmp_path, application="log")) as cluster, cluster.client() as client:
        load = appending(client)
        async with load.calling(CALLERS):
            await load.more(100)
            cluster.kill(3)
            shutil.rmtree(cluster.home(3).data_path)
            cluster.start(3)
            await cluster.until(client, lambda status: 3 in status and status[3].state == "quarantined")
            await load.more(100)
            assert await cluster.stop(3) == [0]
            refused = cluster.bftnode("unsafe-rejoin", home=cluster.home(3).path)
            assert refused.returncode == 2, "what is unsafe wants --yes"
            done = cluster.bftnode("unsafe-rejoin", "--yes", home=cluster.home(3).path)
            assert done.returncode == 0, done.stderr
            cluster.start(3)
            await cluster.until(client, lambda status: 3 in status and status[3].state == "ok")
        # With another member gone, only a cluster in which member 3 votes goes on.
        cluster.kill(1)
        await client.call(application_operation(records.append(b"after")), timeout_s=DEADLINE_S)
        cluster.start(1)
        await check(cluster, load)


@pytest.mark.covers("D04")
async def test_full_disk(tmp_path: Path) -> None:
    """A member whose disk is full stops voting, says so, serves reads, and goes on by itself when there is room."""
    made = Cluster(tmp_path, application="log")
    config = made.home(2).config_path
    config.write_text(config.read_text().replace("map_bytes_initial = 67108864", "map_bytes_initial = 1048576"))
    async with running(made) as cluster, cluster.client() as client:
        load = appending(client)
        async with load.calling(CALLERS) as nursery:
            await load.more(100)
            # No file of this process may grow: what a full disk looks like from inside. The log is a file too, so
            # the limit leaves it some room.
            size = max(path.stat().st_size for path in cluster.home(2).data_path.rglob("*") if path.is_file())
            resource.prlimit(cluster.processes[2].pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            blob = records.append(bytes(60_000))

            async def fill() -> None:
                while not load._stopping:
                    await client.submit([application_operation(blob)], timeout_s=DEADLINE_S)

            nursery.start_soon(fill)
            await cluster.until(client, lambda status: 2 in status and status[2].state == "disk_full")
            at = (await client.query(records.read(0), "local", member=2)).value
            assert records.open_answer(at), "reads are served"
            await load.more(100)
            infinity = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(cluster.processes[2].pid, resource.RLIMIT_FSIZE, infinity)
            await cluster.until(client, lambda status: 2 in status and status[2].state == "ok")
        events = [event["event"] for event in cluster.log(2)]
        assert "disk_full" in events
        assert "disk_writable_again" in events
        await check(cluster, load)


@pytest.mark.covers("R06", "W04", "O09")
async def test_a_member_of_another_cluster(tmp_path: Path) -> None:
    """A daemon with the right addresses but another genesis, or another certificate, is let in by nobody."""
    async with running(Cluster(tmp_path, application="log")) as cluster, cluster.client() as client:
        await cluster.equal(client)
        cluster.kill(3)
        stranger = Home(tmp_path / "stranger")
        member = cluster.genesis.members[3]
        others = [item for item in cluster.genesis.members if item != member]
        administrator = create_client_home(tmp_path / "their-client", None)
        while True:
            made = create_home(stranger.path, member.name, member.peer_address, member.client_address)
            theirs = make_genesis("e2e", "log", [administrator.hex()], [*others, made], ParametersFile())
            if theirs.members[0] != made:
                break  # of two members the higher one dials, so this one is met
            shutil.rmtree(stranger.path)
        install_genesis(stranger, theirs)
        real = cluster.path / "node3"
        real.rename(tmp_path / "kept")
        stranger.path.rename(real)
        cluster.start(3)
        load = appending(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.caller)
            await load.more(50)
            load.stop()
        # Both ends say why: the one that refused, and the one that was told.
        wanted = {"tls.untrusted", "auth.wrong_chain", "id.mismatch"}
        with trio.fail_after(DEADLINE_S):
            while not wanted & {event.get("reason") for i in cluster.members for event in cluster.log(i)}:
                await client.status_all(timeout_s=1)
        status = await client.status_all(timeout_s=2)
        assert isinstance(status[3], str), "the client does not believe it either"
        assert all(not peer.connected for peer in status[0].peers if peer.member == 3)
        assert await cluster.stop(3) == [0]
        shutil.rmtree(real)
        (tmp_path / "kept").rename(real)
        cluster.start(3)
        await check(cluster, load)


@pytest.mark.covers("T10", "D10")
async def test_signals_and_second_daemon(tmp_path: Path) -> None:
    """SIGTERM ends a daemon in time with code 0; HUP changes the log level; a second daemon is refused."""
    async with running(Cluster(tmp_path)) as cluster, cluster.client() as client:
        await cluster.equal(client)
        second = cluster.bftnode("run", "--home", str(cluster.home(0).path))
        assert second.returncode == 78, (second.returncode, second.stderr)
        assert str(cluster.home(0).path) in second.stderr
        config = cluster.home(1).config_path
        config.write_text(config.read_text().replace('log_level = "info"', 'log_level = "debug"'))
        cluster.signal(1, signal.SIGHUP)
        with trio.fail_after(DEADLINE_S):
            while not any(event["event"] == "reloaded" for event in cluster.log(1)):
                await client.status_all(timeout_s=1)
        began = time.monotonic()
        assert await cluster.stop() == [0, 0, 0, 0]
        assert time.monotonic() - began < 5
        cluster.start()
        await cluster.equal(client)


async def test_command_line(tmp_path: Path) -> None:
    """What a user does: write, read at each consistency, look, ask why, admit a client, be refused."""
    async with running(Cluster(tmp_path)) as cluster, cluster.client() as client:
        await cluster.equal(client)
        for arguments, output in (
            (("kv", "put", "greeting", "hello"), None),
            (("kv", "get", "greeting"), "hello\n"),
            (("kv", "get", "greeting", "--consistency", "local"), "hello\n"),
            (("kv", "get", "greeting", "--consistency", "linearizable"), "hello\n"),
            (("status",), None),
            (("why",), None),
        ):
            done = cluster.bftnode(*arguments)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
            if output is not None:
                assert done.stdout == output
        rows = [json.loads(line) for line in cluster.bftnode("status", "--json").stdout.splitlines()]
        assert len(rows) == 4
