"""A PREPARE may leave before it is durable; who may have forgotten one abstains (decision 009)."""

import pytest

from bftnode.protocol.blocks import open_block, open_header
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind
from bftnode.replica.effects import Effect, Persist
from bftnode.replica.events import Stopping
from bftnode.replica.position import Quarantine
from tests.replica.conversation import Conversation, of_kind, voted

WINDOW = 4


def conversation(me: int = 1) -> Conversation:
    return Conversation(me=me, parameters=Parameters(window=WINDOW, checkpoint_interval=1000))


def promises(effects: list[Effect]) -> list[str]:
    """What must be durable before anything of the turn is said."""
    return [effect.name for effect in effects if isinstance(effect, Persist) and not effect.behind]


@pytest.mark.covers("P13")
def test_a_commit_waits_for_the_disk_and_a_prepare_within_a_window_of_it_does_not() -> None:
    """A window above the last COMMIT, and above the base where there is none; beyond it a PREPARE waits as well."""
    talk = conversation()
    blocks = talk.chain(2 * WINDOW)
    for block in blocks[: WINDOW - 1]:
        assert "prepare" not in promises(talk.effects_of(talk.propose, block))
    # The others commit three heights; this replica hears their COMMITs alone, and casts none of its own.
    for block in blocks[: WINDOW - 1]:
        talk.votes(COMMIT, [0, 2, 3], block)
    assert talk.height == WINDOW - 1
    assert "prepare" not in promises(talk.effects_of(talk.propose, blocks[WINDOW - 1]))
    assert "prepare" in promises(talk.effects_of(talk.propose, blocks[WINDOW]))
    effects = talk.effects_of(talk.votes, PREPARE, [0, 2], blocks[WINDOW])
    assert "commit" in promises(effects)
    assert "prepare" not in promises(talk.effects_of(talk.propose, blocks[WINDOW + 1]))


@pytest.mark.covers("P13")
def test_in_a_new_view_a_prepare_waits_beyond_a_window_above_its_base() -> None:
    """Not above the log: what was appended in the turn that began the view is not durable with it (effects.py). Others'
    COMMITs of the view have come before its NEW-VIEW here."""
    talk = conversation(me=2)
    blocks = [talk.block()]
    while len(blocks) < 1 + WINDOW + 1:
        blocks.append(talk.block(blocks, view=1))
    for block in blocks[:3]:
        talk.votes(COMMIT, [0, 1, 3], block, view=1)
        talk.answer_block(0, block)
    talk.open_view(1, talk.certificate(PREPARE, blocks[0]))
    assert (talk.height, talk.view, talk.replica.agreement.base[0]) == (3, (1, True), 1)
    waits = ["prepare" in promises(talk.effects_of(talk.propose, block, 1)) for block in blocks[3:]]
    assert waits == [True, False, True], "the first one for another reason: the tip has moved"


@pytest.mark.covers("P13", "D01")
def test_after_a_crash_it_follows_and_does_not_vote_where_it_may_have() -> None:
    """It accepts what others commit; once its log is a window above what it remembers, it votes again."""
    talk = conversation()
    blocks = talk.chain(WINDOW + 3)
    talk.commit(blocks[0])
    talk.step_behind = True
    assert voted(talk.propose(blocks[1]), PREPARE)
    talk.restart()
    other = [blocks[0], talk.block(blocks[:1])]
    while len(other) < WINDOW + 2:
        other.append(talk.block(other))
    for block in other[1:]:
        said = talk.propose(block)
        may = block.seq > 1 + WINDOW
        assert bool(voted(said, PREPARE)) == may
        assert bool(voted(talk.votes(PREPARE, [0, 2, 3], block), COMMIT)) == may
        talk.votes(COMMIT, [0, 2, 3], block)
    assert talk.height == len(other)


@pytest.mark.covers("P13", "D01")
def test_it_abstains_no_longer_for_a_log_that_has_grown_without_it() -> None:
    """A PREPARE more than a window above its base was durable, whatever others had committed by then."""
    talk = conversation()
    blocks = talk.chain(WINDOW + 1)
    for block in blocks[: WINDOW - 1]:
        talk.propose(block)
        talk.votes(COMMIT, [0, 2, 3], block)
    talk.restart()
    assert not voted(talk.propose(blocks[WINDOW - 1]), PREPARE)
    talk.votes(COMMIT, [0, 2, 3], blocks[WINDOW - 1])
    assert voted(talk.propose(blocks[WINDOW]), PREPARE) == [(0, WINDOW + 1, blocks[WINDOW].hash)]


@pytest.mark.covers("P13")
def test_what_it_accepted_meanwhile_it_votes_for_then() -> None:
    """Its log may come past the window with more blocks accepted above: nothing waits for a further proposal."""
    talk = conversation()
    blocks = talk.chain(WINDOW + 2)
    talk.step_behind = True
    talk.propose(blocks[0])
    talk.restart()
    for block in blocks:
        assert not voted(talk.propose(block), PREPARE)
    talk.votes(PREPARE, [0, 2, 3], blocks[-1])
    assert not voted(talk.said, COMMIT)
    said = talk.votes(COMMIT, [0, 2, 3], blocks[WINDOW - 1])
    assert talk.height == WINDOW
    assert voted(said, PREPARE) == [(0, block.seq, block.hash) for block in blocks[WINDOW:]]
    assert voted(said, COMMIT) == [(0, blocks[-1].seq, blocks[-1].hash)]


