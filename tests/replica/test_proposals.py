"""What a backup accepts from a primary, what it refuses, and what a primary proposes."""

from functools import partial
from itertools import permutations

import pytest

from bftnode.apps.execution import ADMIT, REMOVE, SystemOperation, application_operation, system_operation
from bftnode.apps.log import append
from bftnode.protocol.blocks import open_block, open_header
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import unpack
from bftnode.protocol.errors import Reason
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind, PrePrepare
from bftnode.protocol.nonces import CLIENT
from bftnode.protocol.transactions import Transaction, TransactionBody, open_transaction, sign_transaction
from bftnode.replica import agreement
from tests.replica.conversation import CHAIN, STRANGER, Conversation, of_kind, voted


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10, 31])
def test_the_normal_case(n: int) -> None:
    """PRE-PREPARE, q PREPAREs, q COMMITs; each answered at once, nothing before its time."""
    talk = Conversation(n)
    block = talk.block()
    assert voted(talk.propose(block), PREPARE) == [(0, 1, block.hash)]
    others = talk.others()
    said = talk.votes(PREPARE, others[: talk.quorum - 2], block)
    assert not voted(said, COMMIT), "one PREPARE less than a quorum"
    assert voted(talk.vote(PREPARE, others[talk.quorum - 2], block), COMMIT) == [(0, 1, block.hash)]
    talk.votes(COMMIT, others[: talk.quorum - 2], block)
    assert talk.height == 0
    talk.vote(COMMIT, others[talk.quorum - 2], block)
    assert talk.height == 1


@pytest.mark.covers("N15")
def test_any_order_of_one_instance() -> None:
    """Votes may come before the proposal and commits before prepares: the same in the end, in all 120 orders."""
    for order in permutations(range(5)):
        talk = Conversation()
        block = talk.block()
        steps = [
            partial(talk.propose, block),
            partial(talk.vote, PREPARE, 0, block),
            partial(talk.vote, PREPARE, 2, block),
            partial(talk.vote, COMMIT, 0, block),
            partial(talk.vote, COMMIT, 2, block),
        ]
        for index in order:
            steps[index]()
        assert talk.height == 1, order
        assert voted(talk.said, COMMIT) == [(0, 1, block.hash)], order


@pytest.mark.covers("N10")
def test_only_the_primary_proposes() -> None:
    """A block of a backup, or of another view than its PRE-PREPARE says, is refused."""
    talk = Conversation()
    assert not talk.propose(talk.block(proposer=2), sender=2)
    assert talk.refusals() == [Reason.NOT_PRIMARY]
    assert not talk.propose(talk.block(proposer=2))
    assert not talk.propose(talk.block(view=4, proposer=0))
    assert talk.refusals()[1:] == [Reason.BAD_BLOCK, Reason.BAD_BLOCK]


@pytest.mark.covers("N08", "N18")
def test_the_body_is_the_one_that_the_header_names() -> None:
    """Another body, or none, is refused; and then the right one is accepted."""
    talk = Conversation()
    block, other = talk.block(), talk.block()
    body = PrePrepare(0, 0, block.header_raw)
    assert not talk.hear(0, Kind.PRE_PREPARE, body, other.payload)
    assert not talk.hear(0, Kind.PRE_PREPARE, body)
    assert len(talk.refusals()) == 2
    assert voted(talk.propose(block), PREPARE)


@pytest.mark.covers("N08", "N09", "N16", "P35", "C12")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chain_id": bytes(32)}, Reason.BAD_BLOCK),
        ({"epoch": 1}, Reason.BAD_BLOCK),
        ({"parent": bytes(32)}, Reason.BAD_BLOCK),
        ({"log_size": 2}, Reason.BAD_BLOCK),
        ({"log_root": bytes(32)}, Reason.BAD_BLOCK),
        ({"time_ms": 10**12}, Reason.BAD_TIME),
        ({"seq": 17}, Reason.OUT_OF_WINDOW),
        ({"seq": 10**6}, Reason.OUT_OF_WINDOW),
    ],
)
def test_a_header_that_is_wrong_is_refused(changes: dict[str, object], reason: Reason) -> None:
    """Each field that could be wrong, one at a time; the right block is accepted afterwards."""
    talk = Conversation()
    assert not talk.propose(talk.block(**changes))
    assert talk.refusals() == [reason]
    assert voted(talk.propose(talk.block()), PREPARE)


@pytest.mark.covers("N16", "T02")
def test_time_does_not_go_back() -> None:
    """A block whose time is before its parent's is refused; the same time is fine."""
    talk = Conversation()
    first = talk.block()
    talk.propose(first)
    assert not talk.propose(talk.block([first], time_ms=first.header.time_ms - 1))
    assert talk.refusals() == [Reason.BAD_TIME]
    assert voted(talk.propose(talk.block([first], time_ms=first.header.time_ms)), PREPARE)


