"""All of Twins for four members and three views.

Bano et al., "Twins: BFT Systems Made Robust" (OPODIS 2021): one member stands at two places, two correct replicas with
one key that know nothing of each other; in each view the five places are in parts, any of the 52 ways, and nothing
passes between parts. The twin is any of the four members; the primaries of the views are members 0, 1 and 2, so that
the twin is the first, second or third leader or none of them. As a primary both copies propose, each what its client
asked for.

A world: all hear all until everybody is introduced. Then three views, VIEW_MS each, as long as a timeout: with the
partition two operations come, `x` to one copy, `y` to the other, both to all honest members. Who has waited for a
timeout asks for the next view as the next partition begins, so that a view's requests, its NEW-VIEW and its proposals
are heard in the view's own parts. (Where no quorum meets in a part, nobody enters the view, as the protocol has it,
and the next partition is another chance for the same view.) In the variant of late commits a COMMIT is heard in the
parts of the view after its own: blocks are prepared and not committed where a view ends. In the variant that holds,
what does not pass is not lost, but heard when the world becomes kind. After the third view all hear all, one operation
more comes, and within BOUND_MS everything is executed by all honest members. The judges (judges/) look on all the
time.

Up to one symmetry: to exchange the copies' names and, with them, those of the operations that they are asked for is to
play the same world again. So `x` is always the first copy's; and where the honest members with whom the copies share
their parts of the first view differ, of the two worlds whose partitions are the same but for the copies' names one is
played (`is_mirrored` says which is not). For that to be exact nothing may depend on the names: of the copies that one
takes its turn first, and has its operation submitted first, that is with the lower members in the first view. Where
both are with the same ones, somebody has to come first, and both worlds are played.

What is one world is numbered ((twin * 52 + first) * 52 + second) * 52 + third, by the numbers in partitions.py.
"""

from dataclasses import dataclass

from bftnode.protocol.messages import Kind
from simulations.judges import kind_of
from simulations.work import Done, Finding
from simulations.world import Violation, unheard
from simulations.worlds.cast import BOUND_MS, VIEW_MS, Cast, N, introduce
from simulations.worlds.frozen import Frozen, freeze, thaw
from simulations.worlds.partitions import Partition, exchanged, partitions
from simulations.worlds.rounds import Parts, RoundNode, Rounds

VIEWS = 3
COPY = N
"""The place of the twin's second copy; its first one is where its member is."""
WAYS = partitions(N + 1)
SPAN = len(WAYS) * len(WAYS) * len(WAYS)
WORLDS = N * SPAN
ALL_TOGETHER = WAYS[0]

NUMBERS_A_VIEW = 10_000
NUMBERS_OF_THE_COPY = 2_000
"""With each view everybody numbers its frames from a round number on, and the second copy from another one: neither's
frames are replays of the other's, and what was said in vain in an earlier view makes no state another."""


def company(twin: int, partition: Partition) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The honest members in the part of the twin's first copy, and of its second one."""
    honest = [member for member in range(N) if member != twin]
    first, second = (
        tuple(member for member in honest if partition[member] == partition[place]) for place in (twin, COPY)
    )
    return first, second


def leader(twin: int, first_view: Partition) -> int:
    """The place of the copy that comes first."""
    first, second = company(twin, first_view)
    return twin if first <= second else COPY


def is_mirrored(twin: int, first_view: Partition) -> bool:
    """Whether a world that begins with this view is another one's, that is played, but for the copies' names."""
    first, second = company(twin, first_view)
    return first != second and WAYS.index(first_view) > WAYS.index(exchanged(first_view, twin, COPY))


class Members(Parts):
    """Who hears whom: everything in the parts of this view; late COMMITs in those of the next one."""

    def __init__(self, rounds: Rounds) -> None:
        super().__init__(rounds)
        self.late = False
        self._commits: list[tuple[int, int, bytes]] = []

    def send(self, place: int, member: int, frame: bytes) -> None:
        """From a place to wherever `member` is in its part."""
        if self.late and kind_of(frame) == Kind.COMMIT:
            self._commits.append((place, member, frame))
        else:
            super().send(place, member, frame)

    def part(self, partition: Partition) -> None:
        """From now on these are the parts; what waited for them is on its way."""
        self.part_of = partition
        commits, self._commits = self._commits, []
        for letter in commits:
            super().send(*letter)

    def join(self) -> None:
        """Everybody hears everybody, at once."""
        self.late = False
        self.part(ALL_TOGETHER)
        self.release()


