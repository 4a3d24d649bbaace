"""The words between clients and nodes: one spelling each, nothing else is read, shortcuts agree with the long way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol import client_messages as cm
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import public_key_of, signer, verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.transactions import TransactionBody, sign_transaction
from tests.protocol.cluster import CHAIN, OTHER_CHAIN, Cluster, seed, transaction

NAME = b"n" * 32
STATUS = cm.NodeStatus(
    member=1,
    software="0.1",
    state="ok",
    view=3,
    active=True,
    primary=3,
    committed=7,
    executed=7,
    tip=9,
    checkpoint=0,
    log_size=70,
    head=NAME,
    pending=2,
    oldest=cm.PendingStatus(NAME, 120),
    in_flight=(cm.BlockStatus(8, NAME, (0, 1, 3), (1,)),),
    peers=(cm.PeerStatus(0, True, 3, 7), cm.PeerStatus(2, False, 0, 0)),
)
REQUESTS = [
    cm.Submit((b"envelope", b"")),
    cm.Wait((NAME,)),
    cm.Query(1, 2, 3, b"query"),
    cm.GetEntries(1, 2, 3),
    cm.GetReceipt(1, 2),
    cm.GetBlock(1, 2),
    cm.GetStatus(1),
    cm.Ping(1),
    cm.GetCheckpoint(1, None, 0),
    cm.GetCheckpoint(1, 2, 3),
    cm.GetInclusion(1, 2, 3),
    cm.GetConsistency(1, 2, 3),
    cm.KeepPayload(1, 2, 3, NAME, b"payload"),
    cm.GetPayload(1, 2),
]
TRANSACTION_ANSWERS = [
    cm.Ack(NAME),
    cm.Nack(NAME, "busy"),
    cm.Reject(NAME, "tx.expired"),
    cm.Result(NAME, b"result"),
    cm.Forgotten(NAME, 1, 2),
    cm.Unknown(NAME),
]
ANSWERS = [
    cm.Hello(1, CHAIN, 2, NAME),
    cm.Ready(1, 2, 3),
    cm.Error("busy", "why"),
    *TRANSACTION_ANSWERS,
    cm.QueryValue(1, 2, b"value"),
    cm.Entries(1, 2, (cm.Entry(0, 1, 2, b"envelope"),)),
    cm.BlockValue(1, b"header", b"payload", Cluster().certificate()),
    cm.StatusValue(1, STATUS),
    cm.Refusal(1, "not_found", "why"),
    cm.Pong(1, 2),
    cm.CheckpointValue(1, b"note"),
    cm.ProofValue(1, (NAME, NAME)),
    cm.PayloadKept(1),
    cm.PayloadValue(1, NAME, b"payload"),
]


def name_of(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
def test_requests_are_read_as_they_were_written(request_: cm.Request) -> None:
    """And are spelt as an array of fewer than 16 that begins with a small tag, which shortcuts rely on."""
    raw = encode(request_)
    assert raw[0] & 0xF0 == 0x90
    assert raw[1] in cm.REQUEST_TAGS
    assert cm.open_request(raw) == request_


def test_every_request_and_no_more_has_a_tag() -> None:
    """A new kind of request is in the table that tells it from the node's own."""
    assert {encode(one)[1] for one in REQUESTS} == cm.REQUEST_TAGS


@pytest.mark.parametrize("answer", ANSWERS, ids=name_of)
def test_answers_are_read_as_they_were_written(answer: cm.ServerMessage) -> None:
    """One message, many messages: a frame is an array of them."""
    assert cm.open_answers(cm.pack_messages([answer])) == (answer,)
    assert cm.open_answers(cm.pack_messages([answer, answer])) == (answer, answer)


@pytest.mark.covers("A20")
@pytest.mark.parametrize("answer", [*ANSWERS, cm.Auth(1, CHAIN, NAME, bytes(64))], ids=name_of)
def test_a_client_may_not_say_what_is_the_nodes(answer: cm.ServerMessage) -> None:
    """Told apart from what is merely malformed."""
    with pytest.raises(Refused) as caught:
        cm.open_request(encode(answer))
    assert caught.value.reason is Reason.UNEXPECTED


@pytest.mark.parametrize("answer", TRANSACTION_ANSWERS, ids=name_of)
def test_the_tag_and_the_id_are_read_without_decoding(answer: cm.TransactionAnswer) -> None:
    """Only of our own answers; what is final is what ends a submission."""
    raw = encode(answer)
    assert cm.answer_transaction(raw) == answer.transaction
    assert (cm.answer_tag(raw) in cm.FINAL_TAGS) == isinstance(answer, cm.Nack | cm.Reject | cm.Result | cm.Forgotten)


@pytest.mark.covers("A20")
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(raw: bytes) -> None:
    """No other exception, whatever comes."""
    for read in (cm.open_request, cm.open_answers, cm.open_auth):
        try:
            value = read(raw)
        except Refused:
            continue
        assert encode(value) == raw


@given(st.integers(0, 70_000), st.sampled_from([1, 40]))
def test_packed_answers_are_the_one_spelling_of_their_array(count: int, size: int) -> None:
    """Frames put together from encoded answers are what encoding the values gives, and none is lost or swapped."""
    answers = [cm.Result(NAME, bytes(size)), cm.Ack(NAME)]
    encoded = [encode(answer) for answer in answers]
    frames = cm.pack_answers([encoded[i % 2] for i in range(count)])
    opened = [message for frame in frames for message in cm.open_answers(frame)]
    assert len(opened) == count
    assert opened[:2] == answers[: min(count, 2)]
    assert all(len(frame) < cm.ANSWERS_BYTES_TARGET + 1000 for frame in frames)


