"""A small world in rounds: what is said in one ms arrives in the next, in the order in which it was said.

No dice and no delays: what happens follows from who may hear whom. Nodes are driven as everywhere (node.py), but take
all that arrives in a round in one turn, as the daemon does. Such a world can be frozen and thawed (frozen.py).
"""

from collections.abc import Callable, Sequence
from heapq import heappop

from bftnode.replica.core import Replica
from bftnode.replica.effects import Effect
from bftnode.replica.events import Event, Now, Received, Tick
from simulations.network import Network
from simulations.node import TICKS_A_MOMENT_MAX, Node
from simulations.world import Violation, World

FRAMES_A_ROUND_MAX = 5000
"""More on their way at once is a machine that spins: four members and a copy have a few dozen to say."""

Letter = tuple[int, int, int, bytes]
"""(from place, from member, to place, frame)."""

_Scheduled = tuple[int, float, int, Callable[..., None], tuple[object, ...]]


class Rounds(World):
    """Time in rounds. `nodes` take turns in the order in which they stand there."""

    def __init__(self, *, remember: int = 0) -> None:
        super().__init__("rounds", remember=remember)
        self._tie = _no_tie
        self.flight: list[Letter] = []
        self.nodes: list[RoundNode] = []

    def __getstate__(self) -> tuple[int, int, list[_Scheduled], list[Letter], list["RoundNode"]]:
        """What its future follows from. What was counted and told is not among it."""
        return self.now_ms, self._serial if self._heap else 0, self._heap, self.flight, self.nodes

    def __setstate__(self, state: tuple[int, int, list[_Scheduled], list[Letter], list["RoundNode"]]) -> None:
        Rounds.__init__(self)
        self.now_ms, self._serial, self._heap, self.flight, self.nodes = state

    def note(self, *parts: bytes) -> None:
        """No trace: states are compared whole."""

    def run(self, until_ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Rounds up to and with the one at `until_ms`, or until `done()`, asked after each; whether it was done."""
        while True:
            due_ms = min(node.alarm_ms for node in self.nodes)
            if self._heap:
                due_ms = min(due_ms, self._heap[0][0])
            if self.flight:
                due_ms = min(due_ms, self.now_ms + 1)
            if due_ms > until_ms:
                self.now_ms = until_ms
                return done is not None and done()
            self.now_ms = max(due_ms, self.now_ms)
            self._round()
            if done is not None and done():
                return True

    def _round(self) -> None:
        letters, self.flight = self.flight, []
        if len(letters) > FRAMES_A_ROUND_MAX:
            raise Violation("spinning", f"{len(letters)} frames are on their way at once")
        at = {node.place: node for node in self.nodes}
        for _, member, to, frame in letters:
            at[to].inbox.append(Received(member, frame))
        for _ in range(TICKS_A_MOMENT_MAX + 1):
            ticking = False
            for node in self.nodes:
                if node.alarm_ms <= self.now_ms:
                    ticking = True
                    node.inbox.append(Tick())
                node.take()
            if not ticking:
                break
        else:
            raise Violation("spinning", "a node asks for a tick at once after a tick, again and again")
        while self._heap and self._heap[0][0] <= self.now_ms:
            _, _, _, action, arguments = heappop(self._heap)
            self.happened += 1
            action(*arguments)


def _no_tie() -> float:
    """Of what is due at one ms the first that was scheduled is the first that happens."""
    return 0.0


class RoundNode(Node):
    """A node in rounds. `ignorant`: it does not care that others have heard more of it than it has said: it has a twin,
    which numbers its frames elsewhere (adversaries/twins.py)."""

    alarm_ms = 0
    ignorant = False

    @property
    def inbox(self) -> list[Event]:
        """What it takes in its next turn."""
        return self._inbox

    def take(self) -> None:
        """Turns, until nothing is left in the inbox."""
        if self._inbox and self.up and not self._running:
            self._run()

    def _set_alarm(self) -> None:
        self.alarm_ms = self.replica.next_deadline_ms()

    def _step(self, replica: Replica, event: Event, now: Now) -> list[Effect]:
        if self.ignorant:
            replica.nonces._later.clear()
        return super()._step(replica, event, now)


class Parts(Network):
    """Places in parts: what is said in one is heard in it and nowhere else."""

    def __init__(self, rounds: Rounds) -> None:
        super().__init__(rounds)
        self._rounds = rounds
        self.part_of: Sequence[int] = ()  # place -> the number of its part
        self.holds = False  # whether what does not arrive is kept for later, or lost
        self.held: list[Letter] = []

    def send(self, place: int, member: int, frame: bytes) -> None:
        """From a place to wherever `member` is in its part."""
        for to in self._places_of[member]:
            if to == place:
                continue
            rounds, letter = self._rounds, (place, self._member_at[place], to, frame)
            arrives = self.part_of[to] == self.part_of[place]
            if rounds.telling:
                rounds.sent(place, to, frame, rounds.now_ms + 1 if arrives else None)
            if arrives:
                rounds.flight.append(letter)
            elif self.holds:
                self.held.append(letter)

    def release(self) -> None:
        """What was held is on its way."""
        self._rounds.flight += self.held
        self.held = []

    def link(self, place: int) -> None:
        """Links are there from the beginning; what a new one says is said with the first STATUS."""
