"""Sound evidence: nobody correct is ever accused, and every accusation holds for a third party (O12, X07)."""

from bftnode.protocol.errors import Refused
from bftnode.protocol.evidence import check_accusation
from bftnode.replica.effects import Accuse
from simulations.judges.court import Court, Judged
from simulations.world import Violation


class Evidence:
    """Checks what correct members accuse others with, as a third party would."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self.accused: dict[int, None] = {}  # by correct members, with a proof

    def on_accuse(self, node: Judged, accuse: Accuse) -> None:
        """A correct node keeps an accusation."""
        court = self._court
        if accuse.culprit not in court.faulty:
            raise Violation("framed", f"{node.name} accuses correct member {accuse.culprit}: {accuse.proved}")
        try:
            culprit, _ = check_accusation(accuse.accusation, court.members, court.verify)
        except Refused as refused:
            raise Violation("evidence", f"{node.name} accuses with what proves nothing: {refused}") from None
        self.accused[culprit] = None
        if culprit != accuse.culprit:
            raise Violation("evidence", f"{node.name} accuses {accuse.culprit} with the words of {culprit}")
