"""What an absence was, out of the heights of all members over time. Pure."""

import itertools
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comparison.failures import Failed

Heights = Mapping[str, Sequence[tuple[float, int]]]
"""By member, in order of time: (second of the monotonic clock, height that it had executed)."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A member was away, came back under load, and caught up."""

    missed: int  # operations, when it was first seen again
    seconds: float  # from the start of its process until it was level with the others
    caught_up_per_s: float  # operations that it executed, from when it was first seen again until it was level
    before_per_s: float  # operations that the others committed, before it came back
    during_per_s: float  # the same, from when it was first seen again until it was level
    full_per_s: float  # that all members commit together, or are asked to
    cpu_us: float | None  # its CPU for an operation that it executed, start included

    @property
    def kept(self) -> float:
        """Of the others' rate without it, in per cent."""
        return 100 * self.during_per_s / self.before_per_s

    @property
    def kept_of_full(self) -> float:
        """Of all members' rate, in per cent."""
        return 100 * self.during_per_s / self.full_per_s


class Watch:
    """What `comparison.watching` has printed so far, read once."""

    def __init__(self) -> None:
        self.heights: dict[str, list[tuple[float, int]]] = {}
        self._rest = ""

    def read(self, text: str) -> None:
        """What came after the text before; a last line that is not whole waits. Raises Failed."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            try:
                at_s, name, height = json.loads(line)
                self.heights.setdefault(name, []).append((float(at_s), int(height)))
            except (ValueError, TypeError):
                raise Failed(f"not a height: {line[:200]}") from None


def level_at(heights: Heights, name: str, since_s: float) -> float | None:
    """When the member was as high as one of the others first, or None. Who asks at other moments than another, sees
    it a block or two apart: that is level."""
    others = [seen for other, seen in heights.items() if other != name]
    for at_s, height in _since(heights.get(name, ()), since_s):
        known = [height_at(seen, at_s) for seen in others]
        if known and height >= min(known):
            return at_s
    return None


def height_at(seen: Sequence[tuple[float, int]], at_s: float) -> int:
    """As it was seen last by then; 0 before."""
    place = bisect_right(seen, at_s, key=lambda item: item[0])
    return seen[place - 1][1] if place else 0


def absence(
    heights: Heights,
    operations: Sequence[int],
    name: str,
    before_s: tuple[float, float],
    started_s: float,
    cpu_s: float | None,
    full_per_s: float,
) -> Absence:
    """`operations`: how many there are up to each height. `before_s`: from when to when the others' rate before is
    counted. Raises Failed where it never was level."""
    level_s = level_at(heights, name, started_s)
    seen = _since(heights.get(name, ()), started_s)
    if level_s is None or not seen:
        raise Failed(f"{name} has not caught up")
    others = [one for other, one in heights.items() if other != name]

    def count(height: int) -> int:
        # Its last blocks may not be written yet (decision 009).
        return operations[min(height, len(operations) - 1)]

    def highest(at_s: float) -> int:
        return count(max(height_at(one, at_s) for one in others))

    def rate(from_s: float, to_s: float) -> float:
        return (highest(to_s) - highest(from_s)) / (to_s - from_s)

    first_s, first = seen[0]
    done = count(height_at(seen, level_s)) - count(first)
    if level_s <= first_s:
        raise Failed(f"{name} was level when it was first seen: more must be missed")
    return Absence(
        missed=highest(first_s) - count(first),
        seconds=level_s - started_s,
        caught_up_per_s=done / (level_s - first_s),
        before_per_s=rate(*before_s),
        during_per_s=rate(first_s, level_s),
        full_per_s=full_per_s,
        cpu_us=None if cpu_s is None or not done else 1e6 * cpu_s / done,
    )


def _since(seen: Sequence[tuple[float, int]], since_s: float) -> list[tuple[float, int]]:
    return list(itertools.dropwhile(lambda item: item[0] < since_s, seen))
