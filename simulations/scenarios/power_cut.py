"""All machines die at once, again and again, while clients submit: nothing acknowledged is lost, and all go on alone.

Each cut comes at another moment of a decision, so that what was written and what was not differs from member to member.
"""

from simulations.scenarios.stage import Stage
from simulations.world import Violation

covers = ("T12", "D01", "P13")

MOMENTS_MS = range(14)


def play(n: int = 4, *, behind_ms: int = 20) -> None:
    stage = Stage(n)
    for node in stage.nodes:
        node.behind_ms = behind_ms
    wanted = []
    for moment in MOMENTS_MS:
        wanted.append(stage.submit())
        stage.run(moment)
        acknowledged = list(stage.judge.executed)
        for node in stage.nodes:
            node.crash()
        stage.run(5)
        for node in stage.nodes:
            node.start()
        again = stage.submit()
        for transaction in (*wanted, again):
            # Its client asks again, as it does until it has an answer.
            for node in stage.nodes:
                node.submit(transaction)
            stage.expect_executed(transaction)
        if any(key not in stage.judge.executed for key in acknowledged):
            raise Violation("lost", f"what was executed {moment} ms after it was submitted is gone")
