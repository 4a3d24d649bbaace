"""Offline verification: a whole log is proved from the genesis, or the first bad place in it is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from bftnode.protocol.blocks import Block, Header, make_block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import encode
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of, verify_consistency, verify_inclusion
from bftnode.protocol.tlog.tiles import ENTRIES, LONG_ENTRIES, Tile, parse_entry_bundle
from bftnode.storage.directory import VERSION_NAME
from bftnode.storage.log import node_records
from bftnode.storage.records import Placed, nodes_before, number, open_logged
from bftnode.storage.store import Storage, Turn
from bftnode.storage.verify import Fault, identity_of, verify_log
from tests.storage.chains import Client, World, delete, read_raw, rewrite, rewrite_block
from tests.storage.child import ROOT

SIZES = (3, 5, 2, 4, 1)
UNCERTIFIED = (2, 3)
"""Heights without a certificate of their own: that of 4 commits them."""


def build(path: Path) -> tuple[World, list[Block]]:
    """A world and the blocks of its log, fifteen entries in five blocks above the genesis block."""
    world = World()
    storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=1024 * 1024)
    genesis = world.head
    effects = [world.notes(size, certified=seq not in UNCERTIFIED) for seq, size in enumerate(SIZES, 1)]
    for effect in effects:
        storage.commit(world.turn(effect))
        storage.flush()  # so that each block's Merkle nodes are records of their own, to be rewritten
    storage.close()
    return world, [genesis, *(effect.block for effect in effects)]


def fault_of(path: Path, world: World) -> Fault:
    report = verify_log(path, world.membership, executor=world.executor())
    assert report.fault is not None
    return report.fault


def exchange(block: Block, offset: int, world: World) -> tuple[bytes, ...]:
    """The block's envelopes with one of them replaced by another that its client did sign."""
    other = Client("admin", world.membership).note("evil", "text", nonce=1000)
    return (*block.transactions[:offset], other.raw, *block.transactions[offset + 1 :])


def test_a_whole_log_is_proved(tmp_path: Path) -> None:
    """Of an honest log everything is verified, and progress is reported up to its end."""
    world, _ = build(tmp_path)
    seen: list[tuple[int, int]] = []
    report = verify_log(tmp_path, world.membership, lambda done, total: seen.append((done, total)), world.executor())
    assert report.ok
    assert (report.height, report.log_size, report.head) == (5, 15, world.head.hash)
    assert (report.state_checked, report.records_checked, seen[-1]) == (True, True, (5, 5))
    assert not verify_log(tmp_path, world.membership).state_checked


def test_an_empty_log_is_proved(tmp_path: Path) -> None:
    """A new node's log is the genesis block, which needs no certificate."""
    world = World()
    Storage.open(tmp_path, world.membership, 0, world.executor()).close()
    report = verify_log(tmp_path, world.membership, executor=world.executor())
    assert (report.ok, report.height, report.log_size) == (True, 0, 0)


def test_what_is_not_this_clusters_log_is_refused(tmp_path: Path) -> None:
    """A missing directory and another cluster's are usage errors, not findings."""
    world, _ = build(tmp_path / "data")
    for path, owner, reason in (
        (tmp_path / "nothing", world, Reason.NOT_FOUND),
        (tmp_path / "data", World("stranger"), Reason.FOREIGN_DATA),
    ):
        with pytest.raises(Refused) as refused:
            verify_log(path, owner.membership)
        assert refused.value.reason == reason


def test_a_living_nodes_log_is_verified(tmp_path: Path) -> None:
    """Beside a node that commits, the log is verified up to where it ended, and the node is not held up."""
    world = World()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.storage.child", "commit", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as node:
        assert node.stdout is not None
        while int(node.stdout.readline()) < 20:
            pass
        report = verify_log(tmp_path, world.membership, executor=world.executor())
        assert report.fault is None
        assert report.height >= 20
        assert identity_of(tmp_path).member == 0
        while int(node.stdout.readline()) <= report.height:
            pass
        node.kill()


@pytest.mark.covers("D16")
@pytest.mark.parametrize(("seq", "offset"), [(1, 0), (1, 2), (2, 3), (4, 1), (5, 0)])
def test_a_rewritten_entry_is_named(tmp_path: Path, seq: int, offset: int) -> None:
    """Root replaces one entry by another signed one and fixes the seal: the walk stops exactly there."""
    world, blocks = build(tmp_path)
    block = blocks[seq]
    rewrite_block(tmp_path, seq, block.header_raw, encode(exchange(block, offset, world)))
    fault = fault_of(tmp_path, world)
    assert (fault.height, fault.log_index) == (seq, sum(SIZES[: seq - 1]) + offset)


