"""The verdict over real logs fails where it should."""

import pytest
from msgspec.structs import replace

from bftnode.protocol.certificates import PREPARE
from bftnode.protocol.codec import encode
from tests.replica.conversation import Conversation
from theatre.troupe import Failed
from theatre.verdict import Log, convict, judge, judge_accusations, judge_lies

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


def accusing(*culprits: int) -> Log:
    return Log(1, BLOCKS, ENTRIES, accused=culprits)


def test_exactly_those_who_are_expected_are_accused() -> None:
    """By whom correct members keep proofs of."""
    judge_accusations([accusing(0, 0), accusing()], [0], (0,))
    with pytest.raises(Failed, match=r"accused are \[\], not \[0\]"):
        judge_accusations([accusing()], [0], (0,))
    with pytest.raises(Failed, match=r"accused are \[0\], not \[\]"):
        judge_accusations([accusing(0)], [0], ())


def test_a_correct_member_that_is_accused_was_framed() -> None:
    """Also where the script asks about nobody."""
    with pytest.raises(Failed, match=r"framed: correct members \[2\]"):
        judge_accusations([accusing(2)], [0], None)


def test_an_accusation_on_disk_is_checked_as_a_stranger_would() -> None:
    """Two PREPAREs of one view and height convict; one PREPARE twice, and bytes that say nothing, do not."""
    talk = Conversation()
    for block in (talk.block(transactions=[talk.transaction(data=b"one")]), talk.block()):
        talk.votes(PREPARE, [3], block)
    (accuse,) = talk.accused
    proof = accuse.accusation
    assert convict(1, encode(proof), talk.members) == 3
    for raw in (encode(replace(proof, second=proof.first)), b"nothing"):
        with pytest.raises(Failed, match="n1 keeps an accusation that does not hold"):
            convict(1, raw, talk.members)


def test_a_lie_that_is_executed_is_found() -> None:
    """What nobody may execute, and both of what may be executed once; one of the two, or a rejected entry, may."""
    log = Log(1, BLOCKS, (b"a", b"b", b"c"), (b"a", b"b"))
    judge_lies([log], [b"c"], [(b"a", b"c"), (b"x", b"b")])
    with pytest.raises(Failed, match="which is a lie"):
        judge_lies([GOOD, log], [b"b"], [])
    with pytest.raises(Failed, match="of one nonce"):
        judge_lies([GOOD, log], [], [(b"a", b"b")])
