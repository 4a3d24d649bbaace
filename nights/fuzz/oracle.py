"""What must hold of every input, whoever reads it: refused by name or taken, in bounded time and memory, always alike.

A target reads the input and returns whether it was taken; it raises `Broken` where a property of its own does not hold.
"""

import os
import resource
import sysconfig
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ParamSpec, TypeVar

DETAIL_CHARACTERS_MAX = 512
"""Of a refusal's words: it goes into logs, and to whoever sent what is refused."""

SECONDS_MAX = 0.5
SECONDS_PER_BYTE = 20e-6
"""Of processor time, instrumentation included: some hundred times what the slowest input needs."""

GROWTH_BYTES_MAX = 64 * 1024 * 1024
WATCHED_EVERY = 64
"""By which so many inputs may raise the highest memory of the process; then it is looked at which of them does."""

TRACED_BYTES_MAX = 2 * 1024 * 1024
TRACED_PER_BYTE = 64
"""What Python may have allocated at a time for one input: a buffer for the longest file that is read, and the most
spacious values, which are small integers in arrays."""

ROOTS = ("site-packages", sysconfig.get_path("stdlib"), str(Path(__file__).parents[2]))
"""Below which a file is named."""

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
    mutate: another input near this one, by these dice.
    """

    name: str
    story: str
    check: Callable[[bytes], bool]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Callable[[bytes, Random], bytes]
    bytes_max: int = 4096


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
        self._recent: list[bytes] = []
        self._highest = _highest()

    def examine(self, data: bytes, *, traced: bool = False) -> Breach | None:
        """What does not hold; None: all does."""
        breach = self._examined(data, traced)
        self._recent.append(data)
        if len(self._recent) == WATCHED_EVERY:
            breach = breach or self._grown()
            self._recent.clear()
        return breach

    def _examined(self, data: bytes, traced: bool) -> Breach | None:
        if traced:
            tracemalloc.start()
        began = time.perf_counter()
        try:
            self.taken += self._target.check(data)
        except Broken as broken:
            return Breach(broken.judge, broken.detail)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            cause = _innermost(error)
            return Breach(
                "nothing but refusals is raised", f"{type(cause).__name__}: {cause!s:.200} at {_where(cause)}"
            )
        finally:
            seconds = time.perf_counter() - began
            peak = tracemalloc.get_traced_memory()[1] if traced else 0
            if traced:
                tracemalloc.stop()
        allowed = SECONDS_MAX + SECONDS_PER_BYTE * len(data)
        if seconds > allowed and (spent := self._processor_time(data)) > allowed:
            return Breach("an input takes little time", f"{spent:.3f} s for {len(data)} bytes")
        if peak > TRACED_BYTES_MAX + TRACED_PER_BYTE * len(data):
            return Breach("an input takes little memory", f"{peak} bytes for one of {len(data)}")
        return None

    def _processor_time(self, data: bytes) -> float:
        """Of the input once more: others may have had the processor."""
        began = time.process_time()
        self._target.check(data)
        return time.process_time() - began

    def _grown(self) -> Breach | None:
        before, self._highest = self._highest, _highest()
        if self._highest - before <= GROWTH_BYTES_MAX:
            return None
        for data in self._recent:
            breach = self._examined(data, traced=True)
            if breach is not None:
                return breach
        return Breach("inputs take little memory", f"the process grew by {self._highest - before} bytes")


def _highest() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _innermost(error: BaseException) -> BaseException:
    """What a nursery wraps; of several, the first. What was put into a group without being raised has no place."""
    inner = error
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return error if inner.__traceback__ is None else inner


def _where(error: BaseException) -> str:
    """A file below the checkout or Python's libraries: the same on every machine."""
    trace = error.__traceback__
    assert trace is not None, "it was raised"
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    for root in ROOTS:
        file = file.rpartition(f"{root}{os.sep}")[2]
    return f"{file}:{trace.tb_lineno}"
