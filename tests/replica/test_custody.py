"""Clients' envelopes: taken once, kept until they are executed, told to the others, answered when they are not."""

import pytest

from bftnode.protocol import limits
from bftnode.protocol.blocks import Block, open_block
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import encode, unpack
from bftnode.protocol.envelope import encode_frame
from bftnode.protocol.errors import Reason
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind, PrePrepare, Relay
from bftnode.replica import pool, sync
from bftnode.replica.sync import RELAYED_BYTES_MAX, RELAYED_MAX
from tests.replica.conversation import STRANGER, Conversation, of_kind, voted


@pytest.mark.covers("A02", "A05", "A06")
def test_what_is_taken_into_custody() -> None:
    """Each envelope is answered at once: taken, or why not."""
    talk = Conversation()
    executed = talk.transaction()
    talk.commit(talk.block((), [executed]))
    fresh = talk.transaction()
    cases = [
        (fresh, None),
        (fresh, None),
        (talk.transaction(nonce=fresh.key[1], data=b"another"), Reason.BUSY),
        (executed, Reason.TX_NONCE_USED),
        (talk.transaction(nonce=0), Reason.TX_NONCE_USED),
        (talk.transaction(nonce=10**6), Reason.TX_NONCE_FAR),
        (talk.transaction(STRANGER), Reason.TX_UNKNOWN_CLIENT),
        (talk.transaction(valid_until=1), Reason.TX_EXPIRED),
    ]
    for transaction, reason in cases:
        talk.submit(transaction)
        assert talk.answers[-1].reason == reason


@pytest.mark.covers("P16", "P22", "N05")
def test_an_envelope_that_waits_is_told_to_the_others() -> None:
    """After half a timeout, and then once a timeout: a RELAY may be lost."""
    talk = Conversation(me=2)
    transaction = talk.transaction()
    talk.submit(transaction)
    assert not of_kind(talk.tick(499), Kind.RELAY)
    (relay,) = of_kind(talk.tick(1), Kind.RELAY)
    assert unpack(relay.frame.payload, 10**6) == (transaction.raw,)
    said = talk.tick(10_000)
    assert 5 <= len(of_kind(said, Kind.RELAY)) <= 12


@pytest.mark.covers("P16", "P22", "A01")
def test_a_relay_is_taken_into_custody() -> None:
    """If it is signed by its client; and the primary orders it."""
    talk = Conversation(me=0)
    good, bad = talk.transaction(), talk.transaction()
    forged = bad.raw[:-1] + bytes((bad.raw[-1] ^ 1,))
    assert not of_kind(talk.hear(3, Kind.RELAY, Relay(0), encode((forged,))), Kind.PRE_PREPARE)
    assert talk.refusals() == [Reason.TX_SIGNATURE]
    assert of_kind(talk.hear(3, Kind.RELAY, Relay(0), encode((good.raw,))), Kind.PRE_PREPARE)
    for payload in (b"", encode(1), encode((1, 2)), encode((good.raw,) * 1000)):
        talk.hear(3, Kind.RELAY, Relay(0), payload)
    assert talk.refusals()[1:] == [Reason.CODEC_MALFORMED, *[Reason.CODEC_TYPE] * 3]


@pytest.mark.covers("P32", "P33")
def test_a_relay_of_what_cannot_be_ordered_costs_no_signature_check() -> None:
    """What is executed, pending or of no client is dropped unverified, however often it is relayed; so a forged one of
    these is not even found out."""
    talk = Conversation(me=2)
    talk.commit(talk.block((), [talk.transaction(nonce=1)]))
    talk.submit(talk.transaction(nonce=2))
    hopeless = [talk.transaction(nonce=1, data=b"again"), talk.transaction(nonce=2, data=b"another")]
    hopeless += [talk.transaction(STRANGER), talk.transaction(nonce=3, valid_until=1)]
    relay = talk.seal(3, Kind.RELAY, Relay(0), encode(tuple(item.raw[:-1] + b"\x00" for item in hopeless)))
    assert not talk.replica.carried(3, encode_frame(relay))
    talk.deliver(relay)
    assert talk.refusals() == []
    good, pending = talk.transaction(nonce=3, valid_until=2), talk.replica.pool.oldest()
    assert pending is not None
    relay = talk.seal(3, Kind.RELAY, Relay(0), encode((good.raw, hopeless[0].raw, pending.raw)))
    assert list(talk.replica.carried(3, encode_frame(relay))) == [good.raw]
    talk.deliver(relay)
    assert talk.replica.pool.known(good.raw) is not None


