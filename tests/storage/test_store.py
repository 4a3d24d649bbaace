"""Storage: what is committed is there after a reopen, whole turns or nothing, and only for the node it belongs to."""

from pathlib import Path

import pytest

from bftnode.apps.execution import REMOVE, SystemOperation, system_operation
from bftnode.protocol import limits
from bftnode.protocol.blocks import genesis_block, hash_header, pack_block
from bftnode.protocol.certificates import check_certificate
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import EMPTY_ROOT, Frontier, consistency_proof, verify_consistency
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT
from bftnode.protocol.receipts import check_receipt
from bftnode.storage.directory import identity_of
from bftnode.storage.records import SCHEMA
from bftnode.storage.store import IntegrityError, Storage, StorageBroken, Turn
from tests.storage.chains import Client, World, rewrite

MIB = 1024 * 1024


def opened(path: Path, world: World, member: int = 1) -> Storage:
    return Storage.open(path, world.membership, member, world.executor(), map_bytes_initial=MIB)


def test_new_node_starts_at_the_genesis_block(tmp_path: Path) -> None:
    """An empty directory becomes a node that knows the genesis block and its first administrator."""
    world = World()
    storage = opened(tmp_path / "data", world)
    past = storage.recover()
    assert past.head.hash == genesis_block(world.membership.chain_id).hash
    assert (past.frontier.size, past.frontier.root(), past.certificate) == (0, EMPTY_ROOT, None)
    assert (past.journal, past.blocks) == ({}, {})
    assert {key: window.role for key, window in past.clients.items()} == {world.admin.key: ADMINISTRATOR}
    assert storage.client_role(world.admin.key) == ADMINISTRATOR
    storage.close()


def test_reopened_node_recovers_what_was_committed(tmp_path: Path) -> None:
    """Journal, log, certificate, stored blocks and client windows are the same after a restart."""
    world = World()
    client = Client("client", world.membership)
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.append(world.admit(client), client.note("a", "1"))))
    storage.commit(world.turn(world.append(client.note("a", "2"), certified=False), world.notes(3)))
    kept, gone = world.propose([client.note("b", "1")]), world.propose([client.note("b", "2")])
    storage.commit(Turn({"vote": b"one", "base": b"two"}, [kept, gone]))
    storage.commit(Turn({"vote": b"three"}, drops=[gone.hash]))
    storage.close()

    storage = opened(tmp_path, world)
    past = storage.recover()
    assert (past.head.hash, past.frontier.size, past.frontier.root()) == (
        world.head.hash,
        world.frontier.size,
        world.frontier.root(),
    )
    assert past.certificate is not None
    assert past.certificate.block == world.head.hash
    assert past.journal == {"position": b"3", "vote": b"three", "base": b"two"}
    assert list(past.blocks) == [kept.hash]
    assert past.blocks[kept.hash].transactions == kept.transactions
    assert (past.clients[client.key].role, past.clients[client.key].highest) == (CLIENT, 2)
    assert storage.read_block(gone.hash) is None
    assert storage.read_block(kept.hash) == pack_block(kept)
    # It goes on where it stopped: the digest that was stored with the head is the one it continues.
    storage.commit(world.turn(world.notes(2)))
    storage.check_state()
    storage.close()


def test_executed_blocks_report_results_roles_and_checkpoint_digests(tmp_path: Path) -> None:
    """What execution did comes back with the commit, and the state digest at checkpoint heights alone."""
    world, other = World(checkpoint_interval=2), World(checkpoint_interval=2)
    client = Client("client", world.membership)
    storage, twin = opened(tmp_path / "one", world), opened(tmp_path / "two", world, member=2)
    admit, note = world.admit(client), client.note("a", "1")
    again, refused = client.note("a", "1"), client.note("", "denied")
    remove = world.admin.envelope(system_operation(SystemOperation(REMOVE, client.key, 0)))
    first, second = world.append(admit, note), world.append(note, again, refused, remove, certified=True)
    [one] = storage.commit(world.turn(first))
    [two] = storage.commit(world.turn(second))
    assert (one.executed.seq, one.executed.clients, one.executed.state_digest) == (1, ((client.key, CLIENT),), None)
    assert [item.code for item in two.executed.transactions] == [str(Reason.TX_NONCE_USED), "", "", ""]
    assert two.executed.clients == ((client.key, 0),)
    assert two.executed.transactions[1][:2] == (client.key, 2)
    assert two.results[1].results[0].value == b"1"
    assert two.results[2].results[0].code == str(Reason.TX_DENIED)
    # A replica that executes both in one turn has the same state.
    both = twin.commit(world.turn(first, second))
    assert [item.executed for item in both] == [one.executed, two.executed]
    assert two.executed.state_digest is not None
    assert other.head.seq == 0
    storage.close()
    twin.close()


