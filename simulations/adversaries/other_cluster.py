"""What was said in another cluster whose members have the same keys, said here.

Precedents: Avalanche's Simplex #554, massa #4979. The member signs here what it wants to; what the others signed is
of the other cluster (elsewhere.py), and so no proof here.
"""

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from bftnode.protocol.certificates import Certificate
from bftnode.protocol.envelope import Frame, encode_frame, open_frame
from bftnode.protocol.evidence import without_payload
from bftnode.protocol.messages import Accusation, Kind, NewView, Run, ViewChange, open_body
from simulations.adversaries.liar import Behaviour
from simulations.judges import kind_of

covers = ("R06", "O01", "O12", "P49")

CHAIN_ELSEWHERE = b"the chain of the other world 32b"


class OtherCluster(Behaviour):
    """Certificates, NEW-VIEWs, runs and contradictions from elsewhere."""

    chain_id: ClassVar[bytes | None] = CHAIN_ELSEWHERE  # None: the same chain
    epoch: ClassVar[int] = 0

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self._frames: list[Frame] = []
        self._certificates: list[Certificate] = []

    def learn(self, recorded: Sequence[bytes]) -> None:
        """What is known from elsewhere, once."""
        self._frames = [open_frame(raw) for raw in recorded]
        bodies = [open_body(frame) for frame in self._frames]
        reported = [body.certificate for body in bodies if isinstance(body, ViewChange) and body.certificate]
        self._certificates = [*reported, *(body.certificate for body in bodies if isinstance(body, Run))]

    def hear(self, sender: int, frame: bytes) -> None:
        """Who asks for blocks gets those of the other cluster, with the certificates that they have there."""
        runs = [item for item in self._frames if item.kind == Kind.RUN]
        if kind_of(frame) != Kind.FETCH_RUN or not runs:
            return
        chosen = self.random.choice(runs)
        body = open_body(chosen)
        assert isinstance(body, Run), "of its kind"
        answer = Run(self.liar.members.epoch, body.first, body.certificate)
        self.liar.post([sender], self.liar.seal(Kind.RUN, answer, chosen.payload))

    def act(self) -> None:
        liar, dice = self.liar, self.random
        if not self._frames:
            return
        match dice.randint(0, 4):
            case 0:  # its own words from there
                mine = [item for item in self._frames if item.sender == liar.member]
                for frame in dice.sample(mine, min(5, len(mine))):
                    liar.post(self.some(1), encode_frame(frame))
            case 1:  # a NEW-VIEW proves itself, whoever passes it on
                for frame in [item for item in self._frames if item.kind == Kind.NEW_VIEW][:2]:
                    liar.post(self.some(1), encode_frame(frame))
            case 2 if self._certificates:
                certificate = dice.choice(self._certificates)
                view = max(liar.replica.position.view, certificate.view) + 1
                for epoch in (liar.members.epoch, certificate.epoch):
                    body = ViewChange(epoch, view, certificate)
                    liar.post(self.some(1), liar.seal(Kind.VIEW_CHANGE, body))
            case 3:
                self._open_a_view_with_theirs()
            case _:
                self._accuse()

    def _open_a_view_with_theirs(self) -> None:
        """A NEW-VIEW of this member's whose VIEW-CHANGEs are all from there."""
        asked: dict[int, dict[int, Frame]] = {}
        for frame in self._frames:
            body = open_body(frame)
            if isinstance(body, ViewChange):
                asked.setdefault(body.view, {})[frame.sender] = frame
        members = self.liar.members
        for view, of in asked.items():
            turn = view
            while members.primary_of(turn) != self.liar.member:
                turn += 1
            chosen = tuple(encode_frame(of[sender]) for sender in sorted(of))[: members.quorum]
            self.liar.post(self.some(1), self.liar.seal(Kind.NEW_VIEW, NewView(members.epoch, turn, chosen)))

    def _accuse(self) -> None:
        """Two votes of one member for one place: each true, one of them elsewhere."""
        here = self.liar.replica.votes.votes_of(Kind.PREPARE, self.random.choice(self.others()))
        there = [item for item in self._frames if item.kind == Kind.PREPARE]
        pairs = [(one, other) for one in here for other in there if one.sender == other.sender]
        pairs += [(one, other) for one in there[:20] for other in there[:20] if one.sender == other.sender]
        for one, other in self.random.sample(pairs, min(3, len(pairs))):
            first, second = (encode_frame(without_payload(item)) for item in (one, other))
            body = Accusation(self.liar.members.epoch, first, second, ())
            self.liar.post(self.some(1), self.liar.seal(Kind.EVIDENCE, body))
