"""Votes for everything that it hears of, in both phases, at once."""

from random import Random

from bftnode.protocol.blocks import hash_header, open_header
from bftnode.protocol.certificates import Vote
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import Kind, PrePrepare, open_body
from simulations.adversaries.liar import Behaviour
from simulations.judges import kind_of

covers = ("N11", "N12", "V10")

KEPT = 512


class VoteEquivocator(Behaviour):
    """A yes-man, to all or to some."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.to_all = dice.random() < 0.7
        self.repeats_old_views = dice.random() < 0.5
        self._voted: dict[tuple[int, int, bytes], None] = {}

    def hear(self, sender: int, frame: bytes) -> None:
        if kind_of(frame) not in (Kind.PRE_PREPARE, Kind.PREPARE, Kind.COMMIT):
            return
        try:
            body = open_body(open_frame(frame))
        except Refused:
            return
        if isinstance(body, PrePrepare):
            self._vote(Vote(body.epoch, body.view, open_header(body.header).seq, hash_header(body.header)))
        elif isinstance(body, Vote) and abs(body.view - self.liar.replica.position.view) < 3:
            # Not of any view: two of its kind would talk each other through all views that there are.
            self._vote(body)
            if self.repeats_old_views and body.view == self.liar.replica.position.view > 0:
                self._vote(Vote(body.epoch, body.view - 1, body.seq, body.block))

    def _vote(self, vote: Vote) -> None:
        key = (vote.view, vote.seq, vote.block)
        if key in self._voted:
            return
        self._voted[key] = None
        if len(self._voted) > KEPT:
            del self._voted[next(iter(self._voted))]
        to = self.others() if self.to_all else self.some()
        for kind in (Kind.PREPARE, Kind.COMMIT):
            self.liar.post(to, self.liar.seal(kind, vote))
