"""Bit rot: a flipped bit anywhere in the data file is found or does no harm, and never becomes a wrong answer."""

import random
from pathlib import Path

import pytest

from bftnode.apps.execution import CLIENT_PREFIX
from bftnode.protocol.errors import Refused
from bftnode.protocol.transactions import Transaction
from bftnode.storage.store import IntegrityError, Storage, StorageBroken, Turn
from bftnode.storage.verify import verify_log
from tests.storage.chains import Client, World, delete, rewrite

META_BYTES = 2 * 4096
POSITIONS = 100
"""Three thousand, of another seed, were tried when this was written; these are a sample that takes some seconds."""


def build(path: Path) -> tuple[World, list[Transaction]]:
    """A log with blocks of many sizes, uncertified ones, rejected and repeated transactions, and stored blocks."""
    world = World()
    client = Client("client", world.membership)
    storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=1024 * 1024)
    sent = [world.admit(client)]
    storage.commit(world.turn(world.append(*sent)))
    for size in (1, 3, 0, 40, 2):
        notes = [client.note(f"n{size}-{i}", "x" * (size * 7)) for i in range(size)]
        sent += notes
        storage.commit(world.turn(world.append(*notes, certified=size != 3)))
    storage.commit(world.turn(world.append(sent[1])))
    large = client.note("large", "y" * 20_000)
    sent.append(large)
    storage.commit(world.turn(world.append(large)))
    storage.commit(Turn({"vote": b"v" * 100}, [world.propose([client.note("z", "z")])]))
    storage.close()
    return world, sent


def ask(storage: Storage, world: World, sent: list[Transaction]) -> dict[str, object]:
    """Every kind of answer. Raises StorageBroken where one is refused."""
    past = storage.recover()
    answers: dict[str, object] = {
        "head": past.head.hash,
        "frontier": past.frontier.peaks,
        "certificate": past.certificate,
        "journal": past.journal,
        "blocks": list(past.blocks),
        "clients": {key: (window.role, window.highest, window.used) for key, window in past.clients.items()},
        "entries": storage.entries(0, 1000),
        "run": storage.read_run(1, 100),
    }
    for index in range(past.frontier.size):
        answers[f"receipt {index}"] = storage.receipt(index)
    for transaction in sent:
        answers[f"found {transaction.id.hex()}"] = storage.find_transaction(transaction.id)
        answers[f"result {transaction.id.hex()}"] = storage.result_of(*transaction.key)
    for seq in range(past.head.seq + 1):
        answers[f"block {seq}"] = storage.block_at(seq)
    with storage.reading() as view:
        answers["state"] = view.state.scan(b"", None, 10_000)
        for key, _ in view.state.scan(b"a", b"b", 10_000):
            answers[f"state {key.hex()}"] = view.state.get(key)
        answers["role"] = storage.client_role(world.admin.key)
    return answers


def flip(data: Path, whole: bytes, position: int) -> None:
    with open(data, "r+b") as file:
        file.seek(position // 8)
        file.write(bytes((whole[position // 8] ^ 1 << position % 8,)))


@pytest.mark.long
@pytest.mark.covers("D06")
def test_a_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    """After any single flip, opening or reading names the damage, or every answer is the true one."""
    world, sent = build(tmp_path)
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    truth, used = ask(storage, world, sent), storage.statistics()["used_bytes"]
    storage.close()
    report = verify_log(tmp_path, world.membership, executor=world.executor())
    data = tmp_path / "lmdb" / "data.mdb"
    whole = data.read_bytes()
    found, verified = 0, 0
    for position in random.Random(6).sample(range(META_BYTES * 8, used * 8), POSITIONS):
        flip(data, whole, position)
        try:
            storage = Storage.open(tmp_path, world.membership, 0, world.executor(), map_bytes_initial=1024 * 1024)
            try:
                assert ask(storage, world, sent) == truth, f"a wrong answer after flipping bit {position}"
            finally:
                storage.close()
        except StorageBroken:
            found += 1
        again = verify_log(tmp_path, world.membership, executor=world.executor())
        assert again == report or not again.ok
        verified += not again.ok
        data.write_bytes(whole)
    assert found > POSITIONS // 10
    assert verified > POSITIONS // 10


@pytest.mark.covers("D06")
def test_a_record_under_a_damaged_key_is_missed_not_denied(tmp_path: Path) -> None:
    """A key that no longer is itself hides its record; asking for it finds the damage instead of nothing."""
    world, _ = build(tmp_path)
    data = tmp_path / "lmdb" / "data.mdb"
    whole = data.read_bytes()
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    with storage.reading() as view:
        keys = [key for key, _ in view.state.scan(b"a", b"b", 100)][1:-1:7]
    storage.close()
    for key in keys:
        # Every copy of the key in the file, live or not.
        data.write_bytes(whole.replace(key, key[:-1] + bytes((key[-1] ^ 1,))))
        try:
            storage = Storage.open(tmp_path, world.membership, 0, world.executor())
        except IntegrityError:
            continue  # out of order now: the walk over the pages has seen it
        with pytest.raises(IntegrityError), storage.reading() as view:
            view.state.get(key)
        with pytest.raises(IntegrityError):
            storage.check_state()
        storage.close()
    assert len(keys) > 3


@pytest.mark.covers("D14")
def test_a_lost_write_is_found_by_the_tally(tmp_path: Path) -> None:
    """An old value under its own key has a seal that fits; the sum of all seals does not."""
    world, _ = build(tmp_path)
    key = CLIENT_PREFIX + world.admin.key
    old = world.executor().initial_state()[key]
    assert old is not None
    rewrite(tmp_path, "state", key, old)
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    with storage.reading() as view:
        assert view.state.get(key) == old
    with pytest.raises(IntegrityError, match="tally"):
        storage.recover()
    storage.close()


@pytest.mark.covers("D06")
def test_an_entry_that_is_gone_is_found_by_the_tally(tmp_path: Path) -> None:
    """Nothing is there whose seal could be wrong."""
    world, _ = build(tmp_path)
    delete(tmp_path, "state", b"an40-7")
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    with pytest.raises(IntegrityError, match="tally"):
        storage.recover()
    with pytest.raises(IntegrityError, match="tally"):
        storage.check_state()
    storage.close()


def test_damage_is_no_refusal() -> None:
    """An application's operation may be refused and the block goes on; a damaged record must not look like that."""
    assert not issubclass(StorageBroken, Refused)
    assert issubclass(IntegrityError, StorageBroken)
