"""The API server over real TLS on loopback, and what clients can do to it: nothing to anybody but themselves."""

import ssl

import pytest
import trio
import trio.testing

from bftnode.api import connection
from bftnode.api.limits import ApiLimits
from bftnode.api.server import _network
from bftnode.apps import kv
from bftnode.apps.execution import REMOVE, SystemOperation, application_operation, system_operation
from bftnode.client.operations import admit_client
from bftnode.protocol import client_messages as cm
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.framing import join_frames
from bftnode.protocol.nonces import ADMINISTRATOR as ADMINISTRATOR_ROLE
from bftnode.protocol.nonces import CLIENT
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from tests.api.hand import Hand, connected, context, greeted, tcp
from tests.api.town import ADMINISTRATOR, PATIENCE_S, STRANGER, BrokenBackend, Node, Town, running
from tests.net.members import Said

KEY = public_key_of(ADMINISTRATOR)


def envelope(town: Town, nonce: int, *operations: bytes, seed: bytes = ADMINISTRATOR) -> Transaction:
    chosen = operations or (application_operation(kv.put(b"k", b"%d" % nonce)),)
    body = TransactionBody(town.genesis.chain_id(), public_key_of(seed), nonce, 1000, chosen)
    return sign_transaction(body, signer(seed))


def pem(town: Town, node: Node) -> str:
    return town.identities[node.backend.member].certificate_pem


async def works(town: Town, node: Node) -> None:
    """Another client is served as if nothing were."""
    async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
        await hand.say(cm.Ping(7))
        assert await hand.hear() == cm.Pong(7, node.backend.height())


async def test_a_submission_is_acknowledged_and_its_result_follows(town: Town) -> None:
    """ACK, then RESULT, by the id that the client knew before; and RESULT again for the same envelope."""
    async with running(town) as cluster:
        node = cluster.nodes[1]
        transaction = envelope(town, 1)
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Submit((transaction.raw,)))
            assert await hand.hear() == cm.Ack(transaction.id)
            result = await hand.hear()
            assert isinstance(result, cm.Result)
            assert decode(result.result, TransactionResult, 1000).transaction == transaction.id
            await hand.say(cm.Submit((transaction.raw,)), cm.Wait((transaction.id, bytes(32))))
            assert [await hand.hear(), await hand.hear()] == [result, result]
            assert await hand.hear() == cm.Unknown(bytes(32))


async def test_every_request_has_its_answer(town: Town) -> None:
    """By its number, whatever the order; what cannot be is refused by its number too."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Submit((envelope(town, 1).raw,)))
            await hand.hear()
            await hand.hear()
            await hand.say(
                cm.Query(1, 1, 0, kv.get(b"k")),
                cm.Query(2, 99, 1, kv.get(b"k")),
                cm.GetEntries(3, 0, 10),
                cm.GetReceipt(4, 0),
                cm.GetReceipt(5, 9),
                cm.GetBlock(6, 1),
                cm.GetStatus(7),
                cm.Ping(8),
            )
            answers = {answer.request: answer for answer in [await hand.hear() for _ in range(8)]}
        ledger = cluster.ledger
        assert answers[1] == cm.QueryValue(1, 1, encode(kv.Found(b"1")))
        assert answers[2] == cm.Refusal(2, "not_ready", "height 1")
        assert answers[3] == cm.Entries(3, 1, tuple(ledger.entries))
        assert answers[4] == cm.ReceiptValue(4, ledger.receipt(0))
        assert answers[5] == cm.Refusal(5, "not_found", "no entry 9")
        block = ledger.blocks[1]
        assert answers[6] == cm.BlockValue(6, block.header_raw, block.payload, ledger.certificate(block))
        assert answers[7] == cm.StatusValue(7, node.backend.status())
        assert answers[8] == cm.Pong(8, 1)


async def test_answers_share_frames(town: Town) -> None:
    """What is queued while the writer was away leaves as one frame."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        cluster.ledger.held = True
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            before = hand.frames
            await hand.say(cm.Submit(tuple(envelope(town, nonce).raw for nonce in range(1, 501))))
            assert all([isinstance(await hand.hear(), cm.Ack) for _ in range(500)])
            cluster.ledger.release()
            assert all([isinstance(await hand.hear(), cm.Result) for _ in range(500)])
            assert hand.frames - before < 10


