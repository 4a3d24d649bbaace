"""Operations of concurrent callers gathered into one envelope. Pure but for how callers wait."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from bftnode.client.outcomes import Outcome
from bftnode.client.parking import Waiting


class Call(Waiting):
    """One caller's operation, and the caller, who waits for its outcome."""

    __slots__ = ("abandoned", "alone", "batch", "operation", "outcome", "place", "refused")

    def __init__(self, operation: bytes) -> None:
        super().__init__()
        self.operation = operation
        self.outcome: Outcome | None = None
        self.place = 0  # which of the envelope's results is ours
        self.batch: Batch | None = None  # None: not in an envelope yet
        self.alone = False  # shares an envelope with nobody: one in company was rejected
        self.abandoned = False  # the caller has left
        self.refused: Exception | None = None  # no envelope could be made of it


class Batch:
    """The calls in one envelope."""

    __slots__ = ("calls", "name", "settle", "waiting")

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.name = b""  # the transaction's id, once signed
        self.settle: Callable[[Outcome], None] | None = None  # what the client waits with, once signed
        self.waiting = len(calls)
        for place, call in enumerate(calls):
            call.place, call.batch = place, self


class Gathering:
    """Calls that wait for an envelope, in order of arrival."""

    def __init__(self, operations_max: int, bytes_max: int) -> None:
        self._operations_max = operations_max
        self._bytes_max = bytes_max
        self._calls: deque[Call] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        self._calls.append(call)
        self._bytes += len(call.operation)

    def is_worth(self, out: int) -> bool:
        """Whether they are worth an envelope beside `out` calls that are in others: as many, or as fill one."""
        return len(self._calls) >= min(out, self._operations_max) or self._bytes >= self._bytes_max

    def _next(self) -> Call:
        call = self._calls.popleft()
        self._bytes -= len(call.operation)
        return call

    def take(self) -> Batch | None:
        """The next envelope's calls: as many as fit, at least one; None when nobody waits."""
        chosen: list[Call] = []
        size = 0
        while self._calls:
            call = self._calls[0]
            if call.abandoned:
                self._next()
                continue
            size += len(call.operation)
            full = len(chosen) == self._operations_max or size > self._bytes_max
            if chosen and (full or call.alone or chosen[-1].alone):
                break
            chosen.append(self._next())
        return Batch(chosen) if chosen else None


def envelopes_of(operations: Sequence[bytes], operations_max: int, bytes_max: int) -> Iterator[Sequence[bytes]]:
    """The operations cut into envelopes, in order: as many in each as fit, at least one."""
    start = size = 0
    for end, operation in enumerate(operations):
        size += len(operation)
        if end > start and (end - start == operations_max or size > bytes_max):
            yield operations[start:end]
            start, size = end, len(operation)
    if start < len(operations):
        yield operations[start:]
