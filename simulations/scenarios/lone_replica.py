"""One replica leaves a view alone, in which the others are happy: they grant it a view change after a while."""

from bftnode.protocol.messages import Kind
from simulations.scenarios.stage import Stage

covers = ("P17", "P18", "V15", "V07")


def play() -> None:
    stage = Stage()
    stage.submit()
    stage.expect_height(1)
    # n3 can say nothing but VIEW-CHANGE: its client's envelope reaches nobody, and it gives the view up.
    stage.lose(lambda place, _, kind, view, seq: place == 3 and kind not in (Kind.VIEW_CHANGE, Kind.STATUS))
    stage.submit(3)
    stage.run(2000, lambda: stage.view(3) == 1)
    assert [stage.view(place) for place in range(4)] == [0, 0, 0, 1], "one vote alone moves nobody"
    stage.lose(None)
    stage.submit()
    stage.expect_height(2)
    stage.run(10_000, lambda: all(stage.view(place) == 1 for place in range(4)))
    stage.run(1000)
    assert all(node.replica.position.active for node in stage.nodes), "all are together again"
    stage.submit()
    stage.expect_height(4)
