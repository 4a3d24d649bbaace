"""What is logged, and how often."""

import pytest
from structlog.testing import capture_logs

from bftnode.node.telemetry import Notes
from bftnode.replica.effects import Note


@pytest.mark.covers("A19")
@pytest.mark.parametrize("name", ["refused", "checkpoint_divergent", "cosigned_otherwise"])
def test_what_a_member_can_provoke_is_counted_and_logged_once_in_a_while(name: str) -> None:
    """Of each member; what another one does is said at once."""
    notes = Notes()
    with capture_logs() as logged:
        for height in range(50):
            notes.say(Note(name, {"member": 2, "height": height}))
        notes.say(Note(name, {"member": 3, "height": 1}))
    assert [line["member"] for line in logged] == [2, 3]
    assert notes.counters[name] == 51
