"""Durable before it is said (docs/protocol.md, "What must survive a crash"; decision 009). Asked as a frame leaves."""

from collections.abc import Callable

from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, rank_of
from bftnode.protocol.codec import decoder_of
from bftnode.protocol.envelope import Frame, open_frame
from bftnode.protocol.messages import Kind, NewView, ViewChange, open_body
from bftnode.replica.position import NO_VOTE, ViewRecord, VoteRecord
from bftnode.replica.voice import BootRecord
from simulations.judges.court import Court, Judged
from simulations.world import Violation

_boot: Callable[[bytes], BootRecord] = decoder_of(BootRecord, 64)
_view: Callable[[bytes], ViewRecord] = decoder_of(ViewRecord, 64)
_vote: Callable[[bytes], VoteRecord] = decoder_of(VoteRecord, 128)
_certificate: Callable[[bytes], Certificate] = decoder_of(Certificate, 1 << 20)
_view_change: Callable[[bytes], ViewChange] = decoder_of(ViewChange, 1 << 20)


class Durability:
    """Compares what is said with what the disk would give back after a crash at this very moment."""

    def __init__(self, court: Court) -> None:
        self._window = court.members.parameters.window
        self._bases: dict[bytes, tuple[int, int]] = {}  # NEW-VIEW -> (view, height of its base)

    def speaks(self, node: Judged, frame: Frame) -> None:
        """The nonce is reserved."""
        boot = _boot(node.disk.journal["boot"])
        if (boot.boot, boot.reserved) < (frame.boot, frame.counter):
            raise Violation("durable", f"{node.name} speaks in boot {frame.boot}, which it may forget")

    def votes(self, node: Judged, phase: int, vote: Vote) -> None:
        """A COMMIT is on record, with its block and with a certificate that says as much; a PREPARE is, or the node
        will know after a crash that it may have been (decision 009)."""
        record = _recorded(node, "prepare" if phase == PREPARE else "commit")
        said = (vote.view, vote.seq)
        if phase == PREPARE and (record.view, record.seq) < said <= self._vouched(node):
            return
        if (record.view, record.seq) < said:
            raise Violation("durable", f"{node.name} may forget its {Kind(phase).name} at {vote.view}/{vote.seq} (P13)")
        if (record.view, record.seq) == said and record.block != vote.block:
            raise Violation("durable", f"{node.name} remembers another {Kind(phase).name} than it casts")
        if phase == COMMIT:
            raw = node.disk.journal.get("highest")
            if raw is None or _certificate(raw).rank < (*said, PREPARE):
                raise Violation("durable", f"{node.name} may forget the certificate for its COMMIT at {said}")
            if not node.disk.durable(vote.block, vote.seq):
                raise Violation("durable", f"{node.name} may forget the block of its COMMIT at {said}")

    def leaves(self, node: Judged, change: ViewChange) -> None:
        """A VIEW-CHANGE, and that the views below it are over, are on record."""
        record = _view_change(node.disk.journal["view_change"])
        if record.view < change.view or _view(node.disk.journal["view"]).view < change.view:
            raise Violation("durable", f"{node.name} may forget its VIEW-CHANGE for view {change.view}")

    def opens(self, node: Judged, view: int) -> None:
        """A NEW-VIEW is sent by who is in that view for good."""
        if _view(node.disk.journal["view"]).view < view:
            raise Violation("durable", f"{node.name} may forget its NEW-VIEW of view {view}")

    def executes(self, node: Judged, certificate: Certificate) -> None:
        """Clients are told from here on: where q members are said to have made the block durable, this one has."""
        if all(vote.sender != node.member for vote in certificate.votes):
            return
        record = _recorded(node, "commit")
        if (record.view, record.seq) < (certificate.view, certificate.seq):
            raise Violation("durable", f"{node.name} counts its own COMMIT at {certificate.seq}, which it may forget")
        if not node.disk.durable(certificate.block, certificate.seq):
            raise Violation("durable", f"{node.name} may forget the block at {certificate.seq}, which it executes")

    def _vouched(self, node: Judged) -> tuple[int, int]:
        """Up to which (view, height) a node that restarts with what its disk has now keeps quiet."""
        view = _view(node.disk.journal["view"]).view if "view" in node.disk.journal else 0
        base = 0
        if view:
            raw = node.disk.journal["new_view"]
            if raw not in self._bases:
                body = open_body(open_frame(raw))
                assert isinstance(body, NewView), "journalled as such"
                reports = [open_body(open_frame(item)) for item in body.view_changes]
                ranked = [item.certificate for item in reports if isinstance(item, ViewChange) and item.certificate]
                self._bases[raw] = body.view, max(ranked, key=rank_of).seq if ranked else 0
            opened, base = self._bases[raw]
            if opened != view:
                return (0, 0)
        commit = _recorded(node, "commit")
        if commit.view == view:
            base = max(base, commit.seq)
        return view, base + self._window


def _recorded(node: Judged, name: str) -> VoteRecord:
    raw = node.disk.journal.get(name)
    return NO_VOTE if raw is None else _vote(raw)
