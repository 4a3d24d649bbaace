"""The one thread that writes to the disk.

A dedicated thread costs a third of what a pool's does for each call, and there is one call a turn. A write that was
begun is waited for, whatever is cancelled meanwhile: what is durable is always known.

Most writes are over in a fraction of a millisecond, less than it costs to go back to the event loop and to be fetched
from it again. So the loop waits in place, for a bounded moment, and goes back only where the disk takes longer: it is
never held up by a slow one (faults.md D13).
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import trio

A = TypeVar("A")
T = TypeVar("T")

IN_PLACE_S_MAX = 0.002
"""For so long the event loop waits for a write in place. The next ones after one that took longer are not waited for in
place at all, until one was quicker again."""


class _Job:
    """One call, and what came of it."""

    __slots__ = ("argument", "error", "function", "over", "result", "task", "token")

    def __init__(self, function: Callable[[Any], Any], argument: Any) -> None:
        self.function = function
        self.argument = argument
        self.over = threading.Lock()  # held until it is
        self.over.acquire()
        self.task: trio.lowlevel.Task | None = None  # who waits for it in the event loop
        self.token = trio.lowlevel.current_trio_token()
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """Runs one function at a time. Ends with the process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._leaving = threading.Lock()  # a job is over, or somebody begins to wait for it in the loop
        self._quick = True  # so the last one was
        threading.Thread(target=self._work, name="writer", daemon=True).start()

    async def run(self, function: Callable[[A], T], argument: A) -> T:
        """`function(argument)` in the thread; raises what it raises. Cancellation waits for it."""
        job = _Job(function, argument)
        quick = self._quick
        self._jobs.put(job)
        if not (quick and job.over.acquire(timeout=IN_PLACE_S_MAX)):
            await self._over(job)
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    async def _over(self, job: _Job) -> None:
        with self._leaving:
            if not job.over.locked():
                return
            job.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            began = time.perf_counter()
            try:
                job.result = job.function(job.argument)
            except BaseException as error:  # it is raised where it was asked for, whatever it is
                job.error = error
            self._quick = time.perf_counter() - began < IN_PLACE_S_MAX
            with self._leaving:
                job.over.release()
                task = job.task
            if task is not None:
                job.token.run_sync_soon(trio.lowlevel.reschedule, task)
