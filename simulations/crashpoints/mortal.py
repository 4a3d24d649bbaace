"""A member that counts its writes and dies at those that it is told to, and the stage that it stands on.

A persist point is a moment at which a node asks its disk to write: a promise, with all that was left behind before it,
or what was left behind alone (bftnode/replica/effects.py). What a power failure may leave of it is what the contract
of the disk says: all of it, nothing of it, or what earlier turns left behind, because a write that came a little
earlier would have taken that along.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeVar

from bftnode.protocol.membership import Parameters
from bftnode.replica.effects import Broadcast, Effect, Send
from bftnode.replica.position import NO_VOTE
from simulations.adversaries.liar import Behaviour
from simulations.disks import NOTHING, Mark
from simulations.node import Node
from simulations.scenarios.stage import Stage

T = TypeVar("T", bound=Node)

DOWN_MS = 30
"""How long a member that died stays down."""

NEW_DISK_MS = 100
"""After so long a member that refuses to run on a damaged disk is given a new one."""

ALL_WORDS = 1 << 30


class Mode(StrEnum):
    """What of a write is there after the crash, and what was said."""

    BEFORE = "before"  # nothing of it, nor what was left behind before
    TORN = "torn"  # what earlier turns left behind, and nothing of the last ones
    AFTER = "after"  # all of it; nothing was said
    HALF_SAID = "half-said"  # all of it; one message left
    SAID = "said"  # all of it; everything was said, nothing executed
    LOST = "lost"  # it was acknowledged, said and executed; then the disk has forgotten it
    DAMAGED = "damaged"  # it broke off in the middle of a record, against the contract; checksums tell
    BLACKOUT = "blackout"  # nothing of it, and the power fails everywhere


FORGETFUL = frozenset({Mode.LOST, Mode.DAMAGED})
"""The disk breaks its word: who owns it is one of the f that may."""


class Point(NamedTuple):
    """A write, as it was asked for."""

    records: tuple[str, ...]  # what it writes (Disk.waiting)
    cuts: tuple[Mark, ...]  # after which of the earlier turns it may have been cut
    words: int  # messages that leave after it


class Blow(NamedTuple):
    """Die at write number `point`: of all (the first blow), or since the life that began after the blow before."""

    point: int
    mode: Mode
    cut: int = 0  # which of the point's cuts; for TORN


class Mortal(Node):
    """Counts its writes, from the start, and again in each recovery from a blow, until it takes part again."""

    blows: Sequence[Blow] = ()
    blackout: Callable[[], None]
    struck = 0  # blows that fell
    points: list[Point]  # since the start, or since the last blow
    _counting = True
    _fell = False  # a blow has fallen, and the life after it has not begun
    _recovers_to: int | None = None  # the height that a recovery reaches; None: it is none
    _had_said = NO_VOTE  # the last COMMIT on record when it woke up
    _marks: list[Mark]

    def condemn(self, blows: Sequence[Blow], blackout: Callable[[], None]) -> None:
        """Before its first life."""
        self.blows, self.blackout = blows, blackout
        self.points, self._marks = [], []

    def start(self) -> None:
        """What the first life after a blow writes, until it has recovered, counts, whoever begins it."""
        self._marks = []
        recovers, self._fell = self._fell, False
        if recovers:
            self.points, self._counting, self._recovers_to = [], True, len(self.judge.log) - 1
        super().start()
        if recovers and self.up:
            self._had_said = self.replica.agreement.last_commit
        elif recovers:
            self.world.after(NEW_DISK_MS, self.replace_disk)

    def _turn(self) -> None:
        self._marks.append(self.disk.mark())
        super()._turn()

    def _write(self, then: Callable[[Sequence[Effect]], None], effects: Sequence[Effect]) -> None:
        words = [effect for effect in effects if isinstance(effect, Send | Broadcast)] if then == self._say else []
        messages = sum(1 if isinstance(word, Send) else len(self._others) for word in words)
        point = self._arrive(self.disk.waiting(), messages)
        self._strike(point, lambda: super(Mortal, self)._write(then, effects), self.disk.sync)

    def stop(self) -> None:
        """A stop in order is a write, too."""
        if not self.up or self._writing:
            super().stop()
            return
        point = self._arrive([*self.disk.waiting(), "closed"], 0)
        self._strike(point, super().stop, super().stop)

    def _arrive(self, records: Sequence[str], words: int) -> Point:
        now = self.disk.mark()
        cuts = tuple(mark for mark in dict.fromkeys(self._marks) if mark not in (NOTHING, now))
        self._marks = []
        point = Point(tuple(dict.fromkeys(records)), cuts, words)
        if self._counting:
            self.points.append(point)
        return point

    def _strike(self, point: Point, write: Callable[[], None], write_only: Callable[[], None]) -> None:
        """Write, or die at it. `write_only` says nothing afterwards."""
        blow = self.blows[self.struck] if self.struck < len(self.blows) else None
        if blow is None or not self._counting or blow.point != len(self.points) - 1:
            self._counting = self._counting and not self._has_recovered()
            write()
            return
        self.struck += 1
        self._counting, self._fell = False, True
        self.world.tell(self.name, f"dies at its write {blow.point} ({', '.join(point.records)}): {blow.mode}")
        match blow.mode:
            case Mode.BEFORE:
                self.crash()
            case Mode.TORN:
                self.disk.lose(point.cuts[blow.cut])
                self.disk.sync()
                self.crash()
            case Mode.AFTER:
                write_only()
                self.crash()
            case Mode.HALF_SAID | Mode.SAID:
                assert point.words, "there is something to say"
                self.crash_after_sends = 1 if blow.mode is Mode.HALF_SAID else ALL_WORDS
                write()
            case Mode.LOST:
                image = self.disk.image()
                write()
                self.crash()
                self.disk.put_back(image)
            case Mode.DAMAGED:
                self.disk.tear_next(self.world.random("torn"))
                write()
                self.crash()
            case Mode.BLACKOUT:
                self.blackout()
        self.world.after(DOWN_MS, self._wake_up)

    def _has_recovered(self) -> bool:
        """It has on its disk what all had executed when it woke up, and COMMITs again, or it may not."""
        if self._recovers_to is None or self.disk.written < self._recovers_to:
            return False
        position, agreement = self.replica.position, self.replica.agreement
        return position.introduced and (bool(position.quarantine) or agreement.last_commit != self._had_said)

    def _wake_up(self) -> None:
        """It starts again, unless the world's script was quicker."""
        if not self.up:
            self.start()

    def replace_disk(self) -> None:
        """A member that refuses to run on what it has is given a new disk."""
        if not self.up and self.refused:
            self.world.tell(self.name, "is given a new disk")
            self.disk.wipe()
            self.start()


