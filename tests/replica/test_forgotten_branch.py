"""What a replica PREPAREs in the turn in which its log grows is on its disk, and what it stands on is not yet."""

import pytest

from bftnode.protocol.blocks import Block
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.evidence import contradiction
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind
from tests.replica.conversation import Conversation, voted

WINDOW = 2


def caught_up_and_crashed() -> tuple[Conversation, list[Block]]:
    """It has followed by runs for more than a window without a COMMIT of its own, so what it PREPAREs is on record. A
    run brings height 4, on which a proposal waits: it PREPAREs height 5 at once. The record is durable, the appended
    height 4 is left behind, and the power fails."""
    talk = Conversation(me=1, parameters=Parameters(window=WINDOW, checkpoint_interval=1000))
    blocks = talk.chain(5)
    talk.status(2, committed=3 + WINDOW)
    talk.run(2, blocks[:3], talk.certificate(COMMIT, blocks[2], senders=(0, 2, 3)))
    assert talk.height == 3
    talk.step_behind = True
    talk.propose(blocks[4])
    talk.status(2, committed=4 + WINDOW)
    talk.status(2, committed=4 + WINDOW)
    said = talk.run(2, blocks[3:4], talk.certificate(COMMIT, blocks[3], senders=(0, 2, 3)))
    assert voted(said, PREPARE) == [(0, 5, blocks[4].hash)]
    talk.restart()
    assert talk.height == 3
    return talk, blocks


@pytest.mark.covers("P13", "N01")
def test_what_it_prepared_on_a_block_that_a_crash_took_is_not_prepared_beside() -> None:
    """Else one liar, the primary, stops a correct member for good: 2 holds a prepare certificate for height 5 (of 0, 1
    and 2) and has cast COMMIT; this one, 3 and the liar commit height 6 of another branch above 4, in the same view."""
    talk, blocks = caught_up_and_crashed()
    other = [*blocks[:4], talk.block(blocks[:4])]
    other.append(talk.block(other))
    said = [item for block in other[3:] for item in talk.propose(block)]
    said += talk.votes(PREPARE, (0, 3), other[-1])
    assert not voted(said, PREPARE)
    assert not voted(said, COMMIT)


@pytest.mark.covers("X07", "O12", "P13")
def test_nor_does_it_sign_what_convicts_it() -> None:
    """All others conspire: shown a branch from height 4 on, then the committed block 4 again, it COMMITs below."""
    talk, blocks = caught_up_and_crashed()
    other = [*blocks[:3], talk.block(blocks[:3])]
    while len(other) < 6:
        other.append(talk.block(other))
    for block in other[3:]:
        talk.propose(block)
    talk.votes(COMMIT, (0, 2, 3), blocks[3])
    talk.answer_block(0, blocks[3])
    talk.propose(blocks[4])
    talk.votes(PREPARE, (0, 2, 3), blocks[4])
    headers = tuple(block.header_raw for block in other[:4:-1])
    votes = [item.frame for item in talk.said if item.frame.kind in (Kind.PREPARE, Kind.COMMIT)]
    commits = [frame for frame in votes if frame.kind == Kind.COMMIT]
    assert not [found for one in commits for two in votes if (found := contradiction(one, two, headers))]
