"""No honest double vote: nobody correct says two different things in one place, across crashes too, nor speaks in a
view that it has left (docs/protocol.md, "What must survive a crash"; faults.md P10)."""

from bftnode.protocol.messages import Kind
from simulations.world import Violation


class Speech:
    """Remembers what every correct member has said, whatever it forgets itself."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, int, int, int], bytes] = {}  # (member, kind, view, seq) -> what
        self._left: dict[int, int] = {}  # member -> the highest view for which it sent VIEW-CHANGE

    def says(self, member: int, kind: int, view: int, seq: int, what: bytes) -> None:
        """Said once: in one place (kind, view, height) always the same."""
        said = self._said.setdefault((member, kind, view, seq), what)
        if said != what:
            raise Violation("said-once", f"n{member}: two different {Kind(kind).name}s at view {view}, height {seq}")

    def votes(self, member: int, view: int) -> None:
        """Nothing of a view that was left."""
        if view < self._left.get(member, 0):
            raise Violation("left-view", f"n{member} votes in view {view}, which it has left (P10)")

    def leaves(self, member: int, view: int) -> None:
        """A VIEW-CHANGE for `view` is sent."""
        self._left[member] = max(view, self._left.get(member, 0))
