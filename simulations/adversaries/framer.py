"""Evidence against honest members: altered fields, one word twice, two words that go together, votes of one view with
headers that do not lead from one to the other, and very much of it.

Precedents: massa #4979 (a foreign chain's blocks slashed an honest node), Tendermint's "Mulberry" (evidence of an
unseen height made nodes panic). Evidence from another cluster or epoch is told by other_cluster.py.
"""

from random import Random

from bftnode.protocol.blocks import hash_header, open_header
from bftnode.protocol.certificates import Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, encode_frame, open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.evidence import without_payload
from bftnode.protocol.messages import Accusation, Kind, PrePrepare, open_body
from simulations.adversaries.liar import Behaviour
from simulations.judges import kind_of

covers = ("O12", "O13", "X07")

KEPT = 64
SPAM = 20


class Framer(Behaviour):
    """Collects what honest members say and shows it as if it contradicted itself."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self._said: list[Frame] = []
        self._headers: dict[bytes, bytes] = {}

    def hear(self, sender: int, frame: bytes) -> None:
        if kind_of(frame) == Kind.STATUS:
            return
        try:
            opened = open_frame(frame)
        except Refused:
            return
        if opened.kind == Kind.PRE_PREPARE and len(self._headers) < KEPT:
            proposal = open_body(opened)
            assert isinstance(proposal, PrePrepare), "opened by its kind"
            self._headers[hash_header(proposal.header)] = proposal.header
        if opened.sender == sender and len(self._said) < KEPT:
            self._said.append(without_payload(opened))
        elif opened.sender == sender:
            self._said[self.random.randrange(KEPT)] = without_payload(opened)

    def act(self) -> None:
        if not self._said:
            return
        count = SPAM if self.random.random() < 0.1 else 1
        for _ in range(count):
            one = self.random.choice(self._said)
            try:
                other, headers = (self._other(one), ()) if self.random.random() < 0.8 else self._branch(one)
                first, second = encode_frame(one), encode_frame(other)
                body = Accusation(self.liar.members.epoch, first, second, headers)
                self.liar.post(self.some(1), self.liar.seal(Kind.EVIDENCE, body))
            except Refused:
                continue  # larger than it may be, or another liar's junk: nobody can be told of it

    def _other(self, one: Frame) -> Frame:
        """Something that would contradict it, if its sender had said it."""
        match self.random.randint(0, 4):
            case 0:
                return one
            case 1:
                same = [item for item in self._said if item.sender == one.sender]
                return self.random.choice(same)
            case 2:
                return self.random.choice(self._said)
            case 3:  # this liar's own word under the other's name
                mine = open_frame(self.liar.seal(Kind(one.kind), open_body(one)))
                return Frame(one.kind, one.sender, mine.boot, mine.counter, mine.body, mine.signature, b"")
            case _:
                return self._altered(one)

    def _branch(self, one: Frame) -> tuple[Frame, tuple[bytes, ...]]:
        """A vote of the same member, and headers below it: those that there are, some less, some more, one changed."""
        votes = [item for item in self._said if item.sender == one.sender and item.kind in (Kind.PREPARE, Kind.COMMIT)]
        if not votes:
            return self._other(one), tuple(self._headers.values())
        other = self.random.choice(votes)
        vote = open_body(other)
        assert isinstance(vote, Vote), "chosen by its kind"
        headers: list[bytes] = []
        at = vote.block
        while at in self._headers:
            headers.append(self._headers[at])
            at = open_header(headers[-1]).parent
        headers = headers[: self.random.randint(0, len(headers))]
        match self.random.randint(0, 3):
            case 0:
                headers.append(self.random.choice(list(self._headers.values()) or [b""]))
            case 1 if headers:
                place = self.random.randrange(len(headers))
                header = bytearray(headers[place])
                header[self.random.randrange(len(header))] ^= 1 << self.random.randrange(8)
                headers[place] = bytes(header)
            case 2:
                self.random.shuffle(headers)
            case _:
                pass
        return other, tuple(headers)

    def _altered(self, one: Frame) -> Frame:
        body = open_body(one)
        if isinstance(body, Vote):
            other = Vote(body.epoch, body.view, body.seq, self.random.randbytes(32))
            return Frame(one.kind, one.sender, one.boot, one.counter, encode(other), one.signature, b"")
        return Frame(one.kind, one.sender, one.boot, one.counter + 1, one.body, one.signature, b"")
