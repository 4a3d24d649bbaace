"""Derived data are written behind: nobody who reads can tell, a crash costs only time, and memory is bounded."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.apps.execution import NO_STATE, REMOVE, SystemOperation, application_operation, system_operation
from bftnode.protocol.errors import Reason
from bftnode.protocol.transactions import Transaction
from bftnode.replica.effects import AppendBlock
from bftnode.storage import pending
from bftnode.storage.pending import Layer, LayeredState, Pending
from bftnode.storage.records import NAMES, number
from bftnode.storage.store import DiskFull, IntegrityError, Storage, StorageBroken, Turn
from bftnode.storage.verify import verify_log
from tests.apps.chain import Map
from tests.storage.chains import Client, World, crash, rewrite
from tests.storage.child import ROOT
from tests.storage.test_damage import ask
from tests.storage.test_disk import data_file_is

MIB = 1024 * 1024


def opened(path: Path, world: World, member: int = 0) -> Storage:
    return Storage.open(path, world.membership, member, world.executor(), map_bytes_initial=MIB)


def eventful(world: World) -> tuple[list[AppendBlock], list[Transaction]]:
    """Blocks with all that leaves traces: clients that come and go, deletions, rejections, repeated envelopes."""
    client, late = Client("client", world.membership), Client("late", world.membership)
    early = late.note("early", "1")
    notes = [client.note(f"n{i % 5}", "x" * i) for i in range(12)]
    remove = world.admin.envelope(system_operation(SystemOperation(REMOVE, client.key, 0)))
    several = client.envelope(*(application_operation(b"s%d=%d" % (i % 3, i)) for i in range(9)))
    blocks = [
        [early, world.admit(client)],
        [*notes[:4], early],
        [],
        [*notes[4:8], notes[0], world.admit(late)],
        [early, several, *notes[8:]],
        [notes[1], early, remove],
        [client.note("refused", "1"), late.note("n1", "")],
        [late.note(f"m{i}", "y" * 300) for i in range(40)],
    ]
    sent = [transaction for block in blocks for transaction in block]
    return [world.append(*block, certified=seq % 3 != 1) for seq, block in enumerate(blocks)], sent


def contents(path: Path) -> dict[str, object]:
    """Every record of a closed storage; of Merkle nodes, whose records are as long as flushes made them, the hashes."""
    with lmdb.open(str(path / "lmdb"), map_size=2**30, max_dbs=16) as env:
        dbs = {name: env.open_db(name.encode()) for name in NAMES}
        with env.begin() as txn:
            found: dict[str, object] = {name: list(txn.cursor(db=db)) for name, db in dbs.items() if name != "nodes"}
            found["nodes"] = b"".join(sealed[8:] for _, sealed in txn.cursor(db=dbs["nodes"]))
    return found


@pytest.mark.covers("D01", "D02", "K10")
@pytest.mark.parametrize("flushed_after", [0, 1, 3, 7, 8])
def test_executing_the_log_again_gives_what_was_lost(tmp_path: Path, flushed_after: int) -> None:
    """However much was pending when a node died, and however often it dies while it starts, it is as its twin that
    wrote everything at once: answers, digests, every record."""
    world = World()
    effects, sent = eventful(world)
    storage, twin = opened(tmp_path / "one", world), opened(tmp_path / "twin", world)
    reports = []
    for effect in effects:
        [report] = storage.commit(world.turn(effect))
        reports.append(report)
        if effect.block.seq == flushed_after:
            storage.flush()
        assert twin.commit(world.turn(effect)) == [report]
        twin.flush()
        assert twin.statistics()["derived_height"] == effect.block.seq
    assert [report.executed.state_digest is not None for report in reports] == [False, False, False, True] * 2
    truth = ask(twin, world, sent)
    assert ask(storage, world, sent) == truth
    for _ in range(3):
        crash(storage)
        storage = opened(tmp_path / "one", world)
        assert storage.statistics()["derived_height"] == flushed_after
        assert ask(storage, world, sent) == truth
        storage.check_state()
    more = [world.notes(3), world.append(sent[3]), world.notes(2), world.notes(1)]
    for effect in more:
        assert storage.commit(world.turn(effect)) == twin.commit(world.turn(effect))
    crash(storage)
    opened(tmp_path / "one", world).close()
    twin.close()
    assert contents(tmp_path / "one") == contents(tmp_path / "twin")


@pytest.mark.covers("K13")
def test_an_envelope_is_executed_once_whatever_was_lost(tmp_path: Path) -> None:
    """The nonce that a lost layer had used is used again after the restart, and its result is there."""
    world = World()
    note = world.admin.note("a", "1")
    storage = opened(tmp_path, world)
    [first] = storage.commit(world.turn(world.append(note)))
    crash(storage)
    storage = opened(tmp_path, world)
    [second] = storage.commit(world.turn(world.append(note)))
    assert second.results[0].code == str(Reason.TX_NONCE_USED)
    found = storage.find_transaction(note.id)
    assert found is not None
    assert found.result == first.results[0]
    storage.close()


def test_close_flushes(tmp_path: Path) -> None:
    """After an orderly end nothing has to be executed again; nor after a flush in an idle moment."""
    world = World()
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.notes(3)))
    assert storage.statistics()["derived_height"] == 0
    storage.close()
    storage = opened(tmp_path, world)
    assert (storage.statistics()["derived_height"], storage.statistics()["pending_entries"]) == (1, 0)
    storage.commit(world.turn(world.notes(3)))
    storage.flush()
    storage.flush()
    crash(storage)
    storage = opened(tmp_path, world)
    assert (storage.statistics()["derived_height"], storage.height) == (2, 2)
    storage.check_state()
    storage.close()


def test_what_is_pending_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, entries and bytes each have a bound, and the turn that reaches one flushes; a long turn, too, once."""
    world = World()
    monkeypatch.setattr(pending, "FLUSH_BLOCKS", 4)
    storage = opened(tmp_path, world)
    heights = []
    for _ in range(9):
        storage.commit(world.turn(world.notes(1)))
        heights.append(storage.statistics()["derived_height"])
    assert heights == [0, 0, 0, 4, 4, 4, 4, 8, 8]
    storage.commit(world.turn(*(world.notes(1) for _ in range(9))))
    assert (storage.height, storage.statistics()["derived_height"]) == (18, 18)
    monkeypatch.setattr(pending, "FLUSH_BLOCKS", 1000)
    monkeypatch.setattr(pending, "FLUSH_ENTRIES", 100)
    storage.commit(world.turn(world.notes(10)))
    assert storage.statistics()["derived_height"] == 18
    storage.commit(world.turn(world.notes(40)))
    assert storage.statistics()["derived_height"] == 20
    monkeypatch.setattr(pending, "FLUSH_BYTES", 80_000)
    storage.commit(world.turn(world.notes(1, "x" * 40_000)))
    assert storage.statistics()["derived_height"] == 20
    assert storage.statistics()["pending_bytes"] > 40_000
    storage.commit(world.turn(world.notes(1, "x" * 40_000)))
    assert storage.statistics()["derived_height"] == 22
    storage.check_state()
    storage.close()


