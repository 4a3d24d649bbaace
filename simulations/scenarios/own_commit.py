"""A member's own COMMIT completes the quorum, and its power fails before that COMMIT is on its disk.

Whoever counts it earlier tells a client, together with a liar that says the same, what the next view does not know:
only one correct member has the certificate, and it is slow. The block is replaced by another one.
"""

from bftnode.protocol.certificates import Vote
from bftnode.protocol.codec import decode
from bftnode.protocol.envelope import encode_frame
from bftnode.protocol.messages import Kind
from bftnode.replica.position import VoteRecord
from simulations.scenarios.stage import Stage
from simulations.world import Violation

covers = ("P13", "D01", "T12", "N02")

LIAR, DYING, SLOW, LEFT_OUT = range(4)


def play() -> None:
    stage = Stage(faulty=(LIAR,))
    liar, dying, slow, _ = stage.nodes
    stage.submit()
    stage.expect_height(1)
    stage.run(300)
    # Height 2: one member hears nothing of it, and the liar's replica no votes, so that it reports height 1 later.
    stage.lose(
        lambda place, to, kind, view, seq: (
            seq == 2 and (to in (LIAR, LEFT_OUT) or (place == LIAR and to == DYING and kind == Kind.COMMIT))
        )
    )
    dying.sync_delay_ms = lambda: 30
    dying.behind_ms = 1
    stage.submit(LIAR, DYING, SLOW)
    if not stage.run(100, lambda: slow.replica.agreement.last_commit.seq == 2):
        raise Violation("scenario", "one correct member was to COMMIT")
    # The liar's COMMIT is for one member alone, whose own is on its way to the disk.
    vote = Vote(0, 0, 2, slow.replica.agreement.last_commit.block)
    dying.hear(LIAR, encode_frame(liar.replica.voice.seal(Kind.COMMIT, vote)))
    cast = stage.run(100, lambda: dying.replica.agreement.last_commit.seq == 2)
    if not cast or decode(dying.disk.journal["commit"], VoteRecord, 128).seq == 2:
        raise Violation("scenario", "the other's COMMIT was to be on its way to the disk")
    dying.crash()
    stage.run(3)
    dying.sync_delay_ms = lambda: 0
    dying.start()
    stage.lose(lambda place, to, kind, view, seq: place == LIAR and view == 0 and seq == 2)
    stage.isolate(SLOW)
    wanted = stage.submit(LIAR, DYING, LEFT_OUT, client=1)
    stage.run(10_000)
    stage.lose(None)
    stage.network.join()
    stage.expect_executed(wanted)
