"""The small world: a virtual clock in ms and a heap of what happens next.

What is due at the same ms happens in an order that is drawn from the seed, so that seeds explore orders, and the
same seed always gives the same one. Everything that happens is folded into `trace`, a hash that two runs of one
seed share (faults.md R17, K10), and, where somebody listens, told in words.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random

WALL_MS = 1_700_000_000_000
"""What the wall clocks show at the start."""


class Listener:
    """Who is told what happens, as it happens. Listening changes nothing (faults.md R17)."""

    def begun(self, world: "World") -> None:
        """A world begins."""

    def told(self, ms: int, who: str, what: str) -> None:
        """A line of the story."""

    def sent(self, ms: int, place: int, to: int, frame: bytes, arrives_ms: int | None) -> None:
        """A frame leaves a place for another; None: it is lost on the way."""


_listeners: list[Listener] = []


@contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """Worlds made in here are listened to."""
    before = list(_listeners)
    _listeners.extend(listeners)
    try:
        yield
    finally:
        _listeners[:] = before


@contextmanager
def unheard() -> Iterator[None]:
    """Worlds made in here are nobody's story."""
    before = list(_listeners)
    _listeners.clear()
    try:
        yield
    finally:
        _listeners[:] = before


def line_of(ms: int, who: str, what: str) -> str:
    """A line of the story, for people."""
    return f"{ms:7d} {who:>4} {what}"


class Violation(Exception):
    """A property that must hold for ever does not. `name` is the property's name in judges/."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, detail)
        self.name = name
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


class World:
    """Time, and what happens in it."""

    def __init__(self, seed: str, *, remember: int = 0) -> None:
        self.seed = seed
        self.now_ms = 0
        self.happened = 0
        self.delivered = 0  # frames that were handed to a replica's step
        self.story: deque[str] = deque(maxlen=remember) if remember else deque(maxlen=1)
        self.telling = remember > 0 or bool(_listeners)
        self._tie = self.random("ties").random
        self._heap: list[tuple[int, float, int, Callable[..., None], tuple[object, ...]]] = []
        self._serial = 0
        self._trace = hashlib.blake2b(digest_size=16)
        for listener in _listeners:
            listener.begun(self)

    def random(self, purpose: str) -> Random:
        """A stream of its own for each purpose, so that one more draw here changes nothing there."""
        return Random(f"{self.seed}/{purpose}")

    def at(self, ms: int, action: Callable[..., None], *arguments: object) -> None:
        """`action(*arguments)` happens at `ms`."""
        assert ms >= self.now_ms, "nothing happens in the past"
        self._serial += 1
        heappush(self._heap, (ms, self._tie(), self._serial, action, arguments))

    def after(self, delay_ms: int, action: Callable[..., None], *arguments: object) -> None:
        assert delay_ms >= 0, "nothing happens in the past"
        self._serial += 1
        heappush(self._heap, (self.now_ms + delay_ms, self._tie(), self._serial, action, arguments))

    def run(self, until_ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass until `until_ms`, or until `done()` (asked after each moment); whether it was done."""
        heap = self._heap
        while heap and heap[0][0] <= until_ms:
            if done is not None and heap[0][0] > self.now_ms and done():
                return True
            self.now_ms, _, _, action, arguments = heappop(heap)
            self.happened += 1
            action(*arguments)
        if done is not None and done():
            return True
        self.now_ms = until_ms
        return False

    def note(self, *parts: bytes) -> None:
        """Fold a fact into the trace."""
        self._trace.update(self.now_ms.to_bytes(8, "big") + b"".join(parts))

    def tell(self, who: object, what: str) -> None:
        """A line of the story, for people. Callers ask `telling` first where making the line costs something."""
        if self.telling:
            self.story.append(line_of(self.now_ms, str(who), what))
            for listener in _listeners:
                listener.told(self.now_ms, str(who), what)

    def sent(self, place: int, to: int, frame: bytes, arrives_ms: int | None) -> None:
        """A frame is on its way, or lost. Callers ask `telling` first."""
        for listener in _listeners:
            listener.sent(self.now_ms, place, to, frame, arrives_ms)

    def trace(self) -> str:
        return self._trace.hexdigest()
