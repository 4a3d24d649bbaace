"""Who is not let in, what they get to see, and what the operator reads. Attackers use real TLS on loopback."""

import contextlib
import datetime
import secrets
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bftnode.net.limits import NetLimits
from bftnode.net.tls import ALPN, client_context, server_context
from bftnode.node.identity import make_certificate
from bftnode.protocol.ed25519 import signer
from bftnode.protocol.errors import Reason
from bftnode.protocol.framing import join_frames
from bftnode.protocol.handshake import Hello, Refusal, make_ack, make_hello
from bftnode.protocol.membership import Membership, Parameters
from bftnode.tls.stream import TlsStream
from tests.net.members import HOST, PATIENCE_S, YEAR, Members, Replica, Said, Stranger, a_nursery, greeted, tcp, tls

NOW = datetime.datetime.now(datetime.UTC)
FAST = NetLimits(watch_interval_s=0.05, backoff_max_s=0.2)
QUICK_HANDSHAKE = NetLimits(handshake_s=0.4)


@pytest.fixture
def foreign(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that looks like member 3's, made by somebody else; and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return write_pair(tmp_path, make_certificate(key, "m3", NOW - YEAR, NOW + YEAR), key)


def write_pair(
    directory: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, more: bytes = b""
) -> tuple[Path, Path]:
    paths = directory / "tls.crt", directory / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + more)
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def try_tls(replica: Replica, context: ssl.SSLContext) -> Stranger:
    """As far as TLS goes: in 1.3 a client is done before the server has looked at its certificate."""
    stranger = Stranger(TlsStream(await tcp(replica), context, server_side=False))
    try:
        await stranger.stream.handshake()
    except (ssl.SSLError, OSError):
        stranger.stream.close()
    return stranger


def unchecked(context: ssl.SSLContext) -> ssl.SSLContext:
    """An attacker trusts everybody."""
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.covers("W01")
@pytest.mark.parametrize("noise", [b"\x00\x00\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n", b"\x93\x01\x02\x03" * 99])
async def test_plain_tcp_is_closed(members: Members, said: Said, noise: bytes) -> None:
    """Bytes that are not TLS end the connection at once, with a name in the log."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        socket = await tcp(replica)
        await socket.send(noise)
        await said.wait_for("peer.refused", peer=None, reason=Reason.TLS_NOT_TLS)
        with trio.fail_after(PATIENCE_S):
            while await socket.recv(1000):  # the alert
                pass


@pytest.mark.covers("W02")
async def test_older_tls_is_refused(members: Members, said: Said) -> None:
    """TLS 1.2 is not spoken, whatever certificate comes with it."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        three = members.identities[3]
        context = client_context(three.certificate_path, three.tls_key_path, members.pems())
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        stranger = Stranger(TlsStream(await tcp(replica), context, server_side=False))
        with pytest.raises(ssl.SSLError):
            await stranger.stream.handshake()
        await said.wait_for("peer.refused", peer=None, reason=Reason.TLS_VERSION)
        assert replica.linked == {}


@pytest.mark.covers("W03")
@pytest.mark.parametrize(
    ("not_before", "not_after"), [(NOW - 2 * YEAR, NOW - YEAR), (NOW + YEAR, NOW + 2 * YEAR)], ids=["ended", "early"]
)
async def test_a_certificate_out_of_its_dates_is_refused(
    members: Members, said: Said, not_before: datetime.datetime, not_after: datetime.datetime
) -> None:
    """Pinned or not, dialled or dialling: neither side's network links with it, and both logs say why."""
    dated = members.with_certificate(1, not_before, not_after)
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        low = await Replica(dated, 0, addresses, FAST).start(nursery)
        bad = await Replica(dated, 1, addresses, FAST).start(nursery)
        high = await Replica(dated, 2, addresses, FAST).start(nursery)
        await high.until(lambda: high.up == {0})
        await said.wait_for("peer.refused", peer=1, reason=Reason.TLS_EXPIRED)  # said by 2, who dials it
        await said.wait_for("peer.refused", peer=None, reason=Reason.TLS_EXPIRED)  # said by 0, whom it dials
        await low.until(lambda: low.up == {2})
        assert bad.linked == {}


@pytest.mark.covers("W03")
async def test_a_link_ends_with_its_certificate(members: Members, said: Said) -> None:
    """A live session is dropped when the certificate's time is over, within a watch interval."""
    clock = [NOW.timestamp()]
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}, FAST, wall_clock=lambda: clock[0]).start(nursery)
        peer = await greeted(members, 3, replica)
        await replica.until(lambda: replica.up == {3})
        clock[0] += 11 * YEAR.total_seconds()
        await replica.until(lambda: replica.up == set())
        await said.wait_for("peer.refused", peer=3, reason=Reason.TLS_EXPIRED)
        assert await peer.rest() == b""


