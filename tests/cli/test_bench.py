"""The bench loop: what counts, what is left out, and the arithmetic of the report."""

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from bftnode.cli import bench
from bftnode.cli.bench import WARM_UP_OPERATIONS, Load, Tally, operation_maker, run_load, summarise
from bftnode.cli.errors import CommandFailed, complaint_of
from bftnode.client.client import Signatory, signatory
from bftnode.client.nonces import CountingNonces
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.results import OperationResult


class Answering:
    """The part of a client that the loop uses, answering at once: the real one is measured end to end."""

    def __init__(self, answers: dict[int, Exception | OperationResult] | None = None) -> None:
        self.answers = answers or {}
        self.seen: list[bytes] = []
        self.alone: list[bytes] = []
        self.signed_by: list[Signatory | None] = []
        self.batches: list[int] = []
        self.at_once = 0
        self.most_at_once = 0

    async def ready(self) -> None:
        await trio.lowlevel.checkpoint()

    async def call(self, operation: bytes) -> OperationResult:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await trio.lowlevel.checkpoint()
        self.at_once -= 1
        self.seen.append(operation)
        answer = self.answers.get(int(operation))
        if isinstance(answer, Exception):
            raise answer
        return answer or OperationResult("", b"")

    async def call_alone(self, operation: bytes, *, by: Signatory | None = None) -> OperationResult:
        self.alone.append(operation)
        self.signed_by.append(by)
        return await self.call(operation)

    async def submit_many(self, operations: list[bytes]) -> list[OperationResult]:
        self.batches.append(len(operations))
        return [await self.call(operation) for operation in operations]


def load(**changes: object) -> Load:
    fields: dict[str, object] = {"mode": "coalesced", "callers": 4, "depth": 2, "duration_s": 60.0, "operations": 50}
    return Load(**{**fields, **changes}, make=lambda number: b"%d" % number)  # type: ignore[arg-type]  # fields by name


async def test_a_number_of_operations_is_done_once_each_after_the_warm_up() -> None:
    """Exactly so many count; the warm-up's are others; every operation differs."""
    client = Answering()
    tally, elapsed_s = await run_load(client, load())  # type: ignore[arg-type]  # the part of a Client that is used
    assert tally.operations == 50
    assert len(set(client.seen)) == len(client.seen)
    assert len(client.seen) == 100
    assert elapsed_s > 0
    assert not client.alone


async def test_callers_times_depth_are_in_flight() -> None:
    """No more and, while there is work, no fewer."""
    client = Answering()
    await run_load(client, load())  # type: ignore[arg-type]  # as above
    assert client.most_at_once == 8


async def test_alone_uses_envelopes_of_their_own() -> None:
    """The mode chooses the client's method."""
    client = Answering()
    await run_load(client, load(mode="alone", operations=3))  # type: ignore[arg-type]  # as above
    assert len(client.alone) == 6


async def test_callers_sign_in_turn_with_all_keys() -> None:
    """Each key signs for as many callers as every other."""
    client, keys = Answering(), tuple(signatory(bytes((number,)) * 32, CountingNonces()) for number in range(4))
    await run_load(client, load(mode="alone", callers=8, depth=1, signatories=keys))  # type: ignore[arg-type]  # as above
    count = Counter(client.signed_by)
    assert set(count) == set(keys)
    assert max(count.values()) - min(count.values()) <= 4  # the warm-up and what counts end somewhere in a round


async def test_many_are_handed_over_in_batches() -> None:
    """As many as were asked for: the last batch is what is left."""
    client = Answering()
    tally, _ = await run_load(client, load(mode="many", callers=1, depth=1, batch=20))  # type: ignore[arg-type]  # as above
    assert tally.operations == 50
    assert client.batches == [20, 20, 10] * 2  # the warm-up, and what counts


async def test_an_open_loop_counts_from_when_an_operation_was_due(autojump_clock: MockClock) -> None:
    """One caller cannot keep up with what is due all at once: each waits for those before it, and that is counted."""

    class Slow(Answering):
        async def call(self, operation: bytes) -> OperationResult:
            await trio.sleep(0.01)
            return await super().call(operation)

    tally, elapsed_s = await run_load(Slow(), load(callers=1, depth=1, operations=20, rate=1e6))  # type: ignore[arg-type]  # as above
    waited = list(tally.latencies_s)
    assert waited == pytest.approx([0.01 * (place + 1) for place in range(20)], abs=1e-4)
    assert elapsed_s == pytest.approx(0.2)


