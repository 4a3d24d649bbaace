"""Correct replicas understand each other: what one says, no other one refuses."""

from bftnode.protocol.errors import Reason
from bftnode.replica.effects import Note
from simulations.judges.court import Court, Judged
from simulations.world import Violation

EXPECTED_REFUSALS = frozenset(
    {
        Reason.REPLAY,  # the network duplicates
        Reason.OUT_OF_WINDOW,  # who lags behind
        Reason.BAD_TIME,  # clocks differ
        Reason.UNREQUESTED,  # the answer to a fetch that was given up
    }
)
"""Why one correct replica may refuse what another one sent. Anything else is a misunderstanding between the two."""


class Understanding:
    """Counts refusals, and speaks up where both sides are correct."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self.refusals: dict[str, int] = {}

    def on_note(self, node: Judged, note: Note) -> None:
        """A replica found something worth telling."""
        if note.name != "refused":
            return
        reason, court = str(note.fields["reason"]), self._court
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        if court.is_correct(node) and note.fields["member"] not in court.faulty and reason not in EXPECTED_REFUSALS:
            detail = note.fields["detail"]
            raise Violation("misunderstanding", f"{node.name} refuses {note.fields['member']}: {reason}: {detail}")