@pytest.mark.covers("P13", "D01", "N01")
def test_what_two_crashes_forget_is_no_second_branch() -> None:
    """One liar, the primary, and two members that crash once each. Were a forgotten PREPARE replaced by one of another
    branch higher up, or were a COMMIT cast below one that is forgotten, a block would be committed (c2, by 0, 1 and 3)
    that a prepare certificate of the same view (q3, by 0, 1 and 2) outranks and contradicts: the next view forks."""
    first, second = (Conversation(me=me, parameters=Parameters(window=2)) for me in (1, 2))
    y1 = first.block()
    c2, q2 = (first.block([y1], [first.transaction(data=data)]) for data in (b"c", b"q"))
    q3 = first.block([y1, q2])
    for talk in (first, second):
        talk.step_behind = True
        talk.propose(y1)
    # Member 2 PREPAREs c2, forgets it, and is shown q3 beyond the heights at which it may have PREPAREd.
    assert voted(second.propose(c2), PREPARE)
    second.restart()
    said = [item for block in (y1, q2, q3) for item in second.propose(block)]
    assert not voted(said, PREPARE)
    # Member 1 PREPAREs q3, forgets it, and is shown c2 with a quorum of PREPAREs.
    first.votes(PREPARE, (0, 3), y1)
    first.propose(q2)
    assert voted(first.propose(q3), PREPARE)
    first.restart()
    said = [item for block in (y1, c2) for item in first.propose(block)]
    said += first.votes(PREPARE, (0, 2, 3), c2)
    assert first.replica.position.highest is not None
    assert first.replica.position.highest.block == c2.hash
    assert not voted(said, PREPARE)
    assert not voted(said, COMMIT)


@pytest.mark.covers("P13", "N01")
def test_a_prepare_waits_for_the_disk_where_the_tip_has_left_the_last_one() -> None:
    """What is on record is thus an ancestor of what is forgotten, and may be COMMITted after a crash."""
    talk = conversation(me=3)
    left, right = talk.block(), talk.chain(2)
    assert "prepare" not in promises(talk.effects_of(talk.propose, left))
    talk.votes(COMMIT, [0, 1, 2], right[0])
    talk.answer_block(0, right[0])
    assert talk.height == 1
    assert "prepare" in promises(talk.effects_of(talk.propose, right[1]))
    assert "prepare" not in promises(talk.effects_of(talk.propose, talk.block(right)))


@pytest.mark.covers("P13", "N01")
def test_a_primary_that_restarts_does_not_propose_where_it_may_have() -> None:
    """It waits for the next view, where it proposes again, or for others' votes to bring it past the window."""
    talk = conversation(me=0)
    talk.step_behind = True
    assert of_kind(talk.submit(talk.transaction()), Kind.PRE_PREPARE)
    talk.restart()
    assert not of_kind(talk.submit(talk.transaction()), Kind.PRE_PREPARE)
    said = talk.tick(3000)
    assert of_kind(said, Kind.VIEW_CHANGE)
    said = [item for view in range(1, 5) for sender in (1, 2, 3) for item in talk.ask_for_view(sender, view)]
    assert [item for item in of_kind(said, Kind.PRE_PREPARE) if item.body.view == 4]


def test_who_ended_in_order_remembers_all() -> None:
    """After Stopping nothing is unknown: it repeats what it proposed, and goes on above it."""
    talk = conversation(me=0)
    talk.step_behind = True
    proposed = of_kind(talk.submit(talk.transaction()), Kind.PRE_PREPARE)
    talk.step_behind = False
    talk.step(Stopping())
    talk.restart()
    repeated = of_kind(talk.status(2), Kind.PRE_PREPARE)
    assert [item.body.header for item in repeated] == [proposed[0].body.header]
    block = open_block(proposed[0].body.header, repeated[0].frame.payload)
    talk.votes(PREPARE, [1, 2], block)
    talk.votes(COMMIT, [1, 2], block)
    said = talk.submit(talk.transaction())
    assert [open_header(item.body.header).seq for item in of_kind(said, Kind.PRE_PREPARE)] == [2]


@pytest.mark.covers("P13", "N01")
def test_an_end_in_order_does_not_mend_an_earlier_crash() -> None:
    """Life 1 proposes and crashes, life 2 abstains and ends in order: life 3 has to abstain as well."""
    talk = conversation(me=0)
    talk.step_behind = True
    assert of_kind(talk.submit(talk.transaction()), Kind.PRE_PREPARE)
    talk.restart()
    assert talk.replica.agreement.abstain == (0, WINDOW)
    talk.step(Stopping())
    talk.restart()
    assert talk.replica.agreement.abstain == (0, WINDOW)
    assert not of_kind(talk.submit(talk.transaction()), Kind.PRE_PREPARE)
    talk.restart()
    assert talk.replica.agreement.abstain == (0, WINDOW), "an order that was of an earlier life"


@pytest.mark.covers("O02", "P14")
def test_a_forgotten_prepare_is_no_amnesia_and_a_forgotten_commit_is() -> None:
    """A certificate with a PREPARE of mine that a crash may have taken proves nothing; with a COMMIT it does."""
    talk = conversation()
    blocks = talk.chain(2)
    talk.commit(blocks[0])
    talk.restart()
    talk.open_view(1, talk.certificate(PREPARE, blocks[1], senders=[0, 1, 2]))
    assert talk.replica.position.quarantine == Quarantine.NONE
    talk.run(0, [blocks[1]], talk.certificate(COMMIT, blocks[1], senders=[0, 1, 2]))
    talk.ask_for_view(2, 9, talk.certificate(COMMIT, blocks[1], senders=[0, 1, 2]))
    assert talk.replica.position.quarantine == Quarantine.WAITING
