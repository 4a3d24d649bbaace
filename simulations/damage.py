"""What a disk does to records that were written: a bit flips, a write is torn, or lands on another record.

The real storage seals each record with a checksum of its database, its key and its value (bftnode/storage/records.py).
Here a seal is taken when a record is damaged and looked at whenever the record is read: what was never damaged has
one that fits, so an undamaged disk pays nothing for its seals.
"""

import hashlib
from random import Random

from bftnode.protocol.blocks import Block

Place = tuple[str, str]
"""(database, key) of a record: "journal", "blocks", "log" or "state", and the key as text."""


class Damaged(Exception):
    """A record is not what was written there: its node must not run on (faults.md D06, D14)."""


def seal_of(place: Place, value: bytes) -> bytes:
    """The checksum that was stored with a record."""
    return hashlib.blake2b("\0".join((*place, "")).encode() + value, digest_size=16).digest()


def bytes_of(block: Block) -> bytes:
    """A block as its record holds it."""
    return len(block.header_raw).to_bytes(4, "big") + block.header_raw + block.payload


def flipped(value: bytes, dice: Random) -> bytes:
    """One bit of it is another; an empty record grows one."""
    if not value:
        return b"\x01"
    at = dice.randrange(len(value) * 8)
    return value[: at // 8] + bytes((value[at // 8] ^ 1 << at % 8,)) + value[at // 8 + 1 :]


def torn(value: bytes, dice: Random) -> bytes:
    """Only a part of it was written; what lay there before it is nothing."""
    kept = dice.randrange(max(1, len(value)))
    return value[:kept] + bytes(len(value) - kept)


def with_bytes(block: Block, record: bytes) -> Block:
    """The block in memory that a damaged record stands for: other bytes, the name it was looked up under."""
    size = len(block.header_raw)
    damaged = Block(block.header, record[4 : 4 + size], record[4 + size :], block.transactions, block.leaves)
    damaged.hash = block.hash
    return damaged


class Seals:
    """The seals of records that were damaged since they were written."""

    def __init__(self, kept: dict[Place, bytes] | None = None) -> None:
        self._of = dict(kept or {})

    def __bool__(self) -> bool:
        return bool(self._of)

    def copy(self) -> dict[Place, bytes]:
        return dict(self._of)

    def keep(self, place: Place, value: bytes) -> None:
        """As it was stored with `value`; the first damage since the last write counts."""
        self._of.setdefault(place, seal_of(place, value))

    def moved(self, source: Place, target: Place, value: bytes) -> None:
        """The record of `source` lies at `target`, with its own seal."""
        self._of[target] = seal_of(source, value)

    def rewritten(self, place: Place) -> None:
        """A whole record is there again."""
        self._of.pop(place, None)

    def check(self, place: Place, value: bytes) -> None:
        """Raises Damaged."""
        seal = self._of.get(place)
        if seal is not None and seal != seal_of(place, value):
            raise Damaged(f"{place[0]}/{place[1]}: the checksum does not match")
