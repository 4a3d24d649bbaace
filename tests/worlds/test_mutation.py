"""Structure-aware mutation: what is changed, how, that it is one run a seed, and that it finds what is planted."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
from msgspec import inspect

from bftnode.protocol.codec import Hash32, UInt, Wire, encode
from bftnode.protocol.envelope import Frame
from bftnode.protocol.messages import BODY_OF, Kind
from bftnode.protocol.transactions import SignedBody, Transaction
from bftnode.replica.core import Replica
from bftnode.replica.recovery import Recovered
from simulations.command import main
from simulations.mutation.matrix import EXCLUDED, Cell, cells, table, why_not
from simulations.mutation.mutator import Mutator
from simulations.mutation.operators import OPERATORS, Source, Unchanged, apply, made, operators_of
from simulations.mutation.play import Plan, draw, play, smallest
from simulations.mutation.shapes import CARRIED, ENVELOPE, MESSAGES, OPAQUE, PAYLOADS, fields_of
from simulations.mutation.work import Mutation, done
from simulations.node import Envelopes
from simulations.work import Work
from tests.exam.in_process import bug_named, plant

NUMBER = inspect.type_info(UInt)
HASH = inspect.type_info(Hash32)
LIST = inspect.type_info(tuple[int, ...])
FLAG = inspect.type_info(bool)


def _nothing_seen(of: inspect.Type) -> object:
    raise Unchanged


def _source(seed: int = 0) -> Source:
    return Source(Random(seed), _nothing_seen)


# ---- what there is to change


def _structs() -> list[type]:
    found: dict[type, None] = {Frame: None, SignedBody: None}
    queue = [Frame, SignedBody, *BODY_OF.values(), *(item.of for item in (*CARRIED.values(), *PAYLOADS.values()))]
    while queue:
        of = inspect.type_info(queue.pop())
        waiting = [of]
        while waiting:
            item = waiting.pop()
            if isinstance(item, inspect.StructType):
                found[item.cls] = None
                waiting += [field.type for field in item.fields]
            elif isinstance(item, inspect.VarTupleType):
                waiting.append(item.item_type)
            elif isinstance(item, inspect.UnionType):
                waiting += item.types
    return list(found)


def test_what_bytes_hold_is_known_of_all() -> None:
    """Bytes of no fixed length in a message hold an encoded value that is named, or are nobody's structure."""
    for struct in _structs():
        described = inspect.type_info(struct)
        assert isinstance(described, inspect.StructType)
        for field in described.fields:
            of = field.type.item_type if isinstance(field.type, inspect.VarTupleType) else field.type
            if isinstance(of, inspect.BytesType) and (of.min_length is None or of.min_length != of.max_length):
                known = (struct, field.name) in CARRIED or (struct, field.name) in OPAQUE or field.name == "body"
                assert known, f"{struct.__name__}.{field.name}: say in shapes.py what these bytes hold"


def test_every_kind_and_every_field_of_it_is_there() -> None:
    """Whatever messages.py knows has its cells, for each of its fields."""
    for kind in Kind:
        names = {cell.field for cell in cells() if cell.message == kind.name}
        described = inspect.type_info(BODY_OF[kind])
        assert isinstance(described, inspect.StructType)
        assert {field.name for field in described.fields} <= names
        assert {f"frame.{name}" for name in ("kind", "sender", "boot", "counter", "body", "signature")} <= names
    assert {cell.message for cell in cells()} == set(MESSAGES)


def test_what_is_nested_is_there() -> None:
    """The VIEW-CHANGEs in a NEW-VIEW, the votes in their certificates, the envelopes in the blocks of a RUN."""
    new_view = {field.name for field in fields_of("NEW_VIEW")}
    assert "view_changes[].body.certificate.votes[].signature" in new_view
    assert "payload[].payload[].body.nonce" in {field.name for field in fields_of("RUN")}
    assert "first.body.block" in {field.name for field in fields_of("EVIDENCE")}
    assert "body.operations[]" in {field.name for field in fields_of(ENVELOPE)}


