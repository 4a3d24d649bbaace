"""Each judge speaks when it should: bad histories and bad disks are shown to it, and good ones."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bftnode.apps import kv
from bftnode.apps.execution import ADMIT, SystemOperation, system_operation
from bftnode.protocol.results import OperationResult, TransactionResult
from bftnode.replica.agreement import Agreement
from simulations.disks import Disk
from simulations.judges.durability import Durability
from simulations.judges.linearizability import NEVER, Call, Linearizability, apply, explained
from simulations.scenarios.stage import Stage
from simulations.simulation import Simulation, play
from simulations.swarm import draw, liveness_bound_ms
from simulations.world import Violation

KEY = b"x"

REGISTER_SEEDS = [seed for seed in range(60) if draw(seed).registers][:6]


def call(operation: kv.Operation, began_ms: int, ended_ms: int, result: kv.Result | None) -> Call:
    return Call(operation, began_ms, ended_ms, result)


def put(value: bytes, began_ms: int, ended_ms: int = NEVER) -> Call:
    return call(kv.Put(KEY, value), began_ms, ended_ms, None if ended_ms == NEVER else kv.Done())


def get(value: bytes | None, began_ms: int, ended_ms: int) -> Call:
    return call(kv.Get(KEY), began_ms, ended_ms, kv.Found(value))


@pytest.mark.parametrize(
    ("history", "holds"),
    [
        pytest.param([], True, id="nothing"),
        pytest.param([put(b"1", 0, 10), get(b"1", 20, 30)], True, id="read-after-write"),
        pytest.param([put(b"1", 0, 10), get(None, 20, 30)], False, id="stale-read"),
        pytest.param([put(b"1", 0, 40), get(None, 20, 30)], True, id="read-beside-a-write"),
        pytest.param([put(b"1", 0, 40), get(b"1", 5, 10), get(None, 20, 30)], False, id="back-in-time"),
        pytest.param([get(b"1", 0, 10)], False, id="out-of-thin-air"),
        pytest.param([put(b"1", 0), get(b"1", 20, 30)], True, id="an-unknown-outcome-was-made"),
        pytest.param([put(b"1", 0), get(None, 20, 30)], True, id="an-unknown-outcome-was-not-made"),
        pytest.param([put(b"1", 50), get(b"1", 20, 30)], False, id="read-before-it-was-written"),
        pytest.param(
            [
                call(kv.CompareAndSwap(KEY, None, b"1"), 0, 30, kv.Swapped(True, None)),
                call(kv.CompareAndSwap(KEY, None, b"2"), 10, 40, kv.Swapped(True, None)),
            ],
            False,
            id="two-winners",
        ),
        pytest.param(
            [put(b"1", 0, 10), call(kv.Delete(KEY), 20, 30, kv.Deleted(True)), get(b"1", 40, 50)],
            False,
            id="undeleted",
        ),
        pytest.param([put(b"1", 0, 5), put(b"2", 6, 9), get(b"1", 10, 20)], False, id="lost-update"),
        pytest.param([put(b"1", 0, 5), put(b"2", 5, 9), get(b"1", 10, 20)], True, id="touching-intervals-may-swap"),
    ],
)
def test_linearizability(history: list[Call], holds: bool) -> None:
    """The definition, by its classical examples."""
    assert explained(history) is holds


OPERATIONS = st.one_of(
    st.builds(kv.Put, st.just(KEY), st.sampled_from([b"1", b"2"])),
    st.builds(kv.Get, st.just(KEY)),
    st.builds(kv.Delete, st.just(KEY)),
    st.builds(
        kv.CompareAndSwap,
        st.just(KEY),
        st.sampled_from([None, b"1", b"2"]),
        st.sampled_from([None, b"1", b"2"]),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(OPERATIONS, st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_what_one_register_does_is_linearizable(steps: list[tuple[kv.Operation, int, int]]) -> None:
    """Whatever is done to one register, each within its caller's interval, is explained by that very order."""
    value: bytes | None = None
    history = []
    for moment, (operation, before, after) in enumerate(steps):
        done = Call(operation, 10 * moment - 10 * before, 10 * moment + 10 * after)
        value, done.result = apply(done, value)
        history.append(done)
    assert explained(history)


