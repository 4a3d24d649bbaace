"""Workers of a running Dask scheduler, on this machine or others: `--engine dask://HOST:PORT` (docs/decisions/024).

They run in checkouts of the same code (crew.py compares), one thread each, because a set's worlds share what a module
holds. What needs a machine for itself is not given to them.
"""

import logging
from concurrent.futures import CancelledError

import distributed

from nights.crew import Died, Event, Job, Raised, perform

SCHEME = "dask://"
CONNECT_S = 10
"""A scheduler that has not answered by then is not there."""


class NoWorkers(Exception):
    """Nobody is there, or nobody who can do this."""


class Remote:
    """The workers that a scheduler has when it is asked first. Raises NoWorkers."""

    def __init__(self, engine: str) -> None:
        address = "tcp://" + engine.removeprefix(SCHEME)
        # A result that died with its worker before it was fetched is made again: that is no news for who plays.
        logging.getLogger("distributed.client").setLevel(logging.ERROR)
        try:
            self._client = distributed.Client(address, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            raise NoWorkers(f"{engine}: no scheduler answers in {CONNECT_S} s ({error})") from error
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        threads = [worker["nthreads"] for worker in workers]
        if not threads or max(threads) > 1:
            self._client.close()
            raise NoWorkers(
                f"{engine}: {len(threads)} workers, {max(threads, default=0)} threads in one; start some with one "
                f"thread each, in a checkout of this code: dask worker {address} --nthreads 1"
            )
        self._size = len(threads)
        self._given: dict[distributed.Future[Event], Job] = {}

    @property
    def size(self) -> int:
        return self._size

    def give(self, job: Job) -> None:
        assert len(self._given) < self._size, "more jobs than workers"
        self._given[self._client.submit(perform, job, pure=False)] = job

    def next(self, seconds: float) -> Event | None:
        """One event. The scheduler gives the job of a worker that died to others, three times unless it is told
        otherwise (distributed.scheduler.allowed-failures); the death that is told is the last."""
        try:
            finished = distributed.wait(list(self._given), timeout=seconds, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return None
        future = next(future for future in self._given if future in finished)
        job = self._given.pop(future)
        try:
            event: Event = future.result()
        except distributed.scheduler.KilledWorker as killed:
            return Died(job, f"{killed}".splitlines()[0], again=False)
        except CancelledError:
            return Raised(job, "the scheduler is gone; start it, and the same command continues")
        except Exception as error:  # a worker that cannot even load the job: it has no checkout, or another Python
            return Raised(job, f"a worker could not begin: {type(error).__name__}: {error}")
        return event

    def close(self) -> None:
        for future in self._given:
            future.cancel()
        self._client.close()
