"""Quorum arithmetic, for every size that a cluster may have."""

import pytest

from bftnode.protocol import quorums

EVERY_SIZE = pytest.mark.parametrize("n", range(quorums.MEMBERS_MIN, quorums.MEMBERS_MAX + 1))


@pytest.mark.covers("P1")
@EVERY_SIZE
def test_two_quorums_share_a_correct_member_and_the_correct_are_a_quorum(n: int) -> None:
    """What safety and liveness rest on: 2q - n >= f + 1, and q <= n - f."""
    f, q = quorums.max_faulty(n), quorums.quorum(n)
    assert 2 * q - n >= f + 1
    assert q <= n - f
    assert 2 * (q - 1) - n < f + 1, "and q is the smallest such number"


@EVERY_SIZE
def test_f_is_the_most_that_agreement_can_bear(n: int) -> None:
    """n >= 3f + 1, and one more fault would break it (Castro and Liskov 1999, section 3)."""
    f = quorums.max_faulty(n)
    assert n >= 3 * f + 1
    assert n < 3 * (f + 1) + 1
    assert quorums.some_correct(n) == f + 1


@pytest.mark.covers("P1")
def test_the_known_sizes() -> None:
    """Written out, also where n is not 3f+1 and 2f+1 would be wrong."""
    assert [(n, quorums.max_faulty(n), quorums.quorum(n)) for n in (4, 5, 6, 7, 10, 64)] == [
        (4, 1, 3),
        (5, 1, 4),
        (6, 1, 4),
        (7, 2, 5),
        (10, 3, 7),
        (64, 21, 43),
    ]


@EVERY_SIZE
def test_every_member_is_primary_in_turn(n: int) -> None:
    """Round robin: n views in a row have n different primaries."""
    assert [quorums.primary_of(view, n) for view in range(n)] == list(range(n))
    assert quorums.primary_of(n, n) == 0
