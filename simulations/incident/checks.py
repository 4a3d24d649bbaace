"""What no member's recording says alone: whether anybody said two things, and whether all logs are one."""

from bftnode.protocol import ed25519
from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, open_frame, signing_bytes
from bftnode.protocol.errors import Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Kind, NewView, PrePrepare, ViewChange, open_body
from bftnode.replica.effects import AppendBlock, Broadcast, Send
from bftnode.replica.events import Received
from simulations.incident.lives import Replayed
from simulations.judges import SAID_ONCE, kind_of

REMEMBERED_MAX = 1_000_000
"""Statements, and heights, that are remembered; beyond it the oldest are forgotten, and what contradicts them is not
seen."""

_Place = tuple[int, int, int, int]  # member, kind, view, height


class Checks:
    """Fed with what members said, heard and appended, in any order; `found` has a sentence for each contradiction."""

    def __init__(self, members: Membership) -> None:
        self._members = members
        self._said: dict[_Place, tuple[bytes, Frame, str]] = {}  # what, the frame, and whose recording has it
        self._log: dict[int, tuple[bytes, str]] = {}  # height -> block, and who appended it first
        self.statements = 0
        self.blocks = 0
        self.found: list[str] = []

    def look(self, member: int, replayed: Replayed) -> None:
        """A step of a member."""
        event = replayed.step.event
        if isinstance(event, Received):
            self._hear(event.sender, event.frame, f"n{member} heard")
        for effect in replayed.effects:
            if isinstance(effect, Broadcast | Send):
                self._hear(member, effect.frame, f"n{member} said")
            elif isinstance(effect, AppendBlock):
                self._append(member, effect.block.seq, effect.block.hash)

    def _append(self, member: int, seq: int, block: bytes) -> None:
        self.blocks += 1
        known, who = self._log.setdefault(seq, (block, f"n{member}"))
        if known != block:
            self.found.append(f"agreement: n{member} appends another block at height {seq} than {who}")
        _forget(self._log)

    def _hear(self, speaker: int, raw: bytes, source: str) -> None:
        if kind_of(raw) not in SAID_ONCE:
            return
        try:
            frame = open_frame(raw)
            said = _place_and_words(frame)
        except Refused:
            return
        if frame.sender != speaker or said is None:
            return  # passed on, or another one's name: whose it is, the link does not say
        self.statements += 1
        place, what = said
        known = self._said.setdefault(place, (what, frame, source))
        if known[0] == what:
            _forget(self._said)
            return
        # Only what is signed was said. Most of it is what a replica let pass, so only a contradiction is looked at.
        if not self._signed(known[1]):
            self._said[place] = (what, frame, source)
        elif self._signed(frame):
            member, kind, view, seq = place
            self.found.append(
                f"said-once: n{member} says two different {Kind(kind).name}s at view {view}, height {seq}: "
                f"{known[2]} one, {source} the other"
            )

    def _signed(self, frame: Frame) -> bool:
        message = signing_bytes(self._members.chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
        return ed25519.verify(self._members.public_keys[frame.sender], message, frame.signature)


def _forget(table: dict[int, tuple[bytes, str]] | dict[_Place, tuple[bytes, Frame, str]]) -> None:
    if len(table) > REMEMBERED_MAX:
        del table[next(iter(table))]  # type: ignore[arg-type]  # a key of its own


def _place_and_words(frame: Frame) -> tuple[_Place, bytes] | None:
    body, kind = open_body(frame), frame.kind
    match body:
        case Vote():
            return (frame.sender, kind, body.view, body.seq), body.block
        case PrePrepare():
            return (frame.sender, kind, body.view, open_header(body.header).seq), body.header
        case ViewChange():
            return (frame.sender, kind, body.view, 0), encode(body)
        case NewView():
            return (frame.sender, kind, body.view, 0), frame.body
        case _:
            return None
