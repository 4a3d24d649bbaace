"""The log application: records keep their place, their data and who appended them when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.apps import log
from bftnode.apps.contract import VALUE_BYTES_MAX, Context
from bftnode.protocol.codec import encode
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT
from tests.apps.chain import CONTEXT, Map

APPLICATION = log.Records()


def append(state: Map, data: bytes) -> log.Answer:
    operation = log.append(data)
    APPLICATION.validate(operation)
    return log.open_answer(APPLICATION.apply(state, operation, CONTEXT))


def ask(state: Map, query: bytes) -> log.Answer:
    return log.open_answer(APPLICATION.query(state, query))


def filled(records: list[bytes]) -> Map:
    state = Map()
    for index, data in enumerate(records):
        assert append(state, data) == log.Appended(index)
    return state


def test_a_record_is_read_as_it_was_appended() -> None:
    """With its index, the envelope's leaf, height, agreed time and client."""
    state = filled([b"zero", b"one"])
    expected = log.Record(1, CONTEXT.log_index, CONTEXT.seq, CONTEXT.time_ms, CONTEXT.client, b"one")
    assert ask(state, log.read(1)) == log.Found(expected)
    assert ask(state, log.read(2)) == log.Found(None)
    assert ask(state, log.read(2**63 - 1)) == log.Found(None)


@given(st.integers(0, 60), st.integers(0, 70), st.integers(1, 70))
def test_a_range_is_a_slice(size: int, first: int, limit: int) -> None:
    """From any index, of any length; and it says how many records there are."""
    records = [b"%d" % i for i in range(size)]
    page = ask(filled(records), log.read_range(first, limit))
    assert [record.data for record in page.records] == records[first : first + limit]
    assert [record.index for record in page.records] == list(range(size))[first : first + limit]
    assert page.size == size


@pytest.mark.covers("A18")
def test_a_page_has_a_size() -> None:
    """Large records: a page ends early, holds at least one, and the next one goes on after it."""
    records = [bytes(log.RECORD_BYTES_MAX), bytes(100_000), bytes(100_000), bytes(100_000), b"", bytes(200)]
    state, got = filled(records), []
    while len(got) < len(records):
        raw = APPLICATION.query(state, log.read_range(len(got), 1000))
        page = log.open_answer(raw)
        assert page.records
        assert len(raw) <= log.PAGE_BYTES_MAX + 100
        got += [record.data for record in page.records]
    assert got == records


def test_the_largest_record_fits_into_a_value() -> None:
    """With all its other fields at their largest."""
    most = 2**63 - 1
    largest = encode(log.Stored(0, log.Origin(most, most, most, b"c" * 32), bytes(log.RECORD_BYTES_MAX)))
    assert len(largest) <= VALUE_BYTES_MAX
    state = filled([bytes(log.RECORD_BYTES_MAX)])
    state.put(b"r" + bytes(8), largest)
    assert ask(state, log.read(0)).record.log_index == most


def test_records_of_one_envelope_share_what_it_says() -> None:
    """Of many envelopes with many records, read one by one and in ranges from anywhere."""
    state, expected = Map(), list[log.Record]()
    for envelope, count in enumerate((1, 3, 40, 1, 1, 17)):
        context = Context(7 + envelope, 100 + envelope, 5000 + envelope, bytes((envelope,)) * 32, CLIENT)
        for _ in range(count):
            index = len(expected)
            assert log.open_answer(APPLICATION.apply(state, log.append(b"%d" % index), context)) == log.Appended(index)
            expected.append(
                log.Record(index, context.log_index, context.seq, context.time_ms, context.client, b"%d" % index)
            )
    for index, record in enumerate(expected):
        assert ask(state, log.read(index)) == log.Found(record)
        assert list(ask(state, log.read_range(index, 50)).records) == expected[index : index + 50]


HASH = bytes(range(32))
OWNER = CONTEXT._replace(client=b"o" * 32, log_index=71)
LATER = CONTEXT._replace(client=b"o" * 32, log_index=99, seq=9, time_ms=9_000)


