"""As the primary of a new view: NEW-VIEWs that are withheld, shown to some, or do not follow from what they hold."""

from bftnode.protocol.envelope import Frame, encode_frame, open_frame
from bftnode.protocol.messages import Kind, NewView, ViewChange, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("V04", "V05", "V11", "V12", "P4")

TRICKS = ("withheld", "to some", "too few", "one twice", "not in order", "of another view", "altered", "two")


class NewViewLiar(Behaviour):
    """One trick a view."""

    _view: int = 0
    _trick: str = "withheld"
    _some: tuple[int, ...] = ()

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) != Kind.NEW_VIEW:
            return [(to, frame)]
        opened = open_frame(frame)
        body = open_body(opened)
        if opened.sender != self.liar.member or not isinstance(body, NewView):
            return [(to, frame)]
        if body.view != self._view:
            self._view, self._trick, self._some = body.view, self.random.choice(TRICKS), tuple(self.some(1))
        match self._trick:
            case "withheld":
                return []
            case "to some":
                return [(to, frame)] if to in self._some else []
            case "two":
                return [(to, frame if to in self._some else self._with(body, self._other_choice(body)))]
            case _:
                return [(to, self._with(body, self._wrong(body)))]

    def _with(self, body: NewView, view_changes: tuple[bytes, ...]) -> bytes:
        return self.liar.seal(Kind.NEW_VIEW, NewView(body.epoch, body.view, view_changes))

    def _other_choice(self, body: NewView) -> tuple[bytes, ...]:
        """The same senders, with a report of one's own that says nothing."""
        lie = ViewChange(body.epoch, body.view, None)
        frames = {open_frame(raw).sender: raw for raw in body.view_changes}
        frames[self.liar.member] = self.liar.seal(Kind.VIEW_CHANGE, lie)
        return tuple(frames[sender] for sender in sorted(frames))

    def _wrong(self, body: NewView) -> tuple[bytes, ...]:
        raws = body.view_changes
        match self._trick:
            case "too few":
                return raws[:-1]
            case "one twice":
                return (*raws[:-1], raws[0])
            case "not in order":
                return tuple(reversed(raws))
            case "of another view":
                other = ViewChange(body.epoch, body.view + 1, None)
                return (self.liar.seal(Kind.VIEW_CHANGE, other), *raws[1:])
            case _:
                return (*raws[:-1], self._hiding(open_frame(raws[-1])))

    def _hiding(self, frame: Frame) -> bytes:
        """Another one's VIEW-CHANGE without its certificate, under the signature that it had."""
        body = open_body(frame)
        assert isinstance(body, ViewChange), "of its kind"
        other = open_frame(self.liar.seal(Kind.VIEW_CHANGE, ViewChange(body.epoch, body.view, None)))
        return encode_frame(
            Frame(frame.kind, frame.sender, frame.boot, frame.counter, other.body, frame.signature, b"")
        )
