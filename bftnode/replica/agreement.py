"""The normal case: propose, accept, prepare, commit (docs/protocol.md, "Normal case, in view v").

Owns the tip, what was accepted in this view, this replica's own votes, and the highest certificate. It votes at
most once per (view, height) and phase, for ever: `_vote` compares with the last vote before it speaks, and votes only
ever move up. A COMMIT is durable before it is sent, and cast only for what this replica has PREPAREd itself. A PREPARE
need not be durable (decision 009): up to the height `_vouched`, which follows from what is durable, a replica that
restarts cannot know what it has PREPAREd, and PREPAREs nothing until its log is past that.
Committing a block commits its ancestors; execution order is the log's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, VoteSignature, rank_of
from bftnode.protocol.envelope import Frame
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Kind, PrePrepare
from bftnode.protocol.transactions import Transaction
from bftnode.replica.chain import Chain, Entry, Fork, next_entry
from bftnode.replica.effects import AppendBlock, DropBlocks, StoreBlock
from bftnode.replica.pool import Pool
from bftnode.replica.position import NO_VOTE, Position, VoteRecord
from bftnode.replica.proposals import Proposals
from bftnode.replica.voice import Voice
from bftnode.replica.votes import VoteBook

PIPELINE_TRANSACTIONS = 256
PIPELINE_BYTES = 64 * 1024
"""With blocks in flight, a further one is proposed when this much waits: small blocks would cost more than they
bring, and what waits goes into the next one as soon as a block commits. An idle primary never waits."""

CERTIFICATES_KEPT = 256
"""Commit certificates, of the last heights that have one, with which another one of their height is compared, and block
hashes of the last heights. One that contradicts these, or of a lower height, is compared with the log on the disk."""

_APPLICATION = b"\x01"
"""What operations of the application begin with; those of the system sort before it (apps/execution.py)."""


@dataclass(slots=True)
class Doors:
    """What agreement asks of the rooms beside it; core.py introduces them."""

    want_block: Callable[[bytes, Iterable[int]], None]  # fetch this block; these members should have it
    want_log: Callable[[int], None]  # this height is committed somewhere: catch up
    end_view: Callable[[int], None]  # a certificate of this later view exists (TRAP 3)
    progressed: Callable[[Certificate, list[Entry]], None]  # these blocks were committed by this certificate
    forgotten_vote: Callable[[int], None]  # a certificate holds a vote of mine for this height that I do not remember
    open_envelope: Callable[[bytes], Transaction]  # opens, validates, verifies; raises Refused
    blame: Callable[[], None]  # the base of this view ranks below what is committed, or contradicts it
    forked: Callable[[Certificate, Sequence[bytes]], None]  # this commits what the log contradicts; headers at hand
    compare: Callable[[Certificate], None]  # is this what the log on the disk holds at its height?


class Agreement:
    """The ordering half of a replica. `start_view` is called when a view becomes active, and once at the start."""

    def __init__(
        self, members: Membership, me: int, position: Position, chain: Chain, pool: Pool, votes: VoteBook, voice: Voice
    ) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._chain = chain
        self._pool = pool
        self._votes = votes
        self._voice = voice
        self.doors: Doors | None = None
        self.tip: Entry = chain.head
        self.base: tuple[int, bytes] = (chain.height, chain.head.block.hash)
        self.settled = True  # the base and its ancestors are here, and the tip is above it
        self.accepted: dict[int, bytes] = {}
        self.last_prepare = NO_VOTE
        self.last_commit = NO_VOTE
        # (view, height) up to which an earlier life may have cast PREPAREs that are not on record
        self.abstain = (0, 0)
        self._vouched = (0, 0)  # (view, height) up to which a PREPARE may leave before it is durable
        self._moved = False  # the tip may have left the last PREPARE's branch: the next one waits until it is durable
        self.decided: Certificate | None = None  # a commit certificate whose blocks are not all here
        self.committed_by: dict[int, Certificate] = {}  # height -> its commit certificate, in order of height
        self._committed: dict[int, bytes] = {}  # height -> its block, of the last heights of this life
        self.executed_seq = chain.height
        self._certify_base = False
        self._base_certificate: Certificate | None = None
        self._proposals = Proposals(members, position, chain, pool, voice)
        self._unexecuted: dict[int, tuple[Transaction, ...]] = {}
        self._barrier = 0  # height of the last block in flight that changes who the clients are

    # ---- proposing

    def propose(self) -> None:
        """Propose what is pending, if this replica is the primary and the window has room."""
        while self._may_propose():
            seq = self.tip.block.seq + 1
            parameters = self._members.parameters
            chosen = self._pool.choose(parameters.block_transactions_max, parameters.block_bytes_max, seq)
            if not chosen:
                return
            position = self._position
            entry = next_entry(self.tip, chosen, self._members, self._me, position.view, position.now.wall_ms)
            body = PrePrepare(self._members.epoch, self._position.view, entry.block.header_raw)
            frame = self._voice.broadcast(Kind.PRE_PREPARE, body, entry.block.payload)
            self._accept(entry, frame)

    @property
    def blocked(self) -> bool:
        """Whether the next proposal waits until a block that may change who the clients are is executed."""
        return self._barrier > self.executed_seq

    def _may_propose(self) -> bool:
        position, tip = self._position, self.tip.block.seq
        if not self._pool.ready or self._members.primary_of(position.view) != self._me:
            return False  # asked after every step, and mostly answered here
        if not position.active or not position.may_vote or not self.settled or self.abstains:
            return False
        if tip - self._chain.height >= self._members.parameters.window or self.blocked:
            return False
        if not self._is_above_record(PREPARE, position.view, tip + 1):
            return False  # TRAP 3: never twice at one (v, n); a primary looks into its own record
        in_flight = tip > self._chain.height
        return not in_flight or self._pool.ready >= PIPELINE_TRANSACTIONS or self._pool.ready_bytes >= PIPELINE_BYTES

    # ---- PRE-PREPARE

    def on_pre_prepare(self, frame: Frame, body: PrePrepare) -> None:
        """A proposal whose signature is valid. Accepted in order of height; later ones wait, one a height.

        Raises Refused with what is wrong with it.
        """
        self._proposals.hear(frame, body, self.accepted)
        self.accept_waiting()

    def proposed(self, link: int, body: PrePrepare, payload: bytes) -> tuple[bytes, ...]:
        """The envelopes of a proposal that would wait for acceptance here, its signature apart. Raises Refused."""
        return self._proposals.proposed(link, body, payload, self.accepted)

    def accept_waiting(self) -> None:
        """Accept what waits on top of the tip, as far as it goes. Raises Refused with the first that is refused."""
        assert self.doors is not None, "introduced by core"
        position = self._position
        while position.active and self.settled and not position.halted:
            found = self._proposals.next_on(self.tip, self.executed_seq, self.doors.open_envelope)
            if found is None:
                return
            self._accept(*found)

    def _accept(self, entry: Entry, frame: Frame) -> None:
        """Set the tip, keep the block, take custody, and PREPARE."""
        block = entry.block
        assert (block.parent, block.seq) == (self.tip.block.hash, self.tip.block.seq + 1), "accepted in order"
        self._store(entry)
        self.tip = entry
        self.accepted[block.seq] = block.hash
        self._proposals.accepted(block.seq, frame)
        self._pool.include(entry.transactions, block.seq, self._position.now.monotonic_ms)
        self._note_barrier(entry.transactions, block.seq)
        self._vote(PREPARE, block.seq, block.hash)
        self._look_at_prepares(block.seq)
        if block.seq in self.accepted:
            self._look_at_commits(block.seq)

    def _store(self, entry: Entry) -> None:
        protected = [self.tip.block.hash, self.base[1], entry.block.parent]
        protected += [self.last_prepare.block, self.last_commit.block]
        for certificate in (self._position.highest, self.decided):
            if certificate is not None:
                protected.append(certificate.block)
        gone = self._chain.add(entry, protected)
        self._voice.add(StoreBlock(entry.block))
        if gone is not None:
            self._voice.add(DropBlocks((gone,)))

    def _note_barrier(self, transactions: Iterable[Transaction], seq: int) -> None:
        # Who is a client is judged against executed state: nothing is proposed above a block that may change it
        # until that block is executed (decision 003).
        for item in transactions:
            operations = item.body.operations
            if (operations[0] if len(operations) == 1 else min(operations)) < _APPLICATION:
                self._barrier = max(self._barrier, seq)
                return

    # ---- PREPARE and COMMIT

    @property
    def abstains(self) -> bool:
        """Whether an earlier life may have PREPAREd, in this view, something above the log that is not on record.

        It may be of another branch than what is accepted now. A PREPARE beside it, at whatever height, could give one
        view two branches with a quorum each. Once the log is past it, it is of the log's branch or decided against.
        """
        return (self._position.view, self._chain.height) < self.abstain

    def _vote(self, phase: int, seq: int, block: bytes) -> None:
        """Vote, unless a vote at or above this (view, height) was cast before: votes only move up, for ever."""
        view = self._position.view
        assert self._position.active, "only an active replica votes"
        if not self._position.may_vote or not self._is_above_record(phase, view, seq):
            return
        if phase == PREPARE and self.abstains:
            return
        record = VoteRecord(view, seq, block)
        if phase == PREPARE:
            self.last_prepare = record
            self._voice.persist("prepare", record, behind=(view, seq) <= self._vouched and not self._moved)
            self._moved = False
        else:
            self.last_commit = record
            self._voice.persist("commit", record)
            self._vouched = self._vouch(view)
        vote = Vote(self._members.epoch, view, seq, block)
        frame = self._voice.broadcast(Kind(phase), vote)
        own = VoteSignature(self._me, frame.boot, frame.counter, frame.signature)
        self._votes.add(phase, vote, own, own=True)

    def _is_above_record(self, phase: int, view: int, seq: int) -> bool:
        """Whether no vote of `phase` at or above (view, seq) is on record."""
        last = self.last_commit if phase == COMMIT else self.last_prepare
        return (view, seq) > (last.view, last.seq)

    def _vouch(self, view: int) -> tuple[int, int]:
        """How far PREPAREs may go unrecorded in `view`: a window above what is durable there, its base and the last
        COMMIT. A function of durable facts alone, that only rises in a view: whoever restarts knows as much."""
        durable = self.base[0]
        if self.last_commit.view == view:
            durable = max(durable, self.last_commit.seq)
        return view, durable + self._members.parameters.window

    def on_vote(self, frame: Frame, vote: Vote) -> None:
        """A PREPARE or COMMIT from its sender's own link; its signature is checked when it is needed.

        Raises Refused(OUT_OF_WINDOW).
        """
        if vote.seq <= self._chain.height:
            return  # decided: late votes cost nothing (N14)
        if vote.seq > self._chain.height + 2 * self._members.parameters.window:
            raise Refused(Reason.OUT_OF_WINDOW, f"height {vote.seq}; committed is {self._chain.height}")
        if frame.kind == PREPARE and vote.view < self._position.view:
            return  # a prepare certificate only counts in the view in which I am active (TRAP 2)
        ballot = VoteSignature(frame.sender, frame.boot, frame.counter, frame.signature)
        found = self._votes.add(frame.kind, vote, ballot)
        if found is not None:
            proved = f"two {Kind(frame.kind).name}s for different blocks at view {vote.view}, height {vote.seq}"
            self._voice.accuse(frame.sender, proved, found.first, found.second)
        if frame.kind == PREPARE:
            if vote.view == self._position.view and self.accepted.get(vote.seq) == vote.block:
                self._look_at_prepares(vote.seq)
        else:
            self._look_at_commit(vote.view, vote.seq, vote.block)

    def votes_wanted(self) -> int:
        """So many votes must come before one of them can matter: fewer complete no quorum, whatever they are for.

        For whoever hands votes over, because a turn costs more than a vote (decision 018); no safety depends on it. 1
        with more than one block in flight, where to look would cost more than it spares.
        """
        position, height = self._position, self._chain.height
        if not position.active or not self.settled or position.halted or self.tip.block.seq > height + 1:
            return 1
        promised = self.last_commit.seq if self.last_commit.view == position.view else 0
        wanted = min(self._votes.missing(COMMIT, height), self._votes.missing(PREPARE, max(height, promised)))
        return max(wanted, 1)

    def _look_at_prepares(self, seq: int) -> None:
        """Prepared: q PREPAREs for a block that was accepted in this view (Castro and Liskov 1999, section 4.2)."""
        position = self._position
        if not position.active or (position.view, seq) <= (self.last_commit.view, self.last_commit.seq):
            return
        block = self.accepted[seq]
        certificate = self._votes.quorum(PREPARE, position.view, seq, block)
        if certificate is None:
            return
        self._learn(certificate)
        if self._me in self._votes.seen(PREPARE, position.view, seq, block):
            # Who moved its tip has PREPAREd another block up here: it leaves this height to those who have not. So
            # nobody correct COMMITs on one branch and PREPAREs at or above it on another (decision 010).
            self._vote(COMMIT, seq, block)
        self._look_at_commits(seq)

    def _look_at_commits(self, seq: int) -> None:
        block = self.accepted.get(seq)
        if block is not None:
            self._look_at_commit(self._position.view, seq, block)

    def _look_at_commit(self, view: int, seq: int, block: bytes) -> None:
        certificate = self._votes.quorum(COMMIT, view, seq, block)
        if certificate is not None:
            self.on_certificate(certificate)

    def _learn(self, certificate: Certificate) -> None:
        if certificate.rank > rank_of(self._position.highest):
            self._position.highest = certificate
            # What I promise with it, a COMMIT or a VIEW-CHANGE, is durable with it.
            self._voice.persist("highest", certificate, behind=True)

    # ---- certificates

    def on_certificate(self, certificate: Certificate) -> None:
        """A verified certificate, from wherever. TRAP 2: a commit counts from any view, at any time."""
        assert self.doors is not None, "introduced by core"
        self._look_for_forgotten_vote(certificate)
        if certificate.view > self._position.view:
            self.doors.end_view(certificate.view)  # TRAP 3
        if certificate.phase != COMMIT:
            return
        self._learn(certificate)
        if certificate.seq <= self._chain.height:
            head, known = self._chain.head.block, self.committed_by.get(certificate.seq)
            if certificate.seq < head.seq and known is None:
                if self._committed.get(certificate.seq) != certificate.block:
                    self.doors.compare(certificate)
            elif certificate.block != (head.hash if known is None else known.block):
                self.halt_on_fork(f"height {certificate.seq} is committed twice, differently", certificate)
            return
        if self.decided is None or certificate.seq > self.decided.seq:
            self.decided = certificate
        self.commit_decided()

    def _look_for_forgotten_vote(self, certificate: Certificate) -> None:
        """My COMMITs, and the views that I was in, are on my disk. A certificate that says more proves that the disk is
        not what it was. (A PREPARE of a view that I know of may have been lost in a crash.)"""
        assert self.doors is not None, "introduced by core"
        if certificate.phase == COMMIT:
            forgotten = self._is_above_record(COMMIT, certificate.view, certificate.seq)
        else:
            forgotten = certificate.view > self._position.view
        if forgotten and any(vote.sender == self._me for vote in certificate.votes):
            self.doors.forgotten_vote(certificate.seq)

    def commit_decided(self) -> None:
        """Commit as far as the decided block and its ancestors are here; ask for what is missing."""
        assert self.doors is not None, "introduced by core"
        certificate = self.decided
        if certificate is None or self._position.halted:
            return
        if certificate.seq <= self._chain.height:
            self.decided = None
            return
        try:
            path = self._chain.path(certificate.block)
        except Fork as fork:
            self.halt_on_fork(str(fork), certificate)
            return
        if isinstance(path, bytes):
            if certificate.seq - self._chain.height > self._members.parameters.window:
                self.doors.want_log(certificate.seq)
            else:
                self.doors.want_block(path, [vote.sender for vote in certificate.votes])
            return
        self.decided = None
        self.commit_path(path, certificate)

    def commit_path(self, path: list[Entry], certificate: Certificate) -> None:
        """Append the entries of `path`, of which the last is certified, to the log."""
        assert self.doors is not None, "introduced by core"
        try:
            self._chain.connect(path, certificate.seq)
        except Refused as refused:
            self.halt_on_fork(f"a certified block is not valid: {refused.detail}")
            return
        fork = self._contradicted_by(path, certificate)
        if fork is not None:
            # The headers of both branches are what convicts; those of a long run can be had from its source.
            if len(path) <= 2 * self._members.parameters.window:
                for entry in path:
                    if self._chain.get(entry.block.hash) is None:
                        self._store(entry)
            self.halt_on_fork(fork, certificate)
            return
        for entry in path:
            seq, block = entry.block.seq, entry.block.hash
            # Of an ancestor where there is one: what forensics can prove may hang on it (decision 010).
            own = certificate if entry is path[-1] else self._votes.quorum(COMMIT, certificate.view, seq, block)
            self._voice.add(AppendBlock(entry.block, entry.transactions, own))
            self._committed[seq] = block
            if own is not None:
                self.committed_by[seq] = own
            self._unexecuted[entry.block.seq] = entry.transactions
            self._note_barrier(entry.transactions, entry.block.seq)
        for kept in (self.committed_by, self._committed):
            while len(kept) > CERTIFICATES_KEPT:
                del kept[next(iter(kept))]
        abstained = self.abstains
        gone = self._chain.commit(path)
        if gone:
            self._voice.add(DropBlocks(gone))
        height = self._chain.height
        self._votes.forget_up_to(height)
        self._proposals.forget_up_to(height)
        for seq in [key for key in self.accepted if key <= height]:
            del self.accepted[seq]
        self.doors.progressed(certificate, path)
        self._follow_head()
        if abstained and not self.abstains:
            self.speak_up()

    def _contradicted_by(self, path: list[Entry], certificate: Certificate) -> str | None:
        """Why more than f members lied, if `certificate`, which commits `path`, contradicts another certificate.

        My last COMMIT is for a block that a quorum prepared; so is my highest certificate. A commit certificate of that
        view, or of an earlier one, that commits another branch is then no accident (docs/protocol.md, "Safety"). To
        follow it would be to merge silently (faults.md X02), and where I have cast COMMIT, to look like a liar.
        """
        mine, highest, decided = self.last_commit, self._position.highest, self.decided
        if decided is not None and self._chain.is_elsewhere(path, decided.seq, decided.block):
            return f"height {decided.seq} is committed twice, differently"
        if certificate.view <= mine.view and self._chain.is_elsewhere(path, mine.seq, mine.block):
            return f"another block than the one that I voted to commit at height {mine.seq} is committed"
        if highest is not None and highest.phase == PREPARE and certificate.view <= highest.view:
            if self._chain.is_elsewhere(path, highest.seq, highest.block):
                return f"another block than the one that a quorum prepared at height {highest.seq} is committed"
        return None

    def _follow_head(self) -> None:
        """The tip never contradicts what is committed (docs/protocol.md, "Normal case")."""
        assert self.doors is not None, "introduced by core"
        head, tip = self._chain.head, self.tip
        if not self.settled:
            self.settle()
        elif tip.block.hash == head.block.hash:
            self.tip = head
        elif tip.block.seq <= head.block.seq or self._chain.is_known_contradiction(tip.block.hash):
            # What is forgotten in a crash thus descends from what is on record: a COMMIT for that stays possible.
            self._moved = True
            self._move_tip(head)

    def _move_tip(self, tip: Entry) -> None:
        path = self._chain.path(tip.block.hash)
        assert isinstance(path, list), "the tip is connected to the head"
        self.tip = tip
        self.accepted = {entry.block.seq: entry.block.hash for entry in path}
        self._proposals.keep_only(self.accepted)
        in_flight = [(entry.block.seq, entry.transactions) for entry in path]
        in_flight += list(self._unexecuted.items())
        self._barrier = 0
        for seq, transactions in in_flight:
            self._note_barrier(transactions, seq)
        self._pool.restart(in_flight, self._position.now.monotonic_ms)

    def on_run(self, path: list[Entry], certificate: Certificate) -> None:
        """A verified run of blocks from the head on, of which the last is committed by `certificate`."""
        assert self.doors is not None, "introduced by core"
        self._look_for_forgotten_vote(certificate)
        if certificate.view > self._position.view:
            self.doors.end_view(certificate.view)  # TRAP 3
        if path and path[0].block.parent != self._chain.head.block.hash:
            why = f"the block at height {path[0].block.seq} of a certified run does not follow the log"
            self.halt_on_fork(why, certificate, [entry.block.header_raw for entry in path])
        if path and not self._position.halted:
            self._learn(certificate)
            self.commit_path(path, certificate)
            self.commit_decided()

    def on_block(self, entry: Entry) -> None:
        """A block that was asked for, because a certificate of it or of a descendant is here."""
        if entry.block.seq > self._chain.height and self._chain.get(entry.block.hash) is None:
            self._store(entry)
            self.commit_decided()
            self.settle()

    def lacks(self, certificate: Certificate | None) -> bytes | None:
        """The block that is missing to build a view on this certificate here and now: its own, or an ancestor of it.

        None where nothing is, or need not be: what a commit certificate names can be had, and what contradicts the
        log is outranked by what decided the log.
        """
        if certificate is None or certificate.phase == COMMIT or certificate.seq <= self._chain.height:
            return None
        try:
            path = self._chain.path(certificate.block)
        except Fork:
            return None
        return path if isinstance(path, bytes) else None

    # ---- views

    def start_view(self, certificate: Certificate | None) -> None:
        """The view is active; its base is the block of `certificate` (None: the genesis block)."""
        self.accepted = {}
        self._proposals.keep_only(())
        self.settled = False
        self._certify_base = False
        if certificate is None:
            # q members that never held a certificate: nothing is committed anywhere, here least of all.
            self.base = (0, bytes(32))
        else:
            self.base = (certificate.seq, certificate.block)
            self._certify_base = certificate.phase == PREPARE
        self._base_certificate = certificate
        self._vouched = self._vouch(self._position.view)
        head = self.committed_by.get(self._chain.height)
        if head is not None and head.view < self._position.view:
            if rank_of(certificate) < (head.view, head.seq, PREPARE):
                assert self.doors is not None, "introduced by core"
                self.doors.blame()
        if certificate is not None and certificate.phase == COMMIT:
            self.on_certificate(certificate)
        if not self.settled:
            self.settle()

    def settle(self) -> None:
        """Stand on the base as soon as it and its ancestors are here; ask for what is missing."""
        assert self.doors is not None, "introduced by core"
        if self.settled or not self._position.active or self._position.halted:
            return
        seq, block = self.base
        if seq <= self._chain.height:
            self.settled = True
            self._move_tip(self._chain.head)
            return
        try:
            path = self._chain.path(block)
            if isinstance(path, bytes):
                if seq - self._chain.height > self._members.parameters.window:
                    self.doors.want_log(seq)
                # Its primary built on it, so its primary should have it.
                first = self._members.primary_of(self._position.view)
                self.doors.want_block(path, [first, *range(self._members.n)])
                return
            self._chain.connect(path, seq)
        except Fork as fork:
            if not self._certify_base:
                why = f"the base of view {self._position.view} contradicts the log: {fork}"
                self.halt_on_fork(why, self._base_certificate)
                return
            # The primary made two NEW-VIEWs of this view, and what was committed in it came from the other one. A
            # prepared base proves nothing against a committed block: the tip is the head, nobody votes for the base.
            self.doors.blame()
            self._certify_base = False
            self.settled = True
            self._move_tip(self._chain.head)
            return
        except Refused as refused:
            self.halt_on_fork(f"the base of view {self._position.view} is not valid: {refused.detail}")
            return
        self.settled = True
        self._move_tip(path[-1])
        # TRAP 1: only the base is voted for again in this view; its ancestors are committed by it.
        self.accepted = {seq: block}
        if self._certify_base:
            self._vote(PREPARE, seq, block)
            self._look_at_prepares(seq)
            self._look_at_commits(seq)

    def leave_view(self) -> None:
        """The view is over: its proposals are nothing to the next one (a PRE-PREPARE may come before its NEW-VIEW)."""
        self._proposals.clear()
        self.accepted = {}

    def resume_view(self, certificate: Certificate | None, *, crashed: bool) -> None:
        """After a restart in an active view: the base again, and above it what was accepted and voted for.

        Only the last vote of each phase is known for certain; it covers what it was cast for and its ancestors. Where
        the life before may have PREPAREd more, this one follows, and PREPAREs nothing until its log is past that.
        """
        view, last = self._position.view, self.last_prepare
        for phase, record in ((PREPARE, last), (COMMIT, self.last_commit)):
            if record.view == view and record.seq > self._chain.height:
                vote = Vote(self._members.epoch, view, record.seq, record.block)
                frame = self._voice.seal(Kind(phase), vote)
                own = VoteSignature(self._me, frame.boot, frame.counter, frame.signature)
                self._votes.add(phase, vote, own, own=True)
        self.start_view(certificate)
        if crashed:
            self.abstain = self._vouched
            self._moved = True
        if last.view != view or last.seq <= self._chain.height or self._chain.is_known_contradiction(last.block):
            return
        if self.settled and last.seq <= self.tip.block.seq:
            return
        path = self._chain.path(last.block) if self.settled else last.block
        if isinstance(path, bytes):
            # What it stood on was appended in the turn in which it PREPAREd (effects.py), and is gone. It cannot stand
            # there again, and must not PREPARE on another branch that nobody has decided for.
            self.abstain = max(self.abstain, (view, last.seq))
            return
        self._chain.connect(path, last.seq)
        self._move_tip(path[-1])
        # Its log may have been behind (009) by more than a window: that was committed before the last was proposed.
        floor = max(self.base[0], self._chain.height, last.seq - self._members.parameters.window)
        self.accepted = {item.block.seq: item.block.hash for item in path if item.block.seq >= floor}

    def speak_up(self) -> None:
        """This replica may vote from now on: vote for what it has accepted meanwhile. `_vote` keeps to its record."""
        if not self._position.active or not self.settled:
            return
        for seq, block in sorted(self.accepted.items()):
            self._vote(PREPARE, seq, block)
        for seq in sorted(self.accepted):
            if seq in self.accepted:
                self._look_at_prepares(seq)
            self._look_at_commits(seq)

    # ---- execution

    def on_executed(self, seq: int) -> tuple[Transaction, ...]:
        """Block `seq` was executed; its envelopes."""
        assert seq == self.executed_seq + 1, "execution is in order of height"
        self.executed_seq = seq
        return self._unexecuted.pop(seq)

    # ---- for those who ask

    def votes_to_repeat(self, above: int) -> list[tuple[int, int, bytes]]:
        """(phase, height, block) of this replica's votes in this view for heights above `above`."""
        if not self._position.active or not self._position.may_vote:
            return []
        return [item for item in self._votes.own(self._position.view, self._me) if item[1] > above]

    def repeat_vote(self, phase: int, seq: int, block: bytes, to: int) -> None:
        """Say again, signed afresh, what was said and is durable."""
        last = self.last_prepare if phase == PREPARE else self.last_commit
        assert (self._position.view, seq) <= (last.view, last.seq), "only what was said before is repeated"
        self._voice.send(to, Kind(phase), Vote(self._members.epoch, self._position.view, seq, block))

    def proposals_above(self, tip: int) -> list[Entry]:
        """What this primary proposed in this view above a backup's tip."""
        entries = [self._chain.get(block) for seq, block in sorted(self.accepted.items()) if seq > tip]
        return [item for item in entries if item is not None and item.block.header.view == self._position.view]

    def halt_on_fork(self, why: str, other: Certificate | None = None, headers: Sequence[bytes] = ()) -> None:
        """For good. `other` commits what the log contradicts: a proof that more than f members lied. `headers`:
        of its branch or mine, where they are not in the tree."""
        assert self.doors is not None, "introduced by core"
        if not self._position.halted:
            self._position.halted = why
            self._voice.note("fork_detected", {"why": why, "height": self._chain.height})
        if other is not None:
            self.doors.forked(other, headers)