def test_members_flush_one_after_the_other(tmp_path: Path) -> None:
    """All have the same blocks; begun apart, they do not all flush at the same one."""
    world = World()
    storages = [opened(tmp_path / str(member), world, member) for member in range(4)]
    flushed = list[tuple[int, int]]()
    for seq in range(1, 2 * pending.FLUSH_BLOCKS + 1):
        turn = world.turn(world.append())
        for member, storage in enumerate(storages):
            storage.commit(turn)
            if storage.statistics()["derived_height"] == seq:
                flushed.append((seq, member))
    assert flushed == [(16, 3), (32, 2), (48, 1), (64, 0), (80, 3), (96, 2), (112, 1), (128, 0)]
    for storage in storages:
        storage.close()


def test_what_is_executed_ahead_is_seen_at_once_and_written_with_the_next_turn(tmp_path: Path) -> None:
    """State and results do not wait for the disk, the log does; a crash in between leaves what the last turn left."""
    world = World()
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.notes(1)))
    note = world.admin.note("a", "1")
    effect = world.append(note)
    done = storage.execute(effect)
    assert (storage.height, storage.unwritten) == (2, 1)
    with storage.reading() as view:
        assert (view.height, view.log.height(), view.state.get(b"aa")) == (2, 1, b"1")
    found = storage.find_transaction(note.id)
    assert found is not None
    assert found.result == done.results[0]
    assert storage.block_at(2) is None
    assert storage.receipt(1) is None
    crash(storage)
    storage = opened(tmp_path, world)
    assert (storage.height, storage.find_transaction(note.id)) == (1, None)
    assert storage.execute(effect) == done
    storage.commit(Turn({"vote": b"1"}))
    assert (storage.height, storage.unwritten, storage.recover().head.seq) == (2, 0, 2)
    assert storage.receipt(1) is not None
    storage.execute(world.notes(1))
    storage.close()
    storage = opened(tmp_path, world)
    assert (storage.height, storage.unwritten) == (2, 0), "closing writes no block without its turn's journal"
    storage.close()


