"""Partitions of places into parts, in one order for ever: by restricted growth strings (Knuth, TAOCP 4A, 7.2.1.5)."""

from collections.abc import Iterator, Sequence
from functools import cache

Partition = tuple[int, ...]
"""place -> the number of its part; parts are numbered as they first appear, so that equal partitions are equal."""


@cache
def partitions(count: int) -> tuple[Partition, ...]:
    """All of so many places, a Bell number: the first one holds all places together, the last one each alone."""
    return tuple(_grown((), count))


def _grown(begun: Partition, count: int) -> Iterator[Partition]:
    if len(begun) == count:
        yield begun
        return
    for part in range(max(begun, default=-1) + 2):
        yield from _grown((*begun, part), count)


def numbered(parts: Sequence[int]) -> Partition:
    """The same partition, its parts numbered as they appear."""
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(part, len(numbers)) for part in parts)


def exchanged(partition: Partition, one: int, other: int) -> Partition:
    """The partition with two places exchanged."""
    places = list(partition)
    places[one], places[other] = places[other], places[one]
    return numbered(places)