def test_transactions_are_found_by_id_and_by_nonce(tmp_path: Path) -> None:
    """An id means the place where it was executed; a rejected envelope has its rejection as its result."""
    world = World()
    client = Client("client", world.membership)
    storage = opened(tmp_path, world)
    early = client.note("a", "1", nonce=1)
    storage.commit(world.turn(world.append(early)))
    found = storage.find_transaction(early.id)
    assert found is not None
    assert found.result is not None
    assert (found.log_index, found.result.code) == (0, str(Reason.TX_UNKNOWN_CLIENT))
    [done] = storage.commit(world.turn(world.append(world.admit(client), early)))
    storage.commit(world.turn(world.append(early)))
    found = storage.find_transaction(early.id)
    assert found is not None
    assert (found.client, found.nonce, found.seq, found.log_index) == (client.key, 1, 2, 2)
    assert found.result == done.results[1] == storage.result_of(client.key, 1)
    assert storage.find_transaction(bytes(32)) is None
    assert storage.result_of(client.key, 2) is None
    assert storage.client_role(bytes(32)) == 0
    storage.close()


def test_log_entries_are_read_by_index(tmp_path: Path) -> None:
    """Entries come in order from any index, with their height and agreed time, as many as asked for."""
    world = World()
    storage = opened(tmp_path, world)
    effects = [world.notes(3), world.append(), world.notes(1), world.notes(40)]
    storage.commit(world.turn(*effects))
    truth = [
        (effect.block.seq, effect.block.header.time_ms, envelope)
        for effect in effects
        for envelope in effect.block.transactions
    ]
    for first in (0, 2, 3, 4, 43, 44):
        got = storage.entries(first, 5)
        assert [item[1:] for item in got] == truth[first : first + 5]
        assert [item.log_index for item in got] == list(range(first, min(first + 5, 44)))
    assert storage.entries(1000, 5) == []
    header, payload, certificate = storage.block_at(3) or pytest.fail("there is a block 3")
    assert (header, payload) == (effects[2].block.header_raw, effects[2].block.payload)
    assert certificate == effects[2].certificate
    assert storage.block_at(5) is None
    assert storage.read_block(effects[1].block.hash) == pack_block(effects[1].block)
    storage.close()


def test_every_receipt_proves_its_entry(tmp_path: Path) -> None:
    """Receipts verify with the membership alone, also where a later block's certificate commits the entry's."""
    world = World()
    storage = opened(tmp_path, world)
    effects = [world.notes(33), world.notes(5, certified=False), world.append(certified=False), world.notes(70)]
    storage.commit(world.turn(*effects))
    envelopes = [envelope for effect in effects for envelope in effect.block.transactions]
    for index, envelope in enumerate(envelopes):
        receipt = storage.receipt(index)
        assert receipt is not None
        check_receipt(receipt, envelope, world.membership, verify)
    assert storage.receipt(len(envelopes)) is None
    with storage.reading() as view:
        root = effects[0].block.header.log_root
        path = consistency_proof(33, 108, view.log.node_at)
        assert verify_consistency(33, 108, root, world.frontier.root(), path)
    storage.close()


