"""Tiles (c2sp.org/tlog-tiles): a log as static files, from which anybody computes any proof.

A tile of level l is up to 256 hashes of complete subtrees of 256^l leaves, one after the other; an entry bundle is up
to 256 entries, each after its length in two bytes. Full ones never change; of the partial ones a log has those of the
sizes of its checkpoints.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bftnode.protocol.merkle import NodeAt, node_hash
from bftnode.protocol.tlog.encoding import from_decimal, malformed

HEIGHT = 8
WIDTH = 1 << HEIGHT
LEVELS_MAX = 8
"""Levels of tiles of a tree of up to 2^63 leaves."""

ENTRIES = -1
"""As a tile's level: the entries themselves."""

LONG_ENTRIES = -2
"""As a tile's level: entries after lengths of four bytes. In the place of a bundle that has no room for one of its
entries; other people's tools do not know it (decision 017)."""

ENTRY_BYTES_MAX = 2**16 - 1
"""What an entry bundle has room for."""

_NAMES = {ENTRIES: "entries", LONG_ENTRIES: "entries32"}
_LEVELS = {name: level for level, name in _NAMES.items()}
_LENGTH = {ENTRIES: struct.Struct(">H"), LONG_ENTRIES: struct.Struct(">I")}


@dataclass(frozen=True, slots=True)
class Tile:
    """The first `width` hashes (1 to 256) of tile `index` at `level`; of level ENTRIES, entries."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Below the log's prefix: tile/0/x001/x234/067, tile/entries/000.p/5."""
        level = _NAMES.get(self.level, str(self.level))
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[place : place + 3] for place in range(0, len(digits), 3)]
        spelt = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        return f"tile/{level}/{spelt}" + (f".p/{self.width}" if self.width < WIDTH else "")


def parse_tile_path(path: str) -> Tile:
    """The tile of a path. Raises Refused(NOTE_MALFORMED) for anything but the one spelling of one."""
    kind, _, rest = path.removeprefix("tile/").partition("/")
    level = _LEVELS[kind] if kind in _LEVELS else from_decimal(kind, "the level of a tile")
    index_text, partial, width_text = rest.partition(".p/")
    width = from_decimal(width_text, "the width of a tile") if partial else WIDTH
    digits = "".join(part.removeprefix("x") for part in index_text.split("/"))
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise malformed("not the path of a tile")
    tile = Tile(level, int(digits), width)
    if not (level < LEVELS_MAX and 0 < width <= WIDTH and tile.path == path):
        raise malformed("not the path of a tile")
    return tile


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """The tiles and entry bundles that a tree of `size` leaves has and one of `since` had not, bundles first.

    Full ones in ascending order, then the partial one, level by level.
    """
    assert 0 <= since <= size, "a log only grows"
    yield from _tiles_of_level(ENTRIES, size, since)
    level = 0
    while size >> HEIGHT * level:
        yield from _tiles_of_level(level, size >> HEIGHT * level, since >> HEIGHT * level)
        level += 1


def _tiles_of_level(level: int, nodes: int, before: int) -> Iterator[Tile]:
    for index in range(before // WIDTH, nodes // WIDTH):
        yield Tile(level, index)
    if nodes % WIDTH and nodes != before:
        yield Tile(level, nodes // WIDTH, nodes % WIDTH)


def hash_tile(tile: Tile, node_at: NodeAt) -> bytes:
    """The bytes of a tile of hashes: `width` reads of complete nodes."""
    first = tile.index * WIDTH
    return b"".join(node_at(HEIGHT * tile.level, place) for place in range(first, first + tile.width))


def entry_bundle(entries: Iterable[bytes], level: int = ENTRIES) -> bytes:
    """The bytes of a bundle. Raises Refused(NOTE_MALFORMED) for an entry that has no room in one of this level."""
    length, parts = _LENGTH[level], []
    for entry in entries:
        if level == ENTRIES and len(entry) > ENTRY_BYTES_MAX:
            raise malformed(f"an entry of {len(entry)} bytes: a bundle has room for {ENTRY_BYTES_MAX}")
        parts += [length.pack(len(entry)), entry]
    return b"".join(parts)


def bundle_level(entries: Iterable[bytes]) -> int:
    """As what these entries are served: ENTRIES, or LONG_ENTRIES where one has no room in that."""
    return ENTRIES if all(len(entry) <= ENTRY_BYTES_MAX for entry in entries) else LONG_ENTRIES


def parse_entry_bundle(raw: bytes, level: int = ENTRIES) -> list[bytes]:
    """The entries of a bundle, at most 256. Raises Refused(NOTE_MALFORMED)."""
    length = _LENGTH[level]
    entries: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(raw) - at < length.size or len(entries) == WIDTH:
            raise malformed("not an entry bundle")
        (size,) = length.unpack_from(raw, at)
        at += length.size + size
        if at > len(raw):
            raise malformed("an entry bundle ends within an entry")
        entries.append(raw[at - size : at])
    return entries


def node_reader(read: Callable[[Tile], bytes], size: int) -> NodeAt:
    """Complete nodes of a tree of `size` leaves, from its tiles: for proofs out of static files.

    `read` returns a tile's bytes; what it raises comes out, and a tile of another length is refused. A node costs one
    tile and at most 255 hashes. Nothing is verified: whoever has a proof made of them checks it against a root.
    """

    def node_at(level: int, index: int) -> bytes:
        tile_level, above = divmod(level, HEIGHT)
        first = index << above
        width = min(WIDTH, (size >> HEIGHT * tile_level) - first // WIDTH * WIDTH)
        raw = read(Tile(tile_level, first // WIDTH, width))
        if len(raw) != 32 * width:
            raise malformed(f"a tile of {len(raw)} bytes where {32 * width} are due")
        at = first % WIDTH
        return _root([raw[32 * place : 32 * place + 32] for place in range(at, at + (1 << above))])

    return node_at


def _root(nodes: Sequence[bytes]) -> bytes:
    while len(nodes) > 1:
        nodes = [node_hash(nodes[place], nodes[place + 1]) for place in range(0, len(nodes), 2)]
    return nodes[0]