@pytest.mark.covers("W04")
async def test_a_foreign_certificate_is_refused(members: Members, said: Said, foreign: tuple[Path, Path]) -> None:
    """Self-signed under a member's name: the name is nothing, the pin is everything. It gets to see nothing."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        stranger = await try_tls(replica, client_context(*foreign, members.pems()))
        await said.wait_for("peer.refused", peer=None, reason=Reason.TLS_UNTRUSTED)
        assert await stranger.rest() == b""


@pytest.mark.covers("W04", "O09")
async def test_a_members_key_cannot_make_members(members: Members, said: Said, tmp_path: Path) -> None:
    """A certificate issued with member 3's transport key, and shown with member 3's own in the chain, is nobody's."""
    three = members.identities[3]
    issuer_key = serialization.load_pem_private_key(three.tls_key_path.read_bytes(), None)
    issuer = x509.load_pem_x509_certificate(three.certificate_pem.encode())
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(issuer.subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - YEAR)
        .not_valid_after(NOW + YEAR)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]  # an EC key
        .sign(issuer_key, hashes.SHA256())
    )
    paths = write_pair(tmp_path, certificate, key, three.certificate_pem.encode())
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        stranger = await try_tls(replica, client_context(*paths, members.pems()))
        await said.wait_for("peer.refused", peer=None, reason=Reason.TLS_UNTRUSTED)
        assert await stranger.rest() == b""


@pytest.mark.covers("W04", "W16")
async def test_an_impostor_at_a_members_address_learns_nothing(
    members: Members, said: Said, foreign: tuple[Path, Path]
) -> None:
    """We dial member 0 and somebody else answers: a stranger, or member 2. Neither gets a HELLO."""
    two = members.identities[2]
    heard: list[bytes] = []

    async def answer(context: ssl.SSLContext, stream: trio.SocketStream) -> None:
        stranger = Stranger(TlsStream(stream.socket, context, server_side=True))
        try:
            await stranger.stream.handshake()
        except (OSError, ssl.SSLError):
            stranger.stream.close()
        heard.append(await stranger.rest())

    async with a_nursery() as nursery:
        for files, reason in (
            (foreign, Reason.TLS_UNTRUSTED),
            ((two.certificate_path, two.tls_key_path), Reason.ID_MISMATCH),
        ):
            context = unchecked(server_context(*files, members.pems()))
            listeners = await nursery.start(partial(trio.serve_tcp, partial(answer, context), 0, host=HOST))
            address = listeners[0].socket.getsockname()
            replica = await Replica(members, 3, {0: address}, FAST).start(nursery)
            await said.wait_for("peer.refused", peer=0, reason=reason)
            assert replica.linked == {}
            await replica.stop()
        refusal = b"\x00\x00\x00"  # a typed refusal is all that member 2 may read
        assert all(not data or (data.startswith(refusal) and b"id.mismatch" in data) for data in heard)


@pytest.mark.covers("W05")
async def test_one_member_cannot_claim_to_be_another(members: Members, said: Said) -> None:
    """Member 3's certificate with a HELLO as member 1, signed by member 3 or even by member 1."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        stranger = await tls(members, 3, replica)
        theirs = await stranger.hear_hello()
        mine = make_hello(members.membership, 1, secrets.token_bytes(32))
        ack = make_ack(mine, theirs, members.pin(3), members.pin(0), signer(members.identities[1].seed))
        await stranger.say(mine, ack)
        assert await stranger.hear() == Refusal("id.mismatch")
        assert await stranger.rest() == b""
        line = await said.wait_for("peer.refused", peer=3, reason=Reason.ID_MISMATCH)
        assert "member 1" in line["detail"]
        assert replica.linked == {}


@pytest.mark.covers("W05", "O09")
async def test_a_stolen_transport_key_alone_opens_nothing(members: Members, said: Said) -> None:
    """The right certificate with an ACK by the wrong Ed25519 key, or with the replica's own, sent back."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        for thief in (1, 0):
            stranger = await tls(members, 3, replica)
            theirs = await stranger.hear_hello()
            mine = make_hello(members.membership, 3, secrets.token_bytes(32))
            await stranger.say(mine)
            if thief == 0:
                await stranger.say(await stranger.hear())
            else:
                seed = members.identities[thief].seed
                await stranger.say(make_ack(mine, theirs, members.pin(3), members.pin(0), signer(seed)))
                await stranger.hear()
            assert await stranger.hear() == Refusal("id.mismatch")
            assert await stranger.rest() == b""
        assert replica.net.statistics()[3].last_refusal is Reason.ID_MISMATCH
        assert replica.linked == {}


