"""A client that lies is heard, or the play fails: no word of it can be silent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bftnode.api.backend import Subscriber
from bftnode.apps import kv
from bftnode.apps.execution import application_operation
from bftnode.protocol import client_messages as cm
from bftnode.protocol.ed25519 import public_key_of, signer, verify
from bftnode.protocol.errors import Reason
from bftnode.protocol.transactions import Transaction, TransactionBody, open_transaction, sign_transaction
from simulations.script import Script, Step
from tests.api.town import (
    ADMINISTRATOR,
    GarbageBackend,
    MemoryBackend,
    RejectingBackend,
    Running,
    SilentBackend,
    Town,
    running,
)
from theatre import liar_client
from theatre.lies import LIES
from theatre.play import RealPlay
from theatre.troupe import Failed


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"))


def envelope(town: Town, nonce: int, value: bytes = b"v") -> Transaction:
    operation = application_operation(kv.put(b"k", value))
    body = TransactionBody(town.genesis.chain_id(), public_key_of(ADMINISTRATOR), nonce, 1000, (operation,))
    return sign_transaction(body, signer(ADMINISTRATOR))


async def test_whatever_it_is_told_reaches_the_member_of_its_choice(town: Town) -> None:
    """Two envelopes of one nonce, three times: each is answered, and nobody else has heard of them."""
    async with running(town) as cluster:
        one, other = envelope(town, 1, b"this"), envelope(town, 1, b"that")
        told = await liar_client.tell(cluster.genesis, ADMINISTRATOR, 2, [one.raw, other.raw], rounds=3)
        assert [answer.transaction for answer in told] == [one.id, other.id]
        assert cluster.backend(2).submitted == 3 * [[one.raw, other.raw]]
        assert cluster.backend(1).submitted == []


async def test_its_last_word_is_the_outcome_where_that_is_asked_for(town: Town) -> None:
    """ACK first; `final` waits for what follows it."""
    async with running(town) as cluster:
        one, other = envelope(town, 1), envelope(town, 2)
        (first,) = await liar_client.tell(cluster.genesis, ADMINISTRATOR, 0, [one.raw])
        (last,) = await liar_client.tell(cluster.genesis, ADMINISTRATOR, 0, [other.raw], final=True)
        assert (type(first), type(last)) == (cm.Ack, cm.Result)


@pytest.mark.parametrize(
    ("kind", "words"), [(SilentBackend, "n1 did not answer"), (GarbageBackend, "n1 did not listen")]
)
async def test_a_member_that_a_lie_silences_fails_the_play(
    town: Town, kind: type[MemoryBackend], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers each envelope, in time and in words that can be read."""
    monkeypatch.setattr(liar_client, "ANSWER_S", 0.5)
    async with running(town, kinds={1: kind}) as cluster:
        with pytest.raises(Failed, match=words):
            await liar_client.tell(cluster.genesis, ADMINISTRATOR, 1, [envelope(town, 1).raw])


async def test_a_lie_to_a_member_that_is_not_there_or_to_a_stranger_fails_the_play(town: Town) -> None:
    """Nobody listens at its address; or it does not admit the key."""
    async with running(town, down=(3,)) as cluster:
        with pytest.raises(Failed, match="n3 did not listen"):
            await liar_client.tell(cluster.genesis, ADMINISTRATOR, 3, [envelope(town, 1).raw])
        with pytest.raises(Failed, match="n0 does not admit the lying client"):
            await liar_client.tell(cluster.genesis, bytes(32), 0, [envelope(town, 1).raw])


# ---- the words


@asynccontextmanager
async def played(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: dict[int, type[MemoryBackend]]
) -> AsyncIterator[tuple[RealPlay, Running]]:
    """A play whose members are the town's; its application knows no operation of the theatre's."""
    script = Script(story="Lies.", covers=(), step=())
    play = RealPlay(script, tmp_path, lambda seconds, line: None)
    try:
        async with running(town, kinds=kinds) as cluster:
            play.troupe.genesis = cluster.genesis
            play.seeds = [ADMINISTRATOR]
            monkeypatch.setattr(play.troupe, "is_up", lambda member: True)
            monkeypatch.setattr(liar_client, "ANSWER_S", 1.0)
            yield play, cluster
    finally:
        play.troupe.close()


def failures(error: BaseException) -> list[str]:
    """Those in groups too."""
    if isinstance(error, BaseExceptionGroup):
        return [words for one in error.exceptions for words in failures(one)]
    return [str(error)]


