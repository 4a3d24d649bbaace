"""Damage on a real disk: it hits what it names, and the storage refuses it."""

from pathlib import Path
from random import Random

import pytest

from bftnode.storage.environment import opened_read_only
from bftnode.storage.errors import IntegrityError
from bftnode.storage.records import NAMES
from bftnode.storage.store import Storage, Turn
from tests.storage.chains import Client, World
from theatre import rot
from theatre.troupe import Failed


def build(path: Path) -> World:
    """A log of four blocks, with two records in the journal."""
    world = World()
    client = Client("client", world.membership)
    storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=1024 * 1024)
    storage.commit(world.turn(world.append(world.admit(client))))
    for number in range(3):
        storage.commit(world.turn(world.append(client.note(f"n{number}", "x"))))
    storage.commit(Turn({"vote": b"v" * 100, "view": b"w" * 100}, []))
    storage.close()
    return world


def contents(path: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    """All that stands in LMDB, unchecked, by database."""
    with opened_read_only(path / "lmdb", lock=False) as (env, databases), env.begin() as txn:
        return {name: list(txn.cursor(db=getattr(databases, name).handle)) for name in NAMES}


@pytest.mark.covers("D06")
@pytest.mark.parametrize("what", ["journal", "state", "log", "blocks"])
def test_a_flipped_bit_is_in_the_records_that_it_names_and_nowhere_else(tmp_path: Path, what: str) -> None:
    """One bit in each of two records; what is read of everything else is what it was."""
    build(tmp_path)
    before = contents(tmp_path)
    names = rot.flip_bits(tmp_path, what, 2, Random(1), alive=False)
    after = contents(tmp_path)
    assert len(names) == 2
    changed = [
        (name, int.from_bytes(old, "big") ^ int.from_bytes(new, "big"))
        for name in NAMES
        for (_, old), (_, new) in zip(before[name], after[name], strict=True)
        if old != new
    ]
    assert [(name, bits.bit_count()) for name, bits in changed] == [(what, 1), (what, 1)]


@pytest.mark.covers("D06", "D14")
@pytest.mark.parametrize("what", ["journal", "state"])
def test_who_starts_on_a_damaged_disk_refuses_it(tmp_path: Path, what: str) -> None:
    """A flipped bit, or a record in another one's place, and the record's name is in the complaint."""
    for number in range(2):
        path = tmp_path / str(number)
        world = build(path)
        wake(path, world)  # which it is not before
        if number:
            _, name = rot.misdirect(path, what, Random(1))
        else:
            (name,) = rot.flip_bits(path, what, 1, Random(1), alive=False)
        with pytest.raises(IntegrityError, match=name):
            wake(path, world)


def wake(path: Path, world: World) -> None:
    """As a daemon does before it says anything. Raises IntegrityError."""
    storage = Storage.open(path, world.membership, 0, world.executor())
    try:
        storage.recover()
    finally:
        storage.close()


def test_what_is_not_there_cannot_rot(tmp_path: Path) -> None:
    """A step that damages nothing is a mistake of the scenario, not a member that bears it."""
    world = World()
    Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=1024 * 1024).close()
    with pytest.raises(Failed, match="log holds nothing that could rot"):
        rot.flip_bits(tmp_path, "log", 1, Random(1), alive=False)
    with pytest.raises(Failed, match="journal holds no two records"):
        rot.misdirect(tmp_path, "journal", Random(1))
    with pytest.raises(Failed, match="a disk has no shelf"):
        rot.flip_bits(tmp_path, "shelf", 1, Random(1), alive=False)
