"""A power cut, and a liar that remembers what nobody else does: a prepared block, which it keeps to itself.

The members' PREPAREs for it were not durable yet (decision 009), so that they have neither the block nor the
certificate. Nothing can have been committed with it. The liar reports the certificate in every VIEW-CHANGE: whoever
builds the next view on it waits for a block that never comes.
"""

from random import Random

from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import PREPARE
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.messages import BlockAnswer, Kind, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of
from simulations.scenarios.stage import Stage
from simulations.world import Violation

covers = ("N18", "T12", "P22")

LIAR = 0


class Withholder(Behaviour):
    """Keeps blocks up to some height to itself, from some moment on."""

    up_to = 0

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        kind = kind_of(frame)
        if self.up_to and kind in (Kind.PRE_PREPARE, Kind.RUN):
            return []
        if self.up_to and kind == Kind.BLOCK:
            body = open_body(open_frame(frame))
            assert isinstance(body, BlockAnswer), "of its kind"
            if open_header(body.header).seq <= self.up_to:
                return []
        return [(to, frame)]


def play(*, gives_the_base: bool = False) -> None:
    """`gives_the_base`: two blocks are in flight, and the liar serves the one that is certified, not its parent."""
    withholder = Withholder(Random(1))
    stage = Stage(liars={LIAR: [withholder]})
    for node in stage.nodes:
        node.behind_ms = 40
    stage.submit()
    stage.expect_height(1)
    stage.run(100)
    height = 3 if gives_the_base else 2
    # Above height 1 the liar alone hears PREPAREs.
    stage.lose(lambda _, to, kind, view, seq: seq > 1 and kind in (Kind.PREPARE, Kind.COMMIT) and to != LIAR)
    for client in range(height - 1):
        stage.submit(LIAR, client=client)
    liar = stage.nodes[LIAR]

    def certified() -> bool:
        highest = liar.replica.position.highest
        return highest is not None and (highest.phase, highest.seq) == (PREPARE, height)

    stage.run(30, certified)
    certificate = liar.replica.position.highest
    if certificate is None or not certified():
        raise Violation("scenario", "the liar was to hold a prepare certificate")
    withholder.up_to = 2
    correct = [node for node in stage.nodes if node.place != LIAR]
    for node in correct:
        node.crash()
        if node.disk.durable(certificate.block, certificate.seq):
            raise Violation("scenario", "the block was to be forgotten")
    for node in correct:
        node.start()
    late: dict[tuple[int, int, int], None] = {}

    def comes_after_the_liars(place: int, to: int, kind: Kind, view: int, seq: int) -> bool:
        """One correct member's VIEW-CHANGE is lost the first time, so that the liar's is among the first q."""
        letter = (place, to, view)
        if kind != Kind.VIEW_CHANGE or place == LIAR or letter in late:
            return False
        late[letter] = None
        return place == max(node.place for node in correct if node.place != to)

    stage.lose(comes_after_the_liars)
    stage.expect_executed(stage.submit(1, 2, 3))
