"""What a commit certificate decides before its blocks are here, and what follows when they come."""

import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.messages import Kind
from bftnode.replica import chain
from bftnode.replica.effects import DropBlocks
from tests.replica.conversation import Conversation, of_kind, voted


def test_what_was_decided_and_is_committed_is_over() -> None:
    """A run brings it, with a certificate of its own or of a later block."""
    talk = Conversation(me=3)
    blocks = talk.chain(5)
    talk.votes(COMMIT, (0, 1, 2), blocks[3])
    assert talk.replica.agreement.decided is not None
    talk.status(1, committed=20)
    talk.run(1, blocks, talk.certificate(COMMIT, blocks[4], senders=(0, 1, 2)))
    assert (talk.height, talk.replica.agreement.decided) == (5, None)
    assert not talk.replica.position.halted
    talk = Conversation(me=3)
    talk.votes(COMMIT, (0, 1, 2), blocks[3])
    talk.status(1, committed=20)
    talk.run(1, blocks[:4], talk.certificate(COMMIT, blocks[3], senders=(0, 1, 2)))
    assert (talk.height, talk.replica.agreement.decided) == (4, None)


def test_the_first_certificate_of_a_height_is_kept_while_its_block_is_missing() -> None:
    """Another one of the same height does not take its place."""
    talk = Conversation(me=3)
    certificates = [talk.certificate(COMMIT, talk.block(), senders=(0, 1, 2)) for _ in range(2)]
    for member, certificate in enumerate(certificates):
        talk.ask_for_view(member, 1, certificate)
    assert talk.replica.agreement.decided == certificates[0]


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_block_within_the_window_is_asked_for_by_its_hash(beyond: int) -> None:
    """What is further away comes in a run."""
    talk = Conversation()
    blocks = talk.chain(talk.members.parameters.window + beyond)
    said = talk.votes(COMMIT, (0, 2, 3), blocks[-1])
    assert len(of_kind(said, Kind.FETCH_BLOCK)) == 1 - beyond


def test_a_block_is_appended_with_the_certificate_that_came() -> None:
    """Its votes were not heard here."""
    talk = Conversation(me=3)
    blocks = talk.chain(2)
    for block in blocks:
        talk.propose(block)
    certificate = talk.certificate(COMMIT, blocks[1], senders=(0, 1, 2))
    talk.ask_for_view(0, 1, certificate)
    assert [item for _, item in talk.disk.log[1:]] == [None, certificate]


def test_what_was_said_is_not_said_again_when_a_block_is_committed() -> None:
    """Its votes for the blocks above went out once."""
    talk = Conversation()
    blocks = talk.chain(3)
    for block in blocks:
        talk.propose(block)
    talk.votes(PREPARE, (0, 2), blocks[0])
    talk.votes(COMMIT, (0, 2), blocks[0])
    assert talk.height == 1
    assert voted(talk.said, PREPARE) == [(0, block.seq, block.hash) for block in blocks]


@pytest.mark.covers("P20", "N13")
def test_in_a_tree_that_is_full_what_is_needed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it voted for, and what is decided and waits for its parent; what gives way leaves the disk as well."""
    monkeypatch.setattr(chain, "BLOCKS_MAX", 3)
    talk = Conversation(me=3)
    mine, decided = talk.block(), talk.chain(2)[1]
    talk.propose(mine)
    talk.votes(COMMIT, (0, 1, 2), decided)
    talk.answer_block(0, decided)
    others = [talk.block() for _ in range(3)]
    gone = []
    for block in others:
        talk.replica.sync.want_block(block.hash, [0])
        effects = talk.effects_of(talk.answer_block, 0, block)
        gone += [item.hashes for item in effects if isinstance(item, DropBlocks)]
    assert gone == [(block.hash,) for block in others[:2]]
    for block in (mine, decided, others[2]):
        assert talk.replica.chain.get(block.hash) is not None
