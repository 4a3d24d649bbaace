"""Cosigning: each member signs the same checkpoints of the log with its log key (decision 014, docs/receipts.md).

Which ones follows from the log alone: after each K-th block, after the first block of each second of agreed time, and
after a head upon which nothing followed for half a second. A signature leaves when the log up to it and the record of
what was signed are durable, and never for two roots of one size. Nothing in agreement looks at any of this; what is
lost is one checkpoint less.
"""

from dataclasses import dataclass, field

from bftnode.protocol.blocks import Header
from bftnode.protocol.codec import Hash32, UInt, Wire
from bftnode.protocol.cosigning import CheckpointSigner, Cosigned, MemberCosignatures
from bftnode.protocol.envelope import Frame
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Cosignature, Kind
from bftnode.replica.effects import KeepCheckpoint
from bftnode.replica.position import Position
from bftnode.replica.voice import Voice

IDLE_MS = 500
"""A head upon which nothing followed for so long is signed: by then it is everybody's."""

OPEN_MAX = 8
"""Checkpoints whose cosignatures are still taken. At the bound the oldest closes; what it lacks it never gets."""

EARLY_MAX = 4
"""Cosignatures kept of each member for heights that are not signed here yet: the latest ones. An absurd height of a
liar's pushes out only its own."""

RECORD = "cosigned"
"""Journal record: the last checkpoint that this member signed."""


class CosignedRecord(Wire, frozen=True):
    seq: UInt
    log_size: UInt
    log_root: Hash32


@dataclass(slots=True)
class _Open:
    """A checkpoint that I signed."""

    header: Header
    signature: bytes
    by: dict[int, tuple[bytes, ...]] = field(default_factory=dict)  # member -> its cosignatures, mine first
    otherwise: set[int] = field(default_factory=set)  # who signed another log; only membership matters