@pytest.mark.covers("W01")
async def test_plain_tcp_is_closed(town: Town, said: Said) -> None:
    """Bytes that are no TLS: closed, counted, said once."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        async with Hand(await tcp(node)) as hand:
            await hand.send(join_frames([encode(cm.Ping(1))]))
            await _closed_raw(hand)
        line = await said.wait_for("client_refused", reason="tls.not_tls")
        assert line["address"].startswith("127.0.0.1:")
        await works(town, node)


async def _flood(hand: Hand) -> None:
    with trio.fail_after(PATIENCE_S):
        while True:
            await hand.send(join_frames([b"nothing that anybody could read"]))


async def _closed_raw(hand: Hand) -> None:
    with trio.fail_after(PATIENCE_S):
        try:
            while await hand.stream.receive_some(1 << 16):
                pass
        except trio.BrokenResourceError:
            return


@pytest.mark.covers("W02")
async def test_tls_below_1_3_and_another_protocol_are_refused(town: Town, said: Said) -> None:
    """TLS 1.2 ends in the handshake; ALPN of another protocol is told so."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        old = trio.SSLStream(await tcp(node), context(pem(town, node), version=ssl.TLSVersion.TLSv1_2))
        with pytest.raises(trio.BrokenResourceError):
            await old.do_handshake()
        await trio.aclose_forcefully(old)
        await said.wait_for("client_refused", reason="tls.version")
        stream = trio.SSLStream(await tcp(node), context(pem(town, node), alpn="http/1.1"))
        async with Hand(stream) as hand:
            await stream.do_handshake()
            assert await hand.error() == "handshake"