def test_a_block_may_be_ahead_by_the_skew_and_no_more() -> None:
    """Of this member's clock, to the millisecond."""
    talk = Conversation(me=2)
    latest = talk.wall_ms + talk.members.parameters.clock_skew_ms
    assert not talk.propose(talk.block(time_ms=latest + 1))
    assert talk.refusals() == [Reason.BAD_TIME]
    assert voted(talk.propose(talk.block(time_ms=latest)), PREPARE)


def test_a_primary_whose_clock_is_set_back_proposes_the_time_of_the_block_before() -> None:
    """Its block would be refused by everybody."""
    talk = Conversation(me=0)
    (first,) = of_kind(talk.submit(talk.transaction()), Kind.PRE_PREPARE)
    assert isinstance(first.body, PrePrepare)
    block = open_block(first.body.header, first.frame.payload)
    talk.wall_ms -= 60_000
    said = [*talk.votes(PREPARE, (1, 2), block), *talk.votes(COMMIT, (1, 2), block), *talk.submit(talk.transaction())]
    (second,) = of_kind(said, Kind.PRE_PREPARE)
    assert isinstance(second.body, PrePrepare)
    assert open_header(second.body.header).time_ms == block.header.time_ms


@pytest.mark.covers("N07", "N17", "N20", "N22", "A02")
def test_envelopes_that_must_not_be_in_a_block() -> None:
    """Unsigned, of a stranger, expired, twice in it, executed before: no vote for any of them, nor for an empty one."""
    talk = Conversation()
    first = talk.block()
    talk.commit(first)
    good, executed = talk.transaction(), talk.transaction(nonce=1)
    forged = bytearray(good.raw)
    forged[-1] ^= 1
    unsigned = talk.transaction(data=b"y")
    unsigned.raw = bytes(forged)
    cases = [
        ([unsigned], Reason.TX_SIGNATURE),
        ([talk.transaction(STRANGER)], Reason.TX_UNKNOWN_CLIENT),
        ([talk.transaction(valid_until=1)], Reason.TX_EXPIRED),
        ([good, good], Reason.TX_NONCE_USED),
        ([executed], Reason.TX_NONCE_USED),
        ([], Reason.BAD_BLOCK_SIZE),
    ]
    for transactions, reason in cases:
        assert not talk.propose(talk.block([first], transactions)), reason
        assert talk.refusals()[-1] == reason
    assert voted(talk.propose(talk.block([first], [good])), PREPARE)


@pytest.mark.covers("N20")
def test_a_rejected_envelope_that_comes_again_waits_for_its_rejection() -> None:
    """How far this replica has executed does not decide: a nonce in flight may turn out to be unused (seed 91728)."""
    talk = Conversation()
    far = talk.transaction(nonce=100_000)
    first = talk.block((), [far])
    talk.propose(first)
    second = talk.block([first], [talk.transaction(nonce=100_000, data=b"again")])
    assert not talk.propose(second), "not yet: the first is not executed here"
    assert not talk.refusals()
    talk.votes(PREPARE, (0, 2), first)
    said = [*talk.vote(COMMIT, 0, first), *talk.vote(COMMIT, 2, first)]
    assert talk.height == 1
    assert voted(said, PREPARE) == [(0, 2, second.hash)], "it was rejected as too far ahead, so it may come again"


@pytest.mark.covers("N09", "P35")
def test_proposals_are_accepted_in_order() -> None:
    """The second waits for the first, within the window; beyond two windows nothing is kept."""
    talk = Conversation()
    blocks = talk.chain(3)
    assert not talk.propose(blocks[2])
    assert not talk.propose(blocks[1])
    assert [seq for _, seq, _ in voted(talk.propose(blocks[0]), PREPARE)] == [1, 2, 3]


@pytest.mark.covers("N14", "N13")
def test_late_and_early_proposals_cost_nothing() -> None:
    """Of a decided height, of an older view, of a view to come: no word, no accusation, nothing kept."""
    talk = Conversation()
    first = talk.block()
    talk.commit(first)
    assert not talk.propose(first)
    assert not talk.propose(talk.block([first], view=2), view=2)
    assert not talk.replica.agreement._proposals.waiting
    assert not talk.accused


@pytest.mark.covers("N01")
def test_two_proposals_for_one_height_are_evidence() -> None:
    """The first is voted for, the second is proof against the primary; its vote stays the only one."""
    talk = Conversation()
    one, two = talk.block(), talk.block()
    talk.propose(one)
    said = talk.propose(two)
    assert not voted(said, PREPARE)
    assert [accuse.culprit for accuse in talk.accused] == [0]
    assert len(of_kind(said, Kind.EVIDENCE)) == 1
    assert not talk.propose(talk.block()), "said once"