def test_a_new_kind_is_covered_when_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that nobody has heard of has its fields in the matrix, nested ones too."""

    class Inner(Wire, frozen=True):
        depth: UInt

    class Novel(Wire, frozen=True):
        epoch: UInt
        inner: tuple[Inner, ...]

    monkeypatch.setitem(BODY_OF, Kind.SLOW, Novel)
    names = [field.name for field in fields_of.__wrapped__("SLOW")]
    assert names[6:9] == ["epoch", "inner", "inner[].depth"]


def test_what_cannot_occur_says_why() -> None:
    """Each reason is a sentence, and each is needed by a cell that exists."""
    out = [Cell(m, f.name, o) for m in MESSAGES for f in fields_of(m) for o in (*operators_of(f.type), "unsigned")]
    reasons = {why_not(cell) for cell in out if cell.field} - {None}
    assert set(EXCLUDED.values()) <= reasons
    assert all(reason and len(reason.split()) > 5 for reason in reasons)
    for reason in reasons:
        assert str(reason) in table()


# ---- operators


@pytest.mark.parametrize(
    ("operator", "of", "value", "expected"),
    [
        ("+1", NUMBER, 7, 8),
        ("-1", NUMBER, 0, -1),
        ("flipped", FLAG, True, False),
        ("shorter", HASH, b"abc", b"ab"),
        ("dropped", LIST, (1,), ()),
        ("doubled", LIST, (1,), (1, 1)),
        ("swapped", LIST, (1, 2), (2, 1)),
        ("absent", inspect.type_info(UInt | None), 7, None),
    ],
)
def test_small_operators(operator: str, of: inspect.Type, value: object, expected: object) -> None:
    """One step, and nothing else."""
    assert apply(operator, value, of, _source()) == expected


@pytest.mark.parametrize("seed", range(20))
def test_bytes_differ_in_one_place(seed: int) -> None:
    """A bit, a byte, one byte more."""
    value = bytes(range(32))
    bit, byte = (apply(operator, value, HASH, _source(seed)) for operator in ("bit", "byte"))
    assert sum((a ^ b).bit_count() for a, b in zip(value, bit, strict=True)) == 1
    assert sum(a != b for a, b in zip(value, byte, strict=True)) == 1
    assert apply("longer", value, HASH, _source(seed))[:-1] == value


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_changes_or_says_that_it_does_not(operator: str) -> None:
    """On whatever it is for: never the same value, and what it makes can be written."""
    maybe = inspect.type_info(UInt | None)
    values = [(NUMBER, 3), (HASH, bytes(32)), (LIST, (1, 2, 3)), (FLAG, True), (maybe, 3)]
    for of, value in ((of, value) for of, value in values if operator in operators_of(of)):
        for seed in range(50):
            source = Source(Random(seed), lambda wanted, seed=seed: made(wanted, Random(-seed)))
            try:
                new = apply(operator, value, of, source)
            except Unchanged:
                continue
            assert (type(new), new) != (type(value), value)
            encode(new)


def test_any_value_is_of_its_type_and_boundaries_are_not_always() -> None:
    """Out of nothing comes what the type allows; at the boundary, also what is just beyond it."""
    numbers = [made(NUMBER, Random(seed)) for seed in range(300)]
    assert all(0 <= number < 2**63 for number in numbers)
    assert min(numbers) < 2**8
    assert max(numbers) > 2**60
    edges = {apply("boundary", 5, NUMBER, _source(seed)) for seed in range(100)}
    assert {-1, 0, 2**63 - 1, 2**63} <= edges


def test_every_type_of_field_has_operators() -> None:
    """No field of any message is of a type that nothing is done to."""
    for message in MESSAGES:
        for field in fields_of(message):
            if field.steps:
                assert operators_of(field.type)
                made(field.type, Random(1))


# ---- runs


@pytest.mark.parametrize("seed", [3, 500, 1234])
def test_a_seed_is_one_run(seed: int) -> None:
    """Twice the same: trace, what was changed, what was heard; told or not."""
    first, second = play(draw(seed)), play(draw(seed), remember=10_000)
    assert (first.trace, first.mutations, dict(first.heard)) == (second.trace, second.mutations, dict(second.heard))
    assert second.story
    assert first.trace != play(draw(seed + 1)).trace


def test_with_no_faults_nothing_is_changed() -> None:
    """d = c = 0 is a fair world."""
    outcome = play(draw(42, network=0, process=0))
    assert outcome.violation is None
    assert (outcome.mutations, dict(outcome.heard)) == (0, {})


def test_fewer_faults_leave_the_others_as_they_were() -> None:
    """What the first fault does does not hang on whether there is a third one."""
    more, fewer = play(draw(450, network=0, process=3)), play(draw(450, network=0, process=1))
    assert fewer.plan.aim in fewer.heard
    assert fewer.plan.aim in more.heard


# ---- what it finds

PLANTED = [
    ("votes-for-other-blocks-counted", "PREPARE", "block", 5),
    ("signatures-of-votes-believed", "COMMIT", "frame.signature", 8),
    ("run-not-tied-to-its-certificate", "RUN", "payload[].header", 15),
    ("no-upper-watermark", "PREPARE", "seq", 60),
    ("certificate-of-one-sender", "RUN", "certificate.votes", 60),
    ("view-change-certificate-unchecked", "VIEW_CHANGE", "certificate", 80),
]
"""(bug of tests/exam/bugs.toml, message, field, within so many seeds that aim there)."""


def _seeds_at(message: str, field: str, count: int) -> list[int]:
    """The first seeds that aim at such a field, or below it."""
    rounds = range(count)
    places = [at for at, cell in enumerate(cells()) if cell.message == message and cell.field.startswith(field)]
    return [at + len(cells()) * again for again in rounds for at in places][:count]


@pytest.mark.parametrize(("name", "message", "field", "within"), PLANTED, ids=[item[0] for item in PLANTED])
def test_a_bug_is_found(name: str, message: str, field: str, within: int) -> None:
    """A line of validation that is not as it should be; and it is that line which is found."""
    found = None
    with plant(bug_named(name)):
        for seed in _seeds_at(message, field, within):
            found = play(draw(seed))
            if found.violation is not None:
                break
        assert found is not None
        assert found.violation is not None, f"not in {within} seeds"
        smaller = smallest(found.plan)
        assert play(smaller).violation is not None
        assert (smaller.network, smaller.process, smaller.transactions) <= (
            found.plan.network,
            found.plan.process,
            found.plan.transactions,
        )
    assert play(found.plan).violation is None
    assert play(smaller).violation is None


def test_a_finding_says_how_to_see_it_again() -> None:
    """One line, with as little as still fails."""
    with plant(bug_named("votes-for-other-blocks-counted")):
        found = Mutation().play(*((at := _seeds_at("PREPARE", "block", 1)[0]), at + 1)).findings
    assert found[0].replay.startswith(f"python -m simulations mutate --seed {found[0].unit}")
    assert "--network 0" in found[0].replay


# ---- what watches can speak


def _first(wanted: Callable[[Plan], bool]) -> Plan:
    return next(plan for plan in map(draw, range(5000)) if wanted(plan))


def test_an_exception_at_a_clients_door_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an envelope is, it is opened or refused."""

    def broken(self: Envelopes, raw: bytes) -> Transaction:
        raise ValueError("an envelope that nobody thought of")

    monkeypatch.setattr(Envelopes, "open", broken)
    violation = play(_first(lambda plan: plan.aim == Cell(ENVELOPE, "signature", "bit"))).violation
    assert violation is not None
    assert violation.name == "raised"
    assert "nobody thought of" in violation.detail