@pytest.mark.covers("D04")
def test_a_disk_that_is_full_at_a_flush_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn that would flush waits for room, reads go on; and where room never comes, the next start executes."""
    monkeypatch.setattr(pending, "FLUSH_BLOCKS", 3)
    world = World()
    storage = opened(tmp_path, world)
    for _ in range(2):
        storage.commit(world.turn(world.notes(3)))
    turn = world.turn(world.notes(3))
    with data_file_is(storage, Path("/dev/full"), os.O_RDWR):
        for _ in range(3):
            with pytest.raises(DiskFull):
                storage.commit(turn)
            assert (storage.height, storage.unwritten, storage.statistics()["derived_height"]) == (3, 1, 0)
            with storage.reading() as view:
                assert (view.height, view.log.height()) == (3, 2)
                assert (view.state.get(b"anote 8"), view.state.get(b"anote 9")) == (b"text 8", None)
        with pytest.raises(DiskFull):
            storage.flush()
    storage.commit(turn)
    assert (storage.height, storage.statistics()["derived_height"]) == (3, 3)
    storage.check_state()
    storage.close()


def filled(storage: Storage, world: World) -> Turn:
    """Commit until there is no room; the turn that found none."""
    operations = [application_operation(b"%d=x" % i) for i in range(3)]
    while True:
        for turn in (
            world.turn(world.append(world.admin.envelope(*operations))),
            Turn({f"{storage.height}": b"x" * 3000}),
        ):
            try:
                storage.commit(turn)
            except DiskFull:
                return turn


@pytest.mark.covers("D04")
def test_a_full_disk_does_not_keep_a_node_from_closing(tmp_path: Path) -> None:
    """What does not fit when a node ends is executed again when it starts; the map that is full stays readable."""
    world = World()
    storage = Storage.open(
        tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB // 4, map_bytes_max=MIB // 2
    )
    turn = filled(storage, world)
    height, before = storage.height - storage.unwritten, storage.statistics()["derived_height"]
    assert before < height
    storage.close()
    storage = Storage.open(
        tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB // 4, map_bytes_max=MIB
    )
    assert storage.height == height
    storage.check_state()
    storage.commit(turn)
    storage.close()


def test_a_view_outlives_the_flush_of_what_it_sees(tmp_path: Path) -> None:
    """Opened before a flush, a view shows its moment to the end: state, places and nodes."""
    world = World()
    storage = opened(tmp_path, world)
    first, second = world.admin.note("a", "1"), world.admin.note("a", "2")
    storage.commit(world.turn(world.append(first)))
    with storage.reading() as view:
        storage.commit(world.turn(world.append(second)))
        storage.flush()
        storage.commit(world.turn(world.append(world.admin.note("a", ""))))
        assert (view.height, view.state.get(b"aa")) == (1, b"1")
        assert view.state.scan(b"a", b"b", 10) == [(b"aa", b"1")]
        assert view.log.placed(first.id) is not None
        assert view.log.placed(second.id) is None
        assert view.log.node_at(0, 0) == storage.node_at(0, 0)
        with pytest.raises(IntegrityError):
            view.log.node_at(0, 1)
        with storage.reading() as later:
            assert (later.height, later.state.get(b"aa")) == (3, None)
            assert later.state.scan(b"a", b"b", 10) == []
    storage.close()


def test_every_reader_sees_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While commits and flushes go on, what threads read in one view is of one height, by every way to read it."""
    monkeypatch.setattr(pending, "FLUSH_BLOCKS", 3)
    world = World()
    storage = opened(tmp_path, world)
    turns = []
    for seq in range(1, 151):
        notes = [world.admin.note(name, str(seq)) for name in ("a", "b", f"only {seq}")]
        turns.append((world.turn(world.append(*notes)), notes[0].id))
    storage.commit(turns[0][0])
    done, reads, failures = threading.Event(), [0, 0, 0], list[BaseException]()

    def read(me: int) -> None:
        try:
            while not done.is_set():
                with storage.reading() as view:
                    text = b"%d" % view.height
                    assert (view.state.get(b"aa"), view.state.get(b"ab")) == (text, text)
                    assert len(view.state.scan(b"aonly", b"ap", 1000)) == view.height
                    assert view.log.placed(turns[view.height - 1][1]) is not None
                    if view.height < len(turns):
                        assert view.log.placed(turns[view.height][1]) is None
                    written = view.log.height()
                    assert written in (view.height - 1, view.height)
                    assert view.log.frontier(3 * written).root() == view.log.header(written).log_root
                reads[me] += 1
        except BaseException as error:  # handed to the test, which fails by it
            failures.append(error)

    threads = [threading.Thread(target=read, args=(me,)) for me in range(3)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)  # as a node does: or three busy readers keep the writer waiting 5 ms a call each
    try:
        for thread in threads:
            thread.start()
        for number, (turn, _) in enumerate(turns[1:]):
            if number % 2:
                storage.execute(turn.appends[0])
            storage.commit(turn)
            storage.commit(Turn())  # LMDB does not count a transaction that wrote nothing
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval_s)
    assert not failures
    assert min(reads) > 0
    storage.close()


