"""One replica has committed a block and vanishes; of the three that go on, one has nothing to report about it.

Whoever builds the next view on anything but the highest certificate loses the block.
"""

from bftnode.protocol.messages import Kind
from simulations.scenarios.stage import Stage

covers = ("V02", "V18", "P4", "P5")


def play() -> None:
    stage = Stage()
    stage.submit()
    stage.expect_height(1)
    # Height 2: n3 sees no vote of it, n0 alone sees the commits.
    stage.lose(
        lambda _, to, kind, view, seq: (
            seq == 2 and (to == 3 or (kind == Kind.COMMIT and to != 0)) and kind in (Kind.PREPARE, Kind.COMMIT)
        )
    )
    stage.submit(0)
    stage.expect_height(2, 0, within_ms=100)
    stage.isolate(0)
    stage.lose(lambda _, to, kind, view, seq: view == 0 and kind in (Kind.PREPARE, Kind.COMMIT))
    stage.submit(1, 2, 3)
    stage.expect_height(3, 1, 2, 3)
    stage.lose(None)
    stage.network.join()
    stage.expect_height(3)
