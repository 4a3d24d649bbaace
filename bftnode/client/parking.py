"""Where one task waits for one thing: a `trio.Event` for one task, at half its cost; on the path of every call."""

import trio


class Waiting:
    """Made by the task that will `wait`; whoever has what it waits for calls `wake`, once or more often."""

    __slots__ = ("_task", "woken")

    def __init__(self) -> None:
        self.woken = False
        self._task: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        if not self.woken:
            self.woken = True
            if self._task is not None:
                trio.lowlevel.reschedule(self._task)

    async def wait(self) -> None:
        """Until it is woken; at once where it has been. A cancelled task is not woken any more."""
        if self.woken:
            await trio.lowlevel.checkpoint()
            return
        assert self._task is None, "one task waits"
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