class Cosigning:
    """What this member signed of the log, and what the others did."""

    def __init__(
        self, members: Membership, me: int, position: Position, voice: Voice, signer: CheckpointSigner, head: Header
    ) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._voice = voice
        self._signer = signer
        self._head = head  # the last committed block
        self._executed = head.seq
        self._due: Header | None = None  # to be signed when it is executed
        self._record = CosignedRecord(0, 0, bytes(32))
        self._idle_due_ms: int | None = position.now.monotonic_ms + IDLE_MS if head.seq else None
        self._open: dict[int, _Open] = {}  # by height, ascending
        self._early: dict[int, dict[int, Cosignature]] = {}
        self._answered_ms: dict[int, int] = {}
        self._repeat_due_ms = position.now.monotonic_ms
        self.parted = False  # my log is another one than the one that I signed

    def restore(self, record: CosignedRecord | None) -> None:
        if record is not None:
            self._record = record
            self._compare(self._head)

    # ---- the log grows

    def on_committed(self, header: Header) -> None:
        """Blocks come in order of height; of several at once, such as in a catch-up, only the last due one counts."""
        new_second = header.time_ms // 1000 > self._head.time_ms // 1000
        if new_second or header.seq % self._members.parameters.checkpoint_interval == 0:
            self._due = header
        self._head = header
        self._compare(header)

    def _compare(self, header: Header) -> None:
        """Where the log stands at the last checkpoint that I signed it is that one, or more than f lied."""
        record = self._record
        if header.seq == record.seq and (header.log_size, header.log_root) != (record.log_size, record.log_root):
            self.parted = True
            self._voice.note("cosigned_another_log", {"height": header.seq, "log_size": header.log_size})

    def on_executed(self, seq: int) -> None:
        self._executed = seq
        due = self._due
        if due is not None and seq >= due.seq:
            self._due = None
            self._sign(due)
        if self._head.log_size > self._record.log_size:
            self._idle_due_ms = self._position.now.monotonic_ms + IDLE_MS

    def deadline_ms(self) -> int | None:
        return self._idle_due_ms

    def on_tick(self) -> None:
        now_ms = self._position.now.monotonic_ms
        if self._idle_due_ms is not None and now_ms >= self._idle_due_ms:
            self._idle_due_ms = None
            if self._executed == self._head.seq:
                self._sign(self._head)
            if not self._position.may_vote and not self._position.halted:
                self._idle_due_ms = now_ms + IDLE_MS
        if now_ms >= self._repeat_due_ms:
            self._repeat_due_ms = now_ms + IDLE_MS
            self._repeat()

    def _sign(self, header: Header) -> None:
        """Guard, record, say: the record is durable, and the log with it, BEFORE this leaves (effects.py)."""
        now, last = CosignedRecord(header.seq, header.log_size, header.log_root), self._record
        if self.parted or not self._position.may_vote or header.seq in self._open:
            return
        if now != last:
            if header.log_size <= last.log_size:
                return  # below what was signed: that was the largest that I had seen
            self._record = now
            self._voice.persist(RECORD, now)
        opened = _Open(header, self._signer.sign(header.log_size, header.log_root))
        opened.by[self._me] = self._signer.cosign(header.log_size, header.log_root, header.time_ms // 1000)
        self._open[header.seq] = opened
        while len(self._open) > OPEN_MAX:
            del self._open[min(self._open)]
        self._voice.broadcast(Kind.COSIGNATURE, self._mine(opened, wanting=False))
        for member, kept in sorted(self._early.items()):
            body = kept.pop(header.seq, None)
            if body is not None:
                self._take(opened, member, body)

    def _mine(self, opened: _Open, *, wanting: bool) -> Cosignature:
        header = opened.header
        values = opened.by[self._me]
        return Cosignature(self._members.epoch, header.seq, header.log_size, header.log_root, values, wanting)

    # ---- the others

    def _repeat(self) -> None:
        """Say my latest again while fewer than a quorum have said it: nothing relies on one message arriving once. At
        the ticks of STATUS, which come in any case."""
        if self._open and self._position.may_vote:
            latest = self._open[max(self._open)]
            if len(latest.by) < self._members.quorum:
                self._voice.broadcast(Kind.COSIGNATURE, self._mine(latest, wanting=True))

    def on_cosignature(self, frame: Frame, body: Cosignature) -> None:
        """A member's cosignatures. Raises Refused(AUTH_SIGNATURE)."""
        opened, sender = self._open.get(body.seq), frame.sender
        if opened is None:
            if body.seq > self._record.seq:
                early = self._early.setdefault(sender, {})
                early[body.seq] = body
                while len(early) > EARLY_MAX:
                    del early[min(early)]
            return
        if body.wanting:
            self._answer(sender, opened)
        if not self._take(opened, sender, body):
            raise Refused(Reason.AUTH_SIGNATURE, f"not a cosignature of member {sender}")

    def _answer(self, member: int, opened: _Open) -> None:
        """At most once in an idle time, whatever a member asks for."""
        now_ms = self._position.now.monotonic_ms
        if now_ms - self._answered_ms.get(member, -IDLE_MS) >= IDLE_MS // 2:
            self._answered_ms[member] = now_ms
            self._voice.send(member, Kind.COSIGNATURE, self._mine(opened, wanting=False))

    def _take(self, opened: _Open, member: int, body: Cosignature) -> bool:
        """Verify and record; False: it is not signed by that member."""
        header = opened.header
        if member in opened.by:
            return True
        if (body.log_size, body.log_root) != (header.log_size, header.log_root):
            if member not in opened.otherwise:  # told once, however often it is said
                opened.otherwise.add(member)
                self._voice.note("cosigned_otherwise", {"member": member, "height": header.seq})
            return True
        if not self._signer.keys.valid(
            member, header.log_size, header.log_root, header.time_ms // 1000, body.cosignatures
        ):
            return False
        opened.by[member] = body.cosignatures
        if len(opened.by) in (self._members.quorum, self._members.n):
            self._keep(opened)
        return True

    def _keep(self, opened: _Open) -> None:
        """With a quorum, and once more when everybody has signed."""
        header = opened.header
        if len(opened.by) == self._members.quorum:
            self._voice.note("checkpoint_cosigned", {"height": header.seq, "log_size": header.log_size})
        cosignatures = tuple(MemberCosignatures(member, values) for member, values in sorted(opened.by.items()))
        self._voice.add(
            KeepCheckpoint(
                Cosigned(
                    header.seq,
                    header.log_size,
                    header.log_root,
                    header.time_ms // 1000,
                    self._me,
                    opened.signature,
                    cosignatures,
                )
            )
        )