@given(st.lists(st.binary(max_size=70_000), min_size=1, max_size=3), st.integers(0, 2**63 - 1))
def test_the_id_of_an_envelope_is_its_transactions(operations: list[bytes], nonce: int) -> None:
    """For every length of body; and without decoding it."""
    key = seed(0, "client")
    body = TransactionBody(CHAIN, public_key_of(key), nonce, 9, tuple(operations))
    made = sign_transaction(body, signer(key))
    assert cm.envelope_id(made.raw) == made.id


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 255))
def test_what_is_no_envelope_has_an_id_of_its_own(junk: bytes, place: int, value: int) -> None:
    """Any bytes have one; bytes that differ in the shape of the envelope never share a transaction's."""
    made = transaction(1)
    assert len(cm.envelope_id(junk)) == 32
    bent = bytearray(made.raw)
    if place < 3:
        bent[place] = value
        assert (cm.envelope_id(bytes(bent)) == made.id) == (bytes(bent) == made.raw)


def test_auth_shows_a_key_to_one_member_of_one_cluster() -> None:
    """The signature is over the node's challenge, its index and its chain."""
    key = seed(1, "client")
    hello = cm.Hello(cm.VERSION, CHAIN, 2, NAME)
    auth = cm.make_auth(hello, public_key_of(key), signer(key))
    cm.check_auth(auth, hello, verify)
    others = {
        Reason.WRONG_VERSION: cm.Hello(cm.VERSION + 1, CHAIN, 2, NAME),
        Reason.WRONG_CHAIN: cm.Hello(cm.VERSION, OTHER_CHAIN, 2, NAME),
        Reason.AUTH_SIGNATURE: cm.Hello(cm.VERSION, CHAIN, 3, NAME),
    }
    for reason, other in others.items():
        with pytest.raises(Refused) as caught:
            cm.check_auth(auth, other, verify)
        assert caught.value.reason is reason


def test_a_client_checks_whom_it_talks_to() -> None:
    """Version, cluster, member."""
    cm.check_hello(cm.Hello(cm.VERSION, CHAIN, 2, NAME), CHAIN, 2)
    wrong = {
        Reason.WRONG_VERSION: cm.Hello(9, CHAIN, 2, NAME),
        Reason.WRONG_CHAIN: cm.Hello(cm.VERSION, OTHER_CHAIN, 2, NAME),
        Reason.ID_MISMATCH: cm.Hello(cm.VERSION, CHAIN, 1, NAME),
    }
    for reason, hello in wrong.items():
        with pytest.raises(Refused) as caught:
            cm.check_hello(hello, CHAIN, 2)
        assert caught.value.reason is reason


def test_a_reason_that_is_not_known_is_named_so() -> None:
    """A later version may have more of them; its text is not taken over."""
    assert cm.reason_of("busy") is Reason.BUSY
    assert cm.reason_of("\x1b[31m") is Reason.UNEXPECTED


@pytest.mark.parametrize("count", [15, 16, 17, 65535, 65536, 65537])
def test_an_array_is_spelt_in_one_way_at_the_bounds_of_its_headers(count: int) -> None:
    """Small ones close no frame early: each answer is one byte."""
    (packed,) = cm.pack_answers([b"\x05"] * count)
    assert packed == encode((5,) * count)


def test_a_frame_is_closed_when_it_is_full() -> None:
    """By the answer that fills it; the next one begins at nothing, and after the last there is none."""
    size = cm.ANSWERS_BYTES_TARGET // 2 - 5
    half = b"\xc6" + size.to_bytes(4, "big") + bytes(size)
    assert len(half) * 2 == cm.ANSWERS_BYTES_TARGET
    frames = cm.pack_answers([half] * 4)
    assert frames == [b"\x92" + half * 2] * 2
    assert cm.pack_answers([half] * 3) == [b"\x92" + half * 2, b"\x91" + half]
    almost = b"\xc6" + (size - 1).to_bytes(4, "big") + bytes(size - 1)
    frames = cm.pack_answers([half, half, half, almost, b"\x05"])
    assert frames == [b"\x92" + half * 2, b"\x93" + half + almost + b"\x05"]


def test_a_kind_that_nobody_has_is_told_from_bytes_that_are_no_message() -> None:
    """The tag is a small integer in an array, and all of the message may be that."""
    for raw, reason in (
        (b"\x91\x7f", Reason.CODEC_UNKNOWN_KIND),
        (b"\x91\x80", Reason.CODEC_TYPE),
        (b"\x91\x81", Reason.CODEC_TYPE),
        (b"\x91", Reason.CODEC_MALFORMED),
    ):
        with pytest.raises(Refused) as caught:
            cm.open_request(raw)
        assert caught.value.reason is reason


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 70_000])
def test_the_signed_part_of_an_envelope_is_found_whatever_its_size(size: int) -> None:
    """Each spelling of a length; and where the length is another one, it is no envelope."""
    raw = encode((bytes(size), b"s" * 64))
    assert cm.envelope_id(raw) == cm.transaction_id(bytes(size))
    for at in range(2, 2 + (1 if size < 256 else 2 if size < 65536 else 4)):
        other = raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
        assert cm.envelope_id(other) not in {
            cm.transaction_id(bytes(more)) for more in range(size - 1, size + 2) if more >= 0
        }
        assert cm.envelope_id(other) != cm.envelope_id(raw)
