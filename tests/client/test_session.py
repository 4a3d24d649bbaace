"""The client's session as conversations: who said what, what is believed, what is sent again and when."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.client.outcomes import Believed, ExecutedLongAgo, NeverOrdered
from bftnode.client.session import SUBMIT_BYTES_TARGET, Retry, Session
from bftnode.protocol.client_messages import Ack, Forgotten, Nack, Reject, Result, TransactionAnswer, Unknown
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.results import OperationResult, TransactionResult
from bftnode.protocol.transactions import Transaction
from tests.protocol.cluster import Cluster, seed

KEY = seed(0, "client")
RETRY = Retry(first_ms=1000, max_ms=8000, after_nack_ms=100, acked_from=3)


def session_of(n: int = 4) -> Session:
    """All members connected, at height 5."""
    session = Session(Cluster(n).members, public_key_of(KEY), signer(KEY), RETRY)
    for member in range(n):
        session.connected(member, 5, 0)
    return session


def submitted(session: Session, nonce: int = 1) -> Transaction:
    transaction = session.sign([b"\x01x"], nonce, 100)
    session.submit(transaction, 0)
    return transaction


def result(transaction: Transaction, value: bytes = b"v", seq: int = 6) -> Result:
    done = TransactionResult(transaction.id, seq, 0, "", (OperationResult("", value),))
    return Result(transaction.id, encode(done))


def sent(session: Session) -> dict[int, list[bytes]]:
    """What goes out to each member now."""
    return {member: session.take(member)[0] for member in range(session.members.n) if session.waiting(member)}


def test_an_envelope_goes_to_everybody_once() -> None:
    """And is dated from the height that is known."""
    session = session_of()
    transaction = submitted(session)
    assert transaction.body.valid_until == 105
    assert sent(session) == {member: [transaction.raw] for member in range(4)}
    assert sent(session) == {}


@pytest.mark.covers("A07")
def test_f_plus_1_equal_results_are_believed() -> None:
    """One is not enough; a liar's does not count towards the truth, and is noted."""
    session = session_of()
    transaction = submitted(session)
    truth, lie = result(transaction), result(transaction, b"lie")
    assert session.answer(3, lie, 10) is None
    assert session.answer(0, truth, 10) is None
    outcome = session.answer(2, truth, 10)
    assert isinstance(outcome, Believed)
    assert (outcome.result.results[0].value, outcome.members, outcome.dissenters) == (b"v", (0, 2), (3,))
    assert session.disagreements == [0, 0, 0, 1]
    assert session.outstanding == 0
    assert session.height() == 6


@pytest.mark.covers("A07")
def test_a_member_has_one_vote() -> None:
    """Saying it twice, or two things, makes no two members of it."""
    session = session_of()
    transaction = submitted(session)
    truth, lie = result(transaction), result(transaction, b"lie")
    assert [session.answer(3, answer, 10) for answer in (lie, lie, truth, lie)] == [None] * 4
    assert session.answer(0, truth, 10) is None
    assert isinstance(session.answer(1, truth, 10), Believed)


@pytest.mark.covers("A07")
def test_a_result_of_another_transaction_is_not_believed() -> None:
    """Even from f+1: then more than f members lie, and nothing is right to believe."""
    session = session_of()
    one, other = submitted(session, 1), submitted(session, 2)
    swapped = Result(one.id, result(other).result)
    assert [session.answer(member, swapped, 10) for member in (0, 1)] == [None, None]
    assert [session.answer(member, Result(other.id, b"\xc1"), 10) for member in (0, 1)] == [None, None]


def test_what_was_never_ours_is_ignored() -> None:
    """A member may say what it likes about transactions that nobody waits for."""
    session = session_of()
    for answer in (Ack(bytes(32)), Reject(bytes(32), "busy"), Result(bytes(32), b""), Unknown(bytes(32))):
        assert session.answer(0, answer, 10) is None


def test_reasons_in_the_envelope_need_f_plus_1() -> None:
    """One correct member knows that it is malformed, expired or its nonce used; the liar's reason does not win."""
    session = session_of()
    transaction = submitted(session)
    assert session.answer(0, Reject(transaction.id, Reason.TX_EXPIRED), 10) is None
    assert session.answer(0, Reject(transaction.id, Reason.TX_EXPIRED), 10) is None
    outcome = session.answer(2, Reject(transaction.id, Reason.TX_EXPIRED), 10)
    assert outcome == NeverOrdered(transaction.id, "tx.expired")