@pytest.mark.covers("W05")
async def test_an_ack_of_another_connection_is_worth_nothing(members: Members, said: Said) -> None:
    """A relay that makes member 3 sign for member 0's challenge on a connection to member 1 gets nowhere."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        stranger = await tls(members, 3, replica)
        theirs = await stranger.hear_hello()
        mine = make_hello(members.membership, 3, secrets.token_bytes(32))
        signed_for_1 = make_ack(mine, theirs, members.pin(3), members.pin(1), signer(members.identities[3].seed))
        await stranger.say(mine, signed_for_1)
        await stranger.hear()
        assert await stranger.hear() == Refusal("id.mismatch")


async def test_a_refusal_can_be_read_by_one_who_talks_on(members: Members, said: Said) -> None:
    """Closing with unread input would make the kernel throw away what the other side has not read yet."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        stranger = await tls(members, 3, replica)
        await stranger.say(make_hello(members.membership, 2, secrets.token_bytes(32)))
        await said.wait_for("peer.refused", peer=3, reason=Reason.ID_MISMATCH)
        for _ in range(4):
            await stranger.stream.send(join_frames([bytes(10_000)]))
        await stranger.hear_hello()
        assert await stranger.hear() == Refusal("id.mismatch")
        assert await stranger.rest() == b""


async def test_the_lower_member_does_not_dial(members: Members, said: Said) -> None:
    """One pair, one connection: a fixed direction, so that two never replace each other by turns."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 2, {}).start(nursery)
        stranger = await tls(members, 1, replica)
        assert await stranger.hear() == Refusal("handshake")


@pytest.mark.covers("W06")
async def test_without_a_certificate_nothing_is_said(members: Members, said: Said) -> None:
    """A TLS 1.3 client believes that it is connected; it reads an alert and not one byte of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols([ALPN])
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        stranger = Stranger(TlsStream(await tcp(replica), unchecked(context), server_side=False))
        await stranger.stream.handshake()
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            await stranger.stream.receive()
        await said.wait_for("peer.refused", peer=None, reason=Reason.TLS_NO_CERTIFICATE)


async def test_another_protocol_is_refused(members: Members, said: Said) -> None:
    """A member's certificate on a connection that was not meant for this protocol (no ALPN)."""
    three = members.identities[3]
    context = client_context(three.certificate_path, three.tls_key_path, members.pems())
    context.set_alpn_protocols(["http/1.1"])
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        stranger = await try_tls(replica, context)
        assert await stranger.rest() == b""
        await said.wait_for("peer.refused", peer=None, reason=Reason.HANDSHAKE)


@pytest.mark.covers("W12")
async def test_there_are_no_session_tickets(members: Members, said: Said) -> None:
    """Nothing to resume, so no early data; nothing written that could block a handshake."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        peer = await greeted(members, 3, replica)
        session = peer.stream.tls.session
        assert session is None or not session.has_ticket


@pytest.mark.covers("W08")
async def test_a_slow_handshake_is_cut(members: Members, said: Said) -> None:
    """One deadline for all of it: silence, a ClientHello byte by byte, TLS without HELLO, HELLO without ACK."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}, QUICK_HANDSHAKE).start(nursery)
        three = members.identities[3]
        context = client_context(three.certificate_path, three.tls_key_path, members.pems())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            context.wrap_bio(incoming, outgoing).do_handshake()
        client_hello = outgoing.read()

        async def silence() -> None:
            assert await (await tcp(replica)).recv(1) == b""

        async def drip() -> None:
            socket = await tcp(replica)
            at = 0
            with contextlib.suppress(OSError):  # closed under our hands, sooner than all of it could be sent
                while at < len(client_hello):
                    at += await socket.send(client_hello[at : at + 1])
                    await trio.sleep(0.05)
            assert at < len(client_hello)

        async def no_hello() -> None:
            stranger = await tls(members, 3, replica)
            await stranger.hear_hello()
            assert await stranger.rest() == b""

        async def no_ack() -> None:
            stranger = await tls(members, 2, replica)
            await stranger.say(make_hello(members.membership, 2, secrets.token_bytes(32)))
            await stranger.hear_hello()
            await stranger.hear()
            assert await stranger.rest() == b""

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as attackers:
                for attack in (silence, drip, no_hello, no_ack):
                    attackers.start_soon(attack)
        for peer in (None, 2, 3):
            assert said.of("peer.refused", peer=peer, reason=Reason.CONN_DEADLINE)
        assert replica.linked == {}