async def test_an_open_loop_keeps_its_pace_however_fast_the_answers_are(autojump_clock: MockClock) -> None:
    """Ten at a hundred a second are due within 0.09 s; the closed loop would be done at once."""
    client = Answering()
    _, elapsed_s = await run_load(client, load(operations=10, rate=100.0))  # type: ignore[arg-type]  # as above
    assert elapsed_s == pytest.approx(0.09, abs=1.001 * bench.PACE_S)
    assert len(client.seen) == 20


async def test_an_open_loop_begins_nothing_early_and_little_late(autojump_clock: MockClock) -> None:
    """What is due within a millisecond begins together, after the last of it was due."""
    began: list[float] = []

    class Timed(Answering):
        async def call(self, operation: bytes) -> OperationResult:
            began.append(trio.current_time())
            await trio.sleep(0.003)
            return await super().call(operation)

    await run_load(Timed(), load(callers=40, depth=1, operations=40, rate=4000.0))  # type: ignore[arg-type]  # as above
    counted = began[40:]
    late_s = [at - (counted[0] + place / 4000) for place, at in enumerate(counted)]
    assert min(late_s) > -1e-9
    assert max(late_s) < 1.001 * bench.PACE_S
    assert len(set(counted)) < 12


async def test_progress_is_told(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line now and then, of what happened since the last one."""
    monkeypatch.setattr(bench, "PROGRESS_S", 0.02)
    said: list[str] = []
    await run_load(Answering(), load(operations=10, rate=100.0), said.append)  # type: ignore[arg-type]  # as above
    assert said
    assert all("operations a second" in line for line in said)


async def test_where_no_more_latencies_are_kept_the_measurement_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so: a percentile of what was kept would not be of what happened."""
    monkeypatch.setattr(bench, "SAMPLES_MAX", 30)
    said: list[str] = []
    tally, _ = await run_load(Answering(), load(), said.append)  # type: ignore[arg-type]  # as above
    assert 30 <= tally.operations < 50
    assert said[-1] == "ended at 30 operations: their latencies are all that is kept"


async def test_a_duration_ends_what_it_began() -> None:
    """Nothing is abandoned: what is in flight at the end is waited for."""
    client = Answering()
    tally, elapsed_s = await run_load(client, load(operations=None, duration_s=0.05))  # type: ignore[arg-type]  # as above
    assert tally.operations > 0
    assert client.at_once == 0
    assert elapsed_s >= 0.05


async def test_failures_are_counted_and_not_as_committed() -> None:
    """Refused before ordering, and unknown."""
    first = WARM_UP_OPERATIONS
    answers: dict[int, Exception | OperationResult] = {
        first: Refused(Reason.BUSY),
        first + 1: OutcomeUnknown(bytes(32), "late"),
    }
    tally, _ = await run_load(Answering(answers), load(operations=100))  # type: ignore[arg-type]  # as above
    assert (tally.operations, tally.refused, tally.unknown) == (98, {"busy": 1}, 1)


async def test_a_cluster_that_executes_a_refusal_ends_the_bench() -> None:
    """An operation with a code did nothing: counting on would measure nothing."""
    answers: dict[int, Exception | OperationResult] = {3: OperationResult("tx.denied", b"")}
    with pytest.raises(ExceptionGroup) as caught:
        await run_load(Answering(answers), load())  # type: ignore[arg-type]  # as above
    assert complaint_of(caught.value).code == "tx.denied"


def test_the_report_uses_measured_latencies() -> None:
    """Nearest rank over all of them, in milliseconds."""
    tally = Tally()
    for i in range(1, 101):
        tally.committed(i / 1000)
    report = summarise(load(), tally, 2.0, 128)
    assert report["operations_per_s"] == 50.0
    assert [round(float(report[f"latency_ms_{name}"] or 0)) for name in ("median", "p95", "p99", "max")] == [
        50,
        95,
        99,
        100,
    ]


def test_an_empty_report_has_no_latencies() -> None:
    """Nothing is invented."""
    report = summarise(load(), Tally(), 1.0, 128)
    assert (report["operations"], report["latency_ms_p99"]) == (0, None)


def test_operations_are_the_applications_and_differ() -> None:
    """kv and log are built in; another application is refused by name."""
    for application in ("kv", "log"):
        make = operation_maker(application, 128)
        assert make(1) != make(2)
        assert len(make(1)) > 128
    with pytest.raises(CommandFailed, match="sql"):
        operation_maker("sql", 128)
