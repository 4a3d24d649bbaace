"""Disks that are full, broken or taken away, a map that grows under readers, and processes that die."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bftnode.protocol.ed25519 import verify
from bftnode.protocol.receipts import check_receipt
from bftnode.storage import environment
from bftnode.storage.environment import Gate
from bftnode.storage.store import DiskFull, IntegrityError, Storage, StorageBroken, Turn
from bftnode.storage.verify import verify_log
from tests.storage.chains import World, crash
from tests.storage.child import ROOT

MIB = 1024 * 1024


def child(verb: str, path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.storage.child", verb, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.covers("D01", "D02")
@pytest.mark.parametrize("verb", ["commit", "commit-and-flush"])
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path, verb: str) -> None:
    """Killed at any moment of a commit loop, storage holds every turn that was reported, whole, and goes on; where
    derived data are flushed every other block, and where all of them are executed again."""
    world, reported = World(), 0
    for lines in (1, 7, 2, 23, 4):
        with child(verb, tmp_path) as process:
            assert process.stdout is not None
            for _ in range(lines):
                line = process.stdout.readline()
                assert line, process.stderr and process.stderr.read()
                reported = int(line)
            process.kill()
        storage = Storage.open(tmp_path, world.membership, 0, world.executor())
        past = storage.recover()
        assert past.head.seq >= reported
        assert past.journal == {"position": b"%d" % past.head.seq}
        assert past.frontier.size == 5 * past.head.seq
        assert past.clients[world.admin.key].highest == 5 * past.head.seq
        for nonce in range(1, 5 * past.head.seq + 1):
            result = storage.result_of(world.admin.key, nonce)
            assert result is not None
            assert (result.index, result.code) == (nonce - 1, "")
        storage.check_state()
        crash(storage)
    report = verify_log(tmp_path, world.membership, executor=world.executor())
    assert report.fault is None
    assert report.state_checked


@pytest.mark.covers("D04")
def test_full_disk_stops_writing_and_nothing_else(tmp_path: Path) -> None:
    """At the end of the disk a turn is undone, reads and restarts go on, and with room the same turn commits."""
    with child("fill", tmp_path) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    report = verify_log(tmp_path, World().membership, executor=World().executor())
    assert (report.fault, report.height) == (None, int(output) + 2)


@contextmanager
def data_file_is(storage: Storage, path: Path, flags: int, having: int = 0) -> Iterator[None]:
    """LMDB's descriptors of its data file (`having` such flags) lead to `path` meanwhile: a disk that answers as that
    file does."""
    environment = storage._environment
    names = [int(name) for name in os.listdir("/proc/self/fd")]
    targets = {name: os.readlink(f"/proc/self/fd/{name}") for name in names if os.path.exists(f"/proc/self/fd/{name}")}
    data = str(environment._data)
    theirs = [name for name, target in targets.items() if target == data and name != environment._file]
    theirs = [name for name in theirs if fcntl.fcntl(name, fcntl.F_GETFL) & having == having]
    assert theirs, "LMDB has its data file open"
    victims = [(descriptor, os.dup(descriptor)) for descriptor in theirs]
    stand_in = os.open(path, flags)
    for descriptor in theirs:
        os.dup2(stand_in, descriptor)
    try:
        yield
    finally:
        for descriptor, kept in victims:
            os.dup2(kept, descriptor)
            os.close(kept)
        os.close(stand_in)


def goes_on(path: Path, world: World, turn: Turn) -> None:
    """The next life finds the first turn, which was durable, and not the second, which it takes."""
    storage = Storage.open(path, world.membership, 0, world.executor())
    assert storage.recover().journal == {"position": b"1"}
    storage.commit(turn)
    assert storage.recover().journal == {"position": b"2"}
    storage.check_state()
    storage.close()


@pytest.mark.covers("D04")
def test_enospc_of_a_commit_leaves_the_turn_to_be_tried_again(tmp_path: Path) -> None:
    """Where a file system does not honour reservations and the write itself says ENOSPC, nothing is lost either."""
    world = World()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB)
    turn = world.turn(world.notes(3))
    with data_file_is(storage, Path("/dev/full"), os.O_RDWR):
        for _ in range(3):
            with pytest.raises(DiskFull):
                storage.commit(turn)
    assert (storage.height, storage.unwritten) == (1, 1), "executed, and not in the log"
    assert storage.block_at(1) is None
    storage.commit(turn)
    assert (storage.height, storage.unwritten) == (1, 0)
    storage.check_state()
    assert storage.recover().journal == {"position": b"1"}
    storage.close()


@pytest.mark.covers("D04")
def test_a_meta_page_that_finds_no_room_stops_the_node(tmp_path: Path) -> None:
    """LMDB writes it last and by a descriptor of its own, and serves nothing once it fails: a member that called that a
    full disk answered no reads. Its next life reads what is there, and goes on."""
    world = World()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB)
    storage.commit(world.turn(world.notes(3)))
    turn = world.turn(world.notes(3))
    with data_file_is(storage, Path("/dev/full"), os.O_RDWR, having=os.O_DSYNC):
        with pytest.raises(StorageBroken, match=r"a meta page could not be written: .*No space left on device"):
            storage.commit(turn)
        with pytest.raises(StorageBroken, match=r"a meta page could not be written: .*MDB_PANIC"):
            storage.block_at(1)
        with pytest.raises(StorageBroken, match="an earlier commit failed"):
            storage.commit(turn)
    storage.close()
    goes_on(tmp_path, world, turn)


@pytest.mark.covers("D05", "D15")
@pytest.mark.parametrize("stand_in", ["/proc/self/mem", "/dev/null"])
def test_a_disk_that_fails_stops_the_node(tmp_path: Path, stand_in: str) -> None:
    """After an I/O error nothing is tried again in this process; a restart finds the last durable turn."""
    world = World()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB)
    storage.commit(world.turn(world.notes(3)))
    turn = world.turn(world.notes(3))
    # Memory that is not mapped answers a write with EIO; a descriptor opened for reading with EBADF.
    flags = os.O_RDWR if "mem" in stand_in else os.O_RDONLY
    with data_file_is(storage, Path(stand_in), flags), pytest.raises(StorageBroken):
        storage.commit(turn)
    with pytest.raises(StorageBroken, match="an earlier commit failed"):
        storage.commit(turn)
    storage.close()
    goes_on(tmp_path, world, turn)


@pytest.mark.covers("D12")
def test_the_map_grows_under_readers(tmp_path: Path) -> None:
    """While threads read receipts and state, commits enlarge the map many times, and every answer is right."""
    world = World()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB // 4)
    effects = [world.notes(50, "x" * 1400) for _ in range(60)]
    storage.commit(world.turn(effects[0]))
    done, reads, failures = threading.Event(), [0, 0, 0], list[BaseException]()

    def read(me: int) -> None:
        try:
            while not done.is_set():
                with storage.reading() as view:
                    index = reads[me] % (view.log.height() * 50)  # the log may be behind what is executed
                    receipt = view.log.receipt(index)
                    entry = storage.entries(index, 1)[0]
                    assert receipt is not None
                    check_receipt(receipt, entry.envelope, world.membership, verify)
                    assert view.state.get(b"anote %d" % (view.height * 50 - 1)) is not None
                reads[me] += 1
        except BaseException as error:  # handed to the test, which fails by it
            failures.append(error)

    threads = [threading.Thread(target=read, args=(me,)) for me in range(3)]
    for thread in threads:
        thread.start()
    for effect in effects[1:]:
        storage.commit(world.turn(effect))
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert min(reads) > 0
    assert storage.statistics()["map_bytes"] >= 16 * MIB // 4
    storage.check_state()
    storage.close()


@pytest.mark.covers("D11")
def test_a_reader_that_stays_holds_up_growth_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth gives up on a reader that does not leave; the turn commits once it has."""
    monkeypatch.setattr(environment, "READ_S_MAX", 0.01)
    world = World()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB // 4)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with storage.reading():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait()
    turn = world.turn(world.notes(20, "x" * 50_000))
    with pytest.raises(DiskFull, match="read transaction"):
        storage.commit(turn)
    leave.set()
    thread.join()
    storage.commit(turn)
    storage.check_state()
    storage.close()


