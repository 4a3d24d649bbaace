"""A certificate whose height is not its block's: a quorum of liars can make one, and nobody correct signs beside it."""

import pytest

from bftnode.protocol.blocks import Block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, VoteSignature, vote_body
from bftnode.protocol.envelope import signing_bytes
from bftnode.protocol.evidence import contradiction
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind, ViewChange
from tests.replica.conversation import CHAIN, Conversation, voted

LIARS = (0, 2, 3)


def conversation() -> Conversation:
    return Conversation(me=1, parameters=Parameters(checkpoint_interval=1000))


def misplaced(talk: Conversation, phase: int, seq: int, block: Block, view: int = 0) -> Certificate:
    votes = []
    for sender in LIARS:
        body = vote_body(0, view, seq, block.hash)
        message = signing_bytes(CHAIN, phase, sender, 1, 10_000, body)
        votes.append(VoteSignature(sender, 1, 10_000, talk.keyring.member_signer(sender)(message)))
    return Certificate(phase, 0, view, seq, block.hash, tuple(votes))


@pytest.mark.covers("X07", "O12")
def test_a_base_at_another_height_than_its_block_frames_nobody() -> None:
    """The base is block 3, certified as if it were at height 1: who COMMITs it there and PREPAREs block 4 above it
    looks as if it had left the branch of its COMMIT."""
    talk = conversation()
    blocks = talk.chain(3)
    blocks.append(talk.block(blocks, view=2))
    base = misplaced(talk, PREPARE, 1, blocks[2])
    talk.deliver(talk.new_view(2, dict.fromkeys(LIARS, base)))
    for block in blocks[2::-1]:
        talk.answer_block(2, block)
    for sender in LIARS:
        talk.hear(sender, Kind.PREPARE, Vote(0, 2, 1, blocks[2].hash))
    talk.propose(blocks[3], 2)
    votes = [item.frame for item in talk.said if item.frame.kind in (Kind.PREPARE, Kind.COMMIT)]
    headers = (blocks[3].header_raw, blocks[2].header_raw, blocks[1].header_raw)
    commits = [frame for frame in votes if frame.kind == Kind.COMMIT]
    assert not [found for one in commits for two in votes if (found := contradiction(one, two, headers))]


@pytest.mark.covers("X02")
def test_a_block_that_skips_heights_raises_nothing() -> None:
    """A quorum of liars commits a block of height 7 right above the log of a replica that has cast COMMIT at 2."""
    talk = conversation()
    blocks = talk.chain(2)
    for block in blocks:
        talk.propose(block)
        talk.votes(PREPARE, LIARS, block)
    assert voted(talk.said, COMMIT)
    far = talk.block((), seq=7)
    talk.hear(0, Kind.VIEW_CHANGE, _asks(misplaced(talk, COMMIT, 7, far)))
    talk.answer_block(0, far)


@pytest.mark.covers("X02")
def test_a_commit_certificate_at_another_height_than_its_block_raises_nothing() -> None:
    talk = conversation()
    blocks = talk.chain(3)
    talk.hear(0, Kind.VIEW_CHANGE, _asks(misplaced(talk, COMMIT, 5, blocks[2])))
    for block in blocks[::-1]:
        talk.answer_block(0, block)
    talk.hear(2, Kind.VIEW_CHANGE, _asks(misplaced(talk, COMMIT, 4, blocks[2])))
    talk.tick(1000)
    talk.restart()


def _asks(certificate: Certificate) -> ViewChange:
    return ViewChange(0, 1, certificate)