def test_a_primary_proposes_what_is_pending() -> None:
    """At once when it is idle, with the log that follows, and a PREPARE of its own."""
    talk = Conversation(me=0)
    envelope = talk.transaction()
    said = talk.submit(envelope)
    assert [item.frame.kind for item in said] == [Kind.PRE_PREPARE, Kind.PREPARE]
    assert talk.answers[-1].reason is None
    assert not of_kind(talk.submit(talk.transaction()), Kind.PRE_PREPARE), "a small one waits for the block in flight"


def test_an_idle_primary_proposes_nothing() -> None:
    """No empty blocks, however long nobody wants anything."""
    talk = Conversation(me=0)
    assert not of_kind(talk.tick(60_000), Kind.PRE_PREPARE)


def test_a_primary_keeps_to_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many blocks in flight and not one more, until one commits."""
    monkeypatch.setattr(agreement, "PIPELINE_TRANSACTIONS", 1)
    talk = Conversation(me=0, parameters=Parameters(window=2, block_transactions_max=1))
    said = talk.submit(*[talk.transaction() for _ in range(5)])
    proposed = of_kind(said, Kind.PRE_PREPARE)
    assert len(proposed) == 2
    block = talk.replica.chain.get(talk.replica.agreement.accepted[1])
    assert block is not None
    talk.votes(PREPARE, (1, 2), block.block)
    assert len(of_kind(talk.votes(COMMIT, (1, 2), block.block), Kind.PRE_PREPARE)) == 1


def test_a_primary_proposes_nothing_that_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each envelope is in one block, in order of arrival. A backup would let a second one wait for the first."""
    monkeypatch.setattr(agreement, "PIPELINE_TRANSACTIONS", 1)
    talk = Conversation(me=0, parameters=Parameters(block_transactions_max=2))
    envelopes = [talk.transaction() for _ in range(6)]
    said = talk.submit(*envelopes)
    proposed = [unpack(item.frame.payload, 10**6) for item in of_kind(said, Kind.PRE_PREPARE)]
    assert proposed == [tuple(item.raw for item in envelopes[at : at + 2]) for at in (0, 2, 4)]


@pytest.mark.covers("P13", "O02")
def test_a_primary_that_restarts_does_not_propose_twice() -> None:
    """It goes on above what it proposed, whatever it is asked to order."""
    talk = Conversation(me=0)
    (proposed, _) = talk.submit(talk.transaction())
    talk.restart()
    said = [*talk.submit(talk.transaction(nonce=7)), *talk.tick(900)]
    for item in of_kind(said, Kind.PRE_PREPARE):
        assert isinstance(item.body, PrePrepare)
        assert item.body == proposed.body, "the same block again, or none"
    assert talk.replica.agreement.tip.block.seq == 1


@pytest.mark.covers("N01", "O12")
def test_two_proposals_that_wait_for_their_parent_are_evidence_too() -> None:
    """Neither was accepted yet."""
    talk = Conversation()
    parent = talk.block()
    for block in (talk.block([parent]), talk.block([parent])):
        talk.propose(block)
    (accuse,) = talk.accused
    assert (accuse.culprit, accuse.proved) == (0, "two PRE-PREPAREs for different blocks at view 0, height 2")


def test_what_is_decided_is_no_proposal_any_more() -> None:
    """Accepted or waiting, up to the height that is committed."""
    talk = Conversation()
    blocks = talk.chain(3)
    for block in (blocks[0], blocks[2]):
        talk.propose(block)
    proposals = talk.replica.agreement._proposals
    assert (list(proposals._accepted), list(proposals._waiting)) == ([1], [3])
    talk.votes(PREPARE, (0, 2), blocks[0])
    talk.votes(COMMIT, (0, 2), blocks[0])
    assert (list(proposals._accepted), list(proposals._waiting)) == ([], [3])


@pytest.mark.covers("A05")
def test_an_envelope_may_be_in_its_last_block() -> None:
    """At the height that it names, and not above it."""
    talk = Conversation()
    first = talk.block()
    talk.commit(first)
    assert voted(talk.propose(talk.block([first], [talk.transaction(valid_until=2)])), PREPARE)


@pytest.mark.covers("P32")
def test_an_envelope_in_custody_is_not_opened_again() -> None:
    """Its signature was checked when it came."""
    talk = Conversation()
    known = talk.transaction()
    talk.submit(known)
    opened: list[bytes] = []
    proposals, parent = talk.replica.agreement._proposals, talk.replica.chain.head

    def open_envelope(raw: bytes) -> Transaction:
        opened.append(raw)
        return open_transaction(raw, CHAIN)

    fresh = talk.transaction()
    block = talk.block((), [known, fresh])
    assert proposals._open_transactions(block, parent.block.seq, open_envelope) == (known, fresh)
    assert opened == [fresh.raw]


