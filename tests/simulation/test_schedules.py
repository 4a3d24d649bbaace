"""One decision without some of its messages, and its votes in every order: slices, and bugs that they find."""

import pytest

from simulations.worlds.cast import Cast
from simulations.worlds.lost import LOST, PRIMARIES, messages
from simulations.worlds.orders import CASES, ORDERS, Told


@pytest.mark.covers("N03")
def test_what_is_said_for_one_decision() -> None:
    """Three PRE-PREPAREs, twelve PREPAREs, twelve COMMITs, where nobody lies; more beside a liar."""
    cast = Cast()
    said = {primary: messages(cast, primary) for primary in PRIMARIES}
    assert len(said["correct"]) == 27
    assert [sum(kind == phase for _, _, kind, _ in said["correct"]) for phase in (1, 2, 3)] == [3, 12, 12]
    assert all(len(its) > 27 for primary, its in said.items() if primary != "correct")


@pytest.mark.parametrize("share", range(6))
def test_some_lost_messages_keep_nobody_from_deciding(share: int) -> None:
    """Every sixth part of the set begins with sets of one and two."""
    first = LOST.units * share // 6
    done = LOST.play(first, first + 60)
    assert not done.findings
    assert done.counts["runs"] == 60
    assert done.counts["messages lost"] > 60


def test_orders_are_all_there() -> None:
    """7! over the names of two, 6! over the names of three, 9!."""
    assert ORDERS.units == 2520 + 120 + 362_880
    cast = Cast()
    for case in CASES[:2]:
        orders = list(Told.of(cast, case).orders(case))
        assert len(orders) == len(set(orders)) == {"backup": 2520, "primary": 120}[case.name]


@pytest.mark.parametrize("first", [0, 2520, 200_000])
def test_whatever_the_order_the_block_is_the_same(first: int) -> None:
    """Of a backup, of the primary, and beside a member that votes for two blocks."""
    done = ORDERS.play(first, first + 120)
    assert not done.findings
    assert done.counts["runs"] == 120