class Arena(Stage):
    """Four members, of which one is to die at the blows."""

    honest = Mortal

    def __init__(
        self,
        victim: int,
        blows: Sequence[Blow],
        *,
        liars: Mapping[int, list[Behaviour]] | None = None,
        faulty: tuple[int, ...] = (),
        parameters: Parameters | None = None,
        cosigns: bool = False,
        remember: int = 0,
    ) -> None:
        self._victim = victim
        self._blows = blows
        if any(blow.mode in FORGETFUL for blow in blows):
            assert faulty in ((), (victim,)), "f = 1"
            faulty = (victim,)
        super().__init__(
            seed="crashpoints",
            liars=dict(liars or {}),
            faulty=faulty,
            parameters=parameters,
            cosigns=cosigns,
            remember=remember,
        )

    def _node(self, kind: type[T], member: int, place: int) -> T:
        node = super()._node(kind, member, place)
        if isinstance(node, Mortal):
            node.condemn(self._blows if member == self._victim else (), self._blackout)
        return node

    @property
    def victim(self) -> Mortal:
        node = self.nodes[self._victim]
        assert isinstance(node, Mortal), "no liar"
        return node

    def _blackout(self) -> None:
        for node in self.nodes:
            node.crash()
            if node is not self.victim:
                self.world.after(DOWN_MS, self.up, node)

    @staticmethod
    def up(node: Node) -> None:
        """It runs (again)."""
        if not node.up:
            node.start()
