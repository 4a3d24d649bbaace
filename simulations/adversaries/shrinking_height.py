"""Says that it is at a height, and a moment later at a lower one; whoever asks gets a part, or nothing.

CometBFT's CVE-2025-24371: a peer that reported a height X and then a lower Y kept a syncing node waiting for ever.
"""

from random import Random

from bftnode.protocol.envelope import open_frame
from bftnode.protocol.messages import Kind, Seen, Status, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("K05", "K06", "K04")


class ShrinkingHeight(Behaviour):
    """Each STATUS promises less than the one before, from far above; then from the top again."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.top = dice.choice((10, 1000, 10**9))
        self.gives = dice.random() < 0.3
        self._promised = 0

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        kind = kind_of(frame)
        if kind == Kind.RUN:
            return [(to, frame)] if self.gives else []
        if kind != Kind.STATUS:
            return [(to, frame)]
        body = open_body(open_frame(frame))
        assert isinstance(body, Status), "of its kind"
        self._promised = self._promised // 2 or self.top
        height = body.committed + self._promised
        seen: tuple[Seen, ...] = body.seen
        return [
            (to, self.liar.seal(Kind.STATUS, Status(body.epoch, body.view, body.active, height, height, height, seen)))
        ]
