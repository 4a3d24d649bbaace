"""Tiles: the document's examples, and that a log's tiles are enough for every proof."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol.errors import Refused
from bftnode.protocol.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash
from bftnode.protocol.tlog.tiles import (
    ENTRIES,
    ENTRY_BYTES_MAX,
    LONG_ENTRIES,
    Tile,
    bundle_level,
    entry_bundle,
    hash_tile,
    node_reader,
    parse_entry_bundle,
    parse_tile_path,
    tiles_of,
)
from tests.protocol.tlog.cosigners import LEAVES, node_at


def test_the_documents_paths() -> None:
    """c2sp.org/tlog-tiles: index 1234067 is x001/x234/067; a partial tile names its width."""
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(2, 0, 1).path == "tile/2/000.p/1"
    assert Tile(ENTRIES, 1000, 112).path == "tile/entries/x001/000.p/112"
    assert Tile(1, 999).path == "tile/1/999"


@pytest.mark.parametrize("index", [0, 999, 1000, 999_999, 1_234_067, 10**17, 10**18 - 1])
def test_a_path_of_several_parts_is_read_back(index: int) -> None:
    """Whole and partial, of hashes and of entries; one part more than six is none."""
    for tile in (Tile(0, index), Tile(3, index, 7), Tile(ENTRIES, index), Tile(LONG_ENTRIES, index, 1)):
        assert parse_tile_path(tile.path) == tile
    with pytest.raises(Refused):
        parse_tile_path(Tile(0, 10**18 + index).path)


def test_a_bundle_that_ends_within_a_length_is_refused() -> None:
    """Wherever it ends; and an entry as long as a bundle has room for is one of the short ones."""
    whole = entry_bundle([b"entry", b"x" * 300])
    assert parse_entry_bundle(whole) == [b"entry", b"x" * 300]
    ends = {0, 7, len(whole)}
    for end in set(range(len(whole))) - ends:
        with pytest.raises(Refused):
            parse_entry_bundle(whole[:end])
    assert bundle_level([bytes(ENTRY_BYTES_MAX)]) == ENTRIES
    assert bundle_level([bytes(ENTRY_BYTES_MAX + 1)]) == LONG_ENTRIES


def test_the_documents_example_of_a_tree() -> None:
    """Of 70,000 leaves: 273 full tiles of level 0, one of 112, one full of level 1, one of 17, one of 1."""
    tiles = [tile for tile in tiles_of(70_000) if tile.level != ENTRIES]
    assert [(tile.level, tile.width) for tile in tiles] == [(0, 256)] * 273 + [(0, 112), (1, 256), (1, 17), (2, 1)]
    assert [tile for tile in tiles_of(256) if tile.level != ENTRIES] == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_what_is_new_is_what_was_not_there(a: int, b: int) -> None:
    """Of two sizes, and every path is read back as its tile."""
    old, new = sorted((a, b))
    before, after = set(tiles_of(old)), list(tiles_of(new))
    assert list(tiles_of(new, old)) == [tile for tile in after if tile not in before]
    assert len(set(after)) == len(after)
    for tile in after[-20:]:
        assert parse_tile_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/1",
        "tile/0/0001",
        "tile/0/x000/001",
        "tile/0/001/001",
        "tile/0/x001/x001",
        "tile/00/001",
        "tile/8/001",
        "tile/-1/001",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/01",
        "tile/0/001.p/",
        "tile/0/001.p/1/",
        "/tile/0/001",
        "0/001",
        "tile/entries/../001",
        "tile/0/\u0660\u0660\u0661",
        "tile/0/" + "x999/" * 6 + "999",
    ],
)
def test_a_tile_has_one_path(path: str) -> None:
    """Whatever else is asked for is refused, and never a file outside."""
    with pytest.raises(Refused):
        parse_tile_path(path)


def test_tiles_are_enough_for_every_proof() -> None:
    """A log of 70,000 leaves read through its tiles alone gives the same proofs, of 256-wide tiles and partial ones."""
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(70_000)]
    nodes = {(level, index): node for level, index, node in Frontier().append(leaves)[1]}

    def at(level: int, index: int) -> bytes:
        return nodes[level, index]

    size = 70_000
    files = {tile: hash_tile(tile, at) for tile in tiles_of(size) if tile.level != ENTRIES}
    from_tiles = node_reader(files.__getitem__, size)
    for index in (0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999):
        assert inclusion_proof(index, size, from_tiles) == inclusion_proof(index, size, at)
        assert consistency_proof(index + 1, size, from_tiles) == consistency_proof(index + 1, size, at)


def test_a_tile_of_another_length_is_refused() -> None:
    """A file that is cut, or a partial one in the place of a full one."""
    files = {tile: hash_tile(tile, node_at)[:-1] for tile in tiles_of(300) if tile.level != ENTRIES}
    with pytest.raises(Refused):
        inclusion_proof(7, 300, node_reader(files.__getitem__, 300))
    assert hash_tile(Tile(0, 1, 44), node_at) == b"".join(LEAVES[256:300])


@given(st.lists(st.binary(max_size=40), max_size=256))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    """Each after its length."""
    assert parse_entry_bundle(entry_bundle(entries)) == entries


def test_the_bounds_of_a_bundle() -> None:
    """65,535 bytes have room, one more has not; a cut bundle and one of 257 entries are none."""
    assert parse_entry_bundle(entry_bundle([bytes(ENTRY_BYTES_MAX)])) == [bytes(ENTRY_BYTES_MAX)]
    with pytest.raises(Refused):
        entry_bundle([bytes(ENTRY_BYTES_MAX + 1)])
    for raw in (b"\x00", b"\x00\x02a", b"\x00\x00" * 257):
        with pytest.raises(Refused):
            parse_entry_bundle(raw)


def test_a_longer_entry_has_a_place_of_its_own() -> None:
    """Lengths of four bytes, under a name that is not the document's."""
    entries = [b"short", bytes(ENTRY_BYTES_MAX + 1)]
    assert [bundle_level(some) for some in (entries, entries[:1], [])] == [LONG_ENTRIES, ENTRIES, ENTRIES]
    assert parse_entry_bundle(entry_bundle(entries, LONG_ENTRIES), LONG_ENTRIES) == entries
    tile = Tile(LONG_ENTRIES, 5, 2)
    assert tile.path == "tile/entries32/005.p/2"
    assert parse_tile_path(tile.path) == tile
