"""The two pages that LMDB begins with: a bit of them, or an older file, does not take a commit back unseen."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from bftnode.cli.errors import complaint_of
from bftnode.storage.errors import IntegrityError, StorageBroken
from bftnode.storage.metas import META_BYTES
from bftnode.storage.store import Storage, Turn
from bftnode.storage.verify import verify_log
from tests.storage.chains import World, crash
from tests.storage.test_damage import flip

PAGE_BYTES = 4096


def build(path: Path) -> tuple[World, dict[str, bytes]]:
    """Killed after its last promise."""
    world = World()
    storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=1024 * 1024)
    storage.commit(world.turn(world.append()))
    for number in range(6):
        storage.commit(Turn({"commit": b"%d" % number}))
    journal = storage.recover().journal
    crash(storage)
    return world, journal


def journal_of(path: Path, world: World) -> dict[str, bytes]:
    """As a daemon reads it at its start. Raises StorageBroken."""
    storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=1024 * 1024)
    try:
        return storage.recover().journal
    finally:
        crash(storage)


@pytest.mark.long
@pytest.mark.covers("D03", "D06", "P13")
@pytest.mark.parametrize("page", [0, 1])
def test_no_flipped_bit_of_a_meta_page_forgets_a_promise(tmp_path: Path, page: int) -> None:
    """Every bit of both that means something: what was promised last is there, or nothing is opened."""
    world, journal = build(tmp_path)
    data, lock = tmp_path / "lmdb" / "data.mdb", tmp_path / "LOCK"
    whole, noted = data.read_bytes(), lock.read_bytes()
    refused = 0
    for position in range(8 * page * PAGE_BYTES, 8 * (page * PAGE_BYTES + META_BYTES)):
        flip(data, whole, position)
        try:
            assert journal_of(tmp_path, world) == journal, f"forgotten after flipping bit {position}"
        except StorageBroken:
            refused += 1
        data.write_bytes(whole)
        lock.write_bytes(noted)
    assert refused > META_BYTES


@pytest.mark.covers("D07", "D16")
def test_an_older_data_file_is_refused_and_log_verify_says_so(tmp_path: Path) -> None:
    """Put back beside what was noted later; as a whole directory it is for the others to tell (replica/nonces.py)."""
    world, _ = build(tmp_path)
    old = tmp_path.parent / f"{tmp_path.name}-old"
    shutil.copytree(tmp_path, old)
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    storage.commit(Turn({"commit": b"later"}))
    storage.close()
    shutil.copy(old / "lmdb" / "data.mdb", tmp_path / "lmdb" / "data.mdb")
    with pytest.raises(IntegrityError, match="older than what was written to it: transaction") as refusal:
        journal_of(tmp_path, world)
    assert "put data/ back as a whole" in complaint_of(refusal.value).hint
    report = verify_log(tmp_path, world.membership)
    assert report.fault is not None
    assert "older than what was written" in report.fault.detail
    assert verify_log(old, world.membership).ok
    assert journal_of(old, world)["commit"] == b"5"


@pytest.mark.covers("D02")
def test_a_note_that_a_power_cut_left_behind_refuses_nothing(tmp_path: Path) -> None:
    """It is never synced: what is there may be of any commit before, or a piece, or nothing. LMDB takes pages in turn,
    so that a meta page says the same again some commits later."""
    world, _ = build(tmp_path)
    lock = tmp_path / "LOCK"
    notes = [b"", lock.read_bytes()[:5], lock.read_bytes()]
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    for number in range(10, 40):
        storage.commit(Turn({"commit": b"%d" % number}))
        notes.append(lock.read_bytes())
    crash(storage)
    assert len(set(notes)) == len(notes)
    assert len({note[-META_BYTES + 16 : -8] for note in notes[3:]}) < 30, "of one page, what it says beside its id"
    for note in notes:
        lock.write_bytes(note)
        assert journal_of(tmp_path, world)["commit"] == b"39"


def test_a_disk_that_does_not_take_the_note_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after any write that fails: the node stops, and its next life reads what is there. A full one may lack it."""
    world, _ = build(tmp_path)
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())

    failing = [errno.ENOSPC, errno.EIO]

    def fail(*_: object) -> int:
        code = failing.pop(0)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwrite", fail)
    storage.commit(Turn({"commit": b"on a full disk"}))
    with pytest.raises(StorageBroken, match="LOCK cannot be written: Input/output error"):
        storage.commit(Turn({"commit": b"later"}))
    monkeypatch.undo()
    crash(storage)
    assert journal_of(tmp_path, world)["commit"] == b"later"
