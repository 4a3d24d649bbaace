"""The key-value application: each operation, its bounds, and a model that it must not differ from."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.apps import kv
from bftnode.apps.contract import KEY_BYTES_MAX
from bftnode.protocol import limits
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.errors import Reason, Refused
from tests.apps.chain import CONTEXT, Map

APPLICATION = kv.KeyValue()


def apply(state: Map, operation: bytes) -> kv.Result:
    APPLICATION.validate(operation)
    return kv.open_result(APPLICATION.apply(state, operation, CONTEXT))


def query(state: Map, request: bytes) -> kv.Result:
    return kv.open_result(APPLICATION.query(state, request))


def test_put_get_delete() -> None:
    """What was put is read, as a query and as an ordered operation; deleting says whether it was there."""
    state = Map()
    assert apply(state, kv.put(b"a", b"1")) == kv.Done()
    assert query(state, kv.get(b"a")) == apply(state, kv.get(b"a")) == kv.Found(b"1")
    assert apply(state, kv.delete(b"a")) == kv.Deleted(existed=True)
    assert apply(state, kv.delete(b"a")) == kv.Deleted(existed=False)
    assert query(state, kv.get(b"a")) == kv.Found(None)


def test_an_empty_value_is_not_an_absent_one() -> None:
    """b"" is a value."""
    state = Map()
    apply(state, kv.put(b"a", b""))
    assert query(state, kv.get(b"a")) == kv.Found(b"")
    assert apply(state, kv.compare_and_swap(b"a", None, b"1")) == kv.Swapped(swapped=False, found=b"")


def test_compare_and_swap() -> None:
    """From absence, between values, to absence; where it does not match, nothing changes and the value is told."""
    state = Map()
    assert apply(state, kv.compare_and_swap(b"a", None, b"1")) == kv.Swapped(swapped=True, found=None)
    assert apply(state, kv.compare_and_swap(b"a", None, b"2")) == kv.Swapped(swapped=False, found=b"1")
    assert apply(state, kv.compare_and_swap(b"a", b"1", b"2")) == kv.Swapped(swapped=True, found=b"1")
    assert apply(state, kv.compare_and_swap(b"a", b"1", b"3")) == kv.Swapped(swapped=False, found=b"2")
    assert state.entries == {b"a": b"2"}
    assert apply(state, kv.compare_and_swap(b"a", b"2", None)) == kv.Swapped(swapped=True, found=b"2")
    assert state.entries == {}


def test_a_batch_is_made_in_order() -> None:
    """Each write sees those before it."""
    state = Map({b"old": b"x"})
    writes = [kv.Put(b"a", b"1"), kv.CompareAndSwap(b"a", b"1", b"2"), kv.Delete(b"old"), kv.Put(b"old", b"y")]
    assert apply(state, kv.batch(writes)) == kv.Batched(None)
    assert state.entries == {b"a": b"2", b"old": b"y"}


def test_a_batch_is_all_or_nothing() -> None:
    """Where a compare-and-swap fails, no write of the batch is made, and its place is told."""
    state = Map({b"a": b"1"})
    writes = [kv.Delete(b"a"), kv.Put(b"b", b"2"), kv.CompareAndSwap(b"a", b"1", b"3")]
    assert apply(state, kv.batch(writes)) == kv.Batched(failed=2)
    assert state.entries == {b"a": b"1"}


def pages(state: Map, prefix: bytes, limit: int) -> list[kv.Page]:
    found, start = [], b""
    while True:
        page = query(state, kv.scan(prefix, start, limit))
        assert isinstance(page, kv.Page)
        found.append(page)
        if page.next is None:
            return found
        start = page.next


@pytest.mark.parametrize("limit", [1, 2, 31, 32, 33, 64, 1000])
def test_a_scan_is_read_page_by_page(limit: int) -> None:
    """All keys of the prefix and no other, in order, whatever the size of a page; only the last one is short."""
    state = Map({b"k%03d" % i: b"v" for i in range(70)} | {b"j": b"", b"l": b""})
    found = pages(state, b"k", limit)
    assert [entry.key for page in found for entry in page.entries] == [b"k%03d" % i for i in range(70)]
    assert all(len(page.entries) == limit for page in found[:-1])
    assert found[-1].entries


@pytest.mark.parametrize("prefix", [b"", b"\xff", b"\xff\xff", b"a\xff", b"a"])
def test_a_prefix_may_end_in_the_last_byte(prefix: bytes) -> None:
    """The end of the range is the next prefix, and where there is none, the end of the map."""
    keys = [b"a", b"a\xfe", b"a\xff", b"a\xff\x00", b"a\xff\xff", b"b", b"\xfe", b"\xff", b"\xff\x01", b"\xff\xff\xff"]
    found = query(Map(dict.fromkeys(keys, b"")), kv.scan(prefix))
    assert [entry.key for entry in found.entries] == [key for key in keys if key.startswith(prefix)]


def test_a_start_beyond_the_prefix_finds_nothing() -> None:
    """And one before it begins at the prefix."""
    state = Map({b"a": b"", b"b": b"", b"c": b""})
    assert query(state, kv.scan(b"b", b"c")) == kv.Page((), None)
    assert query(state, kv.scan(b"b", b"a")) == kv.Page((kv.Entry(b"b", b""),), None)


@pytest.mark.covers("A18")
def test_a_page_fits_into_a_result() -> None:
    """However large the values: a page ends early, holds at least one entry, and nothing is skipped."""
    largest = {bytes((i,)) * KEY_BYTES_MAX: bytes(kv.VALUE_BYTES_MAX) for i in range(1, 4)}
    mixed = {b"m%03d" % i: bytes(i * 100) for i in range(80)}
    state = Map(largest | mixed)
    found = pages(state, b"", 1000)
    assert [entry.key for page in found for entry in page.entries] == sorted(state.entries)
    assert all(page.entries and len(encode(page)) <= limits.RESULT_BYTES_MAX for page in found)
    assert len(found) < 12


def test_sizes_are_bounded() -> None:
    """Keys of 1 to 400 bytes, values up to 63 KiB, pages of 1 to 1000 entries, batches of 1 to 1024 writes."""
    APPLICATION.validate(kv.put(b"k" * KEY_BYTES_MAX, bytes(kv.VALUE_BYTES_MAX)))
    APPLICATION.validate(kv.batch([kv.Put(b"k", b"")] * kv.BATCH_WRITES_MAX))
    bad: list[Any] = [
        kv.Put(b"", b""),
        kv.Put(b"k" * (KEY_BYTES_MAX + 1), b""),
        kv.Put(b"k", bytes(kv.VALUE_BYTES_MAX + 1)),
        kv.CompareAndSwap(b"k", None, bytes(kv.VALUE_BYTES_MAX + 1)),
        kv.Scan(b"", b"", 0),
        kv.Scan(b"", b"", kv.PAGE_ENTRIES_MAX + 1),
        kv.Batch(()),
        kv.Batch((kv.Put(b"k", b""),) * (kv.BATCH_WRITES_MAX + 1)),
        kv.Batch((kv.Get(b"k"),)),
        kv.Batch((kv.Batch((kv.Put(b"k", b""),)),)),
    ]
    for operation in bad:
        with pytest.raises(Refused) as caught:
            APPLICATION.validate(encode(operation))
        assert caught.value.reason is Reason.TX_INVALID_OPERATION
    with pytest.raises(Refused):
        kv.put(b"", b"")


def test_a_query_reads_only() -> None:
    """A put is no query."""
    with pytest.raises(Refused) as caught:
        APPLICATION.query(Map(), kv.put(b"a", b"1"))
    assert caught.value.reason is Reason.TX_INVALID_OPERATION


@pytest.mark.covers("C17", "P46")
@given(st.binary(max_size=60))
def test_reading_is_total(raw: bytes) -> None:
    """Random bytes are refused with one code, or are the one spelling of an operation."""
    for check in (APPLICATION.validate, lambda data: APPLICATION.query(Map(), data)):
        reason = None
        try:
            check(raw)
        except Refused as refused:
            reason = refused.reason
        assert reason is Reason.TX_INVALID_OPERATION or encode(decode(raw, kv.Operation, 100)) == raw


KEYS = st.sampled_from([b"a", b"ab", b"b", b"\xff"])
VALUES = st.sampled_from([b"", b"1", b"2"])
MAYBE = st.none() | VALUES
WRITES = st.builds(kv.Put, KEYS, VALUES) | st.builds(kv.Delete, KEYS) | st.builds(kv.CompareAndSwap, KEYS, MAYBE, MAYBE)
OPERATIONS = WRITES | st.builds(kv.Get, KEYS) | st.builds(kv.Batch, st.lists(WRITES, min_size=1, max_size=5).map(tuple))


def model(state: dict[bytes, bytes], operation: kv.Operation) -> None:
    """The same, said with a dict."""
    match operation:
        case kv.Put():
            state[operation.key] = operation.value
        case kv.Delete():
            state.pop(operation.key, None)
        case kv.CompareAndSwap():
            if state.get(operation.key) == operation.expected:
                state.pop(operation.key, None)
                if operation.value is not None:
                    state[operation.key] = operation.value
        case kv.Batch():
            attempt = dict(state)
            for write in operation.writes:
                if isinstance(write, kv.CompareAndSwap) and attempt.get(write.key) != write.expected:
                    return
                model(attempt, write)
            state.clear()
            state.update(attempt)


@given(st.lists(OPERATIONS, max_size=30))
def test_it_does_what_a_dict_does(operations: list[kv.Operation]) -> None:
    """Any sequence of operations leaves the map as the model says."""
    state, expected = Map(), {}
    for operation in operations:
        apply(state, encode(operation))
        model(expected, operation)
        assert state.entries == expected
