"""Which loads a turn consists of, and how long all will take. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from comparison.loads import WARM_UP_S, Kind, Load
from comparison.results import Turn

TOPICS = {
    "T1": "saturated: by many callers with an operation each, and by batches (submit_many; etcd's transactions)",
    "T2": "saturated, each operation in a signed envelope of its own, of 64 client keys (etcd: a put each, unsigned)",
    "T3": "one caller, one operation at a time",
    "T4": "open loop at half of one's own saturation",
    "T5": "kill -9 of the leader under 1,000 operations a second, to the next commit",
    "T6": "bftnode: a member that missed 100,000 operations catches up, and the others serve meanwhile",
    "T7": "bftnode's memory after a million operations, after more, and under ten times what it can take",
    "T8": "bftnode at ten million operations: throughput, restart, disk (with --long, or --only T8)",
    "T9": "bftnode with 4, 7 and 10 members",
    "T10": "bftnode under attack: lying, slow and flooding members, and clients",
}
IN_TURNS = frozenset({"T1", "T2", "T3", "T4", "T5"})
"""Of bftnode and etcd; the others are studies of bftnode alone (studies.py)."""
TURNS_OF: Mapping[str, frozenset[str]] = {
    "bftnode": IN_TURNS,
    "etcd": IN_TURNS,
    "cometbft": frozenset({"T1", "T3", "T5"}),
}
"""CometBFT's clients do not sign, as etcd's do not, so its T2 would be its T1 again. At half its saturation more than
IN_FLIGHT_MAX wait for a block of every second, so an open loop of as many would measure that bound."""
LONG = frozenset({"T8"})
"""Only where they are asked for."""
STUDY_S: Mapping[str, tuple[float, float]] = {
    "T6": (80.0, 8.0),
    "T7": (75.0, 3.0),
    "T8": (240.0, 6.0),
    "T9": (25.0, 12.0),
    "T10": (120.0, 21.0),
}
"""What each usually takes: so much, and so many windows."""

BATCHED = "T1 batches"
"""The second row of T1."""
BATCHES: Mapping[Kind, int] = {"many": 1000, "txn": 128}
"""Operations in one. etcd's default allows no more in a transaction; that is all or nothing, as a batch here is not."""
KEYS_ALONE = 64
KILL_RATE = 1000.0
"""Operations a second, an open loop: in a closed one all callers soon wait for operations that went down with etcd's
leader (it tells them after 7 s), and nobody is left to see that the next one commits."""
IN_FLIGHT_MAX = 1000
"""Of an open loop, whichever the system. What is due beyond it waits, and its waiting counts."""

CURVES: Mapping[str, Mapping[Kind, Sequence[int]]] = {
    "bftnode": {"coalesced": (16, 64, 256, 1024, 4096), "many": (1, 4, 16), "alone": (64, 256, 1024)},
    "etcd": {"put": (16, 64, 256, 512, 1000), "txn": (4, 16, 64)},
    "cometbft": {"sync": (64, 1024, 4096)},  # its mempool holds 5,000
}
"""Callers of each point of the curves, by kind of system; the best of them is where it is saturated."""
QUICK_CURVES: Mapping[str, Mapping[Kind, Sequence[int]]] = {
    "bftnode": {"coalesced": (64, 1024), "many": (4,), "alone": (64, 256)},
    "etcd": {"put": (64, 512), "txn": (16,)},
    "cometbft": {"sync": (1024,)},
}
SATURATED: Mapping[str, Mapping[str, Kind]] = {
    "bftnode": {"T1": "coalesced", BATCHED: "many", "T2": "alone"},
    "etcd": {"T1": "put", BATCHED: "txn", "T2": "put"},
    "cometbft": {"T1": "sync"},
}
"""Rows that are measured at the best point of a curve."""
FIXED: Mapping[str, Mapping[str, Load]] = {
    "bftnode": {"T3": Load("single", 1)},
    "etcd": {"T3": Load("put", 1)},
    "cometbft": {"T3": Load("commit", 1)},
}

START_S = 6.0
"""What a calibration, and making, starting and ending a cluster usually take."""
AROUND_S = 1.0
"""What a load takes beside warm-up and duration: starting the generator, waiting for what was begun."""
KILL_S = 17.0
"""The same for the kill: its load, and those callers whose operation went down with the leader."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Of the turns of all systems."""

    topics: frozenset[str]
    seconds: float  # of a row
    curve_seconds: float  # of a point of a curve
    quick: bool = False
    kill_load_s: float = 8.0
    kill_after_s: float = 3.0  # of those

    def topics_of(self, kind: str) -> frozenset[str]:
        """What is measured in a turn of such a system."""
        return self.topics & TURNS_OF[kind]

    def curve(self, kind: str) -> list[Load]:
        """Of the ways that are saturated in a row."""
        ways = set(self.saturated(kind).values())
        curves = (QUICK_CURVES if self.quick else CURVES)[kind]
        return [Load(way, n, BATCHES.get(way, 1)) for way, all_ in curves.items() if way in ways for n in all_]

    def saturated(self, kind: str) -> Mapping[str, Kind]:
        """Half of a saturation needs one, so T4 brings T1 with it."""
        topics = self.topics_of(kind)
        topics |= {"T1"} if "T4" in topics else set()
        return {row: way for row, way in SATURATED[kind].items() if row.split()[0] in topics}

    def fixed(self, kind: str) -> dict[str, Load]:
        return {row: load for row, load in FIXED[kind].items() if row in self.topics_of(kind)}

    @property
    def in_turns(self) -> bool:
        return bool(self.topics & IN_TURNS)

    def studies_s(self) -> float:
        """How long the studies usually take."""
        each = [STUDY_S[topic] for topic in self.topics if topic in STUDY_S]
        return sum(fixed / (4 if self.quick else 1) + windows * self.seconds for fixed, windows in each)

    def turn_s(self, kind: str) -> float:
        """How long a turn usually takes."""
        rows = len(self.saturated(kind)) + len(self.fixed(kind)) + ("T4" in self.topics_of(kind))
        points = len(self.curve(kind)) * (self.curve_seconds + WARM_UP_S + AROUND_S)
        kill = KILL_S if "T5" in self.topics_of(kind) else 0.0
        return START_S + points + rows * (self.seconds + WARM_UP_S + AROUND_S) + kill


def best(turns: Iterable[Turn], kind: Kind) -> Load:
    """The point of a curve with the highest throughput, by the median of all turns so far."""
    seen: dict[Load, list[float]] = {}
    for turn in turns:
        for one in turn.curve:
            if one.load.kind == kind:
                seen.setdefault(one.load, []).append(one.report.operations_per_s)
    return max(seen, key=lambda load: statistics.median(seen[load]))


def half(saturated: Load, operations_per_s: float) -> Load:
    """The open loop at half of what was reached."""
    return Load(saturated.kind, IN_FLIGHT_MAX, rate=max(1.0, round(operations_per_s / 2)))