@pytest.mark.covers("D20")
def test_data_that_somebody_else_writes_are_not_used(tmp_path: Path) -> None:
    """A transaction that is not ours beneath what is pending stops reads and commits alike."""
    world = World()
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.notes(1)))
    elsewhere = "from tests.storage.chains import rewrite; from pathlib import Path; import sys; "
    elsewhere += "rewrite(Path(sys.argv[1]), 'journal', b'x', b'y')"
    subprocess.run([sys.executable, "-c", elsewhere, str(tmp_path)], cwd=ROOT, check=True)
    with pytest.raises(StorageBroken, match="somebody else"):
        storage.entries(0, 1)
    with pytest.raises(StorageBroken, match="somebody else"):
        storage.commit(world.turn(world.notes(1)))
    storage.close()


KEYS = st.integers(0, 30).map(lambda number: b"k%02d" % number)
CHANGES = st.lists(st.dictionaries(KEYS, st.none() | st.binary(max_size=2), max_size=12), max_size=9)


@given(st.dictionaries(KEYS, st.binary(max_size=2)), CHANGES, KEYS, KEYS, st.integers(1, 40))
def test_layers_are_the_map_that_they_will_become(
    base: dict[bytes, bytes],
    blocks: list[dict[bytes, bytes | None]],
    start: bytes,
    end: bytes,
    limit: int,
) -> None:
    """Merged as they may be, layers over a map read as the map to which the changes were applied."""
    plain, stack = Map(base), Pending(0, NO_STATE)
    for changes in blocks:
        stack = stack.extended(Layer(changes, dict.fromkeys(changes, 0), {}, {}, 0, [], {}), NO_STATE)
        plain.apply(changes)
    layered = LayeredState(Map(base), stack.layers)
    assert [layered.get(b"k%02d" % at) for at in range(31)] == [plain.get(b"k%02d" % at) for at in range(31)]
    assert layered.scan(start, end, limit) == plain.scan(start, end, limit)
    assert layered.scan(start, None, limit) == plain.scan(start, None, limit)


def test_there_are_few_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading through a thousand blocks that are pending is looking into a dozen places."""
    monkeypatch.setattr(pending, "FLUSH_BLOCKS", 10_000)
    stack = Pending(0, NO_STATE)
    for seq in range(1000):
        changes: dict[bytes, bytes | None] = {b"%d %d" % (seq, i): b"" for i in range(1 + seq * 7 % 11)}
        stack = stack.extended(Layer(changes, dict.fromkeys(changes, 0), {}, {}, 0, [], {}), NO_STATE)
        assert len(stack.layers) <= 12
    assert sum(layer.size for layer in stack.layers) == stack.entries


@pytest.mark.covers("D16")
def test_a_crashed_nodes_directory_is_verified(tmp_path: Path) -> None:
    """The log is proved to its head, the state as of the height that the report names, and damage to it is found."""
    world = World()
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.notes(3), world.notes(2)))
    storage.flush()
    storage.commit(world.turn(world.notes(4), world.notes(5)))
    crash(storage)
    report = verify_log(tmp_path, world.membership, executor=world.executor())
    assert report.ok
    assert (report.height, report.derived_height, report.log_size) == (4, 2, 14)
    assert (report.state_checked, report.records_checked) == (True, True)
    rewrite(tmp_path, "state", b"anote 1", b"evil")
    report = verify_log(tmp_path, world.membership, executor=world.executor())
    assert report.fault is not None
    assert b"anote 1".hex() in report.fault.detail
    rewrite(tmp_path, "meta", b"derived", number(5))
    assert not verify_log(tmp_path, world.membership).ok


@pytest.mark.covers("D14")
def test_a_log_that_does_not_lead_from_the_derived_height_is_refused(tmp_path: Path) -> None:
    """Nothing is executed onto a state that is not what its digest says, and no block out of its place."""
    world = World()
    for place, (name, key, value, match) in enumerate(
        (
            ("meta", b"derived", number(3), "a log of 2"),
            ("meta", b"derived", number(1), "state|nodes"),
            ("state", b"anote 0", b"evil", "tally"),
            ("log", number(2), world.propose([world.admin.note("x", "y", nonce=9)]).header_raw, "log/"),
        )
    ):
        world = World()
        path = tmp_path / str(place)
        storage = opened(path, world)
        storage.commit(world.turn(world.notes(3)))
        if name != "meta":
            storage.flush()
        storage.commit(world.turn(world.notes(3)))
        crash(storage)
        rewrite(path, name, key, value)
        with pytest.raises(IntegrityError, match=match):
            opened(path, world)
