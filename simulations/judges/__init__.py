"""The judges: properties that must hold in every run, whatever the world does, looked at while they can break.

They watch every turn and never steer: a world without them has the same trace. `faulty` members (Byzantine, wiped or
rolled back) owe nobody anything, except that a wiped one, which still runs correct code, must not append a block that
contradicts the others'. One judge a file; what each property means stands beside it; a `Violation` names it.
"""

from collections.abc import Iterable

from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Kind, NewView, PrePrepare, ViewChange, open_body
from bftnode.replica.effects import Accuse, Note
from simulations.disks import Committed
from simulations.judges.acknowledged import Acknowledged
from simulations.judges.bounds import TURNS_BETWEEN_COUNTS, Bounds
from simulations.judges.certificates import Certificates
from simulations.judges.court import Court, Judged, Key, kind_of
from simulations.judges.durability import Durability
from simulations.judges.evidence import Evidence
from simulations.judges.linearizability import Linearizability
from simulations.judges.order import Order
from simulations.judges.speech import Speech
from simulations.judges.standing import Standing
from simulations.judges.understanding import Understanding
from simulations.judges.validity import Validity

__all__ = ["Judge", "Judged", "Key", "kind_of"]

SAID_ONCE = frozenset({Kind.PRE_PREPARE, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW})


class Judge:
    """The bench: shows each judge what it judges. Every method but the questions raises Violation."""

    def __init__(
        self, members: Membership, verify: Verifier, faulty: Iterable[int], administrators: Iterable[bytes]
    ) -> None:
        court = self._court = Court(members, verify, faulty)
        self.faulty = court.faulty
        self.log = court.log
        self.executed = court.executed
        self._order = Order(court)
        self._validity = Validity(court, administrators)
        self._certificates = Certificates(court)
        self._speech = Speech()
        self._durability = Durability(court)
        self._standing = Standing()
        self._bounds = Bounds(court)
        self._evidence = Evidence(court)
        self._understanding = Understanding(court)
        self._acknowledged = Acknowledged(court)
        self.registers: Linearizability | None = None  # where clients use the key-value application
        self._turns = 0

    # ---- questions

    def is_correct(self, node: Judged) -> bool:
        return self._court.is_correct(node)

    @property
    def refusals(self) -> dict[str, int]:
        """Reason -> how often anybody refused something."""
        return self._understanding.refusals

    @property
    def accused(self) -> dict[int, None]:
        """Members that correct ones have accused, with a proof."""
        return self._evidence.accused

    # ---- what happens

    def on_start(self, node: Judged) -> None:
        """A life begins."""
        self._standing.on_start(node)
        if self._court.is_correct(node):
            self._court.nodes[node.member] = node

    def on_committed(self, node: Judged, committed: Committed) -> None:
        """A block is executed, and clients are told."""
        certificate = committed.effect.certificate
        if certificate is not None:
            self._certificates.on_certificate(node, certificate)
            if self._court.is_correct(node):
                self._durability.executes(node, certificate)
        if self._order.on_committed(node, committed):
            self._validity.on_height(node, committed)
        self._acknowledged.on_committed(node, committed)
        if self.registers is not None:
            for result in committed.results:
                self.registers.heard(node.member, result, encode(result), node.world.now_ms)

    def on_frame(self, node: Judged, raw: bytes) -> None:
        """A frame is about to leave."""
        kind = kind_of(raw)
        if kind not in SAID_ONCE or not self._court.is_correct(node):
            return
        frame = open_frame(raw)
        if frame.sender != node.member:
            return  # another one's NEW-VIEW, passed on
        body = open_body(frame)
        self._durability.speaks(node, frame)
        match body:
            case Vote():
                self._speech.says(node.member, kind, body.view, body.seq, body.block)
                self._durability.votes(node, kind, body)
                self._speech.votes(node.member, body.view)
            case PrePrepare():
                self._speech.says(node.member, kind, body.view, open_header(body.header).seq, body.header)
            case ViewChange():
                self._speech.says(node.member, kind, body.view, 0, encode(body))
                self._speech.leaves(node.member, body.view)
                self._durability.leaves(node, body)
            case NewView():
                self._speech.says(node.member, kind, body.view, 0, frame.body)
                self._durability.opens(node, body.view)
            case _:
                pass

    def on_accuse(self, node: Judged, accuse: Accuse) -> None:
        """A proof against somebody is kept."""
        if self._court.is_correct(node):
            self._evidence.on_accuse(node, accuse)

    def on_note(self, node: Judged, note: Note) -> None:
        """A replica says what it found."""
        self._understanding.on_note(node, note)

    def on_turn(self, node: Judged) -> None:
        """A turn is over, and what it promised is said."""
        self._turns += 1
        if self._turns % TURNS_BETWEEN_COUNTS == 0:
            self._bounds.count(node)
        if node.member not in self.faulty:
            self._standing.on_turn(node)
