"""Results as a comparison would have them: two pairs, every row, figures that are easy to check."""

from comparison.calibration import Calibration
from comparison.loads import Load, Outage, Report
from comparison.plan import BATCHED
from comparison.results import Described, Measured, Pair, Results, Turn


def measured(load: Load, pace: float, median_ms: float, cpu_us: float | None = 100.0) -> Measured:
    report = Report(
        operations=round(pace * 10),
        operations_per_s=pace,
        duration_s=10.0,
        median_ms=median_ms,
        p99_ms=4 * median_ms,
        failures=0,
    )
    return Measured(load, report, cpu_us, 0.25)


def calibration(factor: float) -> Calibration:
    return Calibration(20_000 * factor, 50_000 * factor, 5_000.0)


def ours(factor: float) -> Turn:
    """A turn of bftnode on a machine that is so many times as fast."""
    return Turn(
        system="bftnode",
        calibration=calibration(factor),
        curve=[
            measured(Load("coalesced", 64), 10_000 * factor, 8 / factor),
            measured(Load("coalesced", 1024), 40_000 * factor, 30 / factor),
            measured(Load("many", 4, 1000), 80_000 * factor, 60 / factor),
        ],
        rows={
            "T1": measured(Load("coalesced", 1024), 40_000 * factor, 30 / factor),
            BATCHED: measured(Load("many", 4, 1000), 80_000 * factor, 60 / factor),
            "T2": measured(Load("alone", 64), 5_000 * factor, 12 / factor),
            "T3": measured(Load("single", 1), 200 * factor, 5 / factor),
            "T4": measured(Load("coalesced", 2000, rate=20_000 * factor), 20_000 * factor, 10 / factor),
        },
        outage=Outage(1.0, 0, 8000, 0),
        resident_mb={"node0": 90.0, "node1": 100.0, "node2": 91.0, "node3": 92.0},
        operations=1_000_000,
    )


def theirs(factor: float, name: str = "etcd") -> Turn:
    return Turn(
        system=name,
        calibration=calibration(factor),
        curve=[
            measured(Load("put", 64), 4_000 * factor, 12 / factor),
            measured(Load("put", 512), 5_000 * factor, 80 / factor),
            measured(Load("txn", 16, 128), 20_000 * factor, 60 / factor),
        ],
        rows={
            "T1": measured(Load("put", 512), 5_000 * factor, 80 / factor, 200.0),
            BATCHED: measured(Load("txn", 16, 128), 20_000 * factor, 60 / factor),
            "T2": measured(Load("put", 64), 4_000 * factor, 12 / factor),
            "T3": measured(Load("put", 1), 1_000 * factor, 1 / factor),
            "T4": measured(Load("put", 2000, rate=2_500 * factor), 2_500 * factor, 20 / factor),
        },
        outage=Outage(1.5, 1200, 6800, 0),
        resident_mb={"etcd0": 300.0, "etcd1": 200.0, "etcd2": 250.0},
        operations=100_000,
    )


BFTNODE = Described("bftnode", "bftnode 1, 4 members (any one may lie)", "`bftnode run --home <HOME>`", 4)
ETCD = Described("etcd", "etcd 3.4, 3 members (any one may crash)", "`etcd --name=NAME`", 3)
ETCD_OF_4 = Described("etcd of 4", "etcd 3.4, 4 members (any one may crash)", "`etcd --name=NAME`", 4)


def results() -> Results:
    """The second pair's minute was half as fast for both."""
    made = Results(
        began="2026-11-27 07:00 UTC",
        command="./scripts/compare --html 'a b.html'",
        machine="2 cores",
        cores=2,
        seconds=10.0,
        curve_seconds=5.0,
        systems=[BFTNODE, ETCD],
    )
    for factor in (1.0, 0.5):
        made.pairs.append(Pair({"bftnode": ours(factor), "etcd": theirs(factor)}))
    return made
