"""Checkpoints: what q replicas say that they executed (docs/protocol.md, "Staying together").

Every `checkpoint_interval` blocks each replica signs (height, log size, log root, state digest). q equal ones make
the checkpoint stable. A replica whose own digest differs from a stable one has executed something else: it stops,
loudly, before it can spread what it believes (faults.md K01, K02, K10).
"""

from bftnode.protocol.blocks import Block
from bftnode.protocol.envelope import Frame
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Checkpoint, Kind
from bftnode.replica.position import Position
from bftnode.replica.voice import Voice

KEPT_PER_MEMBER = 4
"""Checkpoints kept of each member: the latest ones. An older one is of no use to anybody."""


class Checkpoints:
    """Signed checkpoints of all members, and the highest stable one."""

    def __init__(self, members: Membership, me: int, position: Position, voice: Voice) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._voice = voice
        self._of: dict[int, dict[int, Checkpoint]] = {}  # member -> height -> what it said
        self._pending: dict[int, Block] = {}  # blocks at checkpoint heights that are not executed yet
        self.stable: Checkpoint | None = None
        self.parted = False  # a stable checkpoint is of another block than mine

    def on_committed(self, block: Block) -> None:
        """Remember what the header says at a checkpoint height until the block is executed."""
        if block.seq % self._members.parameters.checkpoint_interval == 0:
            self._pending[block.seq] = block

    def on_executed(self, seq: int, state_digest: bytes | None) -> None:
        """Sign a checkpoint where one is due."""
        block = self._pending.pop(seq, None)
        if block is None:
            return
        assert state_digest is not None, "the digest comes with every checkpoint height"
        header = block.header
        own = Checkpoint(self._members.epoch, seq, block.hash, header.log_size, header.log_root, state_digest)
        if not self._position.halted:
            self._voice.broadcast(Kind.CHECKPOINT, own)
        self._keep(self._me, own)
        self._look(seq)

    def repeat(self) -> None:
        """Say my latest checkpoint again while it is not stable: nothing relies on one message arriving once."""
        mine = self._of.get(self._me)
        if mine and (self.stable is None or max(mine) > self.stable.seq) and not self._position.halted:
            self._voice.broadcast(Kind.CHECKPOINT, mine[max(mine)])

    def on_checkpoint(self, frame: Frame, body: Checkpoint) -> None:
        """A member's checkpoint, signed. Raises Refused(STALE) for one that cannot matter any more."""
        if body.seq % self._members.parameters.checkpoint_interval or body.seq == 0:
            raise Refused(Reason.UNEXPECTED, f"no checkpoint is due at height {body.seq}")
        if self.stable is not None and body.seq <= self.stable.seq:
            if body.seq == self.stable.seq and body != self.stable:
                self._voice.note("checkpoint_divergent", {"member": frame.sender, "height": body.seq})
            return
        self._keep(frame.sender, body)
        self._look(body.seq)

    def _keep(self, member: int, checkpoint: Checkpoint) -> None:
        kept = self._of.setdefault(member, {})
        kept.setdefault(checkpoint.seq, checkpoint)
        while len(kept) > KEPT_PER_MEMBER:
            # A lagging replica still meets the others' latest; a liar's absurd heights push out only its own.
            del kept[min(kept)]

    def _look(self, seq: int) -> None:
        said = {member: kept[seq] for member, kept in sorted(self._of.items()) if seq in kept}
        for candidate in said.values():
            if sum(other == candidate for other in said.values()) >= self._members.quorum:
                self._make_stable(candidate, said)
                return

    def _make_stable(self, checkpoint: Checkpoint, said: dict[int, Checkpoint]) -> None:
        if self.stable is not None and checkpoint.seq <= self.stable.seq:
            return
        own = said.get(self._me)
        if own is None:
            return  # not executed here yet; looked at again when it is
        self.stable = checkpoint
        self._voice.note("checkpoint_stable", {"height": checkpoint.seq, "log_size": checkpoint.log_size})
        for member, other in said.items():
            if other != checkpoint and member != self._me:
                self._voice.note("checkpoint_divergent", {"member": member, "height": checkpoint.seq})
        self.parted = self.parted or own.block != checkpoint.block
        if own != checkpoint and not self._position.halted:
            self._position.halted = f"state diverged at height {checkpoint.seq}"
            self._voice.note("state_diverged", {"height": checkpoint.seq})