def test_runs_end_at_a_certified_block(tmp_path: Path) -> None:
    """A run is a chain from the height asked for to the block that its certificate commits."""
    world = World()
    storage = opened(tmp_path, world)
    assert storage.read_run(1, 100) is None
    storage.commit(world.turn(*(world.notes(1, certified=seq % 3 == 0) for seq in range(1, 7))))
    storage.commit(world.turn(world.notes(1, certified=False)))
    for first in range(1, 7):
        blocks, certificate = storage.read_run(first, 100) or pytest.fail("there is a run")
        check_certificate(certificate, world.membership, verify)
        assert (len(blocks), certificate.seq) == (7 - first, 6)
        assert hash_header(blocks[-1].header) == certificate.block
    assert storage.read_run(7, 100) is None
    assert storage.read_run(8, 100) is None
    for last, ends in ((1, 3), (3, 3), (5, 3), (6, 6)):
        blocks, certificate = storage.read_run(1, last) or pytest.fail("there is a run")
        assert (len(blocks), certificate.seq) == (ends, ends), "the last one up to there, else the first one past it"
    storage.close()


def test_runs_are_bounded_and_do_not_grow_from_hand_to_hand(tmp_path: Path) -> None:
    """A run keeps to the bytes and blocks allowed where a certificate lets it, and never exceeds a frame."""
    world = World()
    storage = opened(tmp_path, world)
    large = "x" * (limits.TRANSACTION_BYTES_MAX - 1000)
    for certified in (True, False, False, True):
        storage.commit(world.turn(world.notes(7, large, certified=certified)))
    storage.commit(world.turn(*(world.notes(1) for _ in range(limits.RUN_BLOCKS_MAX + 10))))
    for first, last in ((1, 1), (2, 4), (5, 4 + limits.RUN_BLOCKS_MAX)):
        blocks, certificate = storage.read_run(first, 1000) or pytest.fail("there is a run")
        assert (len(blocks), certificate.seq) == (last - first + 1, last)
        assert sum(len(block.payload) for block in blocks) < limits.FRAME_BYTES_MAX
    storage.close()