class Quintet:
    """Four members, one of them at two places, up to some view."""

    def __init__(self, cast: Cast, twin: int, *, late: bool, holds: bool) -> None:
        self.cast = cast
        self.twin = twin
        self.ways: tuple[Partition, ...] = ()
        self.rounds = Rounds()
        self.network = Members(self.rounds)
        self.judge = cast.judge(twin)
        self.nodes = [self._settle(place, twin if place == COPY else place) for place in range(N + 1)]
        self.network.part_of = ALL_TOGETHER
        self._line_up()
        introduce(self.rounds)
        self.network.holds, self.network.late = holds, late

    def _settle(self, place: int, member: int) -> RoundNode:
        node = self.cast.settle(self.rounds, self.network, self.judge, place, member)
        node.ignorant = member == self.twin
        return node

    def _line_up(self) -> None:
        """Turns are taken in the order of members; the copy that comes first, first."""
        first = leader(self.twin, self.ways[0]) if self.ways else self.twin
        second = COPY if first == self.twin else self.twin
        places = [place for member in range(N) for place in ((first, second) if member == self.twin else (member,))]
        self.rounds.nodes = [self.nodes[place] for place in places]

    def _number(self, view: int) -> None:
        for node in self.nodes:
            node.replica.voice.counter = view * NUMBERS_A_VIEW + (NUMBERS_OF_THE_COPY if node.place == COPY else 0)

    def view(self, partition: Partition) -> None:
        """The next view, in these parts, up to its end. Raises Violation."""
        operations = self.cast.operations[len(self.ways)]
        self.ways = (*self.ways, partition)
        self.rounds.tell("", f"=== the parts of view {len(self.ways) - 1}: {in_words(self.twin, partition)}")
        self._line_up()
        self._number(len(self.ways))
        self.network.part(partition)
        asked = {self.twin: operations[0], COPY: operations[1]}
        in_order = [asked[node.place] for node in self.rounds.nodes if node.place in asked]
        for node in self.rounds.nodes:
            node.submit(*([asked[node.place]] if node.place in asked else in_order))
        self.rounds.run(self.rounds.now_ms + VIEW_MS - 1)
        self.rounds.now_ms += 1

    def kind(self) -> int:
        """All hear all, until all is done; how long that took (ms). Raises Violation(liveness) where it never is."""
        self.rounds.tell("", "=== all hear all")
        began_ms = self.rounds.now_ms
        self._number(VIEWS + 1)
        self.network.join()
        for node in self.rounds.nodes:
            node.submit(self.cast.operations[VIEWS][0])
        if not self.rounds.run(began_ms + BOUND_MS, self.done):
            raise Violation("liveness", self._what_is_missing())
        return self.rounds.now_ms - began_ms

    def done(self) -> bool:
        """Whether all honest members stand at one height and have executed all that was asked."""
        height = len(self.judge.log) - 1
        if not all(node.disk.height == height for node in self.honest()):
            return False
        executed = self.judge.executed
        asked = [
            *(item for both in self.cast.operations[: len(self.ways)] for item in both),
            self.cast.operations[VIEWS][0],
        ]
        return all(item.key in executed for item in asked)

    def honest(self) -> list[RoundNode]:
        """The members that stand at one place."""
        return [node for node in self.nodes if node.member != self.twin]

    def _what_is_missing(self) -> str:
        stand = [
            f"{node.name}: view {node.replica.position.view}{'' if node.replica.position.active else ' waiting'}"
            f" height {node.disk.height}"
            for node in self.honest()
        ]
        return f"after {BOUND_MS} ms {len(self.judge.executed)} operations are executed; {'; '.join(stand)}"


def in_words(twin: int, partition: Partition) -> str:
    """n0 n1 | n2 n3 | n3'"""
    names = [f"n{twin}'" if place == COPY else f"n{place}" for place in range(N + 1)]
    parts = [
        " ".join(name for name, its in zip(names, partition, strict=True) if its == part)
        for part in range(max(partition) + 1)
    ]
    return " | ".join(parts)


def ways_of(unit: int) -> tuple[int, tuple[int, int, int]]:
    """(twin, numbers of the three partitions) of a world."""
    rest, third = divmod(unit, len(WAYS))
    rest, second = divmod(rest, len(WAYS))
    twin, first = divmod(rest, len(WAYS))
    assert 0 <= twin < N, f"there are {WORLDS} worlds"
    return twin, (first, second, third)


