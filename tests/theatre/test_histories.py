"""What a quick read promises, judged by the log: some state from its floor on, and none from the future."""

import pytest

from theatre.nights.histories import NO_CEILING, History, QuickRead, judge_quick, with_ceilings
from theatre.troupe import Failed

KEY = b"key"
STATES = {KEY: [(3, b"a"), (5, None), (9, b"b")]}


@pytest.mark.covers("P42")
@pytest.mark.parametrize(
    ("floor", "ceiling", "seen"),
    [
        (0, NO_CEILING, [None, b"a", b"b"]),
        (0, 3, [None]),
        (2, 4, [None, b"a"]),
        (3, 5, [b"a"]),
        (4, 9, [b"a", None]),
        (5, 9, [None]),
        (9, 12, [b"b"]),
        (100, NO_CEILING, [b"b"]),
    ],
)
def test_a_quick_read_sees_what_was_held_between_floor_and_ceiling(
    floor: int, ceiling: int, seen: list[bytes | None]
) -> None:
    """And nothing else: not what was before its client's last word, nor what came after the read."""
    for value in (None, b"a", b"b", b"never"):
        read = [(QuickRead(KEY, value, floor, 0.0), ceiling)]
        if value in seen:
            judge_quick(read, STATES)
        else:
            with pytest.raises(Failed, match="which it never held"):
                judge_quick(read, STATES)


def test_a_key_that_nobody_wrote_is_absent() -> None:
    """At any height."""
    judge_quick([(QuickRead(b"other", None, 7, 0.0), NO_CEILING)], STATES)
    with pytest.raises(Failed):
        judge_quick([(QuickRead(b"other", b"a", 7, 0.0), NO_CEILING)], STATES)


def test_the_ceiling_is_the_lowest_height_of_what_began_later() -> None:
    """What began before the read ended says nothing of what it could see."""
    reads = [QuickRead(KEY, None, 0, ended) for ended in (0.5, 1.0, 2.5, 9.0)]
    history = History(4, quick=reads, executed=[(3.0, 8), (1.0, 7), (2.0, 12)])
    assert [ceiling for _, ceiling in with_ceilings(history)] == [7, 8, 8, NO_CEILING]
