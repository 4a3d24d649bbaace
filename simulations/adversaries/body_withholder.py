"""As a primary, shows the body of a proposal to some and its header to the rest, and gives it to nobody who asks."""

from bftnode.protocol.envelope import open_frame
from bftnode.protocol.messages import Kind, PrePrepare, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("N18", "N02")

ANSWERS = (Kind.BLOCK, Kind.RUN)


class BodyWithholder(Behaviour):
    """For each proposal another few members get the body: as many as a quorum needs, or one fewer."""

    _block: bytes = b""
    _trusted: tuple[int, ...] = ()

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        kind = kind_of(frame)
        if kind in ANSWERS:
            return []
        if kind != Kind.PRE_PREPARE:
            return [(to, frame)]
        opened = open_frame(frame)
        body = open_body(opened)
        assert isinstance(body, PrePrepare), "of its kind"
        if body.header != self._block:
            quorum = self.liar.members.quorum
            self._block = body.header
            self._trusted = tuple(self.random.sample(self.others(), quorum - self.random.choice((1, 2))))
        return [(to, frame if to in self._trusted else self.liar.seal(Kind.PRE_PREPARE, body))]
