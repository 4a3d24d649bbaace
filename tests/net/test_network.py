"""Links between honest members: made, used, lost and made again; and what one bad hour of a peer costs the rest."""

import os
import resource
from collections.abc import Awaitable

import pytest
import trio
import trio.testing

from bftnode.net.limits import NetLimits
from bftnode.net.network import PeerNetwork
from bftnode.net.peer import PeerInfo
from bftnode.protocol.ed25519 import signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import join_frames
from tests.net.members import (
    HOST,
    PATIENCE_S,
    Members,
    Replica,
    Said,
    a_nursery,
    greeted,
    tcp,
    tls,
)

FAST = NetLimits(watch_interval_s=0.05, backoff_max_s=0.2)
TLS_RECORD_OVERHEAD = 22  # header 5, content type 1, tag 16 (RFC 8446, section 5.2)


async def test_every_pair_has_one_link_both_ways(members: Members, said: Said) -> None:
    """Four members: each hears each other's broadcast over one connection per pair."""
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        replicas = [await Replica(members, i, addresses).start(nursery) for i in range(4)]
        for replica in replicas:
            await replica.until(lambda r=replica: len(r.up) == 3)
        for replica in replicas:
            replica.net.broadcast(b"from %d" % replica.me)
        for replica in replicas:
            await replica.until(lambda r=replica: len(r.received) == 3)
            assert sorted(replica.received) == [(i, b"from %d" % i) for i in range(4) if i != replica.me]
            for statistics in replica.net.statistics().values():
                assert (statistics.connections, statistics.frames_in, statistics.frames_out) == (1, 1, 1)
                assert statistics.round_trip_us is None or statistics.round_trip_us < 10_000_000
    assert not said.of("peer.task_failed")


async def test_frames_keep_their_order_and_their_bytes(members: Members, said: Said) -> None:
    """From one byte to several megabytes, interleaved, nothing is lost or changed on a link that stays up."""
    frames = [bytes([i]) * size for i, size in enumerate([1, 100, 5_000_000, 16_384, 300_000, 3, 65_536, 1])]
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        low = await Replica(members, 0, addresses).start(nursery)
        high = await Replica(members, 1, addresses).start(nursery)
        for one in (low, high):
            await one.until(lambda r=one: bool(r.up))
        for frame in frames:
            low.net.send(1, frame)
            high.net.send(0, frame)
        for one in (low, high):
            await one.until(lambda r=one: len(r.received) == len(frames))
            assert [frame for _, frame in one.received] == frames