@pytest.mark.covers("W12")
async def test_there_are_no_session_tickets(town: Town) -> None:
    """So no resumption and no early data."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        stream = trio.SSLStream(await tcp(node), context(pem(town, node)))
        async with Hand(stream) as hand:
            await stream.do_handshake()
            await hand.hear()
            session = stream.session
            assert stream.version() == "TLSv1.3"
            assert session is None or not session.has_ticket


@pytest.mark.covers("W08")
async def test_a_slow_greeting_a_slow_frame_and_silence_end(town: Town, said: Said) -> None:
    """Each phase has its deadline, judged by whole frames: single bytes now and then keep nothing alive."""
    limits = ApiLimits(greeting_deadline_s=1.5, frame_deadline_s=0.2, idle_deadline_s=1.5, complaint_interval_s=0.0)
    async with running(town, limits=limits) as cluster:
        node = cluster.nodes[0]
        async with Hand(await tcp(node)) as slow_tls, await connected(node, pem(town, node)) as slow_auth:
            await slow_tls.send(b"\x16\x03\x01")
            await slow_auth.send(b"\x00")
            await _closed_raw(slow_tls)
            await slow_auth.closed()
        assert len(said.of("client_refused", reason="conn.deadline", detail="not introduced within 1.5 s")) == 2
        async with (
            await greeted(node, pem(town, node), ADMINISTRATOR) as slow_frame,
            await greeted(node, pem(town, node), ADMINISTRATOR) as silent,
        ):
            await slow_frame.send(b"\x00\x00\x00\x40")
            assert await slow_frame.closed() == []
            assert await silent.closed() == []
        details = [line["detail"] for line in said.of("client_refused", reason="conn.deadline")]
        assert details[2:] == ["a frame took over 0.2 s", "no request in 1.5 s"]


@pytest.mark.covers("W09", "W08")
async def test_connections_are_bounded_each_way(town: Town) -> None:
    """Those not introduced, those of one key, and all together: one more is closed, the others stay."""
    limits = ApiLimits(connections_max=3, connections_per_client_max=2, greetings_max=2)
    async with running(town, limits=limits) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as first:
            await first.say(cm.Submit((envelope(town, 1, admit_client(public_key_of(STRANGER), CLIENT)).raw,)))
            assert isinstance(await first.hear(), cm.Ack)
            assert isinstance(await first.hear(), cm.Result)
            async with await greeted(node, pem(town, node), ADMINISTRATOR) as second:
                assert await _turned_away(town, node, ADMINISTRATOR) == "client.limit"
                async with await greeted(node, pem(town, node), STRANGER):
                    assert await _turned_away(town, node, STRANGER) == "busy"
                await second.say(cm.Ping(1))
                assert isinstance(await second.hear(), cm.Pong)
            async with Hand(await tcp(node)), await connected(node, pem(town, node)) as greeting:
                assert isinstance(await greeting.hear(), cm.Hello)
                async with Hand(await tcp(node)) as third:
                    await _closed_raw(third)
            await first.say(cm.Ping(2))
            assert isinstance(await first.hear(), cm.Pong)


async def _turned_away(town: Town, node: Node, seed: bytes) -> str:
    async with await connected(node, pem(town, node)) as hand:
        hello = await hand.hear()
        assert isinstance(hello, cm.Hello)
        await hand.say(cm.make_auth(hello, public_key_of(seed), signer(seed)))
        return await hand.error()


@pytest.mark.covers("R02", "W06")
async def test_who_is_not_admitted_is_told_and_closed(town: Town, said: Said) -> None:
    """An unknown key, another cluster, another version, a signature for another member or of another key."""
    async with running(town) as cluster:
        node = cluster.nodes[0]

        async def refused(make: object) -> str:
            async with await connected(node, pem(town, node)) as hand:
                hello = await hand.hear()
                assert isinstance(hello, cm.Hello)
                await hand.say(make(hello))  # type: ignore[operator]  # one of the functions below
                return await hand.error()

        def by(hello: cm.Hello, seed: bytes = ADMINISTRATOR, **changed: object) -> cm.Auth:
            other = cm.Hello(**{name: changed.get(name, getattr(hello, name)) for name in hello.__struct_fields__})
            return cm.make_auth(other, public_key_of(seed), signer(seed))

        assert await refused(lambda hello: by(hello, STRANGER)) == "auth.unknown_key"
        assert await refused(lambda hello: by(hello, chain_id=bytes(32))) == "auth.wrong_chain"
        assert await refused(lambda hello: by(hello, member=1)) == "auth.signature"
        assert await refused(lambda hello: by(hello, challenge=bytes(32))) == "auth.signature"
        assert await refused(lambda hello: cm.Auth(2, hello.chain_id, KEY, bytes(64))) == "handshake.version"
        assert await refused(lambda hello: cm.make_auth(hello, KEY, signer(STRANGER))) == "auth.signature"
        line = await said.wait_for("client_refused", reason="auth.unknown_key")
        assert line["detail"] == "no administrator has admitted this key"
        await works(town, node)


async def test_a_removed_key_ends_at_its_next_request(town: Town) -> None:
    """An open connection is no way around an administrator."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        key = public_key_of(STRANGER)
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Submit((envelope(town, 1, admit_client(key, ADMINISTRATOR_ROLE)).raw,)))
            assert isinstance(await hand.hear(), cm.Ack)
            assert isinstance(await hand.hear(), cm.Result)
            async with await greeted(node, pem(town, node), STRANGER) as stranger:
                await stranger.say(cm.Ping(1))
                assert isinstance(await stranger.hear(), cm.Pong)
                gone = system_operation(SystemOperation(REMOVE, key, 0))
                await hand.say(cm.Submit((envelope(town, 2, gone).raw,)))
                assert isinstance(await hand.hear(), cm.Ack)
                assert isinstance(await hand.hear(), cm.Result)
                await stranger.say(cm.Ping(2))
                assert await stranger.error() == "auth.unknown_key"