@pytest.mark.covers("D06")
@pytest.mark.parametrize(("seq", "offset"), [(1, 1), (3, 1), (4, 3)])
def test_a_damaged_entry_is_named(tmp_path: Path, seq: int, offset: int) -> None:
    """A flipped bit in a stored envelope is named by its index, not only by its block."""
    world, blocks = build(tmp_path)
    envelope = blocks[seq].transactions[offset]
    data = tmp_path / "lmdb" / "data.mdb"
    whole = data.read_bytes()
    damaged = envelope[:50] + bytes((envelope[50] ^ 4,)) + envelope[51:]
    data.write_bytes(whole.replace(envelope, damaged))
    fault = fault_of(tmp_path, world)
    assert (fault.height, fault.log_index) == (seq, sum(SIZES[: seq - 1]) + offset)
    assert "checksum" in fault.detail


def replace_block(path: Path, world: World, blocks: list[Block], seq: int) -> Block:
    """A block at `seq` whose first entry is exchanged, with everything recomputed that needs nobody else's key."""
    old, items = blocks[seq].header, exchange(blocks[seq], 0, world)
    leaves = [leaf_hash(item) for item in items]
    before, _ = Frontier().append(leaf for block in blocks[:seq] for leaf in block.leaves)
    after, nodes = before.append(leaves)
    header = Header(
        old.chain_id, 0, seq, old.parent, old.time_ms, root_of(leaves), after.size, after.root(), old.proposer, old.view
    )
    forged = make_block(header, items, leaves)
    rewrite_block(path, seq, forged.header_raw, forged.payload)
    rewrite(path, "hashes", forged.hash, number(seq))
    for key, value in node_records(nodes_before(before.size), [digest for _, _, digest in nodes]):
        rewrite(path, "nodes", key, value)
    evil = Client("admin", world.membership).note("evil", "text", nonce=1000)
    placed = Placed(world.admin.key, 1000, seq, before.size, "")
    rewrite(path, "transactions", evil.id, encode(placed))
    return forged


@pytest.mark.covers("D16")
@pytest.mark.parametrize("seq", [1, 2, 3, 4, 5])
def test_a_replaced_block_is_named(tmp_path: Path, seq: int) -> None:
    """Root replaces a whole block consistently: certificates of it, or of its descendants, still name it."""
    world, blocks = build(tmp_path)
    replace_block(tmp_path, world, blocks, seq)
    fault = fault_of(tmp_path, world)
    assert (fault.height, fault.log_index) == (seq, sum(SIZES[: seq - 1]))


@pytest.mark.covers("D16")
def test_a_made_up_certificate_is_named(tmp_path: Path) -> None:
    """A certificate for the replaced block needs a quorum's keys; root of one machine has one."""
    world, blocks = build(tmp_path)
    forged = replace_block(tmp_path, world, blocks, 5)
    honest = world.certificate(forged)
    votes = (
        honest.votes[0],
        *(vote.__class__(vote.sender, 1, 7, honest.votes[0].signature) for vote in honest.votes[1:]),
    )
    made_up = encode(Certificate(3, 0, 0, 5, forged.hash, votes))
    rewrite_block(tmp_path, 5, forged.header_raw, forged.payload, made_up)
    fault = fault_of(tmp_path, world)
    assert fault.height == 5
    assert "member 1" in fault.detail


def test_a_head_without_certificate_is_named(tmp_path: Path) -> None:
    """What no certificate at or above it covers is not proved, and the report says up to where it is."""
    world, blocks = build(tmp_path)
    rewrite_block(tmp_path, 5, blocks[5].header_raw, blocks[5].payload, b"")
    report = verify_log(tmp_path, world.membership)
    assert report.fault is not None
    assert (report.fault.height, report.fault.log_index) == (5, 14)
    assert (report.height, report.log_size, report.head) == (4, 14, blocks[4].hash)


@pytest.mark.covers("D14")
def test_missing_records_are_named(tmp_path: Path) -> None:
    """A block, a hash, a node or a transaction's place that is gone ends the walk at its height."""
    for number_of, (name, seq) in enumerate((("log", 3), ("blocks", 2), ("hashes", 4), ("transactions", 1))):
        path = tmp_path / str(number_of)
        world, blocks = build(path)
        first = Client("admin", world.membership).note("note 0", "text 0")
        key = {
            "log": number(seq),
            "blocks": number(open_logged(read_raw(path, "log", number(seq))).first),
            "hashes": blocks[seq].hash,
            "transactions": first.id,
        }[name]
        delete(path, name, key)
        assert fault_of(path, world).height == seq