def do(state: Map, operation: bytes, context: Context) -> log.Answer:
    APPLICATION.validate(operation)
    return log.open_answer(APPLICATION.apply(state, operation, context))


def test_a_private_record_has_a_place_among_the_others() -> None:
    """With its commitment for its data, also where it is not the first of its envelope."""
    state = filled([b"zero"])
    assert do(state, log.append(b"one"), OWNER) == log.Appended(1)
    assert do(state, log.commit(HASH), OWNER) == log.Appended(2)
    found = ask(state, log.read(2)).record
    assert (found.client, found.log_index, found.data) == (OWNER.client, 71, log.Commitment(HASH, None))
    assert [record.data for record in ask(state, log.read_range(0)).records] == [b"zero", b"one", found.data]


def test_that_a_payload_is_erased_is_seen_in_its_record_and_in_a_list() -> None:
    """By which envelope; the commitment stays; said again it changes nothing and is no second erasure."""
    state = Map()
    for _ in range(3):
        do(state, log.commit(HASH), OWNER)
    for index in (2, 0, 2):
        assert do(state, log.erase(index), LATER) == log.Erased(index)
        again = Map(dict(state.entries))
        assert do(again, log.erase(index), LATER._replace(log_index=100)) == log.Erased(index)
        assert again.entries == state.entries
    by = log.Origin(LATER.log_index, LATER.seq, LATER.time_ms, LATER.client)
    shown = [record.data.erased for record in ask(state, log.read_range(0)).records]
    assert shown == [by, None, by]
    assert [ask(state, log.erasures(first)) for first in (0, 1, 2, 9)] == [
        log.Gone((2, 0), 2),
        log.Gone((0,), 2),
        log.Gone((), 2),
        log.Gone((), 2),
    ]


@pytest.mark.parametrize(
    ("index", "who", "reason"),
    [
        (0, LATER._replace(client=b"x" * 32), Reason.TX_DENIED),
        (1, OWNER, Reason.NOT_FOUND),
        (2, OWNER, Reason.NOT_FOUND),
        (2**63 - 1, OWNER._replace(role=ADMINISTRATOR), Reason.NOT_FOUND),
    ],
)
def test_who_may_erase_what(index: int, who: Context, reason: Reason) -> None:
    """Nobody another client's record; nobody one that is in the log itself, or that is not there."""
    state = Map()
    do(state, log.commit(HASH), OWNER)
    do(state, log.append(b"for ever"), OWNER)
    before = dict(state.entries)
    with pytest.raises(Refused) as refusal:
        do(state, log.erase(index), who)
    assert (refusal.value.reason, state.entries) == (reason, before)


def test_an_administrator_erases_anybodys() -> None:
    """Whose client is gone, or does not do what it must."""
    state = Map()
    do(state, log.commit(HASH), OWNER)
    assert do(state, log.erase(0), CONTEXT._replace(role=ADMINISTRATOR)) == log.Erased(0)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: log.append(bytes(log.RECORD_BYTES_MAX + 1)),
        lambda: log.read(-1),
        lambda: log.erase(-1),
        lambda: log.erase(2**63),
        lambda: log.erasures(2**64),
        lambda: log.read(2**63),
        lambda: log.read(2**64),
        lambda: log.read_range(0, 0),
        lambda: log.read_range(0, log.PAGE_RECORDS_MAX + 1),
        lambda: APPLICATION.validate(log.read(0)),
        lambda: APPLICATION.query(Map(), log.append(b"")),
    ],
)
def test_what_is_out_of_bounds_is_refused(bad: object) -> None:
    """Before it is sent as after."""
    with pytest.raises(Refused) as caught:
        bad()
    assert caught.value.reason is Reason.TX_INVALID_OPERATION


@pytest.mark.covers("C17")
@given(st.binary(max_size=60))
def test_reading_is_total(raw: bytes) -> None:
    """Random bytes are refused with one code or are good."""
    for check in (APPLICATION.validate, lambda data: APPLICATION.query(Map(), data)):
        reason = None
        try:
            check(raw)
        except Refused as refused:
            reason = refused.reason
        assert reason in (None, Reason.TX_INVALID_OPERATION)
