"""The format of a recording: every event comes back as it was, every effect shows in a seal, nothing else is read."""

import hashlib
from typing import get_args

import pytest

from bftnode.protocol.blocks import genesis_block, pack_block
from bftnode.protocol.certificates import COMMIT
from bftnode.protocol.codec import encode
from bftnode.protocol.errors import Reason
from bftnode.protocol.merkle import Frontier
from bftnode.protocol.nonces import ClientWindow
from bftnode.replica import recording
from bftnode.replica.effects import Answer, AppendBlock, Broadcast, Effect, Note, Send, StoreBlock
from bftnode.replica.events import (
    BlockRead,
    Event,
    Executed,
    ExecutedTransaction,
    Linked,
    Now,
    Received,
    RunRead,
    Stopping,
    Submitted,
    Tick,
    Unlinked,
)
from bftnode.replica.recording import (
    DIGEST_BYTES,
    EFFECTS,
    EVENTS,
    FORMAT,
    PREFIX_BYTES,
    RAISED,
    Signatures,
    Start,
    Step,
    Unreadable,
    Woke,
    checked,
    code_digest,
    open_start,
    open_turn,
    open_woke,
    record_of,
    seal_of,
    size_of,
    turn_record,
    woke,
)
from bftnode.replica.recovery import Recovered
from tests.protocol.cluster import Cluster, block_of
from tests.replica.conversation import CHAIN, Conversation

NOW = Now(17, 1_000_017)
TALK = Conversation()
BLOCK = TALK.block()
CERTIFICATE = TALK.certificate(COMMIT, BLOCK)
ENVELOPE = TALK.transaction()

HAPPENED: list[Event] = [
    Received(2, b"a frame"),
    Linked(3),
    Unlinked(3),
    Submitted((ENVELOPE, TALK.transaction())),
    Executed(1, (ExecutedTransaction(bytes(32), 1, ""), ExecutedTransaction(bytes(32), 2, "tx.expired")), (), None),
    Executed(2, (), ((b"\1" * 32, 0),), b"\2" * 32),
    RunRead(2, 1, (pack_block(BLOCK),), CERTIFICATE),
    RunRead(2, 1, (), None),
    BlockRead(0, pack_block(BLOCK)),
    BlockRead(0, None),
    Tick(),
    Stopping(),
]


def body_of(record: bytes) -> bytes:
    """What is in a record, once its prefix was looked at."""
    prefix, body = record[:PREFIX_BYTES], record[PREFIX_BYTES:]
    assert size_of(prefix) == len(body)
    return checked(prefix, body)


def test_every_kind_of_event_comes_back() -> None:
    """With what followed from each, and the signatures of all."""
    assert {type(event) for event in HAPPENED} == set(EVENTS)
    effects: list[list[Effect] | None] = [[], None, [Send(1, b"to one")]]
    steps = [(event, effects[number % 3]) for number, event in enumerate(HAPPENED)]
    read = open_turn(body_of(turn_record(NOW, steps, [b"one", b"other"])), CHAIN)
    assert (read.now, read.signatures) == (NOW, (b"one", b"other"))
    assert [step.event for step in read.steps] == HAPPENED
    assert [step.seal for step in read.steps[:3]] == [b"", RAISED, seal_of([Send(1, b"to one")])]
    assert all(type(step.event) is type(event) for step, event in zip(read.steps, HAPPENED, strict=True))
    assert isinstance(read.steps[0], Step)


