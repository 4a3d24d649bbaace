"""One decision, and every set of at most three of its messages lost, beside six kinds of primary.

Four members decide what one client has asked all of them. What is said on the way, from the submission to the commit
at all members, is what the run without loss says (STATUS apart, which repairs: it is never lost here); each set of at
most LOST_MAX of these messages is lost in a run of its own, a message being the first, second, ... of its kind from
one member to another. Then a second operation comes. Both are executed by all honest members within the bound, as one
history.

The first primary is one of six, by the failures that Cristian et al. ("Atomic Broadcast: From Simple Message Diffusion
to Byzantine Agreement", 1985) tell apart: none; omission, to all (`silent`) and to one (`omitting`: nothing but STATUS
reaches member 3); timing (`slow`: its proposals leave 0.7 timeouts late); and the two of commission that a primary
has: two values (`equivocating`: member 1 is shown another block than the others, votes for both go to all) and one
that is wrong (`invalid`: an envelope is in the block twice).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb
from random import Random
from typing import TypeVar

from bftnode.protocol.messages import Kind
from simulations.adversaries.equivocating_primary import EquivocatingPrimary
from simulations.adversaries.fabricator import Fabricator
from simulations.adversaries.liar import Behaviour, Liar
from simulations.adversaries.selective import Selective
from simulations.adversaries.silent import Silent
from simulations.adversaries.slow_primary import SlowPrimary
from simulations.judges import kind_of
from simulations.work import Done, Finding, parts
from simulations.world import Violation, unheard
from simulations.worlds.cast import BOUND_MS, Cast, N, introduce
from simulations.worlds.frozen import Frozen, freeze, thaw
from simulations.worlds.rounds import Parts, RoundNode, Rounds

T = TypeVar("T")

LOST_MAX = 3
PRIMARY = 0
BETWEEN_MS = 100
"""So long after a STATUS the operation is asked for: nobody who hears one has reason to say a vote again."""

Message = tuple[int, int, int, int]
"""(from member, to member, kind, the how manieth of its kind between them)."""


class Loaded(Random):
    """Dice that always show what they are asked to show."""

    def __init__(self, face: object) -> None:
        super().__init__("loaded")
        self._face = face

    def random(self) -> float:
        """As large as can be."""
        return 1.0

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override] # of sequences with the face
        """The face, where there is one."""
        return next((item for item in seq if item == self._face), seq[-1])


def _silent() -> Behaviour:
    behaviour = Silent(Random("silent"))
    behaviour.unsaid = [int(kind) for kind in Kind]
    return behaviour


def _omitting() -> Behaviour:
    behaviour = Selective(Random("omitting"))
    behaviour._heard_by = {int(kind): [1, 2] for kind in Kind}
    return behaviour


def _slow() -> Behaviour:
    behaviour = SlowPrimary(Random("slow"))
    behaviour.share = 0.7
    return behaviour


def _equivocating() -> Behaviour:
    behaviour = EquivocatingPrimary(Random("equivocating"))
    behaviour.often, behaviour.votes_for_both, behaviour.commits_early = 1.0, True, False
    behaviour._other_group = {0: [1]}
    return behaviour


PRIMARIES: dict[str, Callable[[], Behaviour] | None] = {
    "correct": None,
    "silent": _silent,
    "omitting": _omitting,
    "slow": _slow,
    "equivocating": _equivocating,
    "invalid": lambda: Fabricator(Loaded("twice")),
}


class RoundLiar(RoundNode, Liar):
    """A node in rounds whose behaviours are not its replica's."""


class Lossy(Parts):
    """All hear all, but for the messages that are lost."""

    def __init__(self, rounds: Rounds) -> None:
        super().__init__(rounds)
        self.part_of = (0,) * N
        self.lost: frozenset[Message] = frozenset()
        self.said: dict[tuple[int, int, int], int] = {}  # (from, to, kind) -> how many

    def send(self, place: int, member: int, frame: bytes) -> None:
        """From a place to `member`, unless it is lost."""
        kind = kind_of(frame)
        if kind != Kind.STATUS:
            link = (place, member, kind)
            number = self.said[link] = self.said.get(link, 0) + 1
            if (*link, number) in self.lost:
                return
        super().send(place, member, frame)


