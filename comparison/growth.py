"""T8: what ten million operations change: throughput beside a small log, how long a member takes to vote again after it
was started, and what the disk holds.

The large log is made by the real cluster, in batches. Then a second, small cluster is started beside it, and both are
loaded in turn, in neighbouring windows; the one that is not loaded is all but idle. For the restart one member is
killed for good and another is killed and started: with three of four up, nothing commits without its vote. What the
disk holds are the pages that are in use or were, of the largest member: a reserve for growth is not among them.
"""

import statistics
import time
from pathlib import Path

import lmdb
import trio

from bftnode.apps import kv
from bftnode.client.client import open_client
from bftnode.client.nonces import FileNonces
from bftnode.client.operations import application_operation
from bftnode.client.options import Options
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.node.home import Home
from bftnode.node.identity import load_seed
from bftnode.protocol.client_messages import NodeStatus
from bftnode.protocol.errors import Refused
from comparison.failures import Failed
from comparison.findings import Effort, Line, Section, Tell
from comparison.loads import VALUE_BYTES, WARM_UP_S, Load
from comparison.measure import measure
from comparison.members import RunningMembers
from comparison.results import Measured
from comparison.systems import started

OPERATIONS, SMALL = 10_000_000, 100_000
QUICK_OPERATIONS, QUICK_SMALL = 100_000, 10_000
STEP = 1_000_000
"""Operations of one run of the load that fills the log."""
USUALLY_A_SECOND = 20_000
FILL, LOAD = Load("many", 4, 1000), Load("coalesced", 1024)
ROUNDS = 3
"""Windows of each cluster, in turn."""
PART_MIN = 0.9
RESTART_S_MAX = 3.0
RESTART_S = 60.0
"""A member that does not vote after so long fails the study."""
DISK_MAX = 1.6
ASK_S = 0.05
"""Between two looks at a member that starts: more of them would take its CPU."""
KEY_BYTES = 24
"""Of bench's keys, `bench/RUN/NUMBER`, roughly: what an operation holds beside its value."""
NOTE = (
    "filled in batches of 1,000; throughput of 1,024 callers' own operations in neighbouring windows, the large and "
    "the small cluster in turn. The restart is of one of three members that are up of four, killed with -9, to the "
    "first commit, which takes its vote. Disk is what LMDB's file has used, of the largest member, with the state and "
    "all indices; payload is the operations as the client gave them; signatures are 64 bytes an envelope, and a "
    "quorum's a block."
)


def study(path: Path, effort: Effort, tell: Tell) -> Section:
    """Raises Failed."""
    many = effort.operations or (QUICK_OPERATIONS if effort.quick else OPERATIONS)
    few = QUICK_SMALL if effort.quick else SMALL
    (path / "large").mkdir()
    (path / "small").mkdir()
    large = RunningMembers(path / "large")
    with started(large):
        rates = fill(large, many, path, tell)
        with started(RunningMembers(path / "small")) as small:
            fill(small, few, path, tell)
            pairs: list[tuple[Measured, Measured]] = []
            for _ in range(ROUNDS):
                pairs.append(
                    (measure(large, LOAD, effort.seconds, path, tell), measure(small, LOAD, effort.seconds, path, tell))
                )
        tell("killing two members, starting one of them")
        restart_s = trio.run(restart, large)
        tell(f"{restart_s:.2f} s to its first vote")
        status = max(large.statuses(), key=lambda row: int(row["log_size"]))
    disk = max(used_bytes(large.path / name / "data") for name in large.names)
    operations = many + sum(
        round(one.report.operations_per_s * (one.report.duration_s + WARM_UP_S)) for one, _ in pairs
    )
    payload = operations * len(application_operation(kv.put(bytes(KEY_BYTES), bytes(VALUE_BYTES))))
    quorum = large.genesis.membership().quorum
    signatures = 64 * (int(status["log_size"]) + quorum * int(status["executed"]))
    part = statistics.median(one.report.operations_per_s / other.report.operations_per_s for one, other in pairs)
    costs = [one.cpu_us / other.cpu_us for one, other in pairs if one.cpu_us and other.cpu_us]
    lines = (
        Line(
            (f"operations a second at {many:,} operations, to those at {few:,}", f"{part:.2f} x", f">= {PART_MIN} x"),
            part >= PART_MIN,
        ),
        Line(("CPU of an operation, the same", f"{statistics.median(costs):.2f} x" if costs else "-", "")),
        Line(("while it was filled: first and last million, a second", f"{rates[0]:,.0f}, {rates[-1]:,.0f}", "")),
        Line(
            ("from start to the first vote, s", f"{restart_s:.2f}", f"< {RESTART_S_MAX:.0f}"),
            restart_s < RESTART_S_MAX,
        ),
        Line(
            (
                "disk without signatures, to payload",
                f"{(disk - signatures) / payload:.2f} x",
                f"<= {DISK_MAX} x",
            ),
            (disk - signatures) / payload <= DISK_MAX,
        ),
        Line(("disk, payload and signatures, bytes an operation", _each(operations, disk, payload, signatures), "")),
    )
    return Section("T8", ("", "", "asked"), lines, (NOTE,))


def _each(operations: int, *sizes: int) -> str:
    return ", ".join(f"{size / operations:.1f}" for size in sizes)


def fill(running: RunningMembers, operations: int, path: Path, tell: Tell) -> list[float]:
    """Operations a second, step by step."""
    rates = []
    for done in range(0, operations, STEP):
        count = min(STEP, operations - done)
        load = Load(FILL.kind, FILL.callers, FILL.batch, operations=count)
        rates.append(measure(running, load, count / USUALLY_A_SECOND, path, lambda _text: None).report.operations_per_s)
        tell(f"{done + count:,} operations, the last {count:,} at {rates[-1]:,.0f} a second")
    return rates


async def restart(running: RunningMembers) -> float:
    """Seconds from the start of a member, without which nothing commits, to the first commit. Raises Failed."""
    home, leader = Home(running.client), running.leader()
    gone, back = [name for name in running.names if name != leader][:2]
    number = [member.name for member in running.genesis.members].index(back)
    nonces = FileNonces(home.client_key_path.with_suffix(".nonces"))
    options = Options(reconnect_first_s=0.02, reconnect_max_s=0.05)
    async with open_client(
        running.genesis, load_seed(home.client_key_path), next_nonce=nonces, options=options
    ) as client:
        await client.ready()
        running.members.kill(gone)
        running.members.kill(back)
        began = time.monotonic()
        running.start(back)
        with trio.move_on_after(RESTART_S):
            # Not before it is there: the others would wait for it, and leave the view.
            while not isinstance((await client.status_all(ASK_S)).get(number), NodeStatus):
                running.members.check()
                await trio.sleep(ASK_S)
            try:
                await client.call(application_operation(kv.put(b"after the restart", b"")), timeout_s=RESTART_S)
            except (Refused, OutcomeUnknown) as error:
                raise Failed(f"after the restart nothing commits: {error}") from None
            return time.monotonic() - began
    raise Failed(f"{back} does not vote {RESTART_S:.0f} s after its start")


def used_bytes(data: Path) -> int:
    """Of a member that has ended: the pages up to the last one that was ever used."""
    with lmdb.open(str(data / "lmdb"), readonly=True, lock=False, max_dbs=64) as environment:
        return int((environment.info()["last_pgno"] + 1) * environment.stat()["psize"])
