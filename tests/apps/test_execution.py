"""Executing blocks: every envelope exactly once, each operation with its own result, alike everywhere."""

import pytest

from bftnode.apps import kv
from bftnode.apps.contract import Application, Context, ReadableState, State
from bftnode.apps.execution import ADMIT, CLIENT_PREFIX, application_operation, result_key
from bftnode.protocol import limits
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT
from bftnode.protocol.results import OperationResult, TransactionResult
from tests.apps.chain import ADMIN, Chain, Person, system

DONE = OperationResult("", encode(kv.Done()))
REFUSED = OperationResult("tx.invalid_operation", b"")


class Awkward(Application):
    """An application that does what it is told: write and refuse, answer at length, or accept anything."""

    def validate(self, operation: bytes) -> None:
        if operation == b"malformed":
            # What a library says may differ between its versions, so nothing of it may stay.
            raise Refused(Reason.CODEC_TYPE, "words of a library \ud800")

    def apply(self, state: State, operation: bytes, context: Context) -> bytes:
        state.put(b"last", operation)
        if operation == b"refuse":
            state.put(b"new", b"")
            raise Refused(Reason.NOT_FOUND, "words that may change with the next version")
        return bytes(int(operation)) if operation.isdigit() else operation

    def query(self, state: ReadableState, query: bytes) -> bytes:
        return state.get(query) or b""


def stored(chain: Chain, person: Person, nonce: int) -> TransactionResult | None:
    raw = chain.state.get(result_key(person.key, nonce))
    return None if raw is None else decode(raw, TransactionResult, limits.TRANSACTION_BYTES_MAX)


def test_an_envelope_has_a_result_for_each_operation() -> None:
    """In order, at its height and leaf; kept in the state under (client, nonce)."""
    chain, admin = Chain(kv.KeyValue()), Person(ADMIN)
    first = admin.asks(kv.put(b"a", b"1"), kv.get(b"a"))
    second = admin.asks(kv.get(b"b"))
    done = chain.block(first, second)
    found = OperationResult("", encode(kv.Found(b"1")))
    assert done.results[0] == TransactionResult(first.id, 1, 0, "", (DONE, found))
    assert (done.results[1].seq, done.results[1].index) == (1, 1)
    assert [stored(chain, admin, nonce) for nonce in (1, 2)] == done.results
    assert chain.query(kv.get(b"a")) == encode(kv.Found(b"1"))


@pytest.mark.covers("R09", "N20")
def test_an_envelope_is_executed_once() -> None:
    """Twice in a block or again later: rejected, and the first result stays as it was."""
    chain, admin = Chain(kv.KeyValue()), Person(ADMIN)
    once = admin.asks(kv.compare_and_swap(b"a", None, b"1"))
    original, again = chain.block(once, once).results
    later = chain.one(once)
    assert original.code == ""
    assert (again.code, again.results) == (later.code, later.results) == ("tx.nonce_used", ())
    assert stored(chain, admin, 1) == original


@pytest.mark.covers("P43", "R12")
def test_a_later_nonce_does_not_censor_an_earlier_one() -> None:
    """A primary that orders nonce 2 first has not used up nonce 1."""
    chain, admin = Chain(kv.KeyValue()), Person(ADMIN)
    assert [chain.one(admin.asks(kv.get(b"a"), nonce=nonce)).code for nonce in (2, 1)] == ["", ""]


@pytest.mark.covers("R11", "A06")
def test_nonces_that_are_used_too_old_or_too_far() -> None:
    """Each has its own code, at the exact bounds."""
    chain, admin = Chain(kv.KeyValue()), Person(ADMIN)
    far, window = limits.NONCE_JUMP_MAX, limits.NONCE_WINDOW

    def code(nonce: int) -> str:
        return chain.one(admin.asks(kv.get(b"a"), nonce=nonce)).code

    assert code(0) == "tx.nonce_used"
    assert code(far + 1) == "tx.nonce_too_far"
    assert code(far) == ""
    assert code(far) == "tx.nonce_used"
    assert code(far - window) == "tx.nonce_too_old"
    assert code(far - window + 1) == ""
    assert code(1) == "tx.nonce_too_old"


def test_an_envelope_past_its_time_is_rejected() -> None:
    """valid_until is the last height at which it may be executed; its nonce stays unused."""
    chain, admin = Chain(kv.KeyValue()), Person(ADMIN)
    assert chain.one(admin.asks(kv.get(b"a"), valid_until=1)).code == ""
    assert chain.one(admin.asks(kv.get(b"a"), valid_until=1)).code == "tx.expired"
    assert chain.one(admin.asks(kv.get(b"a"), nonce=2)).code == ""


def test_an_unknown_client_is_rejected() -> None:
    """And leaves no trace in the state: a stranger cannot make it grow."""
    chain = Chain(kv.KeyValue())
    before = dict(chain.state.entries)
    done = chain.block(Person("stranger").asks(kv.put(b"a", b"1")))
    assert (done.results[0].code, done.results[0].results) == ("tx.unknown_client", ())
    assert (done.changes, chain.state.entries) == ({}, before)


