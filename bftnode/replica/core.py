"""The replica: `step(event, now) -> effects` (docs/protocol.md). It introduces its rooms to each other.

agreement.py orders in a view, view_change.py changes views, sync.py repeats and fetches, checkpoints.py compares
what was executed, cosigning.py signs it for the world, nonces.py drops replays. Input that is refused changes nothing
but a note with its reason.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar, assert_never

from bftnode.protocol.certificates import Certificate, Vote
from bftnode.protocol.codec import Wire, decode
from bftnode.protocol.cosigning import CheckpointSigner
from bftnode.protocol.ed25519 import Signer, Verifier
from bftnode.protocol.envelope import Frame, open_frame, peek_kind, signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.forensics import Testimony, investigate
from bftnode.protocol.limits import BODY_BYTES_MAX
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import (
    VOTES,
    Accusation,
    BlockAnswer,
    Body,
    Checkpoint,
    Cosignature,
    FetchBlock,
    FetchRun,
    ForkProof,
    Kind,
    NewView,
    PrePrepare,
    Relay,
    Run,
    Slow,
    Status,
    ViewChange,
    open_body,
)
from bftnode.protocol.nonces import ClientWindow
from bftnode.protocol.transactions import Transaction, open_transaction
from bftnode.replica import agreement, view_change, watch
from bftnode.replica.agreement import Agreement
from bftnode.replica.chain import Chain, Entry
from bftnode.replica.checkpoints import Checkpoints
from bftnode.replica.cosigning import RECORD as COSIGNED
from bftnode.replica.cosigning import CosignedRecord, Cosigning
from bftnode.replica.effects import Answer, Effect
from bftnode.replica.events import (
    BlockRead,
    Event,
    Executed,
    Linked,
    Now,
    Received,
    RunRead,
    Stopping,
    Submitted,
    Tick,
    Unlinked,
)
from bftnode.replica.forks import FORK_PROOF, Forks
from bftnode.replica.nonces import Nonces, QuarantineRecord, SeenRecord
from bftnode.replica.pool import Pool
from bftnode.replica.position import NO_VOTE, ClosedRecord, Position, Timing, ViewRecord, VoteRecord
from bftnode.replica.recovery import Recovered
from bftnode.replica.sync import Synchroniser
from bftnode.replica.view_change import CertificateMemo, ViewChanges
from bftnode.replica.voice import BootRecord, Voice
from bftnode.replica.votes import VoteBook
from bftnode.replica.watch import Watch

CARRIERS = frozenset((Kind.PRE_PREPARE, Kind.RELAY))
"""Kinds of frames with clients' envelopes whose signatures are this replica's to judge."""

FORK = "fork"
"""Journal record: the commit certificate that contradicts this log, kept for forensics. Who has one never votes."""

T = TypeVar("T", bound=Wire)


class Replica:
    """One member's part of the protocol. Deterministic: the same start and events give the same effects.

    open_envelope(raw) returns the opened envelope if it is well-formed, of this chain, valid for the application
    and signed by its client, or raises Refused; it may remember what it verified. verify and sign are pure. Without a
    cosigner this member cosigns no checkpoints, and keeps none.
    """

    def __init__(
        self,
        members: Membership,
        me: int,
        sign: Signer,
        verify: Verifier,
        open_envelope: Callable[[bytes], Transaction],
        recovered: Recovered,
        now: Now,
        timing: Timing | None = None,
        cosigner: CheckpointSigner | None = None,
    ) -> None:
        timing = timing or Timing()
        # A replica that runs takes a step at least each status interval, when its STATUS is due.
        self._status_interval_ms = timing.status_interval_ms
        self.members = members
        self.me = me
        self._verify = verify
        self.position = Position(now=now)
        boot = _journal(recovered, "boot", BootRecord)
        self.voice = Voice(members, me, sign, boot.boot + 1 if boot is not None else 1)
        self.clients = recovered.clients
        self.chain = Chain(recovered.head, recovered.frontier)
        self.pool = Pool(self.clients)
        self.votes = VoteBook(members, verify)
        self.memo = CertificateMemo(members, verify)
        self.nonces = Nonces(members, me, self.position, timing, self.voice)
        self.checkpoints = Checkpoints(members, me, self.position, self.voice)
        self.cosigning = cosigner and Cosigning(members, me, self.position, self.voice, cosigner, recovered.head.header)
        self.agreement = Agreement(members, me, self.position, self.chain, self.pool, self.votes, self.voice)
        self.view_changes = ViewChanges(members, me, self.position, timing, self.voice, self.votes, self.memo, verify)
        self.sync = Synchroniser(
            members,
            me,
            self.position,
            timing,
            self.chain,
            self.pool,
            self.voice,
            self.nonces,
            self.memo,
            self.agreement,
            self.view_changes,
            self.checkpoints,
            open_envelope,
        )
        self.forks = Forks(
            members, me, self.position, timing, self.voice, self.memo, self.chain, self.agreement, verify
        )
        self.watch = Watch(members, me, self.position, timing, self.chain, self.pool, self.voice, self.agreement)
        self._work_since_ms: int | None = None
        self._voting = False
        self.agreement.doors = agreement.Doors(
            want_block=self.sync.want_block,
            want_log=self.sync.want_log,
            end_view=self.view_changes.end_view,
            progressed=self._progressed,
            forgotten_vote=self.nonces.on_own_vote,
            open_envelope=open_envelope,
            forked=self._forked,
            blame=self._blame,
            compare=self.forks.compare,
        )
        self.view_changes.doors = view_change.Doors(
            start_view=self.agreement.start_view,
            leave_view=self.agreement.leave_view,
            learn=self.agreement.on_certificate,
            oldest_work_ms=self._oldest_work_ms,
            lacks=self.agreement.lacks,
            want_block=self.sync.want_block,
            passes_by=self.watch.passes_by,
            aggrieved=self.watch.aggrieved,
        )
        self.watch.doors = watch.Doors(leave_view=self.view_changes.leave, oldest_work_ms=self._oldest_work_ms)
        self._restore(recovered)

    def _restore(self, recovered: Recovered) -> None:
        """Wake up in the same view with the same votes."""
        members, position = self.members, self.position
        boot, closed = _journal(recovered, "boot", BootRecord), _journal(recovered, "closed", ClosedRecord)
        crashed = boot is not None and (closed is None or closed.boot != boot.boot)
        if closed is not None and not crashed:
            self.agreement.abstain = (closed.view, closed.seq)
        self.nonces.restore(
            boot,
            _journal(recovered, "seen", SeenRecord),
            _journal(recovered, "quarantine", QuarantineRecord),
            recovered.head.seq,
        )
        position.highest = _journal(recovered, "highest", Certificate)
        if recovered.certificate is not None:
            self.agreement.committed_by[recovered.certificate.seq] = recovered.certificate
        self.forks.restore(_journal(recovered, FORK_PROOF, ForkProof), _journal(recovered, FORK, Certificate))
        if self.cosigning is not None:
            self.cosigning.restore(_journal(recovered, COSIGNED, CosignedRecord))
        if self.forks.statement is not None:
            self.agreement.halt_on_fork("a fork is on record since an earlier start")
        self.agreement.last_prepare = _journal(recovered, "prepare", VoteRecord) or NO_VOTE
        self.agreement.last_commit = _journal(recovered, "commit", VoteRecord) or NO_VOTE
        for block in sorted(recovered.blocks.values(), key=lambda item: item.seq):
            if block.seq > self.chain.height:
                opened = tuple(open_transaction(raw, members.chain_id) for raw in block.transactions)
                self.chain.add(Entry(block, opened))
                for transaction in opened:
                    # Custody survives a restart with the block that carries it.
                    self.pool.add(transaction, self.chain.height + 1, position.now.monotonic_ms)
        view = _journal(recovered, "view", ViewRecord) or ViewRecord(0, True)
        position.view, position.active = view.view, view.active
        self.view_changes.resume(
            _journal(recovered, "view_change", ViewChange),
            recovered.journal.get("new_view"),
            lambda certificate: self.agreement.resume_view(certificate, crashed=crashed),
        )

    # ---- the function

    def step(self, event: Event, now: Now) -> list[Effect]:
        """What follows from `event` at time `now`. Never raises on anything that came from outside."""
        assert now.monotonic_ms >= self.position.now.monotonic_ms, "the monotonic clock is monotonic"
        gap_ms = now.monotonic_ms - self.position.now.monotonic_ms
        self.position.now = now
        if gap_ms > self._status_interval_ms * 3 // 2:
            self._wake_up(gap_ms - self._status_interval_ms)
        match event:
            case Received():
                self._on_received(event)
            case Linked():
                self.forks.on_linked(event.member)
                self.sync.on_linked(event.member)
                self.watch.on_linked(event.member)
            case Unlinked():
                self.watch.on_unlinked(event.member)
            case Submitted():
                for transaction in event.transactions:
                    reason = self.pool.add(transaction, self.chain.height + 1, now.monotonic_ms)
                    self.voice.add(Answer(transaction, reason))
            case Executed():
                self._on_executed(event)
            case RunRead() if event.to == self.me:
                self.forks.on_own_run(event)
            case RunRead():
                self.sync.on_run_read(event)
            case BlockRead():
                self.sync.on_block_read(event)
            case Tick():
                self.sync.on_tick()
                if self.cosigning is not None:
                    self.cosigning.on_tick()
                self.forks.on_tick()
                self.view_changes.on_tick()
            case Stopping():
                self.voice.persist("closed", ClosedRecord(self.voice.boot, *self.agreement.abstain))
                return self.voice.take()
            case _:
                assert_never(event)
        self._go_on()
        # A vote that decides nothing changes nothing (votes_wanted).
        if not isinstance(event, Received) or self.watch.is_behind or peek_kind(event.frame) not in VOTES:
            self.watch.look()
        return self.voice.take()

    def _wake_up(self, asleep_ms: int) -> None:
        """This replica did nothing for long (suspended, or its disk was): that the others were silent meanwhile says
        nothing about them, so that time does not count. Leaving a view alone cannot be taken back (T04, D13)."""
        self.pool.shift(asleep_ms)
        self.view_changes.shift(asleep_ms)
        self.watch.was_asleep()
        if self._work_since_ms is not None:
            self._work_since_ms += asleep_ms
        self.voice.note("was_asleep", {"ms": asleep_ms})

    def next_deadline_ms(self) -> int:
        """When the next Tick is due, on the monotonic clock."""
        deadline = self.view_changes.deadline_ms()
        status = self.sync.deadline_ms()
        cosigning = None if self.cosigning is None else self.cosigning.deadline_ms()
        return min(due for due in (deadline, status, cosigning, self.watch.deadline_ms()) if due is not None)

    @property
    def proposes(self) -> bool:
        """Whether envelopes that come now are this replica's to propose."""
        return self.members.primary_of(self.position.view) == self.me

    def votes_wanted(self) -> int:
        """See Agreement.votes_wanted."""
        return self.agreement.votes_wanted()

    def carried(self, link: int, raw: bytes) -> Sequence[bytes]:
        """The clients' envelopes in a member's frame whose signatures a step with it may ask for; none of a frame that
        the step would refuse or drop. For whoever verifies them beforehand: a frame holds as many as take seconds, and
        the log has as many as anybody likes."""
        if peek_kind(raw) not in CARRIERS:
            return ()
        try:
            frame = open_frame(raw)
            body = open_body(frame)
            if isinstance(body, PrePrepare):
                return self.agreement.proposed(link, body, frame.payload)
            return self.sync.relayed(frame.payload)
        except Refused:
            return ()  # the step says what is wrong with it

    def _go_on(self) -> None:
        """What any event may have made possible."""
        if self.checkpoints.parted:
            self.forks.parted()
        if self.position.may_vote != self._voting:
            self._voting = self.position.may_vote
            if self._voting:
                self.view_changes.speak_up()
                self.agreement.speak_up()
        try:
            self.agreement.accept_waiting()
        except Refused as refused:
            self._refuse(self.members.primary_of(self.position.view), refused)
        self.agreement.propose()
        # The timer over uncommitted blocks runs from when the first of them was accepted or the last committed.
        if self.agreement.tip.block.seq <= self.chain.height:
            self._work_since_ms = None
        elif self._work_since_ms is None:
            self._work_since_ms = self.position.now.monotonic_ms

    # ---- messages

    def _on_received(self, event: Received) -> None:
        try:
            self._dispatch(event.sender, open_frame(event.frame))
        except Refused as refused:
            self._refuse(event.sender, refused)

    def _refuse(self, sender: int, refused: Refused) -> None:
        self.voice.note("refused", {"member": sender, "reason": str(refused.reason), "detail": refused.detail})

    def _dispatch(self, link: int, frame: Frame) -> None:
        """Guard: who says it, is it new, is it signed (votes: later); then to the room that owns it."""
        if frame.kind == Kind.NEW_VIEW:
            # A statement, not a command: anyone may pass it on, so it is checked by signature and content only.
            if frame.sender >= self.members.n:
                raise Refused(Reason.AUTH_UNKNOWN_KEY, f"no member {frame.sender}")
        else:
            if frame.sender != link or frame.sender == self.me:
                raise Refused(Reason.ID_MISMATCH, f"a frame of member {frame.sender} over the link of {link}")
            if not self.nonces.accept(frame.sender, frame.boot, frame.counter):
                raise Refused(Reason.REPLAY, f"nonce {frame.boot}/{frame.counter} was seen or is too old")
        body = open_body(frame)
        if body.epoch != self.members.epoch:
            raise Refused(Reason.WRONG_EPOCH, f"epoch {body.epoch}")
        if not isinstance(body, Vote):
            self._check_signature(frame)
        self._handle(link, frame, body)

    def _check_signature(self, frame: Frame) -> None:
        message = signing_bytes(self.members.chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
        if not self._verify(self.members.public_keys[frame.sender], message, frame.signature):
            raise Refused(Reason.AUTH_SIGNATURE, f"{Kind(frame.kind).name} is not signed by member {frame.sender}")

    def _handle(self, link: int, frame: Frame, body: Body) -> None:
        match body:
            case PrePrepare():
                self.agreement.on_pre_prepare(frame, body)
            case Vote():
                self.agreement.on_vote(frame, body)
            case Checkpoint():
                self.checkpoints.on_checkpoint(frame, body)
            case ViewChange():
                self.view_changes.on_view_change(frame, body)
            case NewView():
                self.view_changes.on_new_view(frame, body)
            case Status():
                self.sync.on_status(link, body)
                self.forks.on_status(link)
            case FetchRun():
                self.sync.on_fetch_run(link, body)
            case Run():
                self.sync.on_run(link, body, frame.payload)
            case FetchBlock():
                self.sync.on_fetch_block(link, body)
            case BlockAnswer():
                self.sync.on_block(body, frame.payload)
            case Relay():
                self.sync.on_relay(frame.payload)
            case Accusation():
                culprit, proved = check_accusation(body, self.members, self._verify)
                self.voice.heard(culprit, proved, body)
            case ForkProof():
                self.forks.on_fork(link, body)
            case Cosignature():
                if self.cosigning is not None:
                    self.cosigning.on_cosignature(frame, body)
            case Slow():
                self.watch.on_slow(link, body)
            case _:
                assert_never(body)

    # ---- execution

    def _progressed(self, certificate: Certificate, path: list[Entry]) -> None:
        """Blocks were committed."""
        self._work_since_ms = self.position.now.monotonic_ms
        for entry in path:
            self.checkpoints.on_committed(entry.block)
            if self.cosigning is not None:
                self.cosigning.on_committed(entry.block.header)
        self.view_changes.progressed(certificate.view)
        asked = self.nonces.on_committed(certificate)
        if asked is not None:
            self.pool.head_since_ms = self.position.now.monotonic_ms
            self.view_changes.rejoin(asked)

    def _forked(self, other: Certificate, headers: Sequence[bytes]) -> None:
        """More than f members lied. Keep what proves it, tell everybody, and accuse those whom what is at hand
        convicts; for the rest there is `bftnode forensics` over two members' data (decision 010)."""
        first = self.forks.statement is None
        self.forks.met(other, headers)
        if not first:
            return
        self.voice.persist(FORK, other)
        self._blame(other)

    def _blame(self, other: Certificate | None = None) -> None:
        known, highest, new_view = self.agreement.committed_by, self.position.highest, self.view_changes.new_view
        mine = [known.get(other.seq if other else 0), known.get(self.chain.height), highest, self.agreement.decided]
        here = Testimony(
            headers=self.chain.headers(),
            certificates=tuple(item for item in mine if item is not None),
            new_views=() if new_view is None else (new_view,),
        )
        there = Testimony(headers=(), certificates=() if other is None else (other,), new_views=())
        for culprit in investigate(here, there, self.members, self._verify).culprits:
            frames = open_frame(culprit.first), open_frame(culprit.second)
            self.voice.accuse(culprit.member, culprit.proved, *frames, culprit.headers)

    def _on_executed(self, event: Executed) -> None:
        now_ms = self.position.now.monotonic_ms
        transactions = self.agreement.on_executed(event.seq)
        for client, role in event.clients:
            window = self.clients.setdefault(client, ClientWindow(role))
            window.role = role
        for item in event.transactions:
            if not item.code:
                self.clients[item.client].use(item.nonce)
        for other in self.pool.executed(transactions, now_ms):
            known = self.clients.get(other.key[0])
            refusal = Reason.TX_UNKNOWN_CLIENT if known is None else known.refusal(other.key[1])
            self.voice.add(Answer(other, refusal or Reason.BUSY))
        for transaction, reason in self.pool.drop_hopeless(self.chain.height + 1, now_ms):
            self.voice.add(Answer(transaction, reason))
        self.checkpoints.on_executed(event.seq, event.state_digest)
        if self.cosigning is not None:
            self.cosigning.on_executed(event.seq)

    def _oldest_work_ms(self) -> int | None:
        """Since when the oldest pending envelope is the oldest, or uncommitted blocks wait (P16, P27)."""
        if len(self.pool):
            return self.pool.head_since_ms
        return self._work_since_ms


def _journal(recovered: Recovered, name: str, kind: type[T]) -> T | None:
    """A journal record; what we wrote ourselves is well-formed, or storage would not have handed it out."""
    raw = recovered.journal.get(name)
    return None if raw is None else decode(raw, kind, BODY_BYTES_MAX)
