"""The state on the disk: every value once, whatever form it has there, and none that is not what was written."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bftnode.apps import kv, log
from bftnode.apps.contract import Application
from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.kv import KeyValue
from bftnode.apps.log import Records
from bftnode.storage import pieces
from bftnode.storage.directory import lock_directory
from bftnode.storage.environment import Environment
from bftnode.storage.records import PAGE_ROOM_BYTES, RECORD_OVERHEAD_BYTES, Databases, Txn
from bftnode.storage.state import (
    NO_TALLY,
    SEARCHES_MAX,
    StoredState,
    Tally,
    apply_changes,
    references,
)
from bftnode.storage.store import IntegrityError, Storage
from tests.storage.chains import World

MIB = 1024 * 1024
SEQ_BITS, OFFSET_BITS = 44, 20


@contextmanager
def emptied(path: Path) -> Iterator[Environment]:
    lock = lock_directory(path)
    environment = Environment(path, MIB, 64 * MIB, lock)
    try:
        yield environment
    finally:
        environment.close()
        os.close(lock)


class Disk:
    """A state and the payloads of the blocks that made it, by the functions that storage uses."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.firsts: dict[int, int] = {}
        self.tally = NO_TALLY

    def apply(self, payload: bytes, changes: dict[bytes, bytes | None]) -> dict[bytes, int]:
        seq = len(self.firsts) + 1
        named = references(seq, payload, changes)

        def work(txn: Txn) -> Tally:
            databases = self.environment.databases
            self.firsts[seq] = pieces.write(txn, databases.blocks, payload)
            return apply_changes(txn, databases.state, changes, named, self.firsts.__getitem__, self.tally)

        self.tally = self.environment.write(work)
        return named

    def entries(self) -> dict[bytes, bytes]:
        with self.environment.read() as txn:
            state = StoredState(txn, self.environment.databases, prove_absence=True)
            assert state.tally() == self.tally
            found = dict(state.items())
            assert all(state.get(key) == value for key, value in found.items())
            return found

    def fill(self) -> float:
        """How full the state's pages are."""
        with self.environment.read() as txn:
            db = self.environment.databases.state.handle
            used = sum(len(key) + len(record) + RECORD_OVERHEAD_BYTES for key, record in txn.cursor(db=db))
            return used / (txn.stat(db)["leaf_pages"] * PAGE_ROOM_BYTES)


def named_part(reference: int, payload: bytes, value: bytes) -> bytes:
    """What a reference says that the value is."""
    offset, head = reference >> OFFSET_BITS & (1 << 24) - 1, reference & (1 << OFFSET_BITS) - 1
    return value[:head] + payload[offset : offset + len(value) - head]