def test_who_cannot_read_again_what_it_wrote_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """All power goes, and a member does not come back."""
    restore = Replica._restore

    def broken(self: Replica, recovered: Recovered) -> None:
        if "boot" in recovered.journal:
            raise KeyError("what was journalled")
        restore(self, recovered)

    monkeypatch.setattr(Replica, "_restore", broken)
    plan = _first(lambda plan: plan.restarts)
    violation = play(plan).violation
    assert violation is not None
    assert violation.name == "raised"
    assert play(replace(plan, restarts=False)).violation is None


def test_forensics_that_convicts_somebody_correct_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two correct members' disks, compared as `bftnode forensics` compares them."""
    plan = draw(5)
    honest = next(member for member in range(plan.n) if member not in plan.scene.liars)
    verdict = SimpleNamespace(culprits=(SimpleNamespace(member=honest, proved="nothing"),))
    monkeypatch.setattr("simulations.mutation.play.investigate", lambda *_: verdict)
    violation = play(plan).violation
    assert violation is not None
    assert violation.name == "framed"


def test_a_run_that_changes_nothing_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has shown nothing."""
    monkeypatch.setattr(Mutator, "_try", lambda *_: None)
    assert [finding.judge for finding in done([play(draw(7))]).findings] == ["idle"]


@pytest.mark.parametrize("seed", [153400, 167005])
def test_a_liar_that_hardly_speaks_is_waited_for(seed: int) -> None:
    """In these it had said nothing that could be changed when all was done."""
    assert not done([play(draw(seed))]).findings


def test_the_mutators_own_mistakes_are_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """They end the campaign."""
    monkeypatch.setattr("simulations.mutation.bank.KEPT", "many")
    with pytest.raises(TypeError):
        play(draw(7))


SLICE_RUNS = 150
SLICE_CELLS = 300


@pytest.mark.covers("C01", "C02", "N09", "N11", "V01", "V05", "K05", "O12")
def test_a_slice() -> None:
    """So many runs over the whole matrix: nothing is violated, and each has changed something that was heard."""
    step = len(cells()) // SLICE_RUNS
    outcomes = [play(draw(seed)) for seed in range(0, SLICE_RUNS * step, step)]
    found = done(outcomes)
    assert not found.findings, "\n".join(f"{item.judge}: {item.detail}\n{item.replay}" for item in found.findings)
    assert found.counts["runs"] == SLICE_RUNS
    heard = {cell for outcome in outcomes for cell in outcome.heard}
    assert len(heard) >= SLICE_CELLS, f"{len(heard)} cells"
    assert found.counts["aims reached"] >= SLICE_RUNS * 9 // 10, f"{found.counts}"
    assert {cell.message for cell in heard} == set(MESSAGES)


def test_the_work_plays_what_it_is_asked_for() -> None:
    """A slice is its units, whoever plays it."""
    work: Work = Mutation()
    first, second = work.play(10, 13), work.play(10, 13)
    assert (first.units, first.counts["runs"]) == (3, 3)
    assert first == second
    assert work.units is None
    assert work.full > len(cells())


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Many seeds in a line, one as a story, and the matrix with what is empty."""
    assert main(["mutate", "--seeds", "4..6"]) == 0
    assert "3/3 seeds, 0 findings" in capsys.readouterr().out
    assert main(["mutate", "--seed", "4", "--network", "0"]) == 0
    assert f"MUTATES {draw(4).aim}" in capsys.readouterr().out
    assert main(["mutate", "--seeds", "4", "--matrix"]) == 1
    told = capsys.readouterr().out
    assert "## NEW_VIEW" in told
    assert f"empty: {cells()[-1]}" in told
