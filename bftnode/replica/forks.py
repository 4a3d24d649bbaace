"""Forks: more than f members lied, and whoever can prove it stops everybody honest (docs/protocol.md, "Forks").

A replica that meets a commit certificate which contradicts its log stops (agreement.py). Here it puts together what
proves the fork to anybody, keeps it durably, says it to everybody, and again to each member that is heard from later.
Who hears a proof verifies it, stops, and passes it on. A certificate of a height that is not in memory any more is
compared with the log on the disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bftnode.protocol.blocks import hash_header
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.forensics import Testimony, investigate
from bftnode.protocol.forks import chain_below, check_fork_proof, fork_proof
from bftnode.protocol.limits import FORK_HEADERS_MAX
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import ForkProof, Kind
from bftnode.replica.agreement import Agreement
from bftnode.replica.chain import Chain
from bftnode.replica.effects import ReadRun
from bftnode.replica.events import RunRead
from bftnode.replica.position import Position, Timing
from bftnode.replica.view_change import CertificateMemo
from bftnode.replica.voice import Voice

FORK_PROOF = "fork_proof"
"""Journal record: what this replica stopped at, as it says it to the others."""

REPEATED_DOUBLINGS = 7
"""What is repeated to a member is repeated at its next STATUS, then after 1, 2, 4, ... up to 128 status intervals."""

FALSE_PROOF_INTERVALS = 20
"""For so many status intervals nothing of the kind is heard from a member whose proof proved nothing: a correct one
does not say such a thing, and a liar's costs at most 2q signature checks in all that time."""

NO_NEWS_INTERVALS = 2
"""For so many after a single certificate that contradicts nothing here."""


@dataclass(slots=True)
class _Repeat:
    """What a member was told."""

    due_ms: int
    times: int


