"""Whatever all the others say, and whenever it crashes: a correct member never signs what convicts it (X07)."""

import itertools
from random import Random

import pytest

from bftnode.protocol.blocks import Block, genesis_block
from bftnode.protocol.certificates import COMMIT, PREPARE, Vote
from bftnode.protocol.envelope import Frame
from bftnode.protocol.evidence import contradiction
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind, open_body
from bftnode.replica.events import Stopping
from tests.replica.conversation import CHAIN, Conversation, Said

SEEDS = (*range(100), 1109)
"""The last one takes the log that it has moved to, and a PREPARE on it, from a disk that keeps the one before."""
STEPS = 120
SPOKEN = (Kind.PRE_PREPARE, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW)


class Tormentor:
    """All the others, who conspire against member 3 of four; its disk is slow and its power fails."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.talk = Conversation(me=3, parameters=Parameters(window=self.dice.choice((1, 2, 3))))
        self.talk.step_behind = True
        self.blocks: dict[bytes, Block] = {}
        self.moves = [self.propose] * 9 + [self.prepare] * 6 + [self.commit] * 2 + [self.commit_rival] * 2
        self.moves += [self.crash] * 2 + [self.stop, self.wait, self.wait, self.catch_up]

    @property
    def view(self) -> int:
        return self.talk.replica.position.view

    def chain(self, tip: Block | None) -> list[Block]:
        """The blocks up to this one, lowest first."""
        found: list[Block] = []
        while tip is not None:
            found.append(tip)
            tip = self.blocks.get(tip.parent)
        return found[::-1]

    def known(self) -> Block | None:
        """Some block, rather one that the member has accepted."""
        agreement = self.talk.replica.agreement
        accepted = [self.blocks[name] for name in agreement.accepted.values() if name in self.blocks]
        pool = accepted if accepted and self.dice.random() < 0.8 else list(self.blocks.values())[-12:]
        return self.dice.choice(pool) if pool else None

    def child(self, parent: Block | None) -> Block:
        """A block of this view: one that there is, or a new one."""
        name = genesis_block(CHAIN).hash if parent is None else parent.hash
        known = [item for item in self.blocks.values() if (item.parent, item.header.view) == (name, self.view)]
        if known and self.dice.random() < 0.6:
            return self.dice.choice(known)
        block = self.talk.block(self.chain(parent), view=self.view)
        return self.blocks.setdefault(block.hash, block)

    def propose(self) -> None:
        if self.view % 4 != 3:
            tip = self.blocks.get(self.talk.replica.agreement.tip.block.hash)
            self.talk.propose(self.child(tip), self.view)

    def prepare(self) -> None:
        block = self.known()
        if block is not None:
            self.talk.votes(PREPARE, self.dice.choice(((0, 1), (0, 1, 2))), block, self.view)

    def commit(self) -> None:
        block = self.known()
        if block is not None:
            self.talk.votes(COMMIT, (0, 1, 2), block, self.dice.randint(block.header.view, self.view))

    def commit_rival(self) -> None:
        """A branch of its own above the log, with all its blocks."""
        block = self.blocks.get(self.talk.replica.chain.head.block.hash)
        for _ in range(self.dice.randint(1, 3)):
            block = self.child(block)
        assert block is not None
        self.talk.votes(COMMIT, (0, 1, 2), block, self.dice.randint(0, self.view))
        for item in self.chain(block)[::-1]:
            self.talk.answer_block(0, item)

    def catch_up(self) -> None:
        block = self.known()
        if block is not None:
            self.talk.status(0, view=self.view, committed=block.seq + 20)
            self.talk.run(0, self.chain(block), self.talk.certificate(COMMIT, block, self.view, senders=(0, 1, 2)), 1)

    def crash(self) -> None:
        self.talk.restart(introduced=self.dice.random() < 0.7)

    def stop(self) -> None:
        self.talk.step(Stopping())
        self.talk.disk.sync()
        self.talk.restart(introduced=self.dice.random() < 0.7)

    def next_view(self) -> None:
        block = self.known()
        phase = self.dice.choice((PREPARE, COMMIT))
        certificate = None if block is None else self.talk.certificate(phase, block, self.view, senders=(0, 1, 2))
        self.talk.open_view(self.view + 1, certificate)

    def wait(self) -> None:
        """The others say where they are; or time passes, and views with it."""
        if self.dice.random() < 0.7:
            self.talk.introduce()
        elif self.dice.random() < 0.5:
            self.talk.tick(self.dice.choice((100, 600, 1500)))
        else:
            self.next_view()

    def torment(self) -> list[Said]:
        for _ in range(STEPS):
            self.dice.choice(self.moves)()
        return self.talk.said


def between(blocks: dict[bytes, Block], block: bytes, down_to: int) -> tuple[bytes, ...]:
    """The headers of this block and its ancestors, above a height."""
    found: list[bytes] = []
    while block in blocks and blocks[block].seq > down_to:
        found.append(blocks[block].header_raw)
        block = blocks[block].parent
    return tuple(found)


def opened(frame: Frame) -> Vote:
    body = open_body(frame)
    assert isinstance(body, Vote)
    return body


@pytest.mark.covers("X07", "O12", "P13")
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_it_ever_signed_convicts_it(seed: int) -> None:
    """Not even what it has forgotten, with every header that there is."""
    tormentor = Tormentor(seed)
    said: dict[bytes, Frame] = {}
    for item in tormentor.torment():
        if item.frame.kind in SPOKEN and item.frame.sender == tormentor.talk.me:
            said.setdefault(bytes((item.frame.kind,)) + item.frame.body, item.frame)
    for first, second in itertools.product(said.values(), repeat=2):
        headers: tuple[bytes, ...] = ()
        if first.kind == Kind.COMMIT and second.kind in (Kind.PREPARE, Kind.COMMIT):
            commit, vote = opened(first), opened(second)
            headers = between(tormentor.blocks, vote.block, commit.seq)
        assert contradiction(first, second, headers) is None