def test_a_result_that_too_few_sent_is_not_believed() -> None:
    """A client believes f+1 members: before that, and for what f others say, the operation is still under way."""
    judge = Linearizability(2)
    judge.began(b"t", kv.Get(KEY), 0)
    told = TransactionResult(b"t".ljust(32), 1, 0, "", (OperationResult("", b"\x92\x02\xc0"),))
    lie = TransactionResult(b"t".ljust(32), 1, 0, "", (OperationResult("", b"\x92\x02\xc4\x011"),))
    judge._calls[b"t".ljust(32)] = judge._calls.pop(b"t")
    judge.heard(0, lie, b"lie", 10)
    judge.heard(1, told, b"told", 10)
    judge.judge()
    judge.heard(1, told, b"told", 15)
    (_, only), *_ = judge._calls.values()
    assert only.ended_ms == NEVER
    judge.heard(2, told, b"told", 20)
    assert (only.ended_ms, only.result) == (20, kv.Found(None))


@pytest.fixture
def stale_reads() -> Iterator[None]:
    """Every get sees the state before the last block, as a careless cache would."""
    apply_one = kv.KeyValue.apply
    last: dict[bytes, bytes | None] = {}

    def stale(self: kv.KeyValue, state: kv.State, operation: bytes, context: kv.Context) -> bytes:
        opened = kv.open_operation(operation)
        if isinstance(opened, kv.Get):
            return kv.encode(kv.Found(last.get(opened.key)))
        result = apply_one(self, state, operation, context)
        if isinstance(opened, kv.Put) and context.seq % 2:
            last[opened.key] = opened.value
        return result

    with patch.object(kv.KeyValue, "apply", stale):
        yield


@pytest.mark.covers("A09", "N17")
@pytest.mark.parametrize("seed", REGISTER_SEEDS)
def test_histories_of_clients_are_judged(seed: int) -> None:
    """Seeds whose clients use registers hold enough operations to say something, and are linearizable."""
    simulation = Simulation(draw(seed))
    assert simulation.run().violation is None
    assert simulation.judge.registers is not None
    assert simulation.judge.registers.size >= 4


def test_stale_reads_are_seen(stale_reads: None) -> None:
    """With reads out of a stale cache the judge speaks in some of these seeds."""
    found = [play(draw(seed)).violation for seed in REGISTER_SEEDS]
    assert "linearizability" in {item.name for item in found if item is not None}


@pytest.mark.covers("D01", "P13", "T12")
def test_what_clients_believe_is_on_disks() -> None:
    """Disks that forget the blocks that they are to keep: the judge speaks at the first height that is believed."""
    stage = Stage()
    # Another judge would be first.
    with (
        patch.object(Durability, "votes", lambda *_: None),
        patch.object(Durability, "executes", lambda *_: None),
        patch.object(Disk, "durable", lambda *_: False),
    ):
        stage.submit(0)
        with pytest.raises(Violation, match="acknowledged"):
            stage.expect_height(1)


@pytest.mark.covers("N07", "A15")
@pytest.mark.parametrize(("role", "what"), [(0, "not admitted"), (1, "of somebody else")])
def test_whoever_is_not_admitted_is_seen(role: int, what: str) -> None:
    """The judge of validity speaks of a removed client, and of a client who does what administrators may."""
    simulation = Simulation(draw(5))
    judge = simulation.judge._validity
    client, other = simulation.keyring.clients[0], simulation.keyring.clients[2]
    operation = system_operation(SystemOperation(ADMIT, other, 1))
    transaction = simulation.workload.transaction(0, 1, [operation], 10)
    done = TransactionResult(transaction.id, 1, 0, "", (OperationResult("", b""),))
    judge._follow(1, transaction, done)
    assert judge._roles[other] == 1
    judge._roles[client] = role
    with pytest.raises(Violation, match=what):
        judge._follow(2, transaction, done)


def test_the_bound_of_liveness_is_a_few_timeouts() -> None:
    """It is stated in timeouts, grows with f alone, and a world that needs longer is told."""
    plan = draw(1)
    timing = plan.timings[0]
    assert liveness_bound_ms(4, timing) == 10 * timing.view_change_timeout_max_ms + 6000
    assert liveness_bound_ms(31, timing) == 28 * timing.view_change_timeout_max_ms + 6000


def test_a_cluster_that_stops_is_told() -> None:
    """A replica that never proposes keeps its clients waiting: after the bound, and not later, the judge says so."""
    with patch.object(Agreement, "propose", lambda self: None):
        outcome = play(draw(2))
    assert outcome.violation is not None
    assert outcome.violation.name == "liveness"