async def test_small_messages_share_one_write(members: Members, said: Said) -> None:
    """What is sent in one turn of the loop leaves as one TLS record, whatever the number of frames."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        peer = await greeted(members, 3, replica)
        await replica.until(lambda: 3 in replica.up)
        before = peer.stream.bytes_in
        for i in range(100):
            replica.net.send(3, b"frame %04d" % i)
        for i in range(100):
            assert await peer.hear_frame() == b"frame %04d" % i
        assert peer.stream.bytes_in - before == 100 * (4 + 10) + TLS_RECORD_OVERHEAD


async def test_a_frame_without_a_link_is_dropped_and_counted(members: Members) -> None:
    """Status repeats what matters; nothing queues up for a member that is away."""
    replica = Replica(members, 0, {})
    replica.net.broadcast(b"anyone?")
    replica.net.send(2, b"you?")
    counts = {member: s.dropped_unlinked for member, s in replica.net.statistics().items()}
    assert counts == {1: 1, 2: 2, 3: 1}


async def test_a_restarted_member_is_linked_again(members: Members, said: Said) -> None:
    """Both the one who dials and the one who is dialled come back by themselves."""
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        low = await Replica(members, 0, addresses, FAST).start(nursery)
        high = await Replica(members, 1, addresses, FAST).start(nursery)
        await high.until(lambda: 0 in high.up)
        await low.stop()
        await high.until(lambda: 0 not in high.up)
        low = await Replica(members, 0, addresses, FAST).start(nursery)
        await high.until(lambda: 0 in high.up)
        await low.until(lambda: 1 in low.up)
        await high.stop()
        await low.until(lambda: 1 not in low.up)
        high = await Replica(members, 1, addresses, FAST).start(nursery)
        await low.until(lambda: 1 in low.up)
        await high.until(lambda: 0 in high.up)
        low.net.send(1, b"again")
        await high.until(lambda: high.received == [(0, b"again")])


@pytest.mark.covers("W14")
async def test_a_peer_that_stops_reading_slows_nobody(members: Members, said: Said) -> None:
    """Its outbox drops the oldest, the others get every frame at once, and after the deadline its link is closed."""
    limits = NetLimits(watch_interval_s=0.05, write_stall_s=1.0, outbox_frames_max=50)
    frame = bytes(64 * 1024)
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        replica = await Replica(members, 0, addresses, limits).start(nursery)
        other = await Replica(members, 1, addresses).start(nursery)
        await greeted(members, 3, replica, receive_buffer=4096)
        await replica.until(lambda: replica.up == {1, 3})
        sent = 0
        while replica.net.statistics()[3].dropped_full == 0:
            for _ in range(20):
                replica.net.broadcast(frame)
            sent += 20
            await other.until(lambda count=sent: len(other.received) == count)
            assert replica.net.statistics()[3].queued_frames <= 50
        assert (await said.wait_for("send.backpressure"))["peer"] == 3
        await replica.until(lambda: replica.up == {1})
        assert (await said.wait_for("peer.refused", peer=3))["reason"] == Reason.CONN_DEADLINE
        assert replica.net.statistics()[1].dropped_full == 0


@pytest.mark.covers("W08")
async def test_a_silent_link_is_closed(members: Members, said: Said) -> None:
    """Replicas say STATUS each second; a link without a byte for the idle deadline is dead."""
    async with a_nursery() as nursery:
        limits = NetLimits(watch_interval_s=0.05, read_idle_s=0.3)
        replica = await Replica(members, 0, {}, limits).start(nursery)
        silent = await greeted(members, 3, replica)
        assert await silent.rest() == b""
        await replica.until(lambda: not replica.up)
        assert replica.net.statistics()[3].last_refusal is Reason.CONN_DEADLINE


async def test_a_slow_consumer_holds_up_its_own_peer_only(members: Members, said: Said) -> None:
    """While `receive` waits over one peer's frame, others are heard, and the wait does not count as silence."""
    gate = trio.Event()

    async def wait() -> None:
        await gate.wait()

    def receive(member: int, _frame: bytes) -> Awaitable[None] | None:
        return wait() if member == 3 else None

    limits = NetLimits(watch_interval_s=0.05, read_idle_s=0.5)
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}, limits, receive=receive).start(nursery)
        held, free = await greeted(members, 3, replica), await greeted(members, 2, replica)
        await held.stream.send(join_frames([b"first", b"second"]))
        for i in range(10):  # twice the idle deadline
            await trio.sleep(0.1)
            await free.stream.send(join_frames([b"%d" % i]))
            await replica.until(lambda i=i: (2, b"%d" % i) in replica.received)
        assert [frame for member, frame in replica.received if member == 3] == [b"first"]
        gate.set()
        await replica.until(lambda: (3, b"second") in replica.received)
        assert replica.linked == {2: 1, 3: 1}


@pytest.mark.covers("T08")
async def test_an_exception_in_receive_closes_only_that_connection(members: Members, said: Said) -> None:
    """A defect met by one peer's frame is logged, and the other links, the listener and the node live on."""

    def receive(_member: int, frame: bytes) -> None:
        if frame == b"bomb":
            raise ZeroDivisionError
        if frame == b"lie":
            raise Refused(Reason.CODEC_MALFORMED)

    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        replica = await Replica(members, 0, addresses, FAST, receive=receive).start(nursery)
        others = [await Replica(members, i, addresses, FAST).start(nursery) for i in (1, 2, 3)]
        await replica.until(lambda: len(replica.up) == 3)
        await others[0].until(lambda: 0 in others[0].up)
        others[0].net.send(0, b"bomb")
        assert (await said.wait_for("peer.task_failed"))["reason"] == "ZeroDivisionError"
        await replica.until(lambda: replica.linked == {1: 2, 2: 1, 3: 1})
        await others[1].until(lambda: 0 in others[1].up)
        others[1].net.send(0, b"lie")
        await said.wait_for("peer.refused", peer=2, reason=Reason.CODEC_MALFORMED)
        await replica.until(lambda: replica.linked == {1: 2, 2: 2, 3: 1})
        others[2].net.send(0, b"fine")
        await replica.until(lambda: (3, b"fine") in replica.received)


@pytest.mark.covers("W15")
async def test_the_newest_connection_of_an_identity_replaces_the_older(members: Members, said: Said) -> None:
    """Two processes with one member's keys: the newer one is linked, the older one closed, and it is said."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        older = await greeted(members, 3, replica)
        await replica.until(lambda: replica.linked == {3: 1})
        newer = await greeted(members, 3, replica)
        await said.wait_for("id.duplicate", peer=3)
        assert await older.rest() == b""
        replica.net.send(3, b"to the newer")
        assert await newer.hear_frame() == b"to the newer"
        assert replica.up == {3}
        assert replica.linked == {3: 2}


@pytest.mark.covers("W11")
async def test_flapping_leaks_neither_tasks_nor_descriptors(members: Members, said: Said) -> None:
    """Connections that come and go at every stage leave nothing behind."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        await trio.testing.wait_all_tasks_blocked()
        tasks, files = trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            (await tcp(replica)).close()
            (await tls(members, 3, replica)).stream.close()
            peer = await greeted(members, 3, replica)
            replica.net.send(3, b"x")
            peer.stream.close()
        with trio.fail_after(PATIENCE_S):
            while trio.lowlevel.current_statistics().tasks_living > tasks or len(os.listdir("/proc/self/fd")) > files:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert replica.up == set()
        assert said.of("peer.task_failed") == []


