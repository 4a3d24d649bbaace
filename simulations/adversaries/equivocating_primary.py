"""Two proposals for one height, each correctly chained, to two groups, and votes for both."""

from random import Random

from bftnode.protocol.blocks import Block, Header, make_block, open_block
from bftnode.protocol.certificates import Vote
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of
from bftnode.protocol.messages import Kind, PrePrepare, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N01", "N11", "N12", "V11")

KEPT = 64


class EquivocatingPrimary(Behaviour):
    """As a primary, keeps two chains. One group of members sees one of them, the rest the other."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.votes_for_both = dice.random() < 0.5  # to everybody, else to each group its own
        self.commits_early = dice.random() < 0.5
        self.often = dice.choice((0.3, 1.0))
        self._other_of: dict[bytes, tuple[Block, Frontier] | None] = {}  # block -> its double
        self._other_group: dict[int, list[int]] = {}  # view -> who sees the doubles

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        kind = kind_of(frame)
        if kind == Kind.PRE_PREPARE:
            return self._propose(to, frame)
        if kind in (Kind.PREPARE, Kind.COMMIT):
            return self._vote(to, frame)
        return [(to, frame)]

    def _group(self, view: int) -> list[int]:
        return self._other_group.setdefault(view, self.some(1))

    def _propose(self, to: int, frame: bytes) -> list[Letter]:
        opened = open_frame(frame)
        body = open_body(opened)
        assert isinstance(body, PrePrepare), "of its kind"
        block = open_block(body.header, opened.payload)
        if block.hash not in self._other_of:
            self._other_of[block.hash] = self._double(block) if self.random.random() < self.often else None
            while len(self._other_of) > KEPT:
                del self._other_of[next(iter(self._other_of))]
        other = self._other_of[block.hash]
        if other is None or to not in self._group(body.view):
            return [(to, frame)]
        double = other[0]
        proposal = self.liar.seal(
            Kind.PRE_PREPARE, PrePrepare(body.epoch, body.view, double.header_raw), double.payload
        )
        return [(to, proposal)]

    def _double(self, block: Block) -> tuple[Block, Frontier] | None:
        """Another block for the same place: other envelopes where there are some, else another time."""
        above = self._other_of.get(block.parent)
        if above is not None:
            parent, frontier = above
        else:
            entry = self.liar.replica.chain.get(block.parent)
            if entry is None or entry.frontier is None:
                return None
            parent, frontier = entry.block, entry.frontier
        raws = list(block.transactions)
        if len(raws) > 1:
            self.random.shuffle(raws)
            raws = raws[: self.random.randint(1, len(raws))]
        leaves = [leaf_hash(raw) for raw in raws]
        grown, _ = frontier.append(leaves)
        header = Header(
            block.header.chain_id,
            block.header.epoch,
            block.seq,
            parent.hash,
            block.header.time_ms + 1,
            root_of(leaves),
            grown.size,
            grown.root(),
            block.header.proposer,
            block.header.view,
        )
        return make_block(header, tuple(raws), leaves), grown

    def _vote(self, to: int, frame: bytes) -> list[Letter]:
        opened = open_frame(frame)
        vote = open_body(opened)
        assert isinstance(vote, Vote), "of its kind"
        other = self._other_of.get(vote.block)
        if other is None:
            return [(to, frame)]
        double = Vote(vote.epoch, vote.view, vote.seq, other[0].hash)
        kinds = [Kind(opened.kind)]
        if self.commits_early and opened.kind == Kind.PREPARE:
            kinds.append(Kind.COMMIT)
        doubles = [(to, self.liar.seal(kind, double)) for kind in kinds]
        if self.votes_for_both:
            return [(to, frame), *doubles]
        return doubles if to in self._group(vote.view) else [(to, frame)]