def test_a_full_map_is_a_full_disk(tmp_path: Path) -> None:
    """At its bound the map does not grow, and smaller turns still fit."""
    world = World()
    storage = Storage.open(
        tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB // 4, map_bytes_max=MIB
    )
    with pytest.raises(DiskFull, match="at most"):
        storage.commit(Turn({"large": b"x" * 2 * MIB}))
    storage.commit(Turn({"small": b"x"}))
    assert storage.recover().journal == {"small": b"x"}
    storage.close()


def test_the_gate_lets_a_thread_in_again(tmp_path: Path) -> None:
    """Who is inside may enter again while the map waits to move; newcomers wait."""
    gate, order = Gate(), list[str]()
    entered, closing = threading.Event(), threading.Event()

    def reader() -> None:
        with gate.passing():
            entered.set()
            closing.wait()
            with gate.passing():
                order.append("again")

    def newcomer() -> None:
        with gate.passing():
            order.append("newcomer")

    threads = [threading.Thread(target=reader), threading.Thread(target=newcomer)]
    threads[0].start()
    entered.wait()
    with gate.closed(0) as empty:
        assert not empty
        threads[1].start()
        closing.set()
        threads[0].join()
        order.append("closed")
    threads[1].join()
    assert order == ["again", "closed", "newcomer"]
    assert gate.inside == 0


