"""The log application: records keep their place, their data and who appended them when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.apps import log
from bftnode.apps.contract import VALUE_BYTES_MAX, Context
from bftnode.protocol.codec import encode
from bftnode.protocol.errors import Reason, Refused
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
        context = Context(7 + envelope, 100 + envelope, 5000 + envelope, bytes((envelope,)) * 32)
        for _ in range(count):
            index = len(expected)
            assert log.open_answer(APPLICATION.apply(state, log.append(b"%d" % index), context)) == log.Appended(index)
            expected.append(
                log.Record(index, context.log_index, context.seq, context.time_ms, context.client, b"%d" % index)
            )
    for index, record in enumerate(expected):
        assert ask(state, log.read(index)) == log.Found(record)
        assert list(ask(state, log.read_range(index, 50)).records) == expected[index : index + 50]


@pytest.mark.parametrize(
    "bad",
    [
        lambda: log.append(bytes(log.RECORD_BYTES_MAX + 1)),
        lambda: log.read(-1),
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
