"""TRAP 1 of docs/protocol.md: in a new view the first certificate is one for the base, never for an ancestor of it.

Two blocks are in flight; n0 commits both in view 0 and vanishes. View 1 has the second as its base, and loses
every vote for it. If the first were voted for again, its certificate of view 1 would outrank that of the second,
and view 2 would build on the first.
"""

from bftnode.protocol.messages import Kind
from simulations.scenarios.stage import Stage

covers = ("P4", "P23", "P27", "V18")

VOTES = (Kind.PREPARE, Kind.COMMIT)


def play() -> None:
    stage = Stage()
    # Nobody but n0 hears commits of view 0, and n0 hears those of height 2 only: so both are in flight first.
    stage.lose(lambda _, to, kind, view, seq: kind == Kind.COMMIT and view == 0 and (to != 0 or seq == 1))
    stage.submit()
    stage.submit()
    stage.expect_height(2, 0, within_ms=200)
    stage.isolate(0)
    # In view 1 all votes for height 2 are lost; in view 0 everything is over.
    stage.lose(
        lambda _, to, kind, view, seq: (view == 0 and kind in VOTES) or (view == 1 and seq >= 2 and kind in VOTES)
    )
    stage.submit(1, 2, 3)
    stage.run(20_000, lambda: min(stage.view(place) for place in (1, 2, 3)) >= 2)
    stage.expect_height(3, 1, 2, 3)
    stage.lose(None)
    stage.network.join()
    stage.expect_height(3)