@pytest.mark.parametrize(
    ("effect", "essence"),
    [
        (StoreBlock(BLOCK), BLOCK.hash),
        (AppendBlock(BLOCK, (), CERTIFICATE), (BLOCK.hash, CERTIFICATE)),
        (AppendBlock(BLOCK, (), None), (BLOCK.hash, None)),
        (Answer(ENVELOPE, Reason.BUSY), (ENVELOPE.id, Reason.BUSY)),
        (Broadcast(b"to all"), (b"to all",)),
        (Note("name", {"field": 1}), ("name", {"field": 1})),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_seal_is_of(effect: Effect, essence: object) -> None:
    """A digest over what is asked for, and the kind."""
    digest = hashlib.sha256(encode([essence])).digest()[:DIGEST_BYTES]
    assert seal_of([effect]) == digest + bytes([EFFECTS.index(type(effect))])


def test_effects_that_differ_have_other_seals() -> None:
    """In a field, in order, in number."""
    note = Note("something", {"n": 1})
    seals = [
        seal_of([note]),
        seal_of([Note("something", {"n": 2})]),
        seal_of([note, note]),
        seal_of([]),
        seal_of([note, Note("other", {})]),
        seal_of([Note("other", {}), note]),
    ]
    assert len(set(seals)) == len(seals)


def test_code_is_named_by_paths_and_sources_in_any_order() -> None:
    """Two files that swap what is in them are other code."""
    one = code_digest([("replica/a.py", b"x"), ("replica/b.py", b"y")])
    assert len(one) == 32
    assert one == code_digest([("replica/b.py", b"y"), ("replica/a.py", b"x")])
    assert one != code_digest([("replica/a.py", b"y"), ("replica/b.py", b"x")])
    assert one != code_digest([("replica/a.py", b"x"), ("replica/c.py", b"y")])


def test_signatures_are_given_back_in_their_order() -> None:
    """Zeros where more are asked for: the seals will show it."""
    signatures = Signatures()
    assert (signatures.left, signatures.sign(b"?")) == (0, bytes(64))
    signatures.expect([b"a", b"b"])
    assert signatures.left == 2
    assert [signatures.sign(b"?") for _ in range(3)] == [b"a", b"b", bytes(64)]
    assert signatures.left == 0


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
    assert new.head is None, "there is no block to record"
    recovered, _ = open_woke(record_of(new)[PREFIX_BYTES:], CHAIN)
    assert (recovered.head.hash, recovered.certificate) == (genesis_block(CHAIN).hash, None)


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (Linked, ["1"]),
        (Received, [1, "YSBmcmFtZQ=="]),
        (Received, [1]),
        (Submitted, [b"no envelope"]),
        (Submitted, [1]),
        (Submitted, 1),
        (BlockRead, [0, 0]),
        (Tick, 1),
    ],
)
def test_an_event_that_is_none_is_not_read(kind: type, plain: object) -> None:
    """Bytes are bytes and numbers are numbers."""
    with pytest.raises(Unreadable, match="a recorded event is none"):
        open_turn(encode((17, 18, [(EVENTS.index(kind), plain, b"")], [])), CHAIN)


def test_an_event_of_no_kind_and_one_of_another_cluster_are_not_read() -> None:
    """Both have the right shape."""
    with pytest.raises(Unreadable):
        open_turn(encode((17, 18, [(len(EVENTS), [], b"")], [])), CHAIN)
    recorded = body_of(turn_record(NOW, [(Submitted((ENVELOPE,)), [])], []))
    assert open_turn(recorded, CHAIN).steps[0].event == Submitted((ENVELOPE,))
    with pytest.raises(Unreadable, match="another cluster"):
        open_turn(recorded, bytes(32))


def test_a_record_has_the_types_that_it_should_have() -> None:
    """A number in quotes is none; what is no msgpack, and another format, are told apart."""
    start = Start(FORMAT, "1.0", bytes(32), "genesis", 1, {"status_interval_ms": 500}, 5)
    assert open_start(encode(start)) == start
    opened = recording._decoder(Start)
    assert opened(encode(start)) == start
    for bad in (encode((FORMAT, "1.0", bytes(32), "genesis", "1", {}, 5)), b"\xc1", encode(1)):
        with pytest.raises(Unreadable, match="not what it should be"):
            opened(bad)
        with pytest.raises(Unreadable, match="not what it should be"):
            open_start(bad)
    with pytest.raises(Unreadable, match="format none"):
        open_start(encode(()))
    with pytest.raises(Unreadable, match="not what it should be"):
        recording._decoder(Woke)(encode(start))


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
