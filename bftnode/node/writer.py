"""The one thread that writes to the disk.

A dedicated thread costs a third of what a pool's does for each call, and there is one call a turn. A write that was
begun is waited for, whatever is cancelled meanwhile: what is durable is always known.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import outcome
import trio

A = TypeVar("A")
T = TypeVar("T")

_Job = tuple[Callable[[Any], Any], Any, trio.lowlevel.Task, trio.lowlevel.TrioToken]


class Writer:
    """Runs one function at a time. Ends with the process, or by `close`."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="writer", daemon=True).start()

    async def run(self, function: Callable[[A], T], argument: A) -> T:
        """`function(argument)` in the thread; raises what it raises. Cancellation waits for it."""
        self._jobs.put((function, argument, trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()))
        result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return result

    def close(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, argument, task, token = job
            token.run_sync_soon(trio.lowlevel.reschedule, task, outcome.capture(function, argument))
