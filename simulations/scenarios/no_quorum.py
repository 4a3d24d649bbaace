"""f+1 members are gone: nothing is ordered, nothing forks, and it goes on by itself when they return."""

from simulations.scenarios.stage import Stage

covers = ("X01", "P17", "P28")


def play(n: int = 4) -> None:
    stage = Stage(n)
    stage.submit()
    stage.expect_height(1)
    gone = range(stage.members.f + 1)
    for place in gone:
        stage.nodes[place].crash()
    wanted = stage.submit(*range(stage.members.f + 1, n))
    stage.run(60_000)
    assert len(stage.judge.log) == 2, "there was no quorum"
    for place in gone:
        stage.nodes[place].start()
    stage.expect_executed(wanted)