@pytest.mark.covers("W10")
@pytest.mark.parametrize("length", [0, cm.FRAME_BYTES_MAX + 1, 2**32 - 1])
async def test_a_length_that_lies_closes_before_anything_is_allocated(town: Town, length: int) -> None:
    """Zero and too much, before the greeting and after it."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.send(length.to_bytes(4, "big") + b"x")
            assert await hand.error() == "frame.len"
        async with await connected(node, pem(town, node)) as hand:
            await hand.hear()
            await hand.send(length.to_bytes(4, "big") + b"x")
            assert await hand.error() == "frame.len"
        await works(town, node)


@pytest.mark.covers("C04", "A05", "A19", "A20")
async def test_what_cannot_be_read_closes_only_its_connection(town: Town, said: Said) -> None:
    """Malformed frames, kinds that are the node's to send or nobody's; the log has no byte of theirs."""
    canary = b"\x1b[31mCANARY\n"
    frames = {
        "codec.malformed": b"\xc1" + canary,
        "codec.type": encode((10, (1, 2))),
        "codec.unknown_kind": encode((99, 1)),
        "unexpected_message": encode(cm.Result(bytes(32), canary)),
        "codec.noncanonical": b"\x92\x11\xcd\x00\x07",
    }
    async with running(town, limits=ApiLimits(complaint_interval_s=0.0)) as cluster:
        node = cluster.nodes[0]
        for code, frame in frames.items():
            async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
                await hand.send(join_frames([frame]))
                assert await hand.error() == code
            await said.wait_for("client_refused", reason=code)
        assert "CANARY" not in str(said.lines)
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            hello = cm.Hello(1, bytes(32), 0, bytes(32))
            await hand.say(cm.make_auth(hello, KEY, signer(ADMINISTRATOR)))
            assert await hand.error() == "unexpected_message"
        assert node.server.statistics()["refused.unexpected_message"] == 2
        await works(town, node)


@pytest.mark.covers("A19")
async def test_a_flood_of_faults_is_one_line(town: Town, said: Said) -> None:
    """And the counter has them all."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        for _ in range(10):
            async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
                await hand.send(join_frames([b"\xc1"]))
                assert await hand.error() == "codec.malformed"
        assert len(said.of("client_refused", reason="codec.malformed")) == 1
        assert node.server.statistics()["refused.codec.malformed"] == 10


@pytest.mark.covers("A05")
async def test_a_malformed_envelope_is_rejected_by_its_name(town: Town) -> None:
    """Inside a good frame it is answered before it is ordered, and its neighbours are served."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        good, huge = envelope(town, 1), bytes(300_000)
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Submit((b"", b"junk", huge, good.raw)))
            answers = [await hand.hear() for _ in range(5)]
        assert answers[:4] == [
            cm.Reject(cm.envelope_id(b""), "tx.malformed"),
            cm.Reject(cm.envelope_id(b"junk"), "tx.malformed"),
            cm.Reject(cm.envelope_id(huge), "tx.size"),
            cm.Ack(good.id),
        ]
        assert len(cluster.ledger.entries) == 1


@pytest.mark.covers("A04")
def forged(town: Town, nonce: int) -> Transaction:
    good = envelope(town, nonce)
    return Transaction(good.raw[:-1] + bytes((good.raw[-1] ^ 1,)), good.signed, good.signature, good.body)


@pytest.mark.covers("P32")
async def test_who_sends_a_forged_envelope_is_cut_off_and_soon_kept_out(town: Town, said: Said) -> None:
    """A wrong signature is rejected by name and ends the connection; its key may come back twice, then it has to wait,
    and what it costs the node is no signature a second. What it sent before the forgery is taken. Others notice
    nothing."""
    async with running(town, limits=ApiLimits(forgery_cost=1000, rejected_max=1500)) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Submit((envelope(town, 1, admit_client(public_key_of(STRANGER), CLIENT)).raw,)))
            await hand.hear()
            await hand.hear()
        for attempt in (1, 2):
            async with await greeted(node, pem(town, node), STRANGER) as hand:
                good, bad = envelope(town, 1 + attempt), forged(town, 10 + attempt)
                await hand.say(cm.Submit((good.raw, bad.raw, envelope(town, 20 + attempt).raw)))
                assert await hand.hear() == cm.Ack(good.id)
                assert await hand.hear() == cm.Reject(bad.id, "tx.signature")
                assert await hand.error() == "tx.signature"
        async with await connected(node, pem(town, node)) as hand:
            hello = await hand.hear()
            assert isinstance(hello, cm.Hello)
            await hand.say(cm.make_auth(hello, public_key_of(STRANGER), signer(STRANGER)))
            assert await hand.error() == "client.limit"
        await works(town, node)
        await said.wait_for("client_refused", reason="tx.signature")
        assert node.server.statistics()["refused.client.limit"] == 1


@pytest.mark.covers("P32")
async def test_who_is_told_to_go_and_sends_on_is_closed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that hangs up hears why; what a flood still sends is read up to a bound, long before its time is up."""
    monkeypatch.setattr(connection, "DISCARDED_BYTES_MAX", 1)
    async with running(town, limits=ApiLimits(parting_s=1000.0)) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            with pytest.raises(trio.BrokenResourceError):
                await _flood(hand)