class Forks:
    """What this replica stopped at, and what it hears of others' forks. `statement`: None while there is none."""

    def __init__(
        self,
        members: Membership,
        me: int,
        position: Position,
        timing: Timing,
        voice: Voice,
        memo: CertificateMemo,
        chain: Chain,
        agreement: Agreement,
        verify: Verifier,
    ) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._interval_ms = timing.status_interval_ms
        self._voice = voice
        self._memo = memo
        self._chain = chain
        self._agreement = agreement
        self._verify = verify
        self.statement: ForkProof | None = None
        self._told: dict[int, _Repeat] = {}  # member -> when it is told again
        self._deaf_until_ms: dict[int, int] = {}  # member -> until when it is not listened to
        self._doubtful: Certificate | None = None
        self._compare_ms: int | None = None  # when it is compared with the log; None: that is under way

    @property
    def proved(self) -> bool:
        """Whether it has what proves the fork to anybody."""
        return self.statement is not None and len(self.statement.certificates) == 2

    def restore(self, statement: ForkProof | None, met: Certificate | None) -> None:
        """What an earlier life stopped at; it is said again as if it were new."""
        if statement is None and met is not None:
            statement = ForkProof(self._members.epoch, (met,), ())
        self.statement = statement

    # ---- my own

    def met(self, other: Certificate, headers: Sequence[bytes]) -> None:
        """`other` contradicts what this replica has committed or voted to commit: say what can be proved with what is
        in memory, and these headers."""
        if self.proved:
            return
        proof = self._complete(other, headers)
        if proof is None and self.statement is None:
            known = [*headers, *self._chain.headers()]
            proof = ForkProof(self._members.epoch, (other,), tuple(self._below(other, known)))
        if proof is not None:
            self._say(proof)

    def _complete(self, other: Certificate, headers: Sequence[bytes]) -> ForkProof | None:
        """A proof of `other` and the next certificate of this log, or the one whose blocks are not all here, where they
        contradict each other."""
        committed = self._agreement.committed_by
        seq = min((seq for seq in committed if seq >= other.seq), default=self._chain.height)
        mine = [item for item in (committed.get(seq), self._agreement.decided) if item is not None]
        known = [*headers, *self._chain.headers()]
        proofs = (fork_proof(other, item, known, self._members) for item in mine)
        return next((proof for proof in proofs if proof is not None), None)

    def _below(self, other: Certificate, headers: list[bytes]) -> list[bytes]:
        try:
            return chain_below(other, max(0, other.seq - FORK_HEADERS_MAX), headers)
        except Refused:
            return []

    def _say(self, statement: ForkProof) -> None:
        """Durable first, then to everybody."""
        self.statement = statement
        self._told.clear()
        self._voice.persist(FORK_PROOF, statement)
        self._voice.broadcast(Kind.FORK, statement)

    def parted(self) -> None:
        """A quorum's checkpoints are of another block than mine, so it is committed, and no certificate says so here:
        show them mine."""
        mine = self._agreement.committed_by.get(self._chain.height)
        if self.statement is None and mine is not None:
            why = "a quorum's checkpoints are of another block than the one that is committed here"
            self._voice.note("fork_detected", {"why": why, "height": self._chain.height})
            self._say(ForkProof(self._members.epoch, (mine,), ()))

    def on_linked(self, member: int) -> None:
        """What it was told before may be lost."""
        self._told.pop(member, None)

    def on_status(self, member: int) -> None:
        """It is there: tell it, again now and then, for nobody says that he has heard."""
        if self.statement is None:
            return
        now_ms = self._position.now.monotonic_ms
        told = self._told.setdefault(member, _Repeat(now_ms, 0))
        if now_ms >= told.due_ms:
            told.due_ms = now_ms + (self._interval_ms << min(told.times, REPEATED_DOUBLINGS))
            told.times += 1
            self._voice.send(member, Kind.FORK, self.statement)

    # ---- others'

    def on_fork(self, sender: int, body: ForkProof) -> None:
        """A member says what it stopped at. Raises Refused for what proves nothing; it is deaf to that member then."""
        now_ms = self._position.now.monotonic_ms
        if self.proved or now_ms < self._deaf_until_ms.get(sender, 0):
            return
        self._deaf_until_ms[sender] = now_ms + FALSE_PROOF_INTERVALS * self._interval_ms
        if len(body.certificates) == 2:
            check_fork_proof(body, self._members, self._memo.check)
            self._believe(sender, body)
            return
        (other,) = body.certificates
        if other.phase != Kind.COMMIT:
            raise Refused(Reason.BAD_CERTIFICATE, "what is prepared is no fork")
        self._memo.check(other)
        if self._complete(other, body.headers) is not None:
            self._agreement.halt_on_fork(f"a certificate of member {sender} contradicts this log", other, body.headers)
            return
        self._deaf_until_ms[sender] = now_ms + NO_NEWS_INTERVALS * self._interval_ms
        self._agreement.on_certificate(other)

    def _believe(self, sender: int, proof: ForkProof) -> None:
        """It is proved, whoever says it: stop, pass it on, and accuse whom it convicts."""
        lower, higher = (certificate.seq for certificate in proof.certificates)
        self._agreement.halt_on_fork(
            f"member {sender} proves a fork: heights {lower} and {higher} contradict each other"
        )
        self._say(proof)
        committed = self._agreement.committed_by
        mine = [committed[seq] for seq in sorted({lower, higher}) if seq in committed]
        here = Testimony((), (*proof.certificates, *mine), (), loose=(*proof.headers, *self._chain.headers()))
        for culprit in investigate(here, Testimony((), (), ()), self._members, self._verify).culprits:
            frames = open_frame(culprit.first), open_frame(culprit.second)
            self._voice.accuse(culprit.member, culprit.proved, *frames, culprit.headers)

    # ---- the log on the disk

    def compare(self, certificate: Certificate) -> None:
        """A verified commit certificate of a height in the log of which no certificate is in memory: look it up, within
        two status intervals. One at a time; another one that comes meanwhile is not compared."""
        if self._doubtful is None and not self.proved:
            self._doubtful = certificate
            self._compare_ms = self._position.now.monotonic_ms + self._interval_ms

    def on_tick(self) -> None:
        if self._doubtful is not None and self._compare_ms is not None:
            if self._position.now.monotonic_ms >= self._compare_ms:
                self._compare_ms = None
                self._voice.add(ReadRun(self._me, self._doubtful.seq, self._doubtful.seq))

    def on_own_run(self, read: RunRead) -> None:
        """What the log says at that height, and above it up to a certificate."""
        certificate, self._doubtful = self._doubtful, None
        if certificate is None or read.certificate is None or read.first != certificate.seq:
            return
        if hash_header(read.blocks[0].header) != certificate.block:
            self._agreement.committed_by[read.certificate.seq] = read.certificate
            why = f"height {certificate.seq} is committed twice, differently"
            self._agreement.halt_on_fork(why, certificate, [block.header for block in read.blocks])
