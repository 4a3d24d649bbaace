"""Who does the work: processes of this machine, one a core, each told one job at a time.

A worker is a fresh interpreter (spawn), so that nothing of the engine's is in it. One that dies (out of memory, kill
-9) is told with the job that it had, which is why these are not a pool of the standard library's: there, one death
ends the whole pool and does not say whose it was. One whose engine is gone ends itself.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Protocol

from nights.sets import digest_of, find
from simulations.work import Done, Finding, Reducer

JOB_SECONDS_MAX = 1800.0
"""A job is meant to take a minute; a worker that takes longer than this has lost its way. It is killed, and its units
count as those of one that died."""

PUT_AWAY_S = 20.0
"""A worker that is told to end may put its processes away for so long; then it is killed."""


@dataclass(frozen=True, slots=True)
class Play:
    """Units first <= unit < last of a set, of the code with this digest."""

    address: str
    digest: str
    first: int
    last: int

    def run(self) -> Done:
        _of_this_code(self.address, self.digest)
        return find(self.address).play(self.first, self.last)

    def __str__(self) -> str:
        return f"units {self.first}..{self.last - 1}"


@dataclass(frozen=True, slots=True)
class Reduce:
    """Make what was found smaller."""

    address: str
    digest: str
    finding: Finding

    def run(self) -> Finding:
        _of_this_code(self.address, self.digest)
        work = find(self.address)
        assert isinstance(work, Reducer), "only what knows how is asked"
        return work.smaller(self.finding)

    def __str__(self) -> str:
        return f"making unit {self.finding.unit} smaller"


Job = Play | Reduce


class OtherCode(Exception):
    """A worker sees other sources than the engine did when it began."""


def _of_this_code(address: str, digest: str) -> None:
    if (here := digest_of(address)) != digest:
        raise OtherCode(f"the sources of {address} are {here} here and {digest} at the engine: nothing is played")


@dataclass(frozen=True, slots=True)
class Ended:
    """A job is done."""

    job: Job
    result: Done | Finding
    seconds: float


@dataclass(frozen=True, slots=True)
class Raised:
    """A job raised what no set should: the campaign ends with these words."""

    job: Job
    words: str


@dataclass(frozen=True, slots=True)
class Died:
    """Whoever had the job is gone."""

    job: Job
    how: str
    again: bool = True  # False: it has been played again already


Event = Ended | Raised | Died


class Crew(Protocol):
    """Processes that do jobs, here or elsewhere."""

    @property
    def size(self) -> int:
        """How many jobs at once."""

    def give(self, job: Job) -> None:
        """Only while fewer than `size` are given."""

    def next(self, seconds: float) -> Event | None:
        """What happens next; None when nothing has for so long."""

    def close(self) -> None:
        """Ends all, whatever they are doing."""


def perform(job: Job) -> Ended | Raised:
    """Do it, here."""
    began = time.perf_counter()
    try:
        result = job.run()
    except Exception as error:
        return Raised(job, "".join(traceback.format_exception(error, limit=-6)))
    return Ended(job, result, time.perf_counter() - began)


class Local:
    """Workers on this machine."""

    def __init__(self, jobs: int, seconds_max: float = JOB_SECONDS_MAX) -> None:
        assert jobs > 0, "somebody has to work"
        self._seconds_max = seconds_max
        self._hands = [_Hand() for _ in range(jobs)]

    @property
    def size(self) -> int:
        return len(self._hands)

    def give(self, job: Job) -> None:
        free = next((hand for hand in self._hands if hand.job is None), None)
        assert free is not None, "more jobs than workers"
        free.give(job)

    def next(self, seconds: float) -> Event | None:
        """One event. A worker that died is replaced."""
        busy = [hand for hand in self._hands if hand.job is not None]
        wait([it for hand in busy for it in (hand.pipe, hand.process.sentinel)], timeout=seconds)
        for hand in busy:
            event = hand.event(self._seconds_max)
            if event is not None:
                if isinstance(event, Died):
                    hand.end()
                    self._hands[self._hands.index(hand)] = _Hand()
                return event
        return None

    def close(self) -> None:
        for hand in self._hands:
            hand.process.terminate()
        for hand in self._hands:
            hand.end()


class _Hand:
    """One worker."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # Not a daemon in multiprocessing's sense: a set may have processes of its own.
        self.process = context.Process(target=_work, args=(theirs,), daemon=False)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self._since = 0.0

    def give(self, job: Job) -> None:
        self.job, self._since = job, time.monotonic()
        with contextlib.suppress(OSError):  # it has died while it had nothing to do: `event` tells so
            self.pipe.send(job)

    def event(self, seconds_max: float) -> Event | None:
        job = self.job
        assert job is not None, "asked only while it works"
        try:
            if self.pipe.poll():
                event: Event = self.pipe.recv()
                self.job = None
                return event
        except (EOFError, OSError):
            self.process.join(PUT_AWAY_S)
        if not self.process.is_alive():
            code = self.process.exitcode
            return Died(job, f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}")
        if time.monotonic() - self._since > seconds_max:
            return Died(job, f"nothing came of it in {seconds_max:.0f} s")
        return None

    def end(self) -> None:
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(PUT_AWAY_S)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection) -> None:
    """A worker's life."""
    # A terminal's Ctrl-C goes to all; the engine decides what it means here. A function, because whatever is started
    # from here would inherit that a signal is ignored.
    signal.signal(signal.SIGINT, _nothing)
    threading.Thread(target=_until_orphaned, daemon=True).start()
    while True:
        try:
            job: Job = pipe.recv()
            pipe.send(perform(job))
        except (EOFError, OSError):
            return  # nobody asks any more


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


def _until_orphaned() -> None:
    engine = multiprocessing.parent_process()
    assert engine is not None, "workers are started by the engine"
    wait([engine.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)  # so that a set with processes of its own can put them away
