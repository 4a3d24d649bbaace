"""The folder of tiles: what it holds, that it only grows, and that it takes in nothing that its checkpoint does not."""

from pathlib import Path

import pytest

from bftnode.cli.tiles import CHECKPOINT, TileFolder
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash
from bftnode.protocol.tlog.tiles import (
    ENTRIES,
    ENTRY_BYTES_MAX,
    LONG_ENTRIES,
    Tile,
    hash_tile,
    node_reader,
    parse_entry_bundle,
    tiles_of,
)
from tests.protocol.tlog.cosigners import Cosigners

CLUSTER = Cosigners()
SIZE = 66_000
LOG = [b"entry %d" % number for number in range(SIZE)]
LEAVES = [leaf_hash(entry) for entry in LOG]
NODES = {(level, index): digest for level, index, digest in Frontier().append(LEAVES)[1]}


def node_at(level: int, index: int) -> bytes:
    return NODES[level, index]


def export(path: Path, size: int, log: list[bytes] = LOG, root: bytes | None = None) -> None:
    folder = TileFolder(path)
    for entry in log[folder.start : size]:
        folder.add(entry)
    tree = CLUSTER.checkpoint(size, root or Frontier().grown(leaf_hash(entry) for entry in log[:size]).root())
    folder.finish(tree, CLUSTER.note(tree))


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def check(path: Path, size: int) -> None:
    """Exactly the files of a log of this size, and of earlier ones while their full tile is not there."""
    there = files(path)
    for tile in tiles_of(size):
        raw = there.pop(tile.path)
        if tile.level == ENTRIES:
            assert parse_entry_bundle(raw) == LOG[tile.index * 256 : tile.index * 256 + tile.width]
        else:
            assert raw == hash_tile(tile, node_at)
    there.pop(CHECKPOINT)
    assert all(".p/" in name for name in there), "nothing else but partial tiles of earlier checkpoints"


def test_it_grows_from_checkpoint_to_checkpoint(tmp_path: Path) -> None:
    """Over the edges of tiles of three levels; whatever is there already is not written again."""
    for size in (1, 2, 255, 256, 257, 700, 1024, 65_535, 65_536, SIZE):
        before = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
        export(tmp_path, size)
        check(tmp_path, size)
        for name, when in before.items():
            if name != CHECKPOINT and (tmp_path / name).exists() and ".p/" not in name:
                assert (tmp_path / name).stat().st_mtime_ns == when, name


def test_at_once_it_is_the_same(tmp_path: Path) -> None:
    """One step and two make the same files, and these are enough for every proof."""
    export(tmp_path / "one", SIZE)
    export(tmp_path / "two", 65_536)
    export(tmp_path / "two", SIZE)
    assert files(tmp_path / "one") == files(tmp_path / "two")

    def read(tile: Tile) -> bytes:
        return (tmp_path / "one" / tile.path).read_bytes()

    for index in (0, 65_535, SIZE - 1):
        assert inclusion_proof(index, SIZE, node_reader(read, SIZE)) == inclusion_proof(index, SIZE, node_at)
        assert consistency_proof(index, SIZE, node_reader(read, SIZE)) == consistency_proof(index, SIZE, node_at)


def test_an_unchanged_log_changes_nothing(tmp_path: Path) -> None:
    """The same checkpoint once more."""
    export(tmp_path, 300)
    before = files(tmp_path)
    export(tmp_path, 300)
    assert files(tmp_path) == before


def refused(path: Path, size: int, log: list[bytes] = LOG, root: bytes | None = None) -> str:
    with pytest.raises(Refused) as refusal:
        export(path, size, log, root)
    assert refusal.value.reason is Reason.INTEGRITY
    return refusal.value.detail


@pytest.mark.parametrize("changed", [299, 256, 3])
def test_a_rewritten_log_is_not_taken_in(tmp_path: Path, changed: int) -> None:
    """An entry that is exported already is another one: seen in the last bundle, or by the new root."""
    export(tmp_path, 300)
    before = files(tmp_path)
    other = [*LOG[:changed], b"something else", *LOG[changed + 1 :]]
    words = refused(tmp_path, 900, other)
    assert ("rewritten" if changed >= 256 else "do not lead to the root") in words
    assert files(tmp_path) == before


def test_entries_that_do_not_lead_to_the_checkpoint_leave_no_trace(tmp_path: Path) -> None:
    """Full tiles among what was written, too."""
    export(tmp_path, 300)
    before = files(tmp_path)
    refused(tmp_path, 70_000 // 7, LOG, bytes(32))
    assert files(tmp_path) == before


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    """A tile that is cut, altered or missing, and a checkpoint that is none."""
    for name in ("tile/0/001.p/44", "tile/1/000.p/1", CHECKPOINT):
        for damage in (b"", None, bytes(32 * 44)):
            export(tmp_path / "log", 300)
            target = tmp_path / "log" / name
            if damage is None and name != CHECKPOINT:
                target.unlink()
            else:
                target.write_bytes(damage or b"x")
            with pytest.raises(Refused):
                TileFolder(tmp_path / "log")
            for file in (tmp_path / "log").rglob("*"):
                if file.is_file():
                    file.unlink()


def test_a_long_entry_has_a_bundle_of_another_kind(tmp_path: Path) -> None:
    """The hashes are the same; only the entries' own file has longer lengths."""
    log = [*LOG[:299], bytes(ENTRY_BYTES_MAX + 1), *LOG[300:600]]
    for size in (200, 300, 600):
        export(tmp_path, size, log)
    there = files(tmp_path)
    assert Tile(ENTRIES, 1).path not in there
    assert parse_entry_bundle(there[Tile(LONG_ENTRIES, 1).path], LONG_ENTRIES) == log[256:512]
    assert parse_entry_bundle(there[Tile(ENTRIES, 2, 88).path]) == log[512:]
