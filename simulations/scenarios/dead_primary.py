"""Agreement, a dead primary, agreement in the next view, and the dead one's return, in clusters of every size."""

from simulations.scenarios.stage import Stage

covers = ("N03", "V12", "P16", "P19", "P22")


def play(n: int = 4) -> None:
    stage = Stage(n)
    for _ in range(3):
        stage.submit()
    stage.expect_height(3)
    dead = min(stage.members.f, 3)
    for place in range(dead):
        stage.nodes[place].crash()
    # Only one backup knows of it: its relay brings it to the others (P16).
    wanted = stage.submit(dead)
    alive = list(range(dead, n))
    stage.expect_height(4, *alive)
    assert stage.judge.executed[wanted.key] == 4
    for place in range(dead):
        stage.nodes[place].start()
    stage.submit()
    stage.expect_height(5)