@pytest.mark.covers("P32")
async def test_who_is_rejected_all_the_time_is_read_ever_more_slowly(town: Town) -> None:
    """Beyond the budget the node reads nothing more of it until it is refilled; what it is owed leaves, and another
    connection of somebody else is served meanwhile."""
    limits = ApiLimits(rejected_max=10, rejected_per_s=0.001)
    async with running(town, limits=limits) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as other:
            await other.say(cm.Submit((envelope(town, 1, admit_client(public_key_of(STRANGER), CLIENT)).raw,)))
            await other.hear()
            await other.hear()
            async with await greeted(node, pem(town, node), STRANGER) as hand:
                nothing = tuple(b"no envelope %d" % number for number in range(10))
                await hand.say(cm.Submit(nothing), cm.Ping(1), cm.Submit((b"one more",)), cm.Ping(2))
                heard = [await hand.hear() for _ in range(12)]
                assert heard[10] == cm.Pong(1, 1)
                assert heard[11] == cm.Reject(cm.envelope_id(b"one more"), "tx.malformed")
                await other.say(cm.Ping(3))
                assert await other.hear() == cm.Pong(3, 1)
                assert not hand.heard  # PING 2 waits for a thousand seconds
                with trio.move_on_after(0.05):
                    await hand.hear()
                    raise AssertionError("a client beyond its budget was read")


@pytest.mark.covers("P32", "W14")
async def test_an_address_that_dials_without_end_is_closed_unheard(town: Town, said: Said) -> None:
    """A handshake costs a node a millisecond and whoever dials nothing. (Everybody here has one address.)"""
    async with running(town, limits=ApiLimits(dials_max=3, dials_per_s=0.001)) as cluster:
        node = cluster.nodes[0]
        hands = [await greeted(node, pem(town, node), ADMINISTRATOR) for _ in range(4)]
        async with Hand(await tcp(node)) as hand:
            await _closed_raw(hand)
        line = await said.wait_for("client_refused", reason="busy")
        assert line["detail"] == "too many connections from one address"
        for hand in hands:
            async with hand:
                await hand.say(cm.Ping(1))
                assert await hand.hear() == cm.Pong(1, 0)


@pytest.mark.covers("P32", "W09")
async def test_an_address_that_says_nothing_is_in_its_own_way(town: Town, said: Said) -> None:
    """With its silent connections it takes all the room for greetings, not that of another address."""
    async with running(town, limits=ApiLimits(greetings_max=3)) as cluster:
        node = cluster.nodes[0]
        silent = [await tcp(node, "127.0.0.2") for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Ping(1))
            assert await hand.hear() == cm.Pong(1, 0)
        line = await said.wait_for("client_refused", reason="busy")
        assert line["detail"] == "made room for a connection from another address"
        async with Hand(silent[0]) as first:
            await _closed_raw(first)
        silent[0] = await tcp(node, "127.0.0.2")
        async with Hand(await tcp(node, "127.0.0.2")) as own:
            await _closed_raw(own)
        for stream in silent:
            await stream.aclose()


def test_an_address_counts_as_what_its_owner_has() -> None:
    """A host has one address of IPv4 and 64 bits of IPv6."""
    assert _network("203.0.113.7:4711") == "203.0.113.7"
    assert _network("2001:db8:1:2:3:4:5:6:4711") == _network("2001:db8:1:2:9::1:4711") == "2001:db8:1:2::"
    assert _network("fe80::1%eth0:4711") == "fe80::"
    assert _network("gone") == ""


