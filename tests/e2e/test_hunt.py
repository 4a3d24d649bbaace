"""A bug that anybody could make is planted in a copy, found by the documented command, and found again."""

from tests.exam.hunting import hunt
from tests.exam.planting import patches


def test_a_bug_is_found_and_found_again() -> None:
    """By the judge that it offends; what is printed shows it once more; the checkout is as it was."""
    bug = next(patch for patch in patches() if patch.name == "quorum-of-2f")
    answer = hunt(bug, limit_s=300)
    assert answer.found
    assert answer.test.startswith("tests/")
    assert answer.judge
    assert answer.replayed, answer.again
    assert 0 < answer.cpu_s < 60
    assert answer.patch == bug.digest