def test_reasons_that_may_pass_need_a_quorum() -> None:
    """A liar and a correct member that lags must not be enough: the two others have it ordered."""
    session = session_of()
    transaction = submitted(session)
    no = Reject(transaction.id, Reason.TX_UNKNOWN_CLIENT)
    assert [session.answer(member, no, 10) for member in (0, 1)] == [None, None]
    assert session.answer(2, no, 10) == NeverOrdered(transaction.id, "tx.unknown_client")


def test_a_member_may_change_its_mind_before_it_is_final() -> None:
    """A rejection is replaced by what the member says later; results outweigh it."""
    session = session_of()
    transaction = submitted(session)
    no = Reject(transaction.id, Reason.TX_NONCE_USED)
    assert session.answer(0, no, 10) is None
    assert session.answer(0, Ack(transaction.id), 10) is None
    assert session.answer(1, no, 10) is None
    assert session.answer(0, result(transaction), 10) is None
    assert session.answer(0, no, 10) is None
    assert isinstance(session.answer(2, result(transaction), 10), Believed)


def test_a_reason_that_nobody_knows_settles_nothing() -> None:
    """It is as good as silence."""
    session = session_of()
    transaction = submitted(session)
    assert [session.answer(member, Reject(transaction.id, "later.version"), 10) for member in range(4)] == [None] * 4


def test_silent_members_are_asked_again_with_doubling_pauses() -> None:
    """Those who said ACK are left alone until the attempt from which nothing is taken for granted."""
    session = session_of()
    transaction = submitted(session)
    sent(session)
    session.answer(0, Ack(transaction.id), 10)
    asked: list[tuple[int, list[int]]] = []
    for _ in range(6):
        due = session.next_due_ms()
        assert due is not None
        session.tick(due - 1)
        assert sent(session) == {}
        session.tick(due)
        asked.append((due, list(sent(session))))
    pauses = [later - sooner for (sooner, _), (later, _) in pairwise(asked)]
    assert asked[0][0] in range(1000, 1251)
    assert all(2000 <= pause <= 10_000 for pause in pauses)
    assert pauses[0] < pauses[1] <= pauses[2] == pauses[3]
    assert [members for _, members in asked] == [[1, 2, 3]] * 2 + [[0, 1, 2, 3]] * 4


@pytest.mark.covers("A04")
def test_nack_is_asked_again_soon_and_ever_later() -> None:
    """A member without room is given time, more each time."""
    session = session_of()
    transaction = submitted(session)
    sent(session)
    for member in (0, 1, 2):
        session.answer(member, Ack(transaction.id), 0)
    now, pauses = 0, []
    for _ in range(5):
        session.answer(3, Nack(transaction.id, Reason.BUSY), now)
        due = session.next_due_ms()
        assert due is not None
        pauses.append(due - now)
        now = due
        session.tick(now)
        assert 3 in sent(session)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 125
    assert pauses[-1] >= 1000
    assert "the last said busy" in session.progress(transaction.id)


@pytest.mark.parametrize("away_ms", [0, 100_000])
def test_a_member_that_returns_gets_what_it_has_not_settled(away_ms: int) -> None:
    """Also what it had acknowledged: that was another connection, perhaps another life. At once, whether or not the
    others were asked again meanwhile."""
    session = session_of()
    one, two = submitted(session, 1), submitted(session, 2)
    sent(session)
    session.answer(0, Ack(one.id), 10)
    session.answer(0, result(two), 10)
    session.disconnected(0)
    three = submitted(session, 3)
    session.tick(away_ms)
    assert not session.waiting(0)
    session.connected(0, 5, 0)
    assert sent(session)[0] == [one.raw, three.raw]


def test_waiting_asks_for_the_id_and_submitting_takes_over() -> None:
    """WAIT for another's transaction; the same id submitted sends the envelope."""
    session = session_of()
    transaction = session.sign([b"\x01x"], 1, 100)
    session.watch(transaction.id, 0)
    assert session.take(0) == ([], [transaction.id])
    assert session.answer(0, Unknown(transaction.id), 10) is None
    session.submit(transaction, 10)
    session.watch(transaction.id, 10)
    assert session.take(0) == ([transaction.raw], [])
    assert session.take(1) == ([transaction.raw], [])


