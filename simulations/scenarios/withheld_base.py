"""A power cut, and a liar that remembers what nobody else does: a prepared block, which it keeps to itself.

The members' PREPAREs for it were not durable yet (decision 009), so that they have neither the block nor the
certificate. Nothing can have been committed with it. The liar reports the certificate in every VIEW-CHANGE: whoever
builds the next view on it waits for a block that never comes.
"""

from random import Random

from bftnode.protocol.certificates import PREPARE, Certificate
from bftnode.protocol.messages import Kind
from simulations.adversaries.liar import Behaviour, Letter
from simulations.checkers import kind_of
from simulations.scenarios.stage import Stage
from simulations.world import Violation

covers = ("N18", "T12", "P22")

LIAR = 0


class Withholder(Behaviour):
    """Keeps blocks to itself, from some moment on."""

    withholding = False

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if self.withholding and kind_of(frame) in (Kind.PRE_PREPARE, Kind.BLOCK, Kind.RUN):
            return []
        return [(to, frame)]


def play() -> None:
    withholder = Withholder(Random(1))
    stage = Stage(liars={LIAR: [withholder]})
    stage.submit()
    stage.expect_height(1)
    stage.run(100)
    # Height 2: the liar alone hears PREPAREs.
    stage.lose(lambda _, to, kind, view, seq: seq == 2 and kind in (Kind.PREPARE, Kind.COMMIT) and to != LIAR)
    stage.submit(LIAR)
    stage.run(10)
    certificate = stage.nodes[LIAR].replica.position.highest
    if not isinstance(certificate, Certificate) or (certificate.phase, certificate.seq) != (PREPARE, 2):
        raise Violation("scenario", "the liar was to hold a prepare certificate")
    withholder.withholding = True
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
