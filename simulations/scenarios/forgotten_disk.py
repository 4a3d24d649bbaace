"""A member comes back with an old disk or a new one: it finds out, stays silent, follows, and returns when it may.

While it does not vote the cluster has no fault left to give: all others must be up.
"""

from bftnode.protocol.codec import decode, encode
from bftnode.replica.nonces import QuarantineRecord
from bftnode.replica.position import Quarantine
from simulations.node import Node
from simulations.scenarios.stage import Stage

covers = ("D07", "D08", "R13", "K12")

MEMBER = 2


def _standing(node: Node) -> Quarantine:
    return node.replica.position.quarantine


def play(*, wiped: bool = True) -> None:
    stage = Stage(faulty=(MEMBER,))
    node = stage.nodes[MEMBER]
    image = node.disk.image()
    node.crash()
    node.start()  # a boot that the image does not know
    stage.run(500)
    for _ in range(5):
        stage.submit()
    stage.expect_height(5)
    node.crash()
    if wiped:
        node.disk.wipe()
    else:
        node.disk.put_back(image)
    node.start()
    stage.run(2000)
    assert _standing(node) == Quarantine.WAITING, "it has heard of what it said"
    stage.submit()
    stage.expect_height(6)
    said = node.replica.agreement.last_commit.seq
    assert said < 6, "it votes for nothing"
    # The operator decides.
    node.crash()
    assert decode(node.disk.journal["quarantine"], QuarantineRecord, 64).state == Quarantine.WAITING
    node.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
    node.start()
    stage.run(2000)
    for _ in range(4 * stage.members.parameters.window + 3):
        stage.submit()
        stage.run(50)
    stage.expect_height(6 + 4 * stage.members.parameters.window + 3)
    assert _standing(node) == Quarantine.NONE, "the log is past everything that it may have said"
    # It is needed again, and it is there.
    stage.nodes[0].crash()
    wanted = stage.submit(1, 2, 3)
    stage.run(20_000, lambda: wanted.key in stage.judge.executed)
    assert wanted.key in stage.judge.executed, "three of four are a quorum"
