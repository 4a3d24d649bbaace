"""The real client against real API servers on loopback: what it believes, and what it survives."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from bftnode.apps import kv
from bftnode.apps.execution import application_operation
from bftnode.client import client as client_module
from bftnode.client.client import Client, open_client
from bftnode.client.nonces import CountingNonces
from bftnode.client.operations import admit_client
from bftnode.client.options import Options
from bftnode.client.outcomes import OutcomeUnknown, ResultForgotten
from bftnode.client.session import Retry
from bftnode.protocol.blocks import open_block
from bftnode.protocol.client_messages import NodeStatus
from bftnode.protocol.commitments import PAYLOAD_BYTES_MAX, commitment_of
from bftnode.protocol.ed25519 import public_key_of
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.nonces import CLIENT
from bftnode.protocol.results import OperationResult
from bftnode.protocol.transactions import open_transaction
from tests.api.town import (
    ADMINISTRATOR,
    STRANGER,
    BrokenBackend,
    BusyBackend,
    GarbageBackend,
    LyingBackend,
    MemoryBackend,
    RejectingBackend,
    Running,
    SilentBackend,
    Town,
    running,
)

QUICK = Options(
    timeout_s=15.0,
    reconnect_first_s=0.02,
    reconnect_max_s=0.1,
    quorum_grace_s=0.2,
    read_wait_s=0.4,
    retry=Retry(first_ms=100, max_ms=400, after_nack_ms=20),
)
BYZANTINE = [LyingBackend, RejectingBackend, SilentBackend, BusyBackend, GarbageBackend, BrokenBackend]


def client_of(
    cluster: Running, seed: bytes = ADMINISTRATOR, options: Options = QUICK, nonces: CountingNonces | None = None
) -> AbstractAsyncContextManager[Client]:
    return open_client(cluster.genesis, seed, next_nonce=nonces or CountingNonces(), options=options)


def put(key: bytes, value: bytes) -> bytes:
    return application_operation(kv.put(key, value))


async def test_a_call_is_ordered_and_read_back(town: Town) -> None:
    """Each way of writing, each way of reading."""
    async with running(town) as cluster, client_of(cluster) as client:
        assert kv.open_result((await client.call(put(b"a", b"1"))).value) == kv.Done()
        assert (await client.call_alone(put(b"b", b"2"))).code == ""
        result = await client.submit([put(b"c", b"3"), application_operation(kv.get(b"a"))])
        assert [kv.open_result(one.value) for one in result.results] == [kv.Done(), kv.Found(b"1")]
        for consistency in ("local", "quorum", "linearizable"):
            answer = await client.query(kv.get(b"c"), consistency)
            assert kv.open_result(answer.value) == kv.Found(b"3")
            assert answer.height >= result.seq
        assert (await client.wait(result.transaction)) == result


@pytest.mark.covers("A07")
@pytest.mark.parametrize("kind", BYZANTINE, ids=lambda kind: kind.__name__)
async def test_one_byzantine_member_changes_nothing(town: Town, kind: type[MemoryBackend]) -> None:
    """Whatever one of four does with its clients, the others' word is believed and theirs is enough."""
    async with running(town, kinds={1: kind}) as cluster, client_of(cluster) as client:
        assert kv.open_result((await client.call(put(b"a", b"1"))).value) == kv.Done()
        for consistency in ("quorum", "linearizable"):
            answer = await client.query(kv.get(b"a"), consistency)
            assert kv.open_result(answer.value) == kv.Found(b"1")
            assert answer.height <= cluster.ledger.height
        page = await client.entries(0, 10)
        assert list(page.entries) == cluster.ledger.entries
        assert page.log_size == len(cluster.ledger.entries)
        proven = await client.receipt(0)
        assert proven.entry == cluster.ledger.entries[0]


@pytest.mark.covers("A07", "X01")
async def test_fewer_than_f_plus_1_equal_answers_are_never_believed(town: Town) -> None:
    """With a liar, two silent members and one correct one the outcome is unknown, not wrong."""
    kinds = {0: LyingBackend, 1: SilentBackend, 2: SilentBackend}
    async with running(town, kinds=kinds) as cluster, client_of(cluster) as client:
        await client.ready()
        with pytest.raises(OutcomeUnknown) as caught:
            await client.submit([put(b"a", b"1")], timeout_s=0.8)
        transaction = open_transaction(cluster.backend(3).submitted[0][0], cluster.ledger.members.chain_id)
        assert caught.value.transaction == transaction.id