@pytest.mark.covers("N13", "P33")
def test_a_relay_is_as_long_as_is_allowed() -> None:
    """In envelopes and in bytes; one more of either is refused before any is looked at."""
    talk = Conversation(me=2)
    good = talk.transaction()
    talk.hear(3, Kind.RELAY, Relay(0), encode((good.raw,) * RELAYED_MAX))
    assert talk.refusals() == []
    talk.hear(3, Kind.RELAY, Relay(0), encode((good.raw,) * (RELAYED_MAX + 1)))
    assert talk.refusals() == [Reason.CODEC_TYPE]
    most = RELAYED_BYTES_MAX + 16 * RELAYED_MAX
    around = len(encode((bytes(most),))) - most
    sizes = [len(encode((bytes(most - around + more),))) - most for more in (0, 1)]
    assert sizes == [0, 1]
    talk = Conversation(me=2)
    for more in (0, 1):
        talk.hear(3, Kind.RELAY, Relay(0), encode((bytes(most - around + more),)))
    assert talk.refusals()[1] == Reason.CODEC_SIZE
    assert talk.refusals()[0] != Reason.CODEC_SIZE


@pytest.mark.covers("P32", "P33", "N13")
def test_envelopes_of_a_proposal_that_is_not_looked_at_are_not_verified() -> None:
    """Whose view it is not, whose height is decided, accepted or far off, and what is too long: a member could stuff
    such frames with envelopes of the log, seconds of checks in each."""
    talk = Conversation(me=2, parameters=Parameters(block_transactions_max=2))
    blocks = talk.chain(40)
    talk.commit(blocks[0])
    talk.propose(blocks[1])

    def carried(block: Block, link: int = 0, view: int = 0) -> int:
        frame = talk.seal(link, Kind.PRE_PREPARE, PrePrepare(0, view, block.header_raw), block.payload)
        return len(talk.replica.carried(link, encode_frame(frame)))

    window = talk.members.parameters.window
    assert [carried(blocks[seq - 1]) for seq in (1, 2, 3, 1 + 2 * window)] == [0, 0, 1, 1]
    assert carried(blocks[1 + 2 * window]) == 0
    assert carried(blocks[2], link=1) == 0
    assert carried(talk.block(blocks[:2], view=1), link=1, view=1) == 0
    crowded = talk.block(blocks[:2], [talk.transaction() for _ in range(3)])
    assert carried(crowded) == 0
    talk.propose(blocks[3])  # waits for its parent
    assert carried(blocks[3]) == 0
    talk.deliver(talk.seal(3, Kind.RELAY, Relay(0), b"nonsense"))
    for nonsense in (b"", b"\x97" + bytes((Kind.RELAY,))):
        assert not talk.replica.carried(3, nonsense)


@pytest.mark.covers("P22", "N05", "N02")
def test_following_the_others_does_not_stop_a_relay() -> None:
    """Blocks that come by votes alone, without a proposal, restart no clock of a client that waits."""
    talk = Conversation(me=3)
    talk.submit(talk.transaction(client=1))
    blocks = []
    said = []
    for _ in range(4):
        said += talk.tick(200)
        blocks.append(talk.block(blocks))
        talk.votes(3, (0, 1, 2), blocks[-1])
        talk.answer_block(0, blocks[-1])
    assert talk.height == 4
    assert len(of_kind(said, Kind.RELAY)) == 1


@pytest.mark.covers("A01")
def test_two_envelopes_under_one_nonce() -> None:
    """The one that is not ordered can never be: its client hears so, and the replica forgets it."""
    talk = Conversation()
    mine, theirs = talk.transaction(nonce=1, data=b"mine"), talk.transaction(nonce=1, data=b"theirs")
    talk.submit(mine)
    block = talk.block((), [theirs])
    assert voted(talk.propose(block), PREPARE), "the primary may have seen the other one first"
    talk.commit(block)
    assert len(talk.replica.pool) == 0
    assert (talk.answers[-1].transaction, talk.answers[-1].reason) == (mine, Reason.TX_NONCE_USED)


@pytest.mark.covers("A05", "P22")
def test_an_expired_envelope_is_let_go() -> None:
    """It can never be executed any more, so nobody waits for it, and the primary is not blamed."""
    talk = Conversation(me=2)
    talk.submit(talk.transaction(client=1, valid_until=1))
    talk.commit(talk.block())
    assert talk.answers[-1].reason == Reason.TX_EXPIRED
    assert not of_kind(talk.tick(20_000), Kind.VIEW_CHANGE)


