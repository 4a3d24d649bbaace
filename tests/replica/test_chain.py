"""The tree above the log: what gives way when it is full."""

import pytest

from bftnode.protocol.blocks import Block, genesis_block
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import Frontier
from bftnode.replica.chain import BLOCKS_MAX, Chain, Entry
from tests.replica.conversation import CHAIN, Conversation


@pytest.mark.covers("P20")
def test_when_it_is_full_the_lowest_view_gives_way_from_above_but_for_what_is_needed() -> None:
    """A certificate's block is needed, and so is all below it; of the others the oldest view's highest goes first."""
    talk = Conversation()
    chain = Chain(genesis_block(CHAIN), Frontier())
    needed: list[Block] = []
    for _ in range(3):
        needed.append(talk.block(needed, view=0))
    low = [talk.block(needed[:1], view=1), talk.block(needed[:2], view=1)]
    other = [*needed, *low, *(talk.block(view=2) for _ in range(BLOCKS_MAX - 5))]
    for block in other:
        assert chain.add(Entry(block, ())) is None
    protected = [needed[2].hash, bytes(32)]
    assert chain.add(Entry(talk.block(view=3), ()), protected) == low[1].hash
    assert chain.add(Entry(talk.block(view=3), ()), protected) == low[0].hash
    assert chain.add(Entry(talk.block(view=3), ()), protected) in {block.hash for block in other[5:]}
    assert chain.add(Entry(talk.block(view=3), ()), ()) == needed[2].hash
    assert len(chain) == BLOCKS_MAX


def test_the_head_is_known_and_contradicts_nothing() -> None:
    """It is in no tree: what is committed has left it."""
    talk = Conversation()
    blocks = talk.chain(3)
    chain = Chain(genesis_block(CHAIN), Frontier())
    for block in blocks:
        chain.add(Entry(block, ()))
    path = chain.path(blocks[1].hash)
    assert isinstance(path, list)
    chain.connect(path, 2)
    assert chain.commit(path) == (blocks[0].hash, blocks[1].hash)
    assert chain.get(blocks[1].hash) is chain.head is path[-1]
    assert [chain.get(block.hash) is None for block in blocks] == [True, False, False]
    assert not chain.is_known_contradiction(blocks[1].hash)
    assert not chain.is_known_contradiction(blocks[2].hash)
    above = chain.path(blocks[2].hash)
    assert isinstance(above, list)
    assert [chain.is_elsewhere(above, 3, name) for name in (blocks[2].hash, b"u" * 32)] == [False, True]
    beside = talk.block([blocks[0], talk.block(blocks[:1])])
    chain.add(Entry(beside, ()))
    assert chain.is_known_contradiction(beside.hash)


def test_a_path_says_of_the_log_what_is_true() -> None:
    """Each height once, and the log that its blocks make."""
    talk = Conversation()
    chain = Chain(genesis_block(CHAIN), Frontier())
    lying = talk.block((), log_size=9)
    for path, seq in (([Entry(lying, ())], 1), ([Entry(talk.block(), ())], 2), ([Entry(talk.block((), seq=7), ())], 7)):
        with pytest.raises(Refused) as refusal:
            chain.connect(path, seq)
        assert refusal.value.reason is Reason.BAD_BLOCK
    assert chain.head.transactions == ()