async def test_f_members_down_are_enough(town: Town) -> None:
    """Three of four connected: everything works, and the fourth's status says why it is missing."""
    async with running(town, down=(2,)) as cluster, client_of(cluster) as client:
        assert (await client.call(put(b"a", b"1"))).code == ""
        status = await client.status_all(timeout_s=2.0)
        assert isinstance(status[2], str)
        assert "conn.unreachable" in status[2]
        first = status[0]
        assert isinstance(first, NodeStatus)
        assert (first.member, first.executed, first.pending) == (0, 1, 0)
        assert [member.connected for member in client.member_status()] == [True, True, False, True]


async def test_callers_share_envelopes(town: Town) -> None:
    """While `max_inflight` envelopes are out, calls gather; the first took what there was, without delay."""
    async with running(town) as cluster, client_of(cluster, options=replace(QUICK, max_inflight=1)) as client:
        await client.ready()
        cluster.ledger.held = True
        found: list[OperationResult] = []

        async def one(number: int) -> None:
            found.append(await client.call(put(b"%d" % number, b"v")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, 0)
            await cluster.backend(0).until_submitted(1)
            for number in range(1, 1501):
                nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked()
            cluster.ledger.release()
        assert all(result.code == "" for result in found)
        chain = cluster.ledger.members.chain_id
        counts = [len(open_transaction(entry.envelope, chain).body.operations) for entry in cluster.ledger.entries]
        assert counts == [1, 1000, 500]


async def test_an_envelope_leaves_when_as_much_has_gathered_as_is_out(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside three calls that are out, two wait and the third takes them along; not for ever, if it does not come."""
    monkeypatch.setattr(client_module, "_TICK_S", 3600.0)

    def sizes(cluster: Running) -> list[int]:
        chain = cluster.ledger.members.chain_id
        envelopes = [raw for frame in cluster.backend(0).submitted for raw in frame]
        return [len(open_transaction(raw, chain).body.operations) for raw in envelopes]

    async with running(town) as cluster, client_of(cluster) as client, trio.open_nursery() as nursery:
        await client.ready()
        cluster.ledger.held = True

        async def call(*numbers: int) -> None:
            for number in numbers:
                nursery.start_soon(client.call, put(b"%d" % number, b"v"))
            await trio.testing.wait_all_tasks_blocked()

        await call(1, 2, 3)
        await cluster.backend(0).until_submitted(1)
        await call(4, 5)
        assert sizes(cluster) == [3]
        await call(6)
        await cluster.backend(0).until_submitted(2)
        assert sizes(cluster) == [3, 3]
        await call(7)
        assert sizes(cluster) == [3, 3]
        monkeypatch.setattr(client_module, "_TICK_S", 0.05)
        nursery.start_soon(client._tick)  # the clock that stood still
        await cluster.backend(0).until_submitted(3)
        assert sizes(cluster) == [3, 3, 1]
        nursery.cancel_scope.cancel()


async def test_separate_envelopes_share_frames(town: Town) -> None:
    """`call_alone` signs each, and the frames carry many."""
    async with running(town) as cluster, client_of(cluster) as client:
        await client.ready()
        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(client.call_alone, put(b"%d" % number, b"v"))
        assert len(cluster.ledger.entries) == 300
        assert all(len(backend.submitted) < 30 for backend in cluster.ledger.backends)


@pytest.mark.covers("A05")
async def test_one_bad_operation_does_not_spoil_those_it_travelled_with(town: Town) -> None:
    """The envelope is rejected for good, so the others are sent again, each alone; the bad one is refused."""
    async with running(town) as cluster, client_of(cluster) as client:
        await client.ready()
        refused: list[Reason] = []
        good: list[str] = []

        async def bad() -> None:
            try:
                await client.call(b"\x01 no operation")
            except Refused as error:
                refused.append(error.reason)

        async def fine(number: int) -> None:
            good.append((await client.call(put(b"%d" % number, b"v"))).code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fine, 1)
            nursery.start_soon(bad)
            nursery.start_soon(fine, 2)
        assert refused == [Reason.TX_INVALID_OPERATION]
        assert good == ["", ""]


async def test_many_operations_travel_in_few_envelopes(town: Town) -> None:
    """Each has its own result, in order; nothing is asked of nobody."""
    async with running(town) as cluster, client_of(cluster) as client:
        results = await client.submit_many([put(b"%d" % number, b"v") for number in range(2500)])
        assert [result.code for result in results] == [""] * 2500
        chain = cluster.ledger.members.chain_id
        counts = [len(open_transaction(entry.envelope, chain).body.operations) for entry in cluster.ledger.entries]
        assert sorted(counts) == [500, 1000, 1000]
        assert await client.submit_many([]) == []


@pytest.mark.covers("A05")
async def test_bad_ones_among_many_are_named_and_the_others_executed(town: Town) -> None:
    """One that is no operation, and one that is too long for any envelope."""
    async with running(town) as cluster, client_of(cluster) as client:
        operations = [put(b"%d" % number, b"v") for number in range(20)]
        operations[7] = b"\x01 no operation"
        operations[13] = put(b"a", b"x")[:2] + bytes(300_000)
        codes = [result.code for result in await client.submit_many(operations)]
        assert (codes.pop(13), codes.pop(7)) == (str(Reason.TX_SIZE), str(Reason.TX_INVALID_OPERATION))
        assert codes == [""] * 18


async def test_many_that_have_no_outcome_in_time_say_so(town: Town) -> None:
    """With the transaction to ask for later."""
    async with running(town) as cluster, client_of(cluster) as client:
        await client.ready()
        cluster.ledger.held = True
        with pytest.raises(OutcomeUnknown) as caught:
            await client.submit_many([put(b"a", b"1"), put(b"b", b"2")], timeout_s=0.3)
        cluster.ledger.release()
        assert [result.code for result in (await client.wait(caught.value.transaction)).results] == ["", ""]


@pytest.mark.covers("A05")
async def test_what_is_too_long_never_leaves(town: Town) -> None:
    """Refused here, and nobody else is disturbed by it."""
    async with running(town) as cluster, client_of(cluster) as client:
        for action in (client.call, client.call_alone):
            with pytest.raises(Refused) as caught:
                await action(put(b"a", b"x")[:2] + bytes(300_000))
            assert caught.value.reason is Reason.TX_SIZE
        with pytest.raises(Refused):
            await client.submit([])
        assert (await client.call(put(b"a", b"1"))).code == ""
        assert len(cluster.ledger.entries) == 1


async def test_time_out_names_the_transaction_and_wait_tells_later(town: Town) -> None:
    """OutcomeUnknown is no failure: the transaction is executed afterwards, once."""
    async with running(town) as cluster, client_of(cluster) as client:
        await client.ready()
        cluster.ledger.held = True
        with pytest.raises(OutcomeUnknown) as caught:
            await client.submit([put(b"a", b"1")], timeout_s=1.0)
        assert "4 took it" in caught.value.detail
        with pytest.raises(OutcomeUnknown) as second:
            await client.call(put(b"b", b"1"), timeout_s=0.5)
        cluster.ledger.release()
        for unknown in (caught, second):
            assert (await client.wait(unknown.value.transaction)).code == ""
        assert len(cluster.ledger.entries) == 2


async def test_waiting_for_anothers_transaction(town: Town) -> None:
    """Who only knows the id is told when it is executed; who asks long after is told what it was."""
    async with running(town) as cluster, client_of(cluster) as writer, client_of(cluster) as reader:
        await writer.ready()
        cluster.ledger.held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.call, put(b"a", b"1"))
            await cluster.backend(0).until_submitted(1)
            name = next(iter(cluster.ledger.pending))
            nursery.start_soon(reader.wait, name)
            await trio.testing.wait_all_tasks_blocked()
            cluster.ledger.release()
        with pytest.raises(OutcomeUnknown):
            await reader.wait(bytes(32), timeout_s=0.2)
        cluster.ledger.forgotten.add(name)
        with pytest.raises(ResultForgotten) as caught:
            await reader.wait(name)
        assert (caught.value.seq, caught.value.log_index) == (1, 0)


@pytest.mark.covers("W13")
async def test_an_envelope_is_sent_again_after_reconnecting(town: Town) -> None:
    """Two nodes go away with it and come back: the same bytes reach them, and it is executed once."""
    async with running(town) as cluster, client_of(cluster) as client:
        await client.ready()
        cluster.ledger.held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call, put(b"a", b"1"))
            for backend in cluster.ledger.backends:
                await backend.until_submitted(1)
            for node in cluster.nodes[:3]:
                await node.stop()
            cluster.ledger.pending.clear()
            for node in cluster.nodes[:3]:
                await node.start(cluster.nursery)
            for backend in cluster.ledger.backends[:3]:
                await backend.until_submitted(2)
            cluster.ledger.release()
        assert {raw for backend in cluster.ledger.backends for sent in backend.submitted for raw in sent} == {
            cluster.ledger.entries[0].envelope
        }
        assert len(cluster.ledger.entries) == 1


async def test_members_without_room_are_asked_again(town: Town) -> None:
    """NACK from everybody, then room: the call succeeds without its caller knowing."""
    async with running(town, kinds=dict.fromkeys(range(4), BusyBackend)) as cluster, client_of(cluster) as client:
        assert (await client.call(put(b"a", b"1"))).code == ""
        assert all(len(backend.submitted) >= 3 for backend in cluster.ledger.backends[:2])


@pytest.mark.covers("R02")
async def test_an_unknown_key_is_told_so_at_once(town: Town) -> None:
    """f+1 members turn it away: refused with their reason; once admitted it works, without being opened again."""
    async with running(town) as cluster, client_of(cluster, STRANGER) as stranger, client_of(cluster) as client:
        with pytest.raises(Refused) as caught:
            await stranger.call(put(b"a", b"1"))
        assert caught.value.reason is Reason.AUTH_UNKNOWN_KEY
        assert (await client.call(admit_client(public_key_of(STRANGER), CLIENT))).code == ""
        with trio.fail_after(10):
            while True:
                try:
                    await stranger.ready()
                    break
                except Refused:
                    await trio.sleep(0.02)  # the pause before a member is dialled again, not a result
        assert (await stranger.call(put(b"a", b"1"))).code == ""


@pytest.mark.covers("W05")
async def test_another_clusters_nodes_are_not_talked_to(town: Town, tmp_path: Path) -> None:
    """Its certificates are not the pinned ones; and with the right ones, another chain id is refused by both."""
    other = Town(tmp_path)
    async with running(town) as cluster:
        members = [
            msgspec.structs.replace(member, client_address=node.address)
            for member, node in zip(other.genesis.members, cluster.nodes, strict=True)
        ]
        foreign = msgspec.structs.replace(other.genesis, members=members)
        renamed = msgspec.structs.replace(cluster.genesis, name="elsewhere")
        for genesis, reason in ((foreign, Reason.TLS_UNTRUSTED), (renamed, Reason.WRONG_CHAIN)):
            async with open_client(genesis, ADMINISTRATOR, next_nonce=CountingNonces(), options=QUICK) as client:
                with pytest.raises(Refused) as caught:
                    await client.ready()
                assert caught.value.reason is reason


async def test_a_rejected_envelope_is_refused_with_its_reason(town: Town) -> None:
    """An expired envelope is refused before it is ordered; an operation's own failure is a code in its result."""
    async with running(town) as cluster, client_of(cluster) as client:
        await client.call(put(b"a", b"1"))
        with pytest.raises(Refused) as caught:
            await client.submit([put(b"a", b"1")], valid_for_blocks=0)
        assert caught.value.reason is Reason.TX_EXPIRED
        result = await client.call(admit_client(bytes(32), CLIENT))
        assert result.code == "tx.invalid_operation"


async def test_a_lost_nonce_file_is_made_good_by_what_the_members_know(town: Town) -> None:
    """A client that starts counting at 1 again goes on above what is used, although one member lies about it."""
    async with running(town, kinds={0: LyingBackend}) as cluster:
        for _ in range(2):
            async with client_of(cluster) as client:
                assert (await client.call(put(b"a", b"1"))).code == ""
        chain = cluster.ledger.members.chain_id
        assert [open_transaction(entry.envelope, chain).body.nonce for entry in cluster.ledger.entries] == [1, 2]


@pytest.mark.covers("A02")
async def test_two_hosts_with_one_key_are_told_of_their_conflict(town: Town) -> None:
    """Both count from where the members are; the second to use a nonce is refused, and nothing of it is executed."""
    async with running(town) as cluster, client_of(cluster) as one, client_of(cluster) as other:
        await one.ready()
        await other.ready()
        assert (await one.call(put(b"a", b"1"))).code == ""
        with pytest.raises(Refused) as caught:
            await other.call(put(b"a", b"2"))
        assert caught.value.reason is Reason.TX_NONCE_USED
        assert kv.open_result((await one.query(kv.get(b"a"))).value) == kv.Found(b"1")


async def test_nobody_there_is_refused_not_unknown(town: Town) -> None:
    """What never left this machine was certainly not executed."""
    async with running(town, down=(0, 1, 2, 3)) as cluster, client_of(cluster) as client:
        for action in (client.call, client.call_alone):
            with pytest.raises(Refused) as caught:
                await action(put(b"a", b"1"), timeout_s=0.3)
            assert caught.value.reason is Reason.NOT_READY
            assert "0 of 4 members" in caught.value.detail
        with pytest.raises(Refused):
            await client.query(kv.get(b"a"), timeout_s=0.3)


async def test_a_quorum_read_while_the_log_moves(town: Town) -> None:
    """Members answer from different heights; the value and a height that was reached come out, and never go back."""
    nonces = CountingNonces()
    async with (
        running(town) as cluster,
        client_of(cluster, nonces=nonces) as writer,
        client_of(cluster, nonces=nonces) as reader,
    ):
        await reader.ready()
        stop = False

        async def write() -> None:
            number = 0
            while not stop:
                number += 1
                await writer.call(put(b"n", b"%d" % number))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            seen = 0
            for _ in range(20):
                answer = await reader.query(kv.get(b"n"), "linearizable")
                found = kv.open_result(answer.value)
                assert isinstance(found, kv.Found)
                value = int(found.value or b"0")
                assert value >= seen
                seen = value
            stop = True


async def test_a_query_that_makes_no_sense_is_refused_by_the_application(town: Town) -> None:
    """f+1 members refuse it for the same reason: that reason is the answer."""
    async with running(town) as cluster, client_of(cluster) as client:
        for consistency in ("local", "quorum"):
            with pytest.raises(Refused) as caught:
                await client.query(b"?", consistency)
            assert caught.value.reason is Reason.TX_INVALID_OPERATION


async def test_reading_the_log(town: Town) -> None:
    """Pages, receipts and blocks; what is not there is refused."""
    async with running(town) as cluster, client_of(cluster) as client:
        for number in range(5):
            await client.call_alone(put(b"%d" % number, b"v"))
        page = await client.entries(2, 2)
        assert list(page.entries) == cluster.ledger.entries[2:4]
        assert page.log_size == 5
        assert (await client.entries(99, 2)).entries == ()
        assert (await client.receipt(3)).entry == cluster.ledger.entries[3]
        block = await client.block(1)
        assert open_block(block.header, block.payload).seq == 1
        for missing in (client.receipt(99), client.block(99)):
            with pytest.raises(Refused) as caught:
                await missing
            assert caught.value.reason is Reason.NOT_FOUND


async def test_the_users_own_exception_comes_out_as_it_is(town: Town) -> None:
    """Not wrapped in a group because the client has tasks."""

    async def use(cluster: Running) -> None:
        async with client_of(cluster):
            raise ZeroDivisionError

    async with running(town) as cluster:
        with pytest.raises(ZeroDivisionError):
            await use(cluster)


@pytest.mark.covers("A08")
async def test_a_payload_is_believed_by_its_commitment(town: Town) -> None:
    """From whichever member has the right one; where none has, the caller is told so and given nothing."""
    salt, payload = b"s" * 32, b"what is kept beside the log"
    me = public_key_of(ADMINISTRATOR)
    right = commitment_of(me, salt, payload)
    async with running(town, kinds={0: LyingBackend, 1: LyingBackend}) as cluster, client_of(cluster) as client:
        assert await client.connected_to(range(4), 15.0) == [0, 1, 2, 3]
        cluster.nodes[3].backend.payloads[7] = (salt, payload)
        assert await client.payload(7, me, right) == (salt, payload)
        for wrong in ((7, me, bytes(32)), (7, bytes(32), right), (8, me, right)):
            with pytest.raises(Refused) as refusal:
                await client.payload(*wrong)
            assert refusal.value.reason in {Reason.INTEGRITY, Reason.NOT_FOUND}


async def test_each_member_says_whether_it_keeps_a_payload(town: Town) -> None:
    """And of one that is not there it is said why; what is too long is sent to nobody."""
    async with running(town) as cluster, client_of(cluster) as client:
        assert await client.connected_to(range(4), 15.0) == [0, 1, 2, 3]
        assert await client.keep_payload(7, b"s" * 32, b"payload") == dict.fromkeys(range(4))
        assert [node.backend.payloads for node in cluster.nodes] == [{7: (b"s" * 32, b"payload")}] * 4
        await cluster.nodes[1].stop()
        said = await client.keep_payload(8, b"s" * 32, b"payload")
        assert [member for member, refused in said.items() if refused is None] == [0, 2, 3]
        with pytest.raises(Refused) as refusal:
            await client.keep_payload(9, b"s" * 32, bytes(PAYLOAD_BYTES_MAX + 1))
        assert refusal.value.reason is Reason.CODEC_SIZE
