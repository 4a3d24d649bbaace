"""Blocks by their hash: of whom they are asked, and what is served to whom."""

import pytest

from bftnode.protocol.blocks import genesis_block
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.messages import FetchBlock, Kind
from bftnode.replica.effects import Effect, ReadBlock, Send, StoreBlock
from bftnode.replica.sync import WANTED_MAX
from tests.replica.conversation import CHAIN, Conversation, of_kind


@pytest.mark.covers("N18")
def test_a_block_is_asked_of_one_after_the_other() -> None:
    """Of those that are said to have it, as they are named; where nobody is, of all; never of itself."""
    name, me = b"u" * 32, 1
    for named in ([[0, me], [0, 2, me, 3]], [[me]]):
        talk = Conversation(me=me)
        talk.votes(COMMIT, (0, 2, 3), talk.block())  # which is missing, too
        for members in named:
            talk.replica.sync.want_block(name, members)
        said = [item for _ in range(4) for item in of_kind(talk.tick(500), Kind.FETCH_BLOCK)]
        asked = [item.to for item in said if item.body == FetchBlock(0, name)]
        assert asked[:4] == [0, 2, 3, 0]


@pytest.mark.covers("N13")
def test_of_too_many_blocks_that_are_wanted_the_oldest_is_not_any_more() -> None:
    """Nothing that others say lets the list grow."""
    talk = Conversation()
    names = [bytes([number]) * 32 for number in range(WANTED_MAX + 1)]
    for name in names:
        talk.replica.sync.want_block(name, [0])
    assert list(talk.replica.sync._wanted) == names[1:]


def test_a_block_that_is_there_already_is_not_stored_again() -> None:
    """In the tree, or decided otherwise meanwhile."""
    for committed in (False, True):
        talk = Conversation()
        block, other = talk.block(), talk.block()
        (talk.commit if committed else talk.propose)(block)
        asked_of = other if committed else block
        talk.replica.sync.want_block(asked_of.hash, [0])
        effects = talk.effects_of(talk.answer_block, 0, asked_of)
        assert not [item for item in effects if isinstance(item, StoreBlock)]


@pytest.mark.covers("A18", "N13")
def test_a_block_is_served_from_memory_or_from_the_disk() -> None:
    """What is in the tree at once, all else by what the disk says; nothing to who has not said where it is."""
    talk = Conversation()
    block = talk.block()
    talk.propose(block)

    def asked(name: bytes) -> list[Effect]:
        effects = talk.wanted(talk.seal(3, Kind.FETCH_BLOCK, FetchBlock(0, name)))
        return [item for item in effects if isinstance(item, ReadBlock | Send)]

    (sent,) = asked(block.hash)
    assert isinstance(sent, Send)
    assert sent.to == 3
    assert open_frame(sent.frame).payload == block.payload
    for name in (genesis_block(CHAIN).hash, b"u" * 32):
        assert asked(name) == [ReadBlock(3, name)]
    talk.restart(introduced=False)
    assert asked(block.hash) == []


@pytest.mark.covers("A18", "N13")
def test_so_many_blocks_are_served_until_the_next_status() -> None:
    """A correct member never wants more at a time."""
    talk = Conversation()
    block = talk.block()
    talk.propose(block)
    for _ in range(2):
        asked = [talk.hear(3, Kind.FETCH_BLOCK, FetchBlock(0, block.hash)) for _ in range(WANTED_MAX + 2)]
        assert [len(said) for said in asked] == [1] * WANTED_MAX + [0] * 2
        talk.tick(600)
        talk.status(3)


def test_what_a_view_lacks_to_stand_on() -> None:
    """The block of a prepare certificate above the log; what is committed can be had."""
    talk = Conversation()
    talk.commit(talk.block())
    missing = talk.block([talk.disk.log[-1][0]])
    lacks = talk.replica.agreement.lacks
    assert lacks(talk.certificate(PREPARE, missing)) == missing.hash
    assert lacks(talk.certificate(COMMIT, missing)) is None
    assert lacks(talk.certificate(PREPARE, talk.block())) is None, "at the height of the log"
    assert lacks(None) is None