@pytest.mark.covers("W09")
async def test_a_flood_of_strangers_does_not_keep_a_member_out(members: Members, said: Said) -> None:
    """The oldest of those who have shown no certificate makes room; links are not among them."""
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        limits = NetLimits(strangers_max=4)
        replica = await Replica(members, 0, addresses, limits).start(nursery)
        member = await Replica(members, 1, addresses).start(nursery)
        await replica.until(lambda: 1 in replica.up)
        flood = [await tcp(replica) for _ in range(12)]
        for socket in flood[:8]:
            with trio.fail_after(PATIENCE_S):
                assert await socket.recv(1) == b""
        await said.wait_for("peer.refused", reason=Reason.CONN_EVICTED)
        late = await Replica(members, 2, addresses).start(nursery)
        await late.until(lambda: late.up == {0, 1})
        await member.until(lambda: member.linked == {0: 1, 2: 1})


@pytest.mark.covers("T14")
async def test_without_descriptors_accepting_pauses_and_links_live(members: Members, said: Said) -> None:
    """EMFILE stops neither the node nor its links; when descriptors are back, so is the listener."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        linked = await greeted(members, 3, replica)
        await replica.until(lambda: 3 in replica.up)
        waiting = trio.socket.socket()
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        plugs = [os.dup(0) for _ in range(highest + 1 - len(os.listdir("/proc/self/fd")) + 1)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(plugs) + 1, hard))
        try:
            await waiting.connect(replica.addresses[0])
            await said.wait_for("accept.paused")
            await linked.stream.send(join_frames([b"still here"]))
            await replica.until(lambda: (3, b"still here") in replica.received)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for plug in plugs:
                os.close(plug)
        waiting.close()
        await greeted(members, 2, replica)
        await replica.until(lambda: replica.up == {2, 3})


async def test_a_peer_with_many_faults_is_barred_for_a_while(members: Members, said: Said) -> None:
    """Below the bound nothing happens; at it the link is closed, not let in while barred, and comes back after."""
    limits = NetLimits(watch_interval_s=0.05, faults_max=3, barred_s=0.5)
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        replica = await Replica(members, 0, addresses, limits).start(nursery)
        peer = await Replica(members, 1, addresses, FAST).start(nursery)
        await replica.until(lambda: 1 in replica.up)
        replica.net.reject(1, Reason.AUTH_SIGNATURE)
        replica.net.reject(1, Reason.AUTH_SIGNATURE)
        await trio.testing.wait_all_tasks_blocked()
        assert replica.up == {1}
        replica.net.reject(1, Reason.REPLAY)
        await replica.until(lambda: replica.up == set())
        await peer.until(lambda: peer.up == set())
        barred_at = trio.current_time()
        await said.wait_for("peer.refused", peer=0, reason=Reason.PEER_BARRED)
        await replica.until(lambda: replica.linked == {1: 2})
        assert trio.current_time() - barred_at > 0.3
        assert replica.net.statistics()[1].faults == 3


async def test_an_unreachable_or_misspelt_peer_is_only_unreachable(members: Members, said: Said) -> None:
    """Whatever is wrong with one address, the others are dialled."""
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        await Replica(members, 0, addresses).start(nursery)
        addresses[1] = (HOST, 1)
        addresses[2] = ("." * 300, 1)
        replica = await Replica(members, 3, addresses, FAST).start(nursery)
        await replica.until(lambda: replica.up == {0})
        await said.wait_for("peer.refused", peer=1, reason=Reason.CONN_UNREACHABLE)
        await said.wait_for("peer.task_failed", peer=2)


def test_parts_that_do_not_belong_together_are_refused(members: Members) -> None:
    """A network with another member's certificate, key or a peer missing is never made."""

    def network(infos: list[PeerInfo], certificate_of: int = 0) -> None:
        mine = members.identities[certificate_of]
        paths = mine.certificate_path, mine.tls_key_path
        sign = signer(mine.seed)
        listen = (HOST, 0)
        PeerNetwork(members.membership, 0, sign, infos, *paths, listen, lambda *_: None, FAST, lambda *_: None)

    infos = [
        PeerInfo(i, f"m{i}", one.public_key, one.certificate_pem, (HOST, 1)) for i, one in enumerate(members.identities)
    ]
    network(infos)
    wrong_key = infos[3]._replace(public_key=infos[2].public_key)
    for parts in ((infos, 1), (infos[:3], 0), ([*infos[:3], wrong_key], 0)):
        with pytest.raises(Refused) as refused:
            network(*parts)
        assert refused.value.reason is Reason.CONFIGURATION
