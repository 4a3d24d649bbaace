"""Proofs of forks that never were: to stop honest members, or to keep them busy with signatures.

It holds what any member holds: certificates that prove what they say, the headers between them, its own key. Of these
it makes everything that looks like a fork but for one thing.
"""

from bftnode.protocol.blocks import HEADER_BYTES_MAX, Header, open_header
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, VoteSignature
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.limits import FORK_HEADERS_MAX
from bftnode.protocol.messages import ForkProof, Kind
from simulations.adversaries.liar import Behaviour

covers = ("X07", "O12", "O13", "A04")

SPAM = 20

TRICKS = (
    "another block",
    "my own votes",
    "one certificate twice",
    "a prepared block",
    "one header short",
    "another header at the bottom",
    "no headers",
    "junk for headers",
    "an old one alone",
    "another block alone",
)


class ForkForger(Behaviour):
    """Says that the log has forked."""

    def act(self) -> None:
        liar, dice = self.liar, self.random
        log = liar.disk.log
        held = [certificate for _, certificate in log if certificate is not None]
        if not held:
            return
        for _ in range(SPAM if dice.random() < 0.1 else 1):
            certificates, headers = self._forged(held, {block.seq: block.header_raw for block, _ in log})
            body = ForkProof(liar.members.epoch, certificates, headers)
            liar.post(self.some(1), liar.seal(Kind.FORK, body))

    def _forged(
        self, held: list[Certificate], header_at: dict[int, bytes]
    ) -> tuple[tuple[Certificate, ...], tuple[bytes, ...]]:
        dice = self.random
        lower, higher = sorted((dice.choice(held), dice.choice(held)), key=lambda item: item.seq)
        between = tuple(header_at[seq] for seq in range(higher.seq, lower.seq, -1))
        match dice.choice(TRICKS):
            case "another block":
                return (self._other(lower), higher), between
            case "my own votes":
                return (self._mine(lower), higher), between
            case "one certificate twice":
                return (lower, lower), ()
            case "a prepared block":
                highest = self.liar.replica.position.highest
                prepared = lower if highest is None else highest
                return (self._as_prepared(prepared), prepared), ()
            case "one header short":
                return (lower, higher), between[:-1]
            case "another header at the bottom":
                return (lower, higher), (*between[:-1], *(self._elsewhere(raw) for raw in between[-1:]))
            case "no headers":
                return (lower, higher), ()
            case "junk for headers":
                count = dice.choice((1, FORK_HEADERS_MAX))
                return (lower, higher), (dice.randbytes(HEADER_BYTES_MAX),) * count
            case "an old one alone":
                return (lower,), dice.choice((between, ()))
            case _:
                return (self._other(higher),), between

    def _other(self, one: Certificate) -> Certificate:
        """Another block under the signatures of this one."""
        return Certificate(one.phase, one.epoch, one.view, one.seq, self.random.randbytes(32), one.votes)

    def _as_prepared(self, one: Certificate) -> Certificate:
        """The votes of one phase as if they were of the other."""
        phase = PREPARE if one.phase == COMMIT else COMMIT
        return Certificate(phase, one.epoch, one.view, one.seq, one.block, one.votes)

    def _mine(self, one: Certificate) -> Certificate:
        """Another block under as many signatures of this liar's, one of them under its own name."""
        liar = self.liar
        block = self.random.randbytes(32)
        own = open_frame(liar.seal(Kind.COMMIT, Vote(one.epoch, one.view, one.seq, block)))
        votes = tuple(VoteSignature(vote.sender, own.boot, own.counter, own.signature) for vote in one.votes)
        return Certificate(COMMIT, one.epoch, one.view, one.seq, block, votes)

    def _elsewhere(self, raw: bytes) -> bytes:
        """This header on another parent."""
        one, parent = open_header(raw), self.random.randbytes(32)
        log = one.transactions_root, one.log_size, one.log_root
        return encode(Header(one.chain_id, one.epoch, one.seq, parent, one.time_ms, *log, one.proposer, one.view))