@pytest.mark.covers("W10")
@pytest.mark.parametrize(
    "lie", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x00\x00\x00\x02abcdefgh"], ids=["4GiB", "zero", "short"]
)
@pytest.mark.parametrize("when", ["greeting", "link"])
async def test_a_frame_that_lies_about_its_length_ends_the_connection(
    members: Members, said: Said, lie: bytes, when: str
) -> None:
    """Checked before anything is allocated, before the ACK as after it; a shorter length makes the next one absurd."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        if when == "link":
            stranger = await greeted(members, 3, replica)
            await stranger.stream.send(lie)
        else:
            stranger = await tls(members, 3, replica)
            await stranger.stream.send(lie)
        await stranger.rest()
        line = await said.wait_for("peer.refused", peer=3)
        assert line["reason"] in (Reason.FRAME_LENGTH, Reason.CODEC_MALFORMED, Reason.CODEC_TYPE)
        await replica.until(lambda: not replica.up)
        assert [frame for _, frame in replica.received] in ([], [b"ab"])


@pytest.mark.covers("W13")
@pytest.mark.parametrize("reset", [False, True])
async def test_a_frame_cut_short_is_discarded(members: Members, said: Said, reset: bool) -> None:
    """FIN or RST in the middle of a frame, without close_notify: what was whole is delivered, the rest never."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        peer = await greeted(members, 3, replica)
        await peer.stream.send(join_frames([b"whole"]) + join_frames([b"cut short"])[:-1])
        await replica.until(lambda: replica.received == [(3, b"whole")])
        if reset:
            socket = peer.stream._socket  # no stream has a method for dying badly
            socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.stream.close()
        await replica.until(lambda: not replica.up)
        assert replica.received == [(3, b"whole")]
        await said.wait_for("peer.refused", peer=3, reason=Reason.CONN_LOST)


@pytest.mark.covers("R06", "O01")
async def test_another_clusters_member_with_the_same_keys_is_refused(members: Members, said: Said) -> None:
    """Keys used in two clusters: both sides say it once, however often they meet."""
    other = Members(members.identities, "another-town")
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        low = await Replica(members, 0, addresses, FAST).start(nursery)
        high = await Replica(other, 1, addresses, FAST).start(nursery)
        await said.wait_for("peer.refused", peer=1, reason=Reason.WRONG_CHAIN)
        await said.wait_for("peer.refused", peer=0, reason=Reason.WRONG_CHAIN)
        for _ in range(3):  # more strangers from there
            stranger = await tls(members, 3, low)
            await stranger.say(make_hello(other.membership, 3, secrets.token_bytes(32)))
            assert isinstance(await stranger.hear(), Hello)
            assert await stranger.hear() == Refusal("auth.wrong_chain")
        for peer in (0, 1, 3):
            assert len(said.of("peer.refused", peer=peer, reason=Reason.WRONG_CHAIN)) == 1
        assert low.linked == {}
        assert high.linked == {}


@pytest.mark.covers("O08")
async def test_another_configuration_is_refused(members: Members, said: Said) -> None:
    """Should the chain id ever not cover a parameter, the greeting does."""
    ours = members.membership
    theirs = Membership(ours.chain_id, 0, ours.public_keys, Parameters(window=4))
    async with a_nursery() as nursery:
        addresses: dict[int, tuple[str, int]] = {}
        low = await Replica(members, 0, addresses, FAST).start(nursery)
        high = await Replica(members, 1, addresses, FAST, membership=theirs).start(nursery)
        await said.wait_for("peer.refused", peer=1, reason=Reason.CONFIGURATION)
        await said.wait_for("peer.refused", peer=0, reason=Reason.CONFIGURATION)
        assert low.linked == high.linked == {}


@pytest.mark.covers("W06")
async def test_frames_before_the_ack_are_not_believed(members: Members, said: Said) -> None:
    """Whatever comes where a HELLO or an ACK belongs ends the connection and reaches nobody."""
    async with a_nursery() as nursery:
        replica = await Replica(members, 0, {}).start(nursery)
        hello = make_hello(members.membership, 3, secrets.token_bytes(32))
        for greetings in ([], [hello], [hello, hello]):
            stranger = await tls(members, 3, replica)
            await stranger.say(*greetings)
            await stranger.stream.send(join_frames([b"a vote, perhaps"] * 3))
            await stranger.hear_hello()
            await stranger.rest()
        await said.wait_for("peer.refused", peer=3, reason=Reason.HANDSHAKE)
        await said.wait_for("peer.refused", peer=3, reason=Reason.CODEC_MALFORMED)
        assert replica.received == []
        assert replica.linked == {}
