"""The recorder: what it writes is read again, its bounds, and that no trouble of its own is the node's."""

import os
from pathlib import Path
from typing import Any

import pytest

from bftnode.node.recorder import Recorder, code_in_use
from bftnode.protocol.blocks import genesis_block
from bftnode.protocol.merkle import Frontier
from bftnode.replica.effects import Note
from bftnode.replica.events import Linked, Now, Tick
from bftnode.replica.recording import (
    FORMAT,
    PREFIX_BYTES,
    RAISED,
    RecordedTurn,
    Start,
    Step,
    checked,
    open_start,
    open_turn,
    open_woke,
    record_of,
    seal_of,
    size_of,
    woke,
)
from bftnode.replica.recovery import Recovered
from simulations.incident.lives import code_here

CHAIN = bytes(range(32))
START = Start(FORMAT, "1", bytes(32), "genesis", 2, {"status_interval_ms": 5}, 7)
WOKE = woke(Recovered(genesis_block(CHAIN), Frontier(), None, {"boot": b"1"}), Now(1, 2))
NOTE = Note("something", {"n": 1})


class Told:
    """What was logged."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))


def _recorder(tmp_path: Path, told: Told, bytes_max: int = 1 << 20, lives_max: int = 3) -> Recorder:
    recorder = Recorder(tmp_path / "recording", bytes_max, lives_max, told)
    recorder.begin(START, WOKE)
    return recorder


def _bodies(path: Path) -> list[bytes]:
    raw, found = path.read_bytes(), []
    while raw:
        end = PREFIX_BYTES + size_of(raw)
        found.append(checked(raw[:PREFIX_BYTES], raw[PREFIX_BYTES:end]))
        raw = raw[end:]
    return found


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Start, past, turns with their signatures, a step that raised."""
    told = Told()
    recorder = _recorder(tmp_path, told)
    sign = recorder.signing(lambda message: message + b"!")
    assert sign(b"a") == b"a!"
    recorder.turn(Now(3, 4), [(Tick(), []), (Linked(1), [NOTE])])
    recorder.turn(Now(5, 6), [(Tick(), None)])
    start, past, one, other = _bodies(recorder.path)
    assert open_start(start) == START
    recovered, now = open_woke(past, CHAIN)
    assert (recovered.journal, recovered.head.seq, now) == ({"boot": b"1"}, 0, Now(1, 2))
    steps = Step(Tick(), b""), Step(Linked(1), seal_of([NOTE]))
    assert open_turn(one, CHAIN) == RecordedTurn(Now(3, 4), steps, (b"a!",))
    assert open_turn(other, CHAIN).steps == (Step(Tick(), RAISED),)
    assert told.events == []


def test_at_its_bound_a_recording_ends(tmp_path: Path) -> None:
    """It says so once, and what is there is whole."""
    told = Told()
    recorder = _recorder(tmp_path, told, bytes_max=len(record_of(START) + record_of(WOKE)) + 100)
    for turn in range(20):
        recorder.turn(Now(turn, turn), [(Linked(1), [NOTE])])
    assert [event for event, _ in told.events] == ["recording_ended"]
    assert "bytes_max" in told.events[0][1]["reason"]
    assert 2 < len(_bodies(recorder.path)) < 10


@pytest.mark.covers("D04")
def test_a_full_disk_ends_the_recording_and_not_the_node(tmp_path: Path) -> None:
    """A limit on the file's size stands for it: a record breaks off, and no other follows."""
    told = Told()
    recorder = _recorder(tmp_path, told)
    assert recorder._descriptor is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recorder._descriptor)
    os.close(full)
    recorder.turn(Now(1, 1), [(Tick(), [])])
    recorder.turn(Now(2, 2), [(Tick(), [])])
    assert told.events == [
        ("recording_ended", {"path": str(recorder.path), "reason": "No space left on device"}),
    ]


def test_older_lives_are_deleted(tmp_path: Path) -> None:
    """As many stay as the operator wants, the present one included; their numbers go on."""
    for _ in range(5):
        _recorder(tmp_path, Told(), lives_max=2)
    names = sorted(path.name for path in (tmp_path / "recording").iterdir())
    assert names == ["00000004.recording", "00000005.recording"]


def test_both_ends_mean_the_same_code() -> None:
    """Who records and who replays, in one checkout."""
    assert code_in_use() == code_here()