def wake(path: Path, world: World) -> int | type[StorageBroken]:
    """The height at which a node wakes up, with the whole turn of that height; or why it does not."""
    try:
        storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=MIB)
    except StorageBroken as error:
        return type(error)
    past = storage.recover()
    assert past.journal == {"position": b"%d" % past.head.seq}
    crash(storage)
    return past.head.seq


@pytest.mark.covers("D03", "P13")
def test_a_damaged_meta_page_forgets_no_turn(tmp_path: Path) -> None:
    """Whichever byte of a meta page is wrong, the node refuses to start or has the last turn, which was promised."""
    world = World()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB)
    for _ in range(3):
        storage.commit(world.turn(world.notes(3)))
    crash(storage)  # a flush would be the last transaction
    data, lock = tmp_path / "lmdb" / "data.mdb", tmp_path / "LOCK"
    whole, noted = data.read_bytes(), lock.read_bytes()
    outcomes = set()
    for page in (0, 4096):
        for at in range(page, page + 160):
            with open(data, "r+b") as file:
                file.seek(at)
                file.write(bytes((whole[at] ^ 0x40,)))
            outcomes.add(wake(tmp_path, world))
            data.write_bytes(whole)
            lock.write_bytes(noted)
    assert outcomes == {IntegrityError, 3}


@pytest.mark.covers("D03", "D02")
def test_a_torn_meta_page_is_the_older_one_or_nothing(tmp_path: Path) -> None:
    """The power fails while the last commit writes it: wherever it is torn, the node refuses to start or has one of the
    last two turns, whole. Nothing was said of the last one: its commit has not returned, so it is not noted either."""
    world = World()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB)
    data, lock = tmp_path / "lmdb" / "data.mdb", tmp_path / "LOCK"
    for _ in range(3):
        before, noted = data.read_bytes(), lock.read_bytes()
        storage.commit(world.turn(world.notes(3)))
    crash(storage)
    whole = data.read_bytes()
    [page] = [at for at in (0, 4096) if before[at : at + 4096] != whole[at : at + 4096]]
    outcomes = set()
    for torn in range(page, page + 160):
        data.write_bytes(whole[:page] + whole[page:torn] + before[torn : page + 4096] + whole[page + 4096 :])
        lock.write_bytes(noted)
        outcomes.add(wake(tmp_path, world))
    assert outcomes == {2, 3}