@pytest.mark.covers("D16")
def test_a_rewritten_state_is_found_by_executing_the_log(tmp_path: Path) -> None:
    """An entry of the state that the log does not give is named, whatever its seal says."""
    world, _ = build(tmp_path)
    rewrite(tmp_path, "state", b"anote 1", b"evil")
    assert verify_log(tmp_path, world.membership).ok
    fault = fault_of(tmp_path, world)
    assert (fault.height, fault.log_index) == (None, None)
    assert b"anote 1".hex() in fault.detail


def test_nonsense_is_a_finding(tmp_path: Path) -> None:
    """No data file, an empty one, and one of noise are reported, not raised."""
    world, _ = build(tmp_path)
    data = tmp_path / "lmdb" / "data.mdb"
    for content in (b"", b"\x00" * 65536, b"noise" * 10_000, data.read_bytes()[:8192]):
        data.write_bytes(content)
        assert not verify_log(tmp_path, world.membership).ok
    data.unlink()
    assert not verify_log(tmp_path, world.membership).ok


@pytest.mark.covers("D16")
def test_cosigned_checkpoints_are_of_the_log(tmp_path: Path) -> None:
    """A member that keeps others' signatures over another log has been rewritten, or they have lied to it."""
    world, blocks = build(tmp_path)
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    header = blocks[4].header
    cosigned = Cosigned(4, header.log_size, header.log_root, 1, 0, bytes(64), ())
    storage.commit(Turn(checkpoints=[cosigned]))
    assert storage.checkpoint(1) == storage.checkpoint(None) == cosigned
    assert storage.checkpoint(header.log_size + 1) is None
    storage.close()
    assert verify_log(tmp_path, world.membership).ok
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    storage.commit(Turn(checkpoints=[Cosigned(4, header.log_size, bytes(32), 1, 0, bytes(64), ())]))
    storage.close()
    assert fault_of(tmp_path, world) == Fault(4, 15, "members cosigned another log of this height")


def test_proofs_and_tiles_are_of_what_is_there(tmp_path: Path) -> None:
    """Inclusion, consistency and tiles up to what is cosigned; beyond it there is none."""
    world, blocks = build(tmp_path)
    leaves = [leaf_hash(raw) for block in blocks for raw in block.transactions]
    storage = Storage.open(tmp_path, world.membership, 0, world.executor())
    for size in (3, 8, 15):
        root = root_of(leaves[:size])
        for index in range(size):
            path = storage.inclusion(index, size)
            assert path is not None
            assert verify_inclusion(leaves[index], index, size, path, root)
        path = storage.consistency(3, size)
        assert path is not None
        assert verify_consistency(3, size, root_of(leaves[:3]), root, path)
    for index, size in ((15, 15), (0, 16), (-1, 3), (3, 3)):
        assert storage.inclusion(index, size) is None
    for old, new in ((3, 16), (8, 3), (-1, 3)):
        assert storage.consistency(old, new) is None
    assert storage.tile(Tile(0, 0, 1)) is None, "nothing is cosigned yet"
    header = blocks[4].header
    storage.commit(Turn(checkpoints=[Cosigned(4, header.log_size, header.log_root, 1, 0, bytes(64), ())]))
    assert storage.tile(Tile(0, 0, header.log_size)) == b"".join(leaves[: header.log_size])
    bundle = storage.tile(Tile(ENTRIES, 0, header.log_size))
    assert bundle is not None
    assert [leaf_hash(entry) for entry in parse_entry_bundle(bundle)] == leaves[: header.log_size]
    for tile in (
        Tile(0, 0, header.log_size + 1),
        Tile(0, 0),
        Tile(1, 0, 1),
        Tile(ENTRIES, 1, 1),
        Tile(LONG_ENTRIES, 0, 1),
    ):
        assert storage.tile(tile) is None
    storage.close()


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 3000, "schema = " + "9" * 3000, "schema = 2", "schema = true", "\udc80"]
)
def test_a_version_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever stands in it, in few words."""
    (tmp_path / VERSION_NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Refused) as caught:
        identity_of(tmp_path)
    assert caught.value.reason in (Reason.FOREIGN_DATA, Reason.NEWER_DATA)
    assert len(caught.value.detail) < 1000
