"""The one thread that writes to the disk.

A dedicated thread costs a third of what a pool's does for each call, and there is one call a turn. A write that was
begun is waited for, whatever is cancelled meanwhile: what is durable is always known.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import trio

A = TypeVar("A")
T = TypeVar("T")


class _Job:
    """One call, and what came of it."""

    __slots__ = ("argument", "error", "function", "result", "task", "token")

    def __init__(self, function: Callable[[Any], Any], argument: Any) -> None:
        self.function = function
        self.argument = argument
        self.task = trio.lowlevel.current_task()
        self.token = trio.lowlevel.current_trio_token()
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """Runs one function at a time. Ends with the process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="writer", daemon=True).start()

    async def run(self, function: Callable[[A], T], argument: A) -> T:
        """`function(argument)` in the thread; raises what it raises. Cancellation waits for it."""
        job = _Job(function, argument)
        self._jobs.put(job)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job.result = job.function(job.argument)
            except BaseException as error:  # it is raised where it was asked for, whatever it is
                job.error = error
            job.token.run_sync_soon(trio.lowlevel.reschedule, job.task)
