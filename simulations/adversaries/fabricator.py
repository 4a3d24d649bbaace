"""As a primary, proposals that no backup may accept, or that it should."""

from collections.abc import Sequence

from bftnode.protocol.blocks import Block, Header, make_block, open_block
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.merkle import leaf_hash, root_of
from bftnode.protocol.messages import Kind, PrePrepare, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N07", "N08", "N09", "N10", "N16", "N17", "N18", "N20", "N22")

TRICKS = (
    "unsigned",
    "again",
    "twice",
    "empty",
    "time ahead",
    "time back",
    "height",
    "parent",
    "log",
    "body",
    "withheld",
    "contraband",
)

REBUILT = ("unsigned", "again", "twice", "empty", "contraband")
"""Tricks after which the header names the right log: only the envelopes are wrong."""


class Fabricator(Behaviour):
    """Changes its proposals, and proposes where it is not the primary."""

    contraband: Sequence[bytes] = ()  # envelopes that are expired, of strangers, or too far ahead

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) != Kind.PRE_PREPARE or self.random.random() < 0.4:
            return [(to, frame)]
        opened = open_frame(frame)
        body = open_body(opened)
        assert isinstance(body, PrePrepare), "of its kind"
        block = open_block(body.header, opened.payload)
        trick = self.random.choice(TRICKS)
        if trick == "withheld":
            return [(to, self.liar.seal(Kind.PRE_PREPARE, body))]
        if trick == "body":
            return [(to, self.liar.seal(Kind.PRE_PREPARE, body, opened.payload + b"\x00"))]
        fake = self._fake(block, trick)
        return [
            (to, self.liar.seal(Kind.PRE_PREPARE, PrePrepare(body.epoch, body.view, fake.header_raw), fake.payload))
        ]

    def act(self) -> None:
        replica = self.liar.replica
        if self.random.random() < 0.2 and replica.agreement.tip.block.seq > 0:
            block = replica.agreement.tip.block  # not my turn, or long proposed
            body = PrePrepare(self.liar.members.epoch, replica.position.view, block.header_raw)
            self.liar.post(self.some(1), self.liar.seal(Kind.PRE_PREPARE, body, block.payload))

    def _fake(self, block: Block, trick: str) -> Block:
        header, raws = block.header, list(block.transactions)
        time_ms, seq, parent, log_size = header.time_ms, header.seq, header.parent, header.log_size
        if trick == "unsigned":
            raws = [raws[0][:-1] + bytes((raws[0][-1] ^ 1,)), *raws[1:]]
        elif trick == "again":
            executed = [raw for old, _ in self.liar.disk.log for raw in old.transactions]
            raws = [*raws, *executed[-2:]]
        elif trick == "contraband" and self.contraband:
            raws = [*raws, self.random.choice(self.contraband)]
        elif trick == "twice":
            raws = [*raws, raws[0]]
        elif trick == "empty":
            raws = []
        elif trick == "time ahead":
            time_ms += 10_000_000
        elif trick == "time back":
            time_ms = 1
        elif trick == "height":
            seq += self.random.choice((1, 8, 16, 10**6))
        elif trick == "parent":
            parent = bytes(32)
        elif trick == "log":
            log_size += 1
        leaves = [leaf_hash(raw) for raw in raws]
        entry = self.liar.replica.chain.get(parent)
        log_root = header.log_root
        if entry is not None and entry.frontier is not None and trick in REBUILT:
            grown, _ = entry.frontier.append(leaves)
            log_size, log_root = grown.size, grown.root()
        fake = Header(
            header.chain_id,
            header.epoch,
            seq,
            parent,
            time_ms,
            root_of(leaves),
            log_size,
            log_root,
            header.proposer,
            header.view,
        )
        return make_block(fake, tuple(raws), leaves)