def test_a_primary_does_not_propose_what_has_expired_meanwhile() -> None:
    """It was in time when it came, and its last height was another's. A backup would refuse the whole block."""
    talk = Conversation(me=0)
    (proposed,) = of_kind(talk.submit(talk.transaction()), Kind.PRE_PREPARE)
    assert isinstance(proposed.body, PrePrepare)
    late, good = talk.transaction(client=1, valid_until=1), talk.transaction()
    talk.submit(late, good)
    block = open_block(proposed.body.header, proposed.frame.payload)
    said = [*talk.votes(PREPARE, (1, 2), block), *talk.votes(COMMIT, (1, 2), block)]
    assert talk.height == 1
    (following,) = of_kind(said, Kind.PRE_PREPARE)
    assert unpack(following.frame.payload, 10**6) == (good.raw,)


@pytest.mark.covers("A03", "A04", "P32")
def test_custody_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, by bytes, by client; beyond that the answer is BUSY, and what is there stays."""
    monkeypatch.setattr(pool, "PENDING_MAX", 4)
    monkeypatch.setattr(pool, "PENDING_CLIENT_MAX", 3)
    talk = Conversation(me=2)
    for _ in range(3):
        talk.submit(talk.transaction())
    talk.submit(talk.transaction())
    assert talk.answers[-1].reason == Reason.BUSY
    talk.submit(talk.transaction(client=1))
    assert talk.answers[-1].reason is None
    talk.submit(talk.transaction(client=1))
    assert talk.answers[-1].reason == Reason.BUSY
    monkeypatch.setattr(pool, "PENDING_MAX", 100)
    monkeypatch.setattr(pool, "PENDING_BYTES_MAX", 1000)
    talk.submit(talk.transaction(client=1, data=bytes(900)))
    assert talk.answers[-1].reason == Reason.BUSY
    assert len(talk.replica.pool) == 4


@pytest.mark.covers("A03", "A04")
def test_room_comes_back_with_what_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much was in custody before: the bounds are of what is in it."""
    monkeypatch.setattr(pool, "PENDING_BYTES_MAX", 2000)
    monkeypatch.setattr(pool, "PENDING_CLIENT_MAX", 1)
    talk = Conversation(me=2)
    blocks: list[Block] = []
    for _ in range(5):
        transaction = talk.transaction(data=bytes(900))
        talk.submit(transaction)
        assert talk.answers[-1].reason is None
        blocks.append(talk.block(blocks, [transaction]))
        talk.commit(blocks[-1])
    assert len(talk.replica.pool) == 0


@pytest.mark.covers("P22", "D01")
def test_custody_survives_a_crash_with_its_block() -> None:
    """An envelope in an accepted block is known after a restart, and its timer runs."""
    talk = Conversation(me=2)
    transaction = talk.transaction()
    talk.propose(talk.block((), [transaction]))
    talk.restart()
    assert talk.replica.pool.known(transaction.raw) is not None
    assert of_kind(talk.tick(1500), Kind.VIEW_CHANGE)


def test_what_is_held_is_known_by_its_id() -> None:
    """Until it is executed."""
    talk = Conversation()
    transaction = talk.transaction()
    assert not talk.replica.pool.holds(transaction.id)
    talk.submit(transaction)
    assert talk.replica.pool.holds(transaction.id)
    talk.commit(talk.block((), [transaction]))
    assert not talk.replica.pool.holds(transaction.id)


def test_as_much_as_a_block_may_hold_is_verified_beforehand() -> None:
    """So many envelopes, and so many bytes beside 16 for their number, on top of the head; not one more."""
    most = 2 * limits.TRANSACTION_BYTES_MAX
    talk = Conversation(me=2, parameters=Parameters(block_transactions_max=2, block_bytes_max=most))

    def carried(payload: bytes) -> int:
        body = PrePrepare(0, 0, talk.block().header_raw)
        return len(talk.replica.carried(0, encode_frame(talk.seal(0, Kind.PRE_PREPARE, body, payload))))

    assert [carried(encode((b"x",) * count)) for count in (1, 2, 3)] == [1, 2, 0]
    beside = len(encode((bytes(most),))) - most
    sizes = [most + 16 - beside + more for more in (-1, 0, 1)]
    assert [len(encode((bytes(size),))) - most for size in sizes] == [15, 16, 17]
    assert [carried(encode((bytes(size),))) for size in sizes] == [1, 1, 0]


@pytest.mark.covers("A04", "P16")
def test_so_many_envelopes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest."""
    monkeypatch.setattr(sync, "RELAYED_MAX", 2)
    talk = Conversation(me=2)
    waiting = [talk.transaction() for _ in range(3)]
    talk.submit(*waiting)
    (relay,) = of_kind(talk.tick(500), Kind.RELAY)
    assert unpack(relay.frame.payload, 10**6) == tuple(item.raw for item in waiting[:2])
