"""Rounds: the steps of the protocol, in the order in which anybody first speaks in them.

A step is what a quorum exchanges before it goes on: the proposal of a height in a view, its PREPAREs, its COMMITs, the
VIEW-CHANGEs for a view, its NEW-VIEW (ByzzFuzz, section 4.1: faults are placed by round, not by time). What is said
beside them is of the round that has come last, and is not lost with it: a last round may last for long.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import Vote
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import Kind, NewView, PrePrepare, ViewChange, open_body
from simulations.judges import kind_of

STEPS = frozenset({Kind.PRE_PREPARE, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW})


class Rounds:
    """Numbers rounds from 0 on."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._frame = b""
        self._number = 0

    @property
    def now(self) -> int:
        """The round that came last."""
        return max(len(self._numbers) - 1, 0)

    def of(self, frame: bytes) -> int:
        """The round that a frame is of."""
        if frame is self._frame:
            return self._number
        self._frame, self._number = frame, self._of(frame)
        return self._number

    def _of(self, frame: bytes) -> int:
        if kind_of(frame) not in STEPS:
            return self.now
        try:
            opened = open_frame(frame)
            body = open_body(opened)
            match body:
                case Vote():
                    step = body.view, body.seq, opened.kind
                case PrePrepare():
                    step = body.view, open_header(body.header).seq, opened.kind
                case ViewChange() | NewView():
                    step = body.view, 0, opened.kind
                case _:
                    return self.now
        except Refused:
            return self.now  # a liar's junk is of its moment
        return self._numbers.setdefault(step, len(self._numbers))


@dataclass(frozen=True, slots=True)
class Partition:
    """A network fault: in this round nothing passes between `side` and the others."""

    round: int
    side: frozenset[int]

    def loses(self, place: int, to: int, number: int) -> bool:
        """Whether what is sent from a place to another in this round is lost."""
        return number == self.round and (place in self.side) != (to in self.side)


Loss = Callable[[int, int, bytes], bool]
"""(from, to, frame) -> whether it is lost."""


def rule_of(
    rounds: Rounds, liars: frozenset[int], partitions: Iterable[Partition], losses: Iterable[Loss]
) -> Callable[[int, int, bytes], bool]:
    """What network.rule asks: whether a frame may pass. A liar's is of its moment: it may name what is no round."""
    split, also = tuple(partitions), tuple(losses)

    def may_pass(place: int, to: int, frame: bytes) -> bool:
        if split and kind_of(frame) in STEPS:
            number = rounds.now if place in liars else rounds.of(frame)
            if any(one.loses(place, to, number) for one in split):
                return False
        return not also or all(not lost(place, to, frame) for lost in also)

    return may_pass
