"""Serves runs of blocks that are stale, have a gap, are cut, or hold other bodies, late or twice, and promises much."""

from random import Random

from bftnode.protocol.blocks import Packed
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import BlockAnswer, FetchBlock, FetchRun, Kind, Run, Seen, Status, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("K05", "K06", "K07", "P39", "P38")


TRICKS = ("stale", "gap", "later", "cut", "bodies", "forged view", "silence", "honest", "late", "twice", "short")
LATE_MS = 5000
"""At most; longer than anybody waits for a run."""


class RunLiar(Behaviour):
    """Says that it is far ahead, and answers whoever asks with something else."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.tricks = dice.sample(TRICKS, 3)
        self.boasts = dice.random() < 0.7

    def hear(self, sender: int, frame: bytes) -> None:
        kind = kind_of(frame)
        if kind not in (Kind.FETCH_RUN, Kind.FETCH_BLOCK):
            return
        try:
            body = open_body(open_frame(frame))
        except Refused:
            return
        if isinstance(body, FetchRun):
            self._answer(sender, body.first, body.last)
        elif isinstance(body, FetchBlock) and self.random.random() < 0.5:
            block = self.random.choice(self.liar.disk.log)[0]
            answer = BlockAnswer(self.liar.members.epoch, block.header_raw)
            self.liar.post([sender], self.liar.seal(Kind.BLOCK, answer, block.payload))

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        return [] if kind_of(frame) == Kind.RUN else [(to, frame)]

    def act(self) -> None:
        if not self.boasts:
            return
        liar = self.liar
        height = liar.replica.chain.height + self.random.choice((1, 3, 1000, 2**62))
        seen = tuple(Seen(0, 0, 0) for _ in range(liar.members.n))
        status = Status(liar.members.epoch, liar.replica.position.view, True, height, height, height, seen)
        liar.post(self.others(), liar.seal(Kind.STATUS, status))

    def _answer(self, to: int, first: int, last: int) -> None:
        disk, trick = self.liar.disk, self.random.choice(self.tricks)
        if trick == "silence":
            return
        start = {"stale": 1, "forged view": 1, "later": first + 1}.get(trick, first)
        run = disk.read_run(start, start if trick == "short" else last)
        if run is None:
            return
        blocks, certificate = list(run[0]), run[1]
        if trick in ("stale", "forged view"):
            certified = [(seq, item[1]) for seq, item in enumerate(disk.log) if item[1] is not None and seq < first]
            if not certified:
                return
            seq, known = self.random.choice(certified)
            assert known is not None, "chosen so"
            blocks, certificate = blocks[:seq], known
            if trick == "forged view":
                certificate = Certificate(
                    known.phase, known.epoch, known.view + self.random.choice((1, 10**6)), seq, known.block, known.votes
                )
        elif trick == "gap" and len(blocks) > 2:
            del blocks[self.random.randrange(1, len(blocks) - 1)]
        elif trick == "cut":
            blocks = blocks[: self.random.randint(1, len(blocks))]
        elif trick == "bodies":
            blocks = [Packed(item.header, self.random.choice(blocks).payload) for item in blocks]
        payload = encode(tuple(blocks))
        body = Run(self.liar.members.epoch, start, certificate)
        for _ in range(2 if trick == "twice" else 1):
            frame = self.liar.seal(Kind.RUN, body, payload)
            if trick == "late":
                self.liar.world.after(self.random.randint(1, LATE_MS), self.liar.post, [to], frame)
            else:
                self.liar.post([to], frame)