VALUES = st.binary(max_size=80) | st.builds(bytes, st.integers(0, 400)) | st.binary(min_size=200, max_size=2500)
KEYS = st.builds(lambda prefix, at: prefix + b"%d" % at, st.sampled_from([b"a", b"c", b"r"]), st.integers(0, 12))
BLOCKS = st.lists(
    st.tuples(st.dictionaries(KEYS, VALUES | st.none(), max_size=8), st.binary(max_size=40), st.booleans()), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(BLOCKS)
def test_the_state_is_what_was_written(blocks: list[tuple[dict[bytes, bytes | None], bytes, bool]]) -> None:
    """Whatever is written, found in the block or not, in order or not, comes back, with the tally of it."""
    expected: dict[bytes, bytes] = {}
    with TemporaryDirectory() as directory, emptied(Path(directory)) as environment:
        disk = Disk(environment)
        for changes, between, backwards in blocks:
            parts = [value[1:] for value in changes.values() if value is not None]
            payload = between.join(parts[::-1] if backwards else parts)
            named = disk.apply(payload, changes)
            assert named.keys() == changes.keys()
            for key, value in changes.items():
                if value is None:
                    expected.pop(key, None)
                    assert not named[key]
                else:
                    expected[key] = value
                    assert not named[key] or named_part(named[key], payload, value) == value
        assert disk.entries() == expected


def test_values_that_stand_in_the_block_are_named(tmp_path: Path) -> None:
    """Puts of one size and of many sizes, written out of order, and those that the application wraps."""
    dice = random.Random(1)
    values = [dice.randbytes(dice.choice((100, 100, 100, 400, 3000))) for _ in range(300)]
    payload = b"".join(b"key %d" % at + value for at, value in enumerate(values))
    straight: dict[bytes, bytes | None] = {b"a%d" % at: value for at, value in enumerate(values)}
    assert all(references(7, payload, straight).values())
    wrapped: dict[bytes, bytes | None] = {b"a%d" % at: b"wrapped %d" % at + value for at, value in enumerate(values)}
    assert all(references(7, payload, wrapped).values())
    # A key that is written again late keeps its early place among the changes.
    swapped = {b"a0": values[299], **{key: value for key, value in straight.items() if key != b"a0"}}
    assert all(references(7, payload, swapped).values())
    with emptied(tmp_path) as environment:
        disk = Disk(environment)
        for changes in (straight, wrapped, swapped):
            disk.apply(payload, changes)
            assert disk.entries() == changes


def test_what_is_not_in_the_block_costs_a_bounded_search() -> None:
    """Values that an application computes are searched for a while, and those after them are still found nearby."""
    dice = random.Random(2)
    computed: dict[bytes, bytes | None] = {b"a%d" % at: dice.randbytes(64) for at in range(5 * SEARCHES_MAX)}
    value = dice.randbytes(64)
    found = references(1, b"header" + value, {**computed, b"last": value, b"az": value})
    assert [key for key, reference in found.items() if reference] == [b"az"]


@pytest.mark.parametrize("tail", [False, True])
def test_rising_keys_fill_their_pages(tmp_path: Path, tail: bool) -> None:
    """Decimal numbers without zeros before them, as `bftnode bench` counts: each flush comes between older keys."""
    with emptied(tmp_path) as environment:
        disk = Disk(environment)
        for start in range(0, 100_000, 20_000):
            numbers = range(start, start + 20_000)
            changes: dict[bytes, bytes | None] = {b"abench/%d" % at: b"%020d" % at for at in numbers}
            if tail:
                changes |= {b"c" + bytes(32): bytes(520), b"r%d" % start: b"result"}
            disk.apply(b"", changes)
        assert disk.fill() > 0.8
        assert len(disk.entries()) == disk.tally.entries
        disk.apply(b"", {b"abench/%d" % at: None for at in range(0, 100_000, 2)})
        assert len([key for key in disk.entries() if key.startswith(b"abench")]) == 50_000


def test_random_keys_are_as_full_as_they_were(tmp_path: Path) -> None:
    """Where new keys come everywhere, nothing is moved for them."""
    dice = random.Random(3)
    with emptied(tmp_path) as environment:
        disk = Disk(environment)
        for _ in range(5):
            disk.apply(b"", {b"a" + dice.randbytes(16): dice.randbytes(20) for _ in range(10_000)})
        assert disk.fill() > 0.6
        assert len(disk.entries()) == 50_000


@pytest.mark.parametrize(
    ("application", "operation"),
    [
        (KeyValue(), lambda at, value: kv.put(b"bench/0a1b2c3d/%d" % at, value)),
        (Records(), lambda at, value: log.append(value)),
    ],
    ids=["kv", "log"],
)
def test_the_disk_holds_little_more_than_the_payload(tmp_path: Path, application: Application, operation) -> None:  # type: ignore[no-untyped-def]
    """Operations with values of 128 bytes, in envelopes of 1,000: at most 1.6 times what clients handed over."""
    world, dice, payload = World(), random.Random(4), 0
    executor = Executor(application, [world.admin.key], 1000)
    storage = Storage.open(tmp_path, world.membership, 0, executor, map_bytes_initial=MIB)
    before = storage.statistics()["used_bytes"]
    for block in range(40):
        operations = [operation(block * 1000 + at, dice.randbytes(128)) for at in range(1000)]
        payload += sum(map(len, operations))
        transaction = world.admin.envelope(*map(application_operation, operations))
        storage.commit(world.turn(world.append(transaction)))
    storage.check_state()
    used = storage.statistics()["used_bytes"] - before
    storage.close()
    assert used < 1.6 * payload, f"{used / payload:.2f}"


@pytest.mark.covers("D06")
def test_damage_in_a_named_value_is_found(tmp_path: Path) -> None:
    """What was changed in the log's copy (and in those on pages that are free) is never handed out as a value."""
    world = World()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB)
    storage.commit(world.turn(world.notes(3, "a text that is long enough to be named instead of written twice")))
    storage.commit(world.turn(world.notes(1)))  # a start reads the last block
    storage.close()
    data = tmp_path / "lmdb" / "data.mdb"
    text = b"a text that is long enough to be named instead of written twice 1"
    whole = data.read_bytes()
    data.write_bytes(whole.replace(text, text[:-1] + b"3"))
    storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=MIB)
    with pytest.raises(IntegrityError), storage.reading() as view:
        view.state.get(b"anote 1")
    with pytest.raises(IntegrityError):
        storage.check_state()
    storage.close()


def test_databases_are_what_the_environment_opens(tmp_path: Path) -> None:
    """A new environment has every named database, empty."""
    with emptied(tmp_path) as environment, environment.read() as txn:
        assert isinstance(environment.databases, Databases)
        assert [txn.stat(db.handle)["entries"] for db in environment.databases] == [0] * len(Databases._fields)
