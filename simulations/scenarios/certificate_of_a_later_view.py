"""TRAP 3 of docs/protocol.md: a primary that is cut off learns from a block that its view is long over.

It must not go on in its old view: not propose, not vote, and ask for the NEW-VIEW of the later one.
"""

from bftnode.protocol.messages import Kind
from simulations.scenarios.stage import Stage

covers = ("P10", "V10", "V15", "P25")


def play() -> None:
    stage = Stage()
    stage.submit()
    stage.expect_height(1)
    stage.isolate(0)
    stage.submit(1, 2, 3)
    stage.expect_height(2, 1, 2, 3)
    assert stage.nodes[0].replica.position.active, "nothing made it leave view 0"
    # It hears of blocks and votes, but of no NEW-VIEW: a certificate of view 1 is all that it gets to know.
    stage.network.join()
    stage.lose(lambda _, to, kind, view, seq: to == 0 and kind in (Kind.NEW_VIEW, Kind.VIEW_CHANGE))
    stage.expect_height(2, 0)
    stage.submit(0)
    stage.run(300)
    stage.lose(None)
    stage.submit()
    stage.expect_height(4)