@dataclass(frozen=True, slots=True)
class Twins:
    """The set, as work (work.py); a unit is a world."""

    late: bool = False
    holds: bool = False

    @property
    def name(self) -> str:
        return "twins" + ("-late" if self.late else "") + ("-held" if self.holds else "")

    @property
    def story(self) -> str:
        return "a member at two places, over three views, each in one of 52 partitions"

    @property
    def units(self) -> int:
        return WORLDS

    @property
    def full(self) -> int:
        return WORLDS

    @property
    def chunk(self) -> int:
        return len(WAYS) * len(WAYS)

    def play(self, first: int, last: int) -> Done:
        """Worlds first <= unit < last."""
        assert 0 <= first <= last <= WORLDS, f"there are {WORLDS} worlds"
        with unheard():
            return _Walk(self, first, last).done()

    def begin(self, cast: Cast, twin: int) -> Quintet:
        """A world before its first view."""
        return Quintet(cast, twin, late=self.late, holds=self.holds)

    def tell(self, unit: int) -> None:
        """Play one world, to whoever listens. Raises Violation."""
        twin, ways = ways_of(unit)
        world = self.begin(Cast(), twin)
        for way in ways:
            world.view(WAYS[way])
        world.kind()

    def replay(self, unit: int) -> str:
        """The command that tells it."""
        flags = (" --late" if self.late else "") + (" --held" if self.holds else "")
        return f"python -m simulations twins{flags} --unit {unit}"


class _Walk:
    """Depth first through a range of worlds: what several have in common is played once, and frozen."""

    def __init__(self, twins: Twins, first: int, last: int) -> None:
        self._twins = twins
        self._range = range(first, last)
        self._cast = Cast()
        self._known: dict[tuple[int, bytes], None] = {}  # (how many views, digest)
        self._counts = dict.fromkeys(
            ("runs", "mirrored", "merged", "cut off", "states", "views", "deliveries", "contradictions", "changed"), 0
        )
        self._findings: list[Finding] = []
        self._slowest_ms = 0

    def done(self) -> Done:
        for twin in range(N):
            inside = self._inside(twin * SPAN, SPAN)
            if inside:
                world = self._twins.begin(self._cast, twin)
                self._below(freeze(world, self._cast.shared), twin, (), inside[0], SPAN)
        counts = self._counts
        played = counts["runs"] + counts["mirrored"] + counts["merged"] + counts["cut off"]
        assert played == len(self._range), "each world of the range is accounted for"
        notes = {"slowest": f"{self._slowest_ms} ms until all was done"}
        return Done(len(self._range), counts, tuple(self._findings), notes)

    def _inside(self, first: int, span: int) -> range:
        """Those of the range that are among these."""
        return range(max(first, self._range.start), min(first + span, self._range.stop))

    def _below(self, frozen: Frozen[Quintet], twin: int, ways: tuple[Partition, ...], unit: int, span: int) -> None:
        first, step = unit - unit % span, span // len(WAYS)
        for number, way in enumerate(WAYS):
            inside = self._inside(first + number * step, step)
            if not inside:
                continue
            if not ways and is_mirrored(twin, way):
                self._counts["mirrored"] += len(inside)
                continue
            try:
                self._play(thaw(frozen), way, inside, step)
            except Violation as found:
                self._counts["cut off"] += len(inside) - 1
                self._counts["runs"] += 1
                at = self._twins.replay(inside[0])
                self._findings.append(Finding(inside[0], found.name, found.detail, at))

    def _play(self, world: Quintet, way: Partition, inside: range, step: int) -> None:
        before = world.rounds.delivered
        world.view(way)
        self._counts["views"] += 1
        if step > 1:
            frozen = freeze(world, self._cast.shared)
            self._counts["deliveries"] += world.rounds.delivered - before
            key = len(world.ways), frozen.digest
            if key in self._known:
                self._counts["merged"] += len(inside)
                return
            if len(inside) == step:  # else there are worlds below it that nobody plays here
                self._known[key] = None
            self._counts["states"] += 1
            self._below(frozen, world.twin, world.ways, inside[0], step)
            return
        self._counts["changed"] += any(node.replica.position.view for node in world.honest())
        self._slowest_ms = max(self._slowest_ms, world.kind())
        self._counts["runs"] += 1
        self._counts["deliveries"] += world.rounds.delivered - before
        self._counts["contradictions"] += bool(world.judge.accused)


TWINS = Twins()
TWINS_LATE = Twins(late=True)
TWINS_HELD = Twins(holds=True)
TWINS_LATE_HELD = Twins(late=True, holds=True)
