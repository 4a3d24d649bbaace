"""Signatures of one kind of message under another one: PREPAREs that pass for COMMITs, and its own words renamed."""

from random import Random

from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, VoteSignature
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, encode_frame, open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import Kind, Run, ViewChange, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("R07", "P49", "V01")

KEPT = 32
SWAPPED = {Kind.PREPARE: Kind.COMMIT, Kind.COMMIT: Kind.PREPARE, Kind.FETCH_RUN: Kind.FETCH_BLOCK}


class OtherKind(Behaviour):
    """A quorum that prepared is shown as one that committed."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self._votes: dict[bytes, dict[int, tuple[Vote, VoteSignature]]] = {}

    def hear(self, sender: int, frame: bytes) -> None:
        if kind_of(frame) != Kind.PREPARE:
            return
        try:
            opened = open_frame(frame)
            vote = open_body(opened)
        except Refused:
            return
        if isinstance(vote, Vote):
            signature = VoteSignature(opened.sender, opened.boot, opened.counter, opened.signature)
            self._votes.setdefault(vote.block, {})[opened.sender] = (vote, signature)
            while len(self._votes) > KEPT:
                del self._votes[next(iter(self._votes))]

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        opened = open_frame(frame)
        other = SWAPPED.get(Kind(opened.kind))
        if other is None or opened.sender != self.liar.member or self.random.random() < 0.5:
            return [(to, frame)]
        renamed = Frame(
            other, opened.sender, opened.boot, opened.counter, opened.body, opened.signature, opened.payload
        )
        return [(to, encode_frame(renamed)), (to, frame)]

    def act(self) -> None:
        """The votes of a quorum less one or more, with its own; nobody may take them for what they are not."""
        liar = self.liar
        enough = [of for of in self._votes.values() if len(of) >= liar.members.quorum - 1]
        if not enough:
            return
        votes = self.random.choice(enough)
        first = next(iter(votes.values()))[0]
        own = open_frame(liar.seal(Kind.COMMIT, first))
        signatures = {sender: signature for sender, (_, signature) in votes.items()}
        signatures[liar.member] = VoteSignature(own.sender, own.boot, own.counter, own.signature)
        chosen = tuple(signatures[sender] for sender in sorted(signatures)[: liar.members.quorum])
        false = Certificate(COMMIT, first.epoch, first.view, first.seq, first.block, chosen)
        run = liar.disk.read_run(1, liar.disk.height)
        if run is not None:
            liar.post(self.some(1), liar.seal(Kind.RUN, Run(liar.members.epoch, 1, false), encode(run[0])))
        highest = liar.replica.position.highest
        if highest is not None:
            phase = COMMIT if highest.phase == PREPARE else PREPARE
            false = Certificate(phase, highest.epoch, highest.view, highest.seq, highest.block, highest.votes)
        body = ViewChange(liar.members.epoch, max(liar.replica.position.view, false.view) + 1, false)
        liar.post(self.some(1), liar.seal(Kind.VIEW_CHANGE, body))
