"""A log as a folder of static files (c2sp.org/tlog-tiles), grown from one checkpoint to the next.

What is believed is the new checkpoint, which the caller has verified. Each hash is computed from the entries; what lies
in the folder already has to lead to the checkpoint that lies there, and what was written is taken away again where the
entries do not lead to the new one. A file that a checkpoint covers is never written again.
"""

import os
import shutil
from pathlib import Path

from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import Frontier, leaf_hash
from bftnode.protocol.tlog.checkpoints import Checkpoint, parse_signed_checkpoint
from bftnode.protocol.tlog.tiles import (
    ENTRIES,
    HEIGHT,
    LONG_ENTRIES,
    WIDTH,
    Tile,
    bundle_level,
    entry_bundle,
    node_reader,
    tiles_of,
)

CHECKPOINT = "checkpoint"


class TileFolder:
    """`size` entries are there under a checkpoint; entries are added from `start` on, the beginning of a bundle."""

    def __init__(self, path: Path) -> None:
        """Raises Refused(INTEGRITY) where the files there do not lead to their checkpoint, and NOTE_MALFORMED."""
        self._path = path
        self.known: Checkpoint | None = None
        if (path / CHECKPOINT).exists():
            self.known, _ = parse_signed_checkpoint((path / CHECKPOINT).read_bytes())
        self.size = self.known.size if self.known is not None else 0
        self.start = self.size - self.size % WIDTH
        try:
            whole = Frontier.load(self.size, node_reader(self._read, self.size))
            self._levels = self._partial_tiles()
        except (FileNotFoundError, Refused) as error:
            raise _broken(f"{path} is not the log of its checkpoint: {error}") from None
        if self.known is not None and whole.root() != self.known.root:
            raise _broken(f"the files in {path} do not lead to the root of the checkpoint there")
        self._expected = self._levels[0] if self._levels else []
        self._frontier = Frontier.load(self.start, node_reader(self._read, self.size))
        if self._levels:
            self._levels[0] = []
        self._bundle: list[bytes] = []
        self.at = self.start

    def add(self, entry: bytes) -> None:
        """The entry at index `at`. Raises Refused(INTEGRITY) where the folder has another one there."""
        leaf = leaf_hash(entry)
        if self.at < self.size and self._expected[self.at - self.start] != leaf:
            raise _broken(f"entry {self.at} is another one than what is in {self._path}: the log was rewritten")
        self._bundle.append(entry)
        self._frontier, nodes = self._frontier.append([leaf])
        for level, index, digest in nodes:
            if level % HEIGHT == 0:
                self._keep(level // HEIGHT, index, digest)
        self.at += 1
        if len(self._bundle) == WIDTH:
            self._write_bundle()

    def finish(self, checkpoint: Checkpoint, note: bytes) -> None:
        """The folder is the log of `checkpoint`, of which `note` is the signed note; all its entries were added.

        Raises Refused(INTEGRITY) and takes away what was written, where they do not lead to its root.
        """
        assert self.at == checkpoint.size >= self.size, "all entries of a larger checkpoint were added"
        if self._frontier.root() != checkpoint.root:
            self._take_back()
            raise _broken(f"the entries do not lead to the root of the checkpoint of {checkpoint.size} entries")
        if self._bundle:
            self._write_bundle()
        for level, hashes in enumerate(self._levels):
            if hashes:
                above = checkpoint.size >> HEIGHT * level
                self._write(Tile(level, above // WIDTH, len(hashes)), b"".join(hashes))
        self._write_file(Path(CHECKPOINT), note)
        for tile in tiles_of(checkpoint.size, self.size):
            if tile.width == WIDTH:  # a full one takes the place of its partial ones
                for level in (tile.level, LONG_ENTRIES) if tile.level == ENTRIES else (tile.level,):
                    partial = (self._path / Tile(level, tile.index, 1).path).parent
                    if partial.exists():
                        shutil.rmtree(partial)

    def _partial_tiles(self) -> list[list[bytes]]:
        """Of each level, the hashes of the last tile, if it is not full."""
        levels, level = [], 0
        while self.size >> HEIGHT * level:
            index, width = divmod(self.size >> HEIGHT * level, WIDTH)
            raw = self._read(Tile(level, index, width)) if width else b""
            levels.append([raw[place : place + 32] for place in range(0, len(raw), 32)])
            level += 1
        return levels

    def _keep(self, level: int, index: int, digest: bytes) -> None:
        while len(self._levels) <= level:
            self._levels.append([])
        hashes = self._levels[level]
        assert index % WIDTH == len(hashes), "nodes of a level come in order"
        hashes.append(digest)
        if len(hashes) == WIDTH:
            self._write(Tile(level, index // WIDTH), b"".join(hashes))
            self._levels[level] = []

    def _write_bundle(self) -> None:
        level = bundle_level(self._bundle)
        tile = Tile(level, (self.at - 1) // WIDTH, len(self._bundle))
        self._write(tile, entry_bundle(self._bundle, level))
        self._bundle = []

    def _read(self, tile: Tile) -> bytes:
        return (self._path / tile.path).read_bytes()

    def _write(self, tile: Tile, raw: bytes) -> None:
        self._write_file(Path(tile.path), raw)

    def _write_file(self, name: Path, raw: bytes) -> None:
        """Whole or not at all, to whoever reads meanwhile."""
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_bytes(raw)
        os.replace(temporary, target)

    def _take_back(self) -> None:
        for tile in tiles_of(self.at, self.size):
            for level in (tile.level, LONG_ENTRIES) if tile.level == ENTRIES else (tile.level,):
                (self._path / Tile(level, tile.index, tile.width).path).unlink(missing_ok=True)


def _broken(detail: str) -> Refused:
    return Refused(Reason.INTEGRITY, detail)