@pytest.mark.covers("A01", "A03", "A04", "A06")
@pytest.mark.parametrize("word", list(LIES))
async def test_a_word_whose_lie_nobody_hears_fails(word: str, tmp_path: Path) -> None:
    """All members are down."""
    play = RealPlay(Script(story="Lies.", covers=(), step=()), tmp_path, lambda seconds, line: None)
    play.signed[0] = [envelope_of(play)]
    try:
        with pytest.raises((Failed, ExceptionGroup)) as caught:
            await LIES[word](play, Step(at_ms=0, do=word, members=(0, 1)))
    finally:
        play.troupe.close()
    assert failures(caught.value) == ["a lie for n0, n1 that nobody can hear"]


def envelope_of(play: RealPlay) -> Transaction:
    body = TransactionBody(play.troupe.genesis.chain_id(), public_key_of(play.seeds[0]), 1, 1000, (b"\x01",))
    return sign_transaction(body, signer(play.seeds[0]))


@pytest.mark.parametrize("word", list(LIES))
async def test_a_word_fails_where_one_member_does_not_answer(
    word: str, town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them speaks to each of those whom it names."""
    async with played(town, tmp_path, monkeypatch, {2: SilentBackend}) as (play, cluster):
        play.signed[0] = [envelope(town, 1)]
        with pytest.raises(ExceptionGroup) as caught:
            await LIES[word](play, Step(at_ms=0, do=word, members=(2,), to=(3,)))
        assert "n2 did not answer a lying client in 1 s" in failures(caught.value)
        assert cluster.backend(2).submitted


class CredulousBackend(MemoryBackend):
    """Takes whatever it is given."""

    def take(self, raw: bytes, subscriber: Subscriber) -> bool:
        self.say(subscriber, cm.Ack(cm.envelope_id(raw)))
        self.say(subscriber, cm.Result(cm.envelope_id(raw), b""))
        return False


class PatientBackend(MemoryBackend):
    """Rejects what is senseless and what is forged, and leaves it at that."""

    def take(self, raw: bytes, subscriber: Subscriber) -> bool:
        transaction = open_transaction(raw, self.ledger.members.chain_id)
        if transaction.body.operations[0].startswith(b"\x7f") or not transaction.signature_valid(verify):
            self.say(subscriber, cm.Reject(transaction.id, str(Reason.TX_SIGNATURE)))
            return True
        self.say(subscriber, cm.Result(transaction.id, b""))
        return False


@pytest.mark.parametrize(("word", "told"), [("jump nonce", "Ack"), ("half-valid", "Result")])
async def test_a_lie_that_is_let_in_fails_the_play(
    word: str, told: str, town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nonces far beyond the window, forged signatures and senseless operations are for no door."""
    async with played(town, tmp_path, monkeypatch, {1: CredulousBackend}) as (play, _):
        with pytest.raises(ExceptionGroup) as caught:
            await LIES[word](play, Step(at_ms=0, do=word, members=(1,)))
        assert f"with {told}, not Reject" in failures(caught.value)[0]


async def test_half_valid_fails_where_a_forger_is_listened_to(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong signature ends its connection."""
    async with played(town, tmp_path, monkeypatch, {1: PatientBackend}) as (play, _):
        with pytest.raises(ExceptionGroup) as caught:
            await LIES["half-valid"](play, Step(at_ms=0, do="half-valid", members=(1,)))
        assert failures(caught.value) == ["n1 goes on listening to a client that forges"]


async def test_half_valid_fails_where_the_good_half_is_refused(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that says no to everything has been fooled."""
    async with played(town, tmp_path, monkeypatch, {1: RejectingBackend}) as (play, _):
        with pytest.raises(ExceptionGroup) as caught:
            await LIES["half-valid"](play, Step(at_ms=0, do="half-valid", members=(1,)))
        assert "with Reject, not Result" in failures(caught.value)[0]


async def test_a_storm_before_anything_was_submitted_or_without_end_fails(tmp_path: Path) -> None:
    """There is nothing to repeat; and what there is, is repeated so often and no more."""
    play = RealPlay(Script(story="Lies.", covers=(), step=()), tmp_path, lambda seconds, line: None)
    try:
        with pytest.raises(Failed, match="nothing has been submitted"):
            await LIES["storm"](play, Step(at_ms=0, do="storm"))
        play.signed[0] = [envelope_of(play)]
        with pytest.raises(Failed, match="1000 at most"):
            await LIES["storm"](play, Step(at_ms=0, do="storm", count=1001))
    finally:
        play.troupe.close()
