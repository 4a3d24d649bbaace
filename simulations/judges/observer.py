"""Beyond f nothing is promised but what follows from signatures: this judge looks on and writes down what came of it.

It takes the place of the bench (judges/__init__.py) where more than f members conspire. One thing holds in every world
and is judged here too: nobody correct is accused (faults.md X07).
"""

from collections.abc import Iterable
from itertools import zip_longest

from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import decode
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.forensics import Testimony
from bftnode.protocol.limits import BODY_BYTES_MAX
from bftnode.protocol.membership import Membership
from bftnode.replica.core import FORK
from bftnode.replica.effects import Accuse, Note
from simulations.disks import Committed, Disk
from simulations.judges import Judge
from simulations.judges.court import Judged
from simulations.world import Violation

HALTING = frozenset({"fork_detected", "state_diverged"})
"""Notes with which a correct member stops because of what others did: a certificate contradicts its log, or q members'
checkpoints its state."""


class Observer(Judge):
    """Writes down who executed what, who stopped, who was accused. Where no more than f conspire the bench judges, too;
    where more do, agreement may break, but nobody correct ever exchanges a block that it has executed for another."""

    def __init__(
        self, members: Membership, verify: Verifier, faulty: Iterable[int], administrators: Iterable[bytes]
    ) -> None:
        super().__init__(members, verify, faulty, administrators)
        self._promised = len(self.faulty) <= self._court.faulty_max
        self.chains: dict[int, dict[int, bytes]] = {}  # correct member -> height -> block
        self.done: dict[int, dict[tuple[bytes, int], None]] = {}  # correct member -> (client, nonce) that it executed
        self.halted: dict[int, None] = {}  # correct members that stopped

    def on_start(self, node: Judged) -> None:
        """A life begins."""
        if self._promised:
            super().on_start(node)

    def on_frame(self, node: Judged, raw: bytes) -> None:
        """A frame is about to leave."""
        if self._promised:
            super().on_frame(node, raw)

    def on_turn(self, node: Judged) -> None:
        """A turn is over."""
        if self._promised:
            super().on_turn(node)

    def on_committed(self, node: Judged, committed: Committed) -> None:
        """A block is executed. Raises Violation where it takes the place of another (histories are never merged)."""
        if self._promised:
            super().on_committed(node, committed)
        if not self.is_correct(node):
            return
        block = committed.effect.block
        known = self.chains.setdefault(node.member, {}).setdefault(block.seq, block.hash)
        if known != block.hash:
            raise Violation("merged", f"{node.name} exchanges the block that it has executed at height {block.seq}")
        done = self.done.setdefault(node.member, {})
        for transaction, result in zip(committed.effect.transactions, committed.results, strict=True):
            if not result.code:
                done[transaction.key] = None

    def on_note(self, node: Judged, note: Note) -> None:
        """Somebody says what it found."""
        if self._promised:
            super().on_note(node, note)
        if self.is_correct(node) and note.name in HALTING:
            self.halted[node.member] = None

    def on_accuse(self, node: Judged, accuse: Accuse) -> None:
        """Raises Violation where a correct member is accused, or a proof proves nothing."""
        if self.is_correct(node):
            self._evidence.on_accuse(node, accuse)


def testimony_of(disk: Disk) -> Testimony:
    """What whoever holds this disk, or was shown what is on it, can show, as storage/testimony.py reads it."""
    certificates = [certificate for _, certificate in disk.log if certificate is not None]
    certificates += [
        decode(disk.journal[name], Certificate, BODY_BYTES_MAX) for name in (FORK, "highest") if name in disk.journal
    ]
    return Testimony(
        headers=tuple(block.header_raw for block, _ in disk.log[1:]),
        certificates=tuple(certificates),
        new_views=tuple(raw for name, raw in sorted(disk.journal.items()) if name.startswith("new_view.")),
        loose=tuple(block.header_raw for _, block in sorted(disk.stored.items())),
    )


def part_at(left: Disk, right: Disk) -> int | None:
    """The height at which two logs part; None: one is a prefix of the other."""
    for (one, _), (other, _) in zip_longest(left.log, right.log, fillvalue=(None, None)):
        if one is None or other is None:
            return None
        if one.hash != other.hash:
            return one.seq
    return None