async def test_a_flood_of_repeats_costs_answers_and_no_execution(town: Town) -> None:
    """One envelope ten thousand times: every time its result, one entry in the log."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        raw = envelope(town, 1).raw
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Submit((raw,)))
            assert isinstance(await hand.hear(), cm.Ack)
            assert isinstance(await hand.hear(), cm.Result)
            for _ in range(5):
                await hand.say(cm.Submit((raw,) * 2000))
                assert all([isinstance(await hand.hear(), cm.Result) for _ in range(2000)])
        assert len(cluster.ledger.entries) == 1


@pytest.mark.covers("A04", "P32")
async def test_outstanding_transactions_are_bounded(town: Town) -> None:
    """Beyond the bound NACK(busy) at once; an id counts once however often it comes; results make room."""
    async with running(town, limits=ApiLimits(outstanding_max=2)) as cluster:
        node = cluster.nodes[0]
        cluster.ledger.held = True
        one, two, three = (envelope(town, nonce) for nonce in (1, 2, 3))
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Submit((one.raw, one.raw, two.raw, three.raw)))
            assert await hand.hear() == cm.Nack(three.id, "busy")
            assert [await hand.hear() for _ in range(3)] == [cm.Ack(one.id), cm.Ack(one.id), cm.Ack(two.id)]
            await hand.say(cm.Wait((three.id,)))
            assert await hand.hear() == cm.Nack(three.id, "busy")
            cluster.ledger.release()
            assert {type(await hand.hear()), type(await hand.hear())} == {cm.Result}
            await hand.say(cm.Submit((three.raw,)))
            assert await hand.hear() == cm.Ack(three.id)
            assert isinstance(await hand.hear(), cm.Result)


@pytest.mark.covers("A18")
async def test_requests_at_once_are_bounded(town: Town) -> None:
    """Queries that wait for a height far away fill their places; the next is refused, transactions go on."""
    async with running(town, limits=ApiLimits(requests_max=2)) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(*(cm.Query(number, 99, 60_000, kv.get(b"k")) for number in (1, 2, 3)))
            assert await hand.hear() == cm.Refusal(3, "busy", "too many requests at once on this connection")
            transaction = envelope(town, 1)
            await hand.say(cm.Submit((transaction.raw,)))
            assert await hand.hear() == cm.Ack(transaction.id)


@pytest.mark.covers("A18")
async def test_a_client_that_does_not_read_is_disconnected(town: Town, said: Said) -> None:
    """When its outbox is full, and what it had submitted stays submitted."""
    async with running(town, limits=ApiLimits(outbox_bytes_max=200_000)) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.say(cm.Submit((envelope(town, 1).raw,)))
            with trio.fail_after(PATIENCE_S):
                try:
                    while not said.of("client_refused", reason="busy"):
                        await hand.say(*(cm.GetStatus(number) for number in range(500)))
                except trio.BrokenResourceError:
                    pass
            await said.wait_for("client_refused", reason="busy")
        with trio.fail_after(PATIENCE_S):
            while not node.backend.forgot:
                await node.backend.changed.wait()
        assert node.backend.forgot == 1
        assert len(cluster.ledger.entries) == 1
        await works(town, node)


@pytest.mark.covers("W13")
async def test_a_frame_cut_short_is_never_parsed(town: Town) -> None:
    """The connection breaks one byte before the end of a SUBMIT: nothing is submitted, nobody else notices."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
            await hand.send(join_frames([encode(cm.Submit((envelope(town, 1).raw,)))])[:-1])
        with trio.fail_after(PATIENCE_S):
            while not node.backend.forgot:
                await node.backend.changed.wait()
        assert node.backend.submitted == []
        await works(town, node)


@pytest.mark.covers("T08")
async def test_our_own_mistake_ends_one_connection(town: Town, said: Said) -> None:
    """An exception behind the API is logged with its traceback; the listener and the others go on."""
    async with running(town, kinds={0: BrokenBackend}) as cluster:
        node = cluster.nodes[0]
        async with await greeted(node, pem(town, node), ADMINISTRATOR) as bystander:
            async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
                await hand.say(cm.Submit((envelope(town, 1).raw,)))
                assert await hand.closed() == []
            line = await said.wait_for("client_connection_crashed")
            assert line["exc_info"]
            await bystander.say(cm.Ping(1))
            assert isinstance(await bystander.hear(), cm.Pong)
        await works(town, node)
        assert node.server.statistics()["refused.crash"] == 1


async def test_statistics_count_the_living_and_the_gone(town: Town) -> None:
    """Totals do not fall when a connection ends."""
    async with running(town) as cluster:
        node = cluster.nodes[0]
        for nonce in (1, 2):
            async with await greeted(node, pem(town, node), ADMINISTRATOR) as hand:
                await hand.say(cm.Submit((envelope(town, nonce).raw,)))
                assert isinstance(await hand.hear(), cm.Ack)
                assert isinstance(await hand.hear(), cm.Result)
                assert node.server.statistics()["connections"] >= 1
        counted = node.server.statistics()
        assert (counted["envelopes_in"], counted["frames_in"], counted["accepted"]) == (2, 2, 2)
