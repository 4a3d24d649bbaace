"""The votes of one decision at one member, in every order in which they can arrive.

What the other three say for one block (PRE-PREPARE, PREPAREs, COMMITs, as they said it in a run of their own) arrives
at one member in each order, a COMMIT before the PREPAREs that it follows from, or before the proposal, too: links keep
the order of a sender's frames, but what was lost is said again, later, and a member that was away hears the end first.
Each frame is a turn of its own. Whatever the order: the member has executed the block that the others have, once; it
has said nothing twice, nor accused anybody correct (judges/); and what it wants is nothing more.

Three members: a backup (seven frames); the primary (six, beside its own); and a backup beside a member that has voted
for another block as well (nine). Members whose frames are the same but for their names are interchangeable, so of the
orders that differ in such names one is played: the one in which the first frame of the lower member comes first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from math import factorial

from bftnode.protocol.certificates import Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import encode_frame, open_frame, seal
from bftnode.protocol.messages import Kind, open_body
from simulations.judges import kind_of
from simulations.simulation import CHAIN
from simulations.work import Done, Finding, parts
from simulations.world import Violation, unheard
from simulations.worlds.cast import STATUS_MS, Cast, N, introduce
from simulations.worlds.rounds import Parts, Rounds

BACKUP = 3
PRIMARY = 0
DOUBLE = 2
"""Who votes for another block, too, in the third case."""

Arrival = tuple[int, bytes]
"""(from member, frame)."""


@dataclass(frozen=True, slots=True)
class Case:
    """A member, and what arrives there."""

    name: str
    member: int
    doubles: bool
    alike: tuple[int, ...]  # members whose frames differ in nothing but their names


CASES = (
    Case("backup", BACKUP, doubles=False, alike=(1, 2)),
    Case("primary", PRIMARY, doubles=False, alike=(1, 2, 3)),
    Case("beside a double vote", BACKUP, doubles=True, alike=()),
)

_VOTES = (Kind.PREPARE, Kind.COMMIT)
_DECISION = (Kind.PRE_PREPARE, *_VOTES)


class _Ear(Parts):
    """All hear all; but what one member would hear of a decision, and what it says, is written down."""

    def __init__(self, rounds: Rounds, member: int) -> None:
        super().__init__(rounds)
        self.part_of = (0,) * N
        self.member = member
        self.heard: list[Arrival] = []
        self.greeted: list[Arrival] = []
        self.said: dict[bytes, None] = {}

    def send(self, place: int, member: int, frame: bytes) -> None:
        """From a place to `member`."""
        kind = kind_of(frame)
        if place == self.member:
            self.said[frame] = None
        if member == self.member and kind in _DECISION:
            self.heard.append((place, frame))
            return
        if member == self.member and kind == Kind.STATUS:
            self.greeted.append((place, frame))
        super().send(place, member, frame)


@dataclass(frozen=True, slots=True)
class Told:
    """What the others say to a member of a decision that they make without it."""

    greetings: tuple[Arrival, ...]  # the STATUS of each, before
    arrivals: tuple[Arrival, ...]
    block: bytes

    @staticmethod
    def of(cast: Cast, case: Case) -> "Told":
        """Play it. Raises Violation."""
        rounds = Rounds()
        network, judge = _Ear(rounds, case.member), cast.judge()
        rounds.nodes = [cast.settle(rounds, network, judge, member, member) for member in range(N)]
        introduce(rounds)
        greetings = tuple(network.greeted)
        rounds.nodes[PRIMARY].submit(cast.operations[0][0])
        rounds.run(rounds.now_ms + STATUS_MS // 2)
        log = rounds.nodes[1].disk.log
        if len(log) != 2:
            raise Violation("liveness", f"without {case.name} the others stand at height {len(log) - 1}")
        block = log[1][0].hash
        told = dict.fromkeys((place, kind_of(frame)) for place, frame in network.heard)
        first = [next(one for one in network.heard if (one[0], kind_of(one[1])) == key) for key in told]
        doubles = [_double(cast, kind) for kind in _VOTES] if case.doubles else []
        return Told(greetings, (*first, *doubles), block)

    def orders(self, case: Case) -> Iterator[tuple[Arrival, ...]]:
        """In which all of it can arrive, but for the names of members that are alike."""
        for order in permutations(self.arrivals):
            names = list(dict.fromkeys(place for place, _ in order if place in case.alike))
            if names == sorted(names):
                yield order


def _double(cast: Cast, kind: Kind) -> Arrival:
    """A vote for a block that nobody has."""
    vote = Vote(0, 0, 1, bytes(32))
    frame = seal(CHAIN, kind, DOUBLE, 1, 1000 + kind, encode(vote), cast.signers[DOUBLE])
    return DOUBLE, encode_frame(frame)


def hear(cast: Cast, case: Case, told: Told, order: Sequence[Arrival]) -> tuple[Kind, ...]:
    """What the member votes, where it hears all in this order. Raises Violation."""
    rounds = Rounds()
    network, judge = _Ear(rounds, case.member), cast.judge(*([DOUBLE] if case.doubles else []))
    network.part_of = tuple(range(N))  # nobody else is there
    for member in range(N):
        if member != case.member:
            network.settle_at(member, member, _deaf, _unlinked, _unlinked)
    node = cast.settle(rounds, network, judge, case.member, case.member)
    rounds.nodes = [node]
    node.start()
    for place, frame in told.greetings:
        node.hear(place, frame)
    rounds.run(STATUS_MS - 1)
    rounds.now_ms += 1
    if case.member == PRIMARY:
        node.submit(cast.operations[0][0])
    for place, frame in order:
        rounds.now_ms += 1
        node.hear(place, frame)
    log = [block.hash for block, _ in node.disk.log[1:]]
    if log != [told.block]:
        raise Violation("same-block", f"{node.name} ends at height {len(log)}, with another log than the others")
    votes = []
    for frame in network.said:
        if kind_of(frame) in _VOTES:
            vote = open_body(open_frame(frame))
            assert isinstance(vote, Vote), "of its kind"
            if vote.block != told.block:
                raise Violation("same-block", f"{node.name} votes for another block than the others")
            votes.append(Kind(kind_of(frame)))
    if len(set(votes)) != len(votes):
        raise Violation("said-once", f"{node.name} votes {len(votes)} times")
    if tuple(votes) not in _VOTED:
        raise Violation("own-prepare", f"{node.name} says COMMIT for what it has not PREPAREd (decision 010)")
    return tuple(votes)


def _deaf(member: int, frame: bytes) -> None:
    """Nobody is there."""


def _unlinked(member: int) -> None:
    """Nor here."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The set, as work (work.py); a unit is a case and an order."""

    name = "orders"
    story = "the votes of one decision at one member, in every order in which they can arrive"
    chunk = 20_000

    @property
    def units(self) -> int:
        return sum(_count(case) for case in CASES)

    @property
    def full(self) -> int:
        return self.units

    def play(self, first: int, last: int) -> Done:
        """Units first <= unit < last."""
        counts = {"runs": 0, "deliveries": 0, "cut off": 0} | dict.fromkeys(_VOTED.values(), 0)
        findings: list[Finding] = []
        cast = Cast()
        with unheard():
            for number, inside, begins in parts(first, last, map(_count, CASES)):
                self._play(cast, CASES[number], begins, inside, counts, findings)
        return Done(last - first, counts, tuple(findings))

    def _play(
        self, cast: Cast, case: Case, begins: int, inside: range, counts: dict[str, int], findings: list[Finding]
    ) -> None:
        try:
            told = Told.of(cast, case)
        except Violation as found:  # by the others, before anything arrives
            findings.append(Finding(inside[0], found.name, found.detail, _replay(inside[0])))
            counts["cut off"] += len(inside)
            return
        for unit, order in zip(inside, islice(told.orders(case), inside.start - begins, None), strict=False):
            counts["runs"] += 1
            counts["deliveries"] += len(order)
            try:
                counts[_VOTED[hear(cast, case, told, order)]] += 1
            except Violation as found:
                findings.append(Finding(unit, found.name, found.detail, _replay(unit)))

    def tell(self, unit: int) -> None:
        """Play one unit, to whoever listens. Raises Violation."""
        cast = Cast()
        for number, _, begins in parts(unit, unit + 1, map(_count, CASES)):
            case = CASES[number]
            with unheard():
                told = Told.of(cast, case)
            hear(cast, case, told, next(islice(told.orders(case), unit - begins, None)))


_VOTED = {
    (Kind.PREPARE, Kind.COMMIT): "voted in both phases",
    (Kind.PREPARE,): "prepared only",
    (): "never voted",
}
"""What a member has said when all has arrived. A COMMIT without a PREPARE would be a mistake (decision 010)."""


def _count(case: Case) -> int:
    """How many orders there are: of all frames, over those that differ in names only."""
    frames = (2 * (N - 1)) + (case.member != PRIMARY) + 2 * case.doubles
    return factorial(frames) // factorial(len(case.alike))


def _replay(unit: int) -> str:
    return f"python -m simulations schedules orders --unit {unit}"


ORDERS = Orders()
