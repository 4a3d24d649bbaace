"""What must hold of every input, whoever reads it: refused by name or taken, in bounded time and memory, always alike.

A target reads the input and returns whether it was taken; it raises `Broken` where a property of its own does not hold.
"""

import resource
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ParamSpec, TypeVar

DETAIL_CHARACTERS_MAX = 512
"""Of a refusal's words: it goes into logs, and to whoever sent what is refused."""

SECONDS_MAX = 0.5
SECONDS_PER_BYTE = 20e-6
"""Of processor time, instrumentation and a slow machine included: some hundred times what the slowest input needs."""

GROWTH_BYTES_MAX = 64 * 1024 * 1024
"""By which one input may raise the highest memory of the process."""

TRACED_BYTES_MAX = 1024 * 1024
TRACED_PER_BYTE = 64
"""What Python may have allocated at a time for one input: the most spacious values are small integers in arrays."""

P = ParamSpec("P")
T = TypeVar("T")


class Broken(Exception):
    """A property that does not hold. `judge` is its name."""

    def __init__(self, judge: str, detail: str) -> None:
        super().__init__(f"{judge}: {detail}")
        self.judge = judge
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Target:
    """One reader, or several of the same thing.

    check: whether the input was taken; raises Broken. seeds: valid inputs to begin with, and telling invalid ones.
    mutate: another input near this one, by these dice. share: of how many units it gets, beside the others.
    """

    name: str
    story: str
    check: Callable[[bytes], bool]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Callable[[bytes, Random], bytes]
    bytes_max: int = 4096
    share: int = 1


@dataclass(frozen=True, slots=True)
class Breach:
    """What an input broke."""

    judge: str
    detail: str


def holds(condition: object, judge: str, detail: str) -> None:
    """Raises Broken unless it does."""
    if not condition:
        raise Broken(judge, detail)


def attempt(refusal: type[Exception], read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """What `read` returns; None where it refuses, in few words. Whatever else it raises comes out."""
    try:
        return read(*args, **kwargs)
    except refusal as refused:
        _look_at(str(refused))
        return None


def passes(refusal: type[Exception], check: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Whether a check refuses nothing."""
    try:
        check(*args, **kwargs)
    except refusal as refused:
        _look_at(str(refused))
        return False
    return True


def _look_at(words: str) -> None:
    holds(words, "a refusal says why", "no words")
    holds(len(words) <= DETAIL_CHARACTERS_MAX, "a refusal's words are few", f"{len(words)} characters")


class Examiner:
    """Puts inputs to a target. With `traced`, Python's allocations are counted as well, at a third of the speed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.taken = 0

    def examine(self, data: bytes, *, traced: bool = False) -> Breach | None:
        """What does not hold; None: all does."""
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if traced:
            tracemalloc.start()
        began = time.process_time()
        try:
            self.taken += self._target.check(data)
        except Broken as broken:
            return Breach(broken.judge, broken.detail)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Breach(
                "nothing but refusals is raised", f"{type(error).__name__}: {error!s:.200} at {_where(error)}"
            )
        finally:
            seconds = time.process_time() - began
            peak = tracemalloc.get_traced_memory()[1] if traced else 0
            if traced:
                tracemalloc.stop()
        if seconds > SECONDS_MAX + SECONDS_PER_BYTE * len(data):
            return Breach("an input takes little time", f"{seconds:.3f} s for {len(data)} bytes")
        if peak > TRACED_BYTES_MAX + TRACED_PER_BYTE * len(data):
            return Breach("an input takes little memory", f"{peak} bytes for one of {len(data)}")
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - highest)
        if grown > GROWTH_BYTES_MAX:
            return Breach("an input takes little memory", f"the process grew by {grown} bytes for one of {len(data)}")
        return None


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    assert trace is not None, "it was raised"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('bftnode/')[2]}:{trace.tb_lineno}"