@pytest.mark.covers("N22")
def test_a_stranger_may_have_been_admitted_by_what_is_not_executed_yet() -> None:
    """So its envelope is waited with, and refused once it is known that it was not."""
    talk = Conversation()
    first = talk.block()
    talk.propose(first)
    second = talk.block([first], [talk.transaction(STRANGER)])
    assert not voted(talk.propose(second), PREPARE)
    assert talk.refusals() == []
    talk.votes(PREPARE, (0, 2), first)
    talk.votes(COMMIT, (0, 2), first)
    assert talk.refusals() == [Reason.TX_UNKNOWN_CLIENT]


@pytest.mark.covers("N22", "A02")
def test_a_client_is_admitted_and_removed_by_what_is_executed() -> None:
    """From the next block on: what it sends is taken, and what waits of it is let go."""
    talk = Conversation()

    def ordered(action: int, role: int) -> None:
        operation = system_operation(SystemOperation(action, talk.keyring.clients[STRANGER], role))
        body = TransactionBody(CHAIN, talk.keyring.clients[0], talk.transaction().key[1], 10**6, (operation,))
        blocks = [block for block, _ in talk.disk.log[1:]]
        talk.commit(talk.block(blocks, [sign_transaction(body, talk.keyring.client_signer(0))]))

    talk.submit(talk.transaction(STRANGER))
    assert talk.answers[-1].reason == Reason.TX_UNKNOWN_CLIENT
    ordered(ADMIT, CLIENT)
    waits = talk.transaction(STRANGER)
    talk.submit(waits)
    assert talk.answers[-1].reason is None
    ordered(REMOVE, 0)
    assert (talk.answers[-1].transaction, talk.answers[-1].reason) == (waits, Reason.TX_UNKNOWN_CLIENT)
    talk.submit(talk.transaction(STRANGER))
    assert talk.answers[-1].reason == Reason.TX_UNKNOWN_CLIENT
    ordered(ADMIT, CLIENT)
    talk.submit(talk.transaction(STRANGER))
    assert talk.answers[-1].reason is None


@pytest.mark.covers("A05", "P22")
def test_what_waits_is_let_go_when_no_block_can_take_it_any_more() -> None:
    """Not before; and its client hears why."""
    talk = Conversation(me=2)
    waits = talk.transaction(client=1, valid_until=2)
    talk.submit(waits)
    for height in (1, 2):
        assert not [item for item in talk.answers if item.reason == Reason.TX_EXPIRED], height
        talk.commit(talk.block([block for block, _ in talk.disk.log[1:]]))
    assert (talk.answers[-1].transaction, talk.answers[-1].reason) == (waits, Reason.TX_EXPIRED)
    assert talk.replica.pool.oldest_since_ms == talk.now_ms


@pytest.mark.covers("N13", "N14")
def test_a_proposal_is_kept_once_and_two_windows_ahead() -> None:
    """One more is refused; the same one again is nothing."""
    talk = Conversation()
    blocks = talk.chain(2 * talk.members.parameters.window + 1)
    proposals = talk.replica.agreement._proposals
    for block in (blocks[0], blocks[0], blocks[-2], blocks[-2]):
        talk.propose(block)
    assert (list(proposals._accepted), list(proposals._waiting)) == ([1], [blocks[-2].seq])
    assert talk.refusals() == []
    talk.propose(blocks[-1])
    assert talk.refusals() == [Reason.OUT_OF_WINDOW]
    assert not talk.accused


@pytest.mark.covers("N20")
def test_a_body_that_is_too_long_is_refused_before_it_is_opened() -> None:
    """So many bytes of envelopes, and 16 beside them for their number."""
    talk = Conversation()
    header, most = talk.block().header_raw, talk.members.parameters.block_bytes_max
    for more in (16, 17):
        talk.hear(0, Kind.PRE_PREPARE, PrePrepare(0, 0, header), bytes(most + more))
    assert talk.refusals() == [Reason.CODEC_MALFORMED, Reason.BAD_BLOCK_SIZE]


def test_one_operation_among_others_may_change_who_the_clients_are() -> None:
    """Nothing is proposed above a block that holds one, wherever it stands in its envelope (decision 003)."""
    application = application_operation(append(b"x"))
    system = system_operation(SystemOperation(ADMIT, Conversation().keyring.clients[STRANGER], CLIENT))
    for operations, expected in (
        ((application,), False),
        ((application, application), False),
        ((system,), True),
        ((application, system), True),
        ((system, application), True),
    ):
        talk = Conversation()
        body = TransactionBody(CHAIN, talk.keyring.clients[0], 1, 10**6, operations)
        talk.propose(talk.block((), [sign_transaction(body, talk.keyring.client_signer(0))]))
        assert talk.replica.agreement.tip.block.seq == 1
        assert talk.replica.agreement.blocked is expected
