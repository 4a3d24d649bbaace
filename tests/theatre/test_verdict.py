"""The verdict over real logs fails where it should."""

import pytest

from theatre.troupe import Failed
from theatre.verdict import Log, judge, judge_accusations, judge_lies

BLOCKS = (b"0", b"1", b"2")
ENTRIES = (b"a", b"b")
GOOD = Log(1, BLOCKS, ENTRIES)


def test_equal_logs_with_every_acknowledged_entry_once_are_right() -> None:
    """And one that is behind is, where nobody promised more."""
    judge([GOOD, Log(2, BLOCKS, ENTRIES)], ENTRIES, equal=True)
    judge([GOOD, Log(2, BLOCKS[:2], ENTRIES[:1])], ENTRIES, equal=False)


@pytest.mark.parametrize(
    ("other", "acknowledged", "words"),
    [
        (Log(2, (b"0", b"1", b"x"), ENTRIES), ENTRIES, "agreement"),
        (Log(2, (b"0", b"x"), ENTRIES[:1]), ENTRIES, "agreement"),
        (Log(2, BLOCKS[:2], ENTRIES[:1]), ENTRIES, "different height"),
        (Log(2, BLOCKS, ENTRIES), (b"a", b"c"), "in the log 0 times"),
        (Log(2, (*BLOCKS, b"3"), (*ENTRIES, b"a")), (b"a",), "different height"),
    ],
)
def test_a_fork_a_laggard_and_a_lost_entry_are_found(other: Log, acknowledged: tuple[bytes, ...], words: str) -> None:
    """Each with a sentence that names it."""
    with pytest.raises(Failed, match=words):
        judge([GOOD, other], acknowledged, equal=True)


def test_an_entry_that_is_there_twice_is_found() -> None:
    """Exactly once is not at least once."""
    with pytest.raises(Failed, match="in the log 2 times"):
        judge([Log(1, BLOCKS, (b"a", b"b", b"a"))], (b"a",), equal=True)


def test_exactly_those_who_are_expected_are_accused() -> None:
    """By correct members; what a liar says of others is no accusation."""
    judge_accusations([(1, 0), (2, 0), (0, 3)], [0], (0,), [1, 2, 3])
    with pytest.raises(Failed, match=r"accused are \[\], not \[0\]"):
        judge_accusations([(0, 3)], [0], (0,), [1, 2, 3])
    with pytest.raises(Failed, match=r"accused are \[0\], not \[\]"):
        judge_accusations([(1, 0)], [0], (), [1, 2, 3])


def test_a_correct_member_that_is_accused_was_framed() -> None:
    """Also where the script asks about nobody."""
    with pytest.raises(Failed, match=r"framed: correct members \[2\]"):
        judge_accusations([(1, 2)], [0], None, [1, 2, 3])


def test_a_lie_that_is_executed_is_found() -> None:
    """What nobody may execute, and both of what may be executed once; one of the two, or a rejected entry, may."""
    log = Log(1, BLOCKS, (b"a", b"b", b"c"), (b"a", b"b"))
    judge_lies([log], [b"c"], [(b"a", b"c"), (b"x", b"b")])
    with pytest.raises(Failed, match="which is a lie"):
        judge_lies([GOOD, log], [b"b"], [])
    with pytest.raises(Failed, match="of one nonce"):
        judge_lies([GOOD, log], [], [(b"a", b"b")])