def test_executed_long_ago_needs_f_plus_1_as_well() -> None:
    """On the same place in the log."""
    session = session_of()
    session.watch(b"n" * 32, 0)
    assert session.answer(0, Forgotten(b"n" * 32, 3, 9), 10) is None
    assert session.answer(1, Forgotten(b"n" * 32, 3, 8), 10) is None
    assert session.answer(2, Forgotten(b"n" * 32, 3, 9), 10) == ExecutedLongAgo(b"n" * 32, 3, 9)


def test_what_nobody_waits_for_is_not_sent_again() -> None:
    """Forgotten: neither queued, nor due, nor believed."""
    session = session_of()
    transaction = submitted(session)
    session.forget(transaction.id)
    assert sent(session) == {}
    assert session.next_due_ms() is None
    assert session.answer(0, result(transaction), 10) is None
    assert session.progress(transaction.id) == "not outstanding"


def test_heights_and_nonces_are_what_a_correct_member_says_at_least() -> None:
    """f members name any number; the (f+1)-th highest is reached by a correct one."""
    session = session_of()
    session.connected(0, 2**63 - 1, 2**62)
    assert (session.height(), session.highest_nonce()) == (5, 0)
    session.connected(1, 9, 4)
    assert (session.height(), session.highest_nonce()) == (9, 4)
    session.saw_height(1, 8)
    assert session.height() == 9
    assert session.sign([b"x"], 1, 2**63 - 1).body.valid_until == 2**63 - 1


def test_frames_are_bounded() -> None:
    """Much to send is many frames, each of about the target's size; order is kept."""
    session = session_of()
    made = [session.sign([b"\x01" + bytes(200_000)], nonce, 100) for nonce in range(1, 12)]
    for transaction in made:
        session.submit(transaction, 0)
    frames = []
    while session.waiting(0):
        frames.append(session.take(0)[0])
    assert [raw for frame in frames for raw in frame] == [transaction.raw for transaction in made]
    assert all(sum(map(len, frame)) < SUBMIT_BYTES_TARGET + 300_000 for frame in frames)
    assert len(frames) == 2


@pytest.mark.covers("A05")
def test_an_envelope_that_could_not_be_taken_is_not_signed() -> None:
    """No operations, too many, too long."""
    session = session_of()
    for operations, reason in (
        ([], Reason.TX_MALFORMED),
        ([b"x"] * 4097, Reason.TX_MALFORMED),
        ([bytes(262_144)], Reason.TX_SIZE),
    ):
        with pytest.raises(Refused) as caught:
            session.sign(operations, 1, 100)
        assert caught.value.reason is reason


@pytest.mark.covers("A07")
@given(st.integers(4, 10), st.data())
def test_f_members_settle_nothing_whatever_they_say(n: int, data: st.DataObject) -> None:
    """Any number of any answers from f members: no outcome; then f+1 correct results are believed all the same."""
    session = session_of(n)
    transaction = submitted(session)
    liars = data.draw(st.permutations(range(n)))[: session.members.f]
    answers: st.SearchStrategy[TransactionAnswer] = st.one_of(
        st.just(Ack(transaction.id)),
        st.builds(lambda code: Reject(transaction.id, code), st.sampled_from([str(reason) for reason in Reason])),
        st.builds(lambda code: Nack(transaction.id, code), st.text(max_size=9)),
        st.builds(lambda value: result(transaction, value), st.binary(max_size=2)),
        st.builds(lambda seq: Forgotten(transaction.id, seq, 0), st.integers(0, 3)),
        st.just(Unknown(transaction.id)),
    )
    for liar, answer in data.draw(st.lists(st.tuples(st.sampled_from(liars), answers), max_size=20)):
        assert session.answer(liar, answer, 10) is None
    correct = [member for member in range(n) if member not in liars][: session.members.some_correct]
    truth = result(transaction, hashlib.sha256(b"truth").digest())
    outcomes = [session.answer(member, truth, 20) for member in correct]
    believed = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(believed[0], Believed)
    assert believed[0].raw == truth.result
