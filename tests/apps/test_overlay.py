"""The overlay of a block: a map that is read through, scanned in order, and undone by one operation."""

from hypothesis import given
from hypothesis import strategies as st

from bftnode.apps.execution import Overlay, Scoped, ScopedOverlay
from tests.apps.chain import Map

KEYS = st.binary(min_size=1, max_size=2).map(lambda raw: bytes(byte % 4 for byte in raw)) | st.integers(0, 40).map(
    lambda number: b"k%02d" % number
)
BASES = st.dictionaries(KEYS, st.binary(max_size=2), max_size=40)
WRITES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=2)), max_size=40)
SCANS = st.tuples(KEYS | st.just(b""), st.none() | KEYS, st.integers(1, 50))


@given(BASES, WRITES, WRITES, WRITES, SCANS, SCANS)
def test_an_overlay_is_the_map_that_it_will_become(
    base: dict[bytes, bytes],
    kept: list[tuple[bytes, bytes | None]],
    undone: list[tuple[bytes, bytes | None]],
    later: list[tuple[bytes, bytes | None]],
    early_scan: tuple[bytes, bytes | None, int],
    scan: tuple[bytes, bytes | None, int],
) -> None:
    """After writes, a rollback and more writes, every get and scan says what the plain map would."""
    overlay, plain = Overlay(Map(base)), Map(base)
    for writes, stays in ((kept, True), (undone, False), (later, True)):
        overlay.checkpoint()
        for key, value in writes:
            overlay.put(key, value)
            if stays:
                plain.apply({key: value})
        if not stays:
            assert overlay.scan(*early_scan) is not None
            overlay.rollback()
        assert overlay.scan(*scan) == plain.scan(*scan)
    assert all(overlay.get(key) == plain.get(key) for key in {*base, *overlay.changes})
    applied = Map(base)
    applied.apply(overlay.changes)
    assert applied.entries == plain.entries


def test_a_scan_sees_past_what_was_deleted() -> None:
    """Deleted keys hide entries of the base; the page is filled from behind them."""
    base = Map({b"%03d" % i: b"" for i in range(200)})
    overlay = Overlay(base)
    for i in range(150):
        overlay.put(b"%03d" % i, None)
    assert [key for key, _ in overlay.scan(b"", None, 3)] == [b"150", b"151", b"152"]


def test_rollback_undoes_to_the_checkpoint_only() -> None:
    """What earlier operations of the block wrote stays, also where the undone one wrote over it or deleted it."""
    overlay = Overlay(Map({b"a": b"0"}))
    overlay.put(b"a", b"1")
    overlay.checkpoint()
    overlay.put(b"a", None)
    overlay.put(b"a", b"2")
    overlay.put(b"b", b"2")
    overlay.rollback()
    assert overlay.changes == {b"a": b"1"}


def test_an_application_sees_its_own_keys_only() -> None:
    """Neither clients nor results, not even by a scan without an end."""
    state = Map({b"a": b"", b"ax": b"1", b"a\xff": b"2", b"cx": b"3", b"n": b"4", b"rx": b"5"})
    scoped = Scoped(state)
    assert scoped.scan(b"", None, 10) == [(b"", b""), (b"x", b"1"), (b"\xff", b"2")]
    assert scoped.get(b"x") == b"1"
    overlay = Overlay(state)
    ScopedOverlay(overlay).put(b"y", b"6")
    ScopedOverlay(overlay).delete(b"x")
    assert overlay.changes == {b"ay": b"6", b"ax": None}