def test_a_refused_operation_leaves_nothing_and_its_neighbours_stay() -> None:
    """What it wrote is undone, over older writes too; the other operations of the envelope are independent."""
    chain, admin = Chain(Awkward()), Person(ADMIN)
    result = chain.one(admin.asks(b"x", b"refuse", b"y"))
    assert [(one.code, one.value) for one in result.results] == [("", b"x"), ("not_found", b""), ("", b"y")]
    assert chain.query(b"last") == b"y"
    result = chain.one(admin.asks(b"refuse"))
    assert chain.query(b"last") == b"y"
    assert b"anew" not in chain.state.entries
    assert stored(chain, admin, 2) == result, "a refusal is a result too, and uses the nonce"


@pytest.mark.covers("N20", "K10")
def test_a_malformed_operation_that_was_certified_executes_as_a_refusal() -> None:
    """With one code, whatever words a library found for it; and the words do not become state."""
    chain, admin = Chain(Awkward()), Person(ADMIN)
    result = chain.one(admin.signs(application_operation(b"malformed"), b"", b"\x02", b"\x00junk"))
    assert result.results == (REFUSED,) * 4
    assert b"words" not in b"".join(chain.state.entries.values())


def test_results_have_sizes() -> None:
    """One that is too long, or too long for its envelope, is refused and its operation undone."""
    chain, admin = Chain(Awkward()), Person(ADMIN)
    most = b"%d" % limits.RESULT_BYTES_MAX
    assert [one.code for one in chain.one(admin.asks(most, b"%d" % (limits.RESULT_BYTES_MAX + 1))).results] == [
        "",
        "tx.result_size",
    ]
    assert chain.query(b"last") == most
    whole = limits.RESULTS_BYTES_MAX // limits.RESULT_BYTES_MAX
    codes = [one.code for one in chain.one(admin.asks(*[most] * whole, b"1", b"")).results]
    assert codes == [*[""] * whole, "tx.result_size", ""]


def test_results_are_kept_as_long_as_the_window_remembers_the_nonce() -> None:
    """A resubmission is answered from the state; what leaves the window leaves the state, so that it is bounded."""
    chain, admin = Chain(kv.KeyValue()), Person(ADMIN)
    window = limits.NONCE_WINDOW
    for nonce in (1, 2, 5):
        chain.one(admin.asks(kv.get(b"a"), nonce=nonce))
    chain.one(admin.asks(kv.get(b"a"), nonce=window))
    assert all(stored(chain, admin, nonce) for nonce in (1, 2, 5, window))
    chain.one(admin.asks(kv.get(b"a"), nonce=window + 2))
    assert [stored(chain, admin, nonce) is None for nonce in (1, 2, 5, window)] == [True, True, False, False]
    chain.one(admin.asks(kv.get(b"a"), nonce=5 * window))
    assert [key for key in chain.state.entries if key.startswith(b"r")] == [result_key(admin.key, 5 * window)]


def test_only_windows_that_changed_are_written() -> None:
    """A rejected envelope of a known client costs the state nothing."""
    chain, admin, other = Chain(kv.KeyValue()), Person(ADMIN), Person("other")
    chain.one(admin.signs(system(ADMIT, other.key, CLIENT)))
    done = chain.block(other.asks(kv.get(b"a")), admin.asks(kv.get(b"a"), nonce=1))
    assert [one.code for one in done.results] == ["", "tx.nonce_used"]
    assert [key for key in done.changes if key.startswith(CLIENT_PREFIX)] == [CLIENT_PREFIX + other.key]


@pytest.mark.covers("A05")
def test_validation_refuses_what_can_never_be_applied() -> None:
    """Before ordering: any operation of the envelope, the application's or ours."""
    chain, admin = Chain(kv.KeyValue()), Person(ADMIN)
    chain.executor.validate(admin.asks(kv.put(b"a", b"1")))
    chain.executor.validate(admin.signs(system(ADMIT, admin.key, CLIENT)))
    for bad in (b"", b"\x01", b"\x02", b"\x00", system(3, admin.key, 0), system(ADMIT, admin.key, 0)):
        with pytest.raises(Refused) as caught:
            chain.executor.validate(admin.signs(application_operation(kv.get(b"a")), bad))
        assert caught.value.reason is Reason.TX_INVALID_OPERATION


def test_the_applications_context_is_the_agreed_one() -> None:
    """Height, leaf, agreed time and client."""
    seen: list[Context] = []

    class Looking(Awkward):
        def apply(self, state: State, operation: bytes, context: Context) -> bytes:
            seen.append(context)
            return b""

    chain, admin = Chain(Looking()), Person(ADMIN)
    chain.block(admin.asks(b"x"), admin.asks(b"y"))
    chain.block(admin.asks(b"z"))
    places = [(1, 0, 1000), (1, 1, 1000), (2, 2, 2000)]
    assert seen == [Context(*place, admin.key, ADMINISTRATOR) for place in places]


def test_a_broken_application_is_not_a_refusal() -> None:
    """Whatever else it raises stops the node: to go on would be to guess what the others have."""

    class Broken(Awkward):
        def apply(self, state: State, operation: bytes, context: Context) -> bytes:
            raise KeyError(operation)

    with pytest.raises(KeyError):
        Chain(Broken()).one(Person(ADMIN).asks(b"x"))


def test_a_broken_state_is_not_a_refusal() -> None:
    """Our own records that do not decode are a broken disk, never a property of an envelope."""
    chain, admin = Chain(kv.KeyValue()), Person(ADMIN)
    chain.state.put(CLIENT_PREFIX + admin.key, b"\x93")
    with pytest.raises(AssertionError):
        chain.one(admin.asks(kv.get(b"a")))