@pytest.mark.covers("D01")
def test_a_turn_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A turn whose last block fails leaves no trace of its journal, its first block, or its state."""
    world = World()
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.notes(2)))
    before = storage.recover()
    good, skipped = world.notes(2), world.notes(2)
    late = world.notes(2)
    assert skipped.block.seq == 3
    with pytest.raises(AssertionError, match="order of height"):
        storage.commit(Turn({"vote": b"never"}, [skipped.block], [good, late]))
    with pytest.raises(StorageBroken, match="an earlier commit failed"):
        storage.commit(world.turn(good))
    storage.close()
    storage = opened(tmp_path, world)
    after = storage.recover()
    assert (after.head.hash, after.journal, after.blocks) == (before.head.hash, before.journal, {})
    assert storage.entries(2, 10) == []
    storage.commit(world.turn(good, skipped, late))
    storage.check_state()
    storage.close()


def test_a_committed_block_is_not_dropped_with_its_siblings(tmp_path: Path) -> None:
    """Dropping the blocks of a height keeps the committed one, stored before or not, and forgets the others."""
    world = World()
    storage = opened(tmp_path, world)
    sibling = world.propose([world.admin.note("sibling", "1", nonce=99)])
    effect = world.notes(3)
    storage.commit(Turn({}, [sibling, effect.block]))
    storage.commit(Turn({}, [], [effect], [sibling.hash, effect.block.hash, bytes(32)]))
    assert storage.read_block(sibling.hash) is None
    assert storage.read_block(effect.block.hash) == pack_block(effect.block)
    assert storage.recover().blocks == {}
    storage.close()


def test_queries_see_one_moment(tmp_path: Path) -> None:
    """A view keeps showing the height at which it was opened, while commits go on."""
    world = World()
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.append(world.admin.note("a", "1"))))
    with storage.reading() as view:
        storage.commit(world.turn(world.append(world.admin.note("a", "2"))))
        assert (view.height, view.state.get(b"aa"), storage.height) == (1, b"1", 2)
        # A thread that reads may read again.
        assert storage.statistics()["readers"] == 1
        assert storage.entries(1, 1)[0].seq == 2
        assert view.state.scan(b"a", b"b", 10) == [(b"aa", b"1")]
        assert view.state.get(b"") is None
    storage.close()


@pytest.mark.covers("D09")
def test_foreign_data_are_refused(tmp_path: Path) -> None:
    """Another cluster's directory, another member's, and one that is something else are refused by name."""
    world, stranger = World(), World("stranger")
    opened(tmp_path / "data", world).close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    for path, owner, member in ((tmp_path / "data", stranger, 1), (tmp_path / "data", world, 2)):
        with pytest.raises(Refused) as refused:
            opened(path, owner, member)
        assert refused.value.reason == Reason.FOREIGN_DATA
    with pytest.raises(Refused) as refused:
        opened(tmp_path / "other", world)
    assert refused.value.reason == Reason.FOREIGN_DATA
    assert [entry.name for entry in (tmp_path / "other").iterdir()] == ["thesis.txt"]
    # VERSION is a text that anyone can edit: the identity inside counts as well.
    version = tmp_path / "data" / "VERSION"
    version.write_text(version.read_text().replace(world.membership.chain_id.hex(), stranger.membership.chain_id.hex()))
    with pytest.raises(Refused) as refused:
        opened(tmp_path / "data", stranger)
    assert refused.value.reason == Reason.FOREIGN_DATA


@pytest.mark.covers("D19")
def test_newer_data_are_refused(tmp_path: Path) -> None:
    """Data of a later schema are not opened, whether VERSION or the identity inside says so."""
    world = World()
    opened(tmp_path, world).close()
    version, text = tmp_path / "VERSION", (tmp_path / "VERSION").read_text()
    version.write_text(f"schema = {SCHEMA + 1}\nwhatever = 'a later version writes'\n")
    with pytest.raises(Refused) as refused:
        opened(tmp_path, world)
    assert refused.value.reason == Reason.NEWER_DATA
    with pytest.raises(Refused):
        identity_of(tmp_path)
    version.write_text(text)
    newer = encode((SCHEMA + 1, world.membership.chain_id, 1, world.membership.public_keys[1]))
    rewrite(tmp_path, "meta", b"identity", newer)
    with pytest.raises(Refused) as refused:
        opened(tmp_path, world)
    assert refused.value.reason == Reason.NEWER_DATA


@pytest.mark.covers("D19")
def test_older_data_are_refused(tmp_path: Path) -> None:
    """Nothing was released that wrote them: they are not guessed at, and a sentence says what to do."""
    world = World()
    opened(tmp_path, world).close()
    version, text = tmp_path / "VERSION", (tmp_path / "VERSION").read_text()
    version.write_text(text.replace(f"schema = {SCHEMA}", "schema = 1"))
    with pytest.raises(Refused, match="schema 1") as refused:
        opened(tmp_path, world)
    assert refused.value.reason == Reason.OLDER_DATA
    version.write_text(text)
    rewrite(
        tmp_path,
        "meta",
        b"identity",
        encode((1, world.membership.chain_id, 0, world.membership.public_keys[0])),
    )
    with pytest.raises(Refused) as refused:
        opened(tmp_path, world)
    assert refused.value.reason == Reason.OLDER_DATA


@pytest.mark.covers("D10")
def test_one_directory_has_one_node(tmp_path: Path) -> None:
    """A second node on the same directory is refused until the first has closed it."""
    world = World()
    storage = opened(tmp_path, world)
    with pytest.raises(Refused) as refused:
        opened(tmp_path, world)
    assert refused.value.reason == Reason.DATA_LOCKED
    storage.close()
    opened(tmp_path, world).close()


@pytest.mark.covers("D17")
def test_lmdb_is_opened_durable_and_private(tmp_path: Path) -> None:
    """The flags in force are the safe ones, and nobody else can read the files."""
    world = World()
    storage = opened(tmp_path / "data", world)
    flags = storage.flags()
    assert {name: flags[name] for name in ("sync", "metasync", "lock", "subdir", "meminit")} == dict.fromkeys(
        ("sync", "metasync", "lock", "subdir", "meminit"), True
    )
    assert not any(flags[name] for name in ("writemap", "map_async", "readonly"))
    storage.close()
    for entry in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
        assert entry.stat().st_mode & 0o777 == (0o700 if entry.is_dir() else 0o600), entry


def test_identity_is_read_without_opening(tmp_path: Path) -> None:
    """VERSION says whose data these are, beside a living node too; nonsense in it is refused."""
    world = World()
    with pytest.raises(Refused) as refused:
        identity_of(tmp_path)
    assert refused.value.reason == Reason.NOT_FOUND
    storage = opened(tmp_path, world, member=3)
    identity = identity_of(tmp_path)
    assert (identity.schema, identity.chain_id, identity.member) == (SCHEMA, world.membership.chain_id, 3)
    assert identity.public_key == world.membership.public_keys[3]
    storage.close()
    schema = f"schema = {SCHEMA}"
    for text in ("", "schema = true", schema, "\x00", f"{schema}\nmember = 1\nchain_id = 'zz'", "#" * 5000):
        (tmp_path / "VERSION").write_text(text)
        with pytest.raises(Refused) as refused:
            identity_of(tmp_path)
        assert refused.value.reason == Reason.FOREIGN_DATA


def test_an_interrupted_creation_is_taken_up_again(tmp_path: Path) -> None:
    """A crash before VERSION was written leaves a directory that the next start completes."""
    world = World()
    opened(tmp_path, world).close()
    (tmp_path / "VERSION").unlink()
    (tmp_path / "lmdb" / "VERSION.new").write_text("half a ver")
    storage = opened(tmp_path, world)
    assert identity_of(tmp_path).member == 1
    storage.close()


@pytest.mark.covers("D20")
def test_a_data_file_that_vanishes_stops_the_node(tmp_path: Path) -> None:
    """Deleting or replacing the file under a running node is found by the next commit, and by the next start."""
    world = World()
    storage = opened(tmp_path, world)
    data = tmp_path / "lmdb" / "data.mdb"
    aside = data.rename(tmp_path / "lmdb" / "aside.mdb")
    with pytest.raises(StorageBroken, match="is gone"):
        storage.commit(Turn({"vote": b"1"}))
    storage.close()
    with pytest.raises(IntegrityError, match="data file is gone"):
        opened(tmp_path, world)
    aside.rename(data)
    storage = opened(tmp_path, world)
    data.rename(aside)
    data.write_bytes(aside.read_bytes())
    with pytest.raises(StorageBroken, match="replaced"):
        storage.commit(Turn({"vote": b"1"}))
    storage.close()


@pytest.mark.covers("D06", "D07")
def test_an_empty_data_file_is_no_beginning(tmp_path: Path) -> None:
    """Cut to nothing, it is a log that was lost, and not one that has not begun; nothing is written over it."""
    world = World()
    opened(tmp_path, world).close()
    data = tmp_path / "lmdb" / "data.mdb"
    data.write_bytes(b"")
    with pytest.raises(IntegrityError, match="gone or empty"):
        opened(tmp_path, world)
    assert data.read_bytes() == b""
    (tmp_path / "VERSION").unlink()  # never written, in a creation that was interrupted as early as that
    opened(tmp_path, world).close()
    assert data.stat().st_size


def test_frontier_is_the_worlds(tmp_path: Path) -> None:
    """The frontier loaded from stored nodes is the one that appending gave, at every size."""
    world = World()
    storage = opened(tmp_path, world)
    for count in (1, 2, 0, 31, 1, 64, 33):
        storage.commit(world.turn(world.notes(count)))
        with storage.reading() as view:
            loaded = Frontier.load(world.frontier.size, view.log.node_at)
        assert loaded.peaks == world.frontier.peaks
        with pytest.raises(IntegrityError):
            storage.node_at(0, world.frontier.size)
    storage.close()


def test_questions_that_make_no_sense_have_no_answer(tmp_path: Path) -> None:
    """Ids, keys and indices of no possible length or range are unknown, and not an error of the disk."""
    world = World()
    storage = opened(tmp_path, world)
    storage.commit(world.turn(world.notes(2)))
    for odd in (b"", b"x" * 31, b"x" * 5000):
        assert storage.find_transaction(odd) is None
        assert storage.read_block(odd) is None
        assert storage.client_role(odd) == 0
        assert storage.result_of(odd, 1) is None
        with storage.reading() as view:
            assert view.state.get(odd) is None
            assert view.state.scan(b"n" + odd, None, 1)[0][0].startswith(b"r" if odd else b"n")
            assert view.state.scan(b"", None, 0) == []
    assert storage.receipt(-1) is None
    assert storage.entries(-1, 1) == storage.entries(2**62, 1) == storage.entries(0, 0) == []
    assert storage.block_at(-1) is storage.block_at(2**62) is storage.read_run(2**62, 2**62)
    storage.close()
