"""What is logged, and how often."""

import os

import pytest
from structlog.testing import capture_logs

from bftnode.node.telemetry import QUEUE_LINES_MAX, LineWriter, Notes
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


@pytest.mark.covers("T15")
def test_a_pipe_that_nobody_reads_stops_nobody() -> None:
    """A real one: what does not fit is dropped and counted, and the rest comes whole and in order once it is read."""
    reading, writing = os.pipe()
    many = 2 * QUEUE_LINES_MAX
    with os.fdopen(reading, encoding="ascii") as reader:
        with os.fdopen(writing, "w", encoding="ascii") as stream:
            log = LineWriter(stream)
            for number in range(many):
                log.msg(f"{number:0100d}")  # a hundred times what a pipe holds
            assert 0 < log.dropped <= many - QUEUE_LINES_MAX
            kept = many - log.dropped
            read = [int(reader.readline()) for _ in range(kept)]
            log.close()
        assert read == sorted(set(read))
        assert reader.read() == ""


@pytest.mark.covers("T15")
def test_a_pipe_that_is_closed_stops_nobody() -> None:
    """Whoever read the log has gone: each line is dropped and counted."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1, encoding="ascii")
    log = LineWriter(stream)
    for _ in range(3):
        log.msg("nobody hears this")
    log.close(timeout_s=60)
    assert log.dropped == 3
    with pytest.raises(BrokenPipeError):
        stream.close()
