"""The recorder: what it writes is read again, its bounds, and that no trouble of its own is the node's."""

import os
from pathlib import Path
from typing import Any, get_args

import pytest

from bftnode.node.recorder import Recorder, code_in_use
from bftnode.protocol.blocks import genesis_block, pack_block
from bftnode.protocol.certificates import COMMIT
from bftnode.protocol.merkle import Frontier
from bftnode.protocol.nonces import ClientWindow
from bftnode.replica.effects import Effect, Note
from bftnode.replica.events import Event, Linked, Now, Tick
from bftnode.replica.recording import (
    EFFECTS,
    EVENTS,
    FORMAT,
    PREFIX_BYTES,
    RAISED,
    RecordedTurn,
    Signatures,
    Start,
    Step,
    Unreadable,
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
from tests.protocol.cluster import Cluster, block_of

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


def test_what_a_replica_wakes_up_with_is_read() -> None:
    """Every part of it: the head, the edge, the certificate, the journal, blocks that are not committed, clients."""
    head = block_of((b"a", b"b"))
    waiting = [block_of((text,), 2, parent=head.hash) for text in (b"c", b"d")]
    past = Recovered(
        head,
        Frontier(3, (b"\1" * 32, b"\2" * 32)),
        Cluster().certificate(COMMIT, 4, 1, head.hash),
        {"view": b"4", "boot": b"1"},
        {block.hash: block for block in waiting},
        {b"k" * 32: ClientWindow(2, 7, 5), b"j" * 32: ClientWindow(1)},
    )
    recovered, now = open_woke(record_of(woke(past, Now(1, 2)))[PREFIX_BYTES:], CHAIN)
    assert now == Now(1, 2)
    assert (pack_block(recovered.head), recovered.certificate) == (pack_block(head), past.certificate)
    assert (recovered.frontier.size, recovered.frontier.peaks) == (3, past.frontier.peaks)
    assert recovered.journal == past.journal
    assert {name: pack_block(block) for name, block in recovered.blocks.items()} == {
        block.hash: pack_block(block) for block in waiting
    }
    assert list(recovered.clients) == list(past.clients)
    assert [window.record() for window in recovered.clients.values()] == [
        window.record() for window in past.clients.values()
    ]
    new = woke(Recovered(genesis_block(CHAIN), Frontier(), None), Now(3, 4))
    recovered, _ = open_woke(record_of(new)[PREFIX_BYTES:], CHAIN)
    assert (recovered.head.hash, recovered.certificate) == (genesis_block(CHAIN).hash, None)


def test_signatures_are_given_back_in_their_order() -> None:
    """Zeros where more are asked for: the seals will show it."""
    signatures = Signatures()
    assert (signatures.left, signatures.sign(b"?")) == (0, bytes(64))
    signatures.expect([b"a", b"b"])
    assert signatures.left == 2
    assert [signatures.sign(b"?") for _ in range(3)] == [b"a", b"b", bytes(64)]
    assert signatures.left == 0


def test_effects_that_differ_have_other_seals() -> None:
    """In a field, in order, in number."""
    seals = [
        seal_of([NOTE]),
        seal_of([Note("something", {"n": 2})]),
        seal_of([NOTE, NOTE]),
        seal_of([]),
        seal_of([NOTE, Note("other", {})]),
        seal_of([Note("other", {}), NOTE]),
    ]
    assert len(set(seals)) == len(seals)


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


def test_other_formats_and_garbage_are_refused() -> None:
    """With a sentence, never with anything else."""
    with pytest.raises(Unreadable, match="format 99; this is format 1"):
        open_start(record_of((99, "whatever"))[PREFIX_BYTES:])
    for garbage in (b"", b"\xc1", b"\x90", record_of([FORMAT])[PREFIX_BYTES:]):
        with pytest.raises(Unreadable):
            open_start(garbage)
        with pytest.raises(Unreadable):
            open_woke(garbage, CHAIN)
        with pytest.raises(Unreadable):
            open_turn(garbage, CHAIN)
    for step in ([99, [], b""], [1, [b"x"], b""], [2, [b"no envelope"], b""], [1, 5, b""]):
        with pytest.raises(Unreadable):
            open_turn(record_of([1, 2, [step], []])[PREFIX_BYTES:], CHAIN)


def test_all_that_can_happen_has_a_number() -> None:
    """An event or an effect that is added to the tables of contents is added to the format."""
    assert set(EVENTS) == set(get_args(Event))
    assert set(EFFECTS) == set(get_args(Effect))


def test_both_ends_mean_the_same_code() -> None:
    """Who records and who replays, in one checkout."""
    assert code_in_use() == code_here()
