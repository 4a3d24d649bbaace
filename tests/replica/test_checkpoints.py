"""Checkpoints: signed when due, stable with q equal ones, and loud when this replica's state is another one."""

import pytest

from bftnode.protocol.certificates import PREPARE
from bftnode.protocol.errors import Reason
from bftnode.protocol.messages import Checkpoint, Kind
from bftnode.replica.checkpoints import KEPT_PER_MEMBER
from tests.replica.conversation import Conversation, of_kind, voted


def at_checkpoint() -> tuple[Conversation, Checkpoint]:
    """Height 2 is executed, where a checkpoint is due; and what the replica says of it."""
    talk = Conversation()
    blocks = talk.chain(2)
    for block in blocks:
        talk.commit(block)
    (said,) = of_kind(talk.said, Kind.CHECKPOINT)
    assert isinstance(said.body, Checkpoint)
    assert (said.body.seq, said.body.block, said.body.log_size) == (2, blocks[1].hash, 2)
    return talk, said.body


def other_digest(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(0, checkpoint.seq, checkpoint.block, checkpoint.log_size, checkpoint.log_root, bytes(32))


@pytest.mark.covers("K02", "K11")
def test_q_equal_ones_make_it_stable() -> None:
    """Mine and one more are not enough, nor is one member's word twice."""
    talk, mine = at_checkpoint()
    talk.hear(0, Kind.CHECKPOINT, mine)
    talk.hear(0, Kind.CHECKPOINT, mine)
    assert talk.replica.checkpoints.stable is None
    talk.hear(3, Kind.CHECKPOINT, mine)
    assert talk.replica.checkpoints.stable == mine
    (note,) = [note for note in talk.notes if note.name == "checkpoint_stable"]
    assert note.fields == {"height": 2, "log_size": 2}


@pytest.mark.covers("K02")
def test_who_is_the_last_to_execute_knows_at_once_that_it_is_stable() -> None:
    """What the others said of that height was kept."""
    talk, mine = at_checkpoint()
    late = Conversation()
    for member in (0, 3):
        late.hear(member, Kind.CHECKPOINT, mine)
    for block, _ in talk.disk.log[1:]:
        late.commit(block)
    assert late.replica.checkpoints.stable == mine


@pytest.mark.covers("K01")
def test_a_lie_about_what_is_stable_is_noted_whenever_it_comes() -> None:
    """At that height; what is said of an earlier one is of no use to anybody."""
    talk, mine = at_checkpoint()
    for _ in range(2):
        talk.commit(talk.block([block for block, _ in talk.disk.log[1:]]))
    (_, latest) = [item.body for item in of_kind(talk.said, Kind.CHECKPOINT)]
    assert isinstance(latest, Checkpoint)
    for member in (0, 2):
        talk.hear(member, Kind.CHECKPOINT, latest)
    assert talk.replica.checkpoints.stable == latest
    for body in (mine, other_digest(mine), latest):
        talk.hear(3, Kind.CHECKPOINT, body)
    assert not [note for note in talk.notes if note.name == "checkpoint_divergent"]
    talk.hear(3, Kind.CHECKPOINT, other_digest(latest))
    (note,) = [note for note in talk.notes if note.name == "checkpoint_divergent"]
    assert note.fields == {"member": 3, "height": 4}


@pytest.mark.covers("K01")
def test_a_lying_checkpoint_is_noted_and_does_not_count() -> None:
    """It is named when the others agree without it."""
    talk, mine = at_checkpoint()
    talk.hear(3, Kind.CHECKPOINT, other_digest(mine))
    talk.hear(0, Kind.CHECKPOINT, mine)
    assert talk.replica.checkpoints.stable is None
    talk.hear(2, Kind.CHECKPOINT, mine)
    assert talk.replica.checkpoints.stable == mine
    assert [note.fields["member"] for note in talk.notes if note.name == "checkpoint_divergent"] == [3]
    assert not talk.replica.position.halted


@pytest.mark.covers("K10", "P37")
def test_who_has_another_state_stops_voting() -> None:
    """q members agree on another digest than mine: loudly, before it can spread what it believes."""
    talk, mine = at_checkpoint()
    for member in (0, 2, 3):
        talk.hear(member, Kind.CHECKPOINT, other_digest(mine))
    assert "state_diverged" in [note.name for note in talk.notes]
    assert talk.replica.position.halted
    following = talk.block([block for block, _ in talk.disk.log[1:]])
    assert not voted(talk.propose(following), PREPARE)


@pytest.mark.covers("N13", "K05", "P41")
def test_checkpoints_that_are_not_due_are_refused_and_far_ones_bounded() -> None:
    """A few of each member are kept, the latest; a liar pushes out only its own."""
    talk, mine = at_checkpoint()
    for seq in (0, 1, 3):
        talk.hear(3, Kind.CHECKPOINT, Checkpoint(0, seq, bytes(32), 1, bytes(32), bytes(32)))
    assert talk.refusals() == [Reason.UNEXPECTED] * 3
    for seq in range(10, 100, 2):
        talk.hear(3, Kind.CHECKPOINT, Checkpoint(0, seq, bytes(32), 1, bytes(32), bytes(32)))
    assert len(talk.replica.checkpoints._of[3]) == KEPT_PER_MEMBER
    talk.hear(0, Kind.CHECKPOINT, mine)
    talk.hear(2, Kind.CHECKPOINT, mine)
    assert talk.replica.checkpoints.stable == mine


@pytest.mark.covers("P21")
def test_a_checkpoint_that_is_not_stable_is_repeated() -> None:
    """A lost one is not the end of it; a stable one is not spoken of any more."""
    talk, mine = at_checkpoint()
    assert [item.body for item in of_kind(talk.tick(600), Kind.CHECKPOINT)] == [mine, mine][:1]
    talk.hear(0, Kind.CHECKPOINT, mine)
    talk.hear(3, Kind.CHECKPOINT, mine)
    assert not of_kind(talk.tick(2000), Kind.CHECKPOINT)