class Quartet:
    """Four members who have been introduced to each other. The first primary may be a liar."""

    def __init__(self, cast: Cast, *, lying: bool) -> None:
        self.cast = cast
        self.faulty = [PRIMARY] if lying else []
        self.rounds = Rounds()
        self.network = Lossy(self.rounds)
        self.judge = cast.judge(*self.faulty)
        for member in range(N):
            kind = RoundLiar if member in self.faulty else RoundNode
            self.rounds.nodes.append(cast.settle(self.rounds, self.network, self.judge, member, member, kind))
        introduce(self.rounds)
        self.rounds.run(self.rounds.now_ms + BETWEEN_MS)
        self.network.said = {}

    def play(self, behaviour: Behaviour | None, lost: Sequence[Message]) -> None:
        """Decide an operation without these messages, and another one. Raises Violation."""
        self._behave(behaviour)
        self.network.lost = frozenset(lost)
        self._decide(0)
        self._decide(1)

    def said(self, behaviour: Behaviour | None) -> list[Message]:
        """All that is said until the first operation is decided, or a property is violated."""
        self._behave(behaviour)
        with suppress(Violation):  # the run that loses nothing finds it, too
            self._decide(0)
        return [(*link, number + 1) for link, count in self.network.said.items() for number in range(count)]

    def _behave(self, behaviour: Behaviour | None) -> None:
        if behaviour is not None:
            liar = self.rounds.nodes[PRIMARY]
            assert isinstance(liar, RoundLiar), "settled as one"
            liar.become([behaviour])

    def _decide(self, number: int) -> None:
        """All are asked for an operation, and have executed it. Raises Violation(liveness)."""
        operation = self.cast.operations[number][0]
        self.rounds.tell("", f"=== all members are asked for operation {number + 1}")
        for node in self.rounds.nodes:
            node.submit(operation)
        honest = [node for node in self.rounds.nodes if node.member not in self.faulty]

        def done() -> bool:
            height = len(self.judge.log) - 1
            return operation.key in self.judge.executed and all(node.disk.height == height for node in honest)

        if not self.rounds.run(self.rounds.now_ms + BOUND_MS, done):
            stand = "; ".join(
                f"{node.name}: view {node.replica.position.view} height {node.disk.height}" for node in honest
            )
            raise Violation(
                "liveness", f"operation {number + 1} is not executed everywhere after {BOUND_MS} ms; {stand}"
            )


def _begin(cast: Cast, primary: str) -> Frozen[Quartet]:
    return freeze(Quartet(cast, lying=PRIMARIES[primary] is not None), cast.shared)


def _behave(primary: str) -> Behaviour | None:
    made = PRIMARIES[primary]
    return None if made is None else made()


def messages(cast: Cast, primary: str) -> list[Message]:
    """What is said for one decision where nothing is lost."""
    return thaw(_begin(cast, primary)).said(_behave(primary))


def sets_of(said: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
    """All sets of at most LOST_MAX messages, the smaller ones first."""
    for size in range(LOST_MAX + 1):
        yield from combinations(said, size)


def _count(said: Sequence[Message]) -> int:
    return sum(comb(len(said), size) for size in range(LOST_MAX + 1))


@dataclass(frozen=True, slots=True)
class Lost:
    """The set, as work (work.py); a unit is a primary and a set of lost messages."""

    name = "lost"
    story = "one decision without up to three of its messages, beside six kinds of primary"
    chunk = 2000

    @property
    def units(self) -> int:
        with unheard():
            return sum(count for _, _, count in self._spans(Cast()))

    @property
    def full(self) -> int:
        return self.units

    def _spans(self, cast: Cast) -> list[tuple[str, list[Message], int]]:
        """For each primary what is said, and how many sets that makes."""
        said = [(primary, messages(cast, primary)) for primary in PRIMARIES]
        return [(primary, its, _count(its)) for primary, its in said]

    def play(self, first: int, last: int) -> Done:
        """Units first <= unit < last."""
        counts = {"runs": 0, "messages lost": 0, "deliveries": 0, "views changed": 0} | dict.fromkeys(PRIMARIES, 0)
        findings: list[Finding] = []
        cast = Cast()
        with unheard():
            spans = self._spans(cast)
            for number, inside, begins in parts(first, last, (count for _, _, count in spans)):
                primary, said, _ = spans[number]
                frozen = _begin(cast, primary)
                chosen = islice(sets_of(said), inside.start - begins, inside.stop - begins)
                for unit, lost in zip(inside, chosen, strict=True):
                    world = thaw(frozen)
                    try:
                        world.play(_behave(primary), lost)
                    except Violation as found:
                        findings.append(Finding(unit, found.name, found.detail, _replay(unit)))
                    counts["runs"] += 1
                    counts[primary] += 1
                    counts["messages lost"] += len(lost)
                    counts["deliveries"] += world.rounds.delivered
                    counts["views changed"] += world.rounds.nodes[-1].replica.position.view > 0
        return Done(last - first, counts, tuple(findings))

    def tell(self, unit: int) -> None:
        """Play one unit, to whoever listens. Raises Violation."""
        cast = Cast()
        with unheard():
            spans = self._spans(cast)
        for number, _, begins in parts(unit, unit + 1, (count for _, _, count in spans)):
            primary, said, _ = spans[number]
            lost = next(islice(sets_of(said), unit - begins, None))
            world = Quartet(cast, lying=PRIMARIES[primary] is not None)
            words = [f"{Kind(kind).name} {which} of n{place} to n{to}" for place, to, kind, which in lost]
            world.rounds.tell("", f"=== a primary that is {primary}; lost: {', '.join(words) or 'nothing'}")
            world.play(_behave(primary), lost)


def _replay(unit: int) -> str:
    return f"python -m simulations schedules lost --unit {unit}"


LOST = Lost()
