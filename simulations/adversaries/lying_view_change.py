"""VIEW-CHANGEs that hide what their sender knows: no certificate, or an old one, alike or different for each member.

As the primary of the new view it picks the VIEW-CHANGEs that suit it best, its own lie among them, and may send
different NEW-VIEWs to different members.
"""

from random import Random

from bftnode.protocol.certificates import Certificate, rank_of
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, encode_frame, open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import Kind, NewView, ViewChange, open_body
from simulations.adversaries.liar import Behaviour, Letter, Liar
from simulations.judges import kind_of

covers = ("V02", "V04", "V05", "V11", "V18", "P4", "P5")

KEPT = 64


class LyingViewChange(Behaviour):
    """Reports as little as it can, and lets others report as little as they can."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.consistent = dice.random() < 0.6  # one lie for all, else one for each
        self.two_new_views = dice.random() < 0.5
        self._certificates: dict[bytes, Certificate | None] = {b"": None}
        self._lies: dict[tuple[int, int], ViewChange] = {}  # (view, to) -> what was reported
        self._heard: dict[tuple[int, int], Frame] = {}  # (view, sender) -> VIEW-CHANGE
        self._new_views: dict[tuple[int, int], bytes] = {}  # (view, to) -> NEW-VIEW

    def attach(self, liar: Liar) -> None:
        super().attach(liar)

    def hear(self, sender: int, frame: bytes) -> None:
        if kind_of(frame) != Kind.VIEW_CHANGE:
            return
        try:
            opened = open_frame(frame)
            body = open_body(opened)
        except Refused:
            return
        if isinstance(body, ViewChange):
            self._heard[body.view, sender] = opened
            self._learn(body.certificate)
            while len(self._heard) > KEPT:
                del self._heard[next(iter(self._heard))]

    def _learn(self, certificate: Certificate | None) -> None:
        if certificate is not None and len(self._certificates) < KEPT:
            self._certificates.setdefault(encode(certificate), certificate)

    def act(self) -> None:
        self._learn(self.liar.replica.position.highest)

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        kind = kind_of(frame)
        if kind == Kind.VIEW_CHANGE:
            body = open_body(open_frame(frame))
            assert isinstance(body, ViewChange), "of its kind"
            self._learn(body.certificate)
            return [(to, self.liar.seal(Kind.VIEW_CHANGE, self._lie(body, to)))]
        if kind == Kind.NEW_VIEW and open_frame(frame).sender == self.liar.member:
            body = open_body(open_frame(frame))
            assert isinstance(body, NewView), "of its kind"
            return [(to, self._new_view(body, to, frame))]
        return [(to, frame)]

    def _lie(self, body: ViewChange, to: int) -> ViewChange:
        place = (body.view, -1 if self.consistent else to)
        if place not in self._lies:
            lower = [item for item in self._certificates.values() if item is None or item.view < body.view]
            certificate = None if self.random.random() < 0.5 else self.random.choice(lower)
            self._lies[place] = ViewChange(body.epoch, body.view, certificate)
            while len(self._lies) > KEPT:
                del self._lies[next(iter(self._lies))]
        return self._lies[place]

    def _new_view(self, body: NewView, to: int, honest: bytes) -> bytes:
        place = (body.view, to if self.two_new_views else -1)
        if place not in self._new_views:
            self._new_views[place] = self._choose(body, to) or honest
        return self._new_views[place]

    def _choose(self, body: NewView, to: int) -> bytes | None:
        """A NEW-VIEW of the q lowest certificates that can be had, one's own lie first."""
        liar = self.liar
        lie = self._lie(ViewChange(body.epoch, body.view, None), to)
        mine = open_frame(liar.seal(Kind.VIEW_CHANGE, lie))
        asked = {sender: frame for (view, sender), frame in self._heard.items() if view == body.view}
        for raw in body.view_changes:
            frame = open_frame(raw)
            asked.setdefault(frame.sender, frame)
        asked[liar.member] = mine
        if len(asked) < liar.members.quorum:
            return None
        ordered = sorted(asked.values(), key=lambda frame: (_rank(frame), frame.sender))
        if self.two_new_views:
            self.random.shuffle(ordered)
        chosen = sorted(ordered[: liar.members.quorum], key=lambda frame: frame.sender)
        frames = tuple(encode_frame(frame) for frame in chosen)
        return liar.seal(Kind.NEW_VIEW, NewView(body.epoch, body.view, frames))


def _rank(frame: Frame) -> tuple[int, int, int]:
    body = open_body(frame)
    return rank_of(body.certificate) if isinstance(body, ViewChange) else (0, 0, 0)
