"""A slice of a set as one play: counted, with a story, and what is left of one that failed."""

import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from simulations.work import Done, Finding
from theatre.nights.town import Town
from theatre.troupe import Failed

KEPT_MAX = 20
"""Directories of failed slices that are kept beside each other; the oldest of more is removed."""

STORY_NAME = "story"


class Night:
    """What a slice counts. `unit`: the one that is played; `town`: once it stands, for the story."""

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.town: Town | None = None
        self.counts: dict[str, int] = {"runs": 0}

    def count(self, name: str, more: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + more


def play(name: str, units: Sequence[int], act: Callable[[Night, Path, Sequence[int]], Awaitable[None]]) -> Done:
    """`act` in a directory of its own, which is removed; after a failure it is kept, and the finding says where."""
    night = Night(units[0])
    path = Path(tempfile.mkdtemp(prefix="bftnode-night-"))
    findings: tuple[Finding, ...] = ()
    try:
        failed = trio.run(failure_of, partial(act, night, path, units), strict_exception_groups=True)
        if failed is None and night.counts["runs"] != len(units):
            failed = Failed(f"{night.counts['runs']} of {len(units)} were played")
        if failed is not None:
            kept = keep(path, f"{name}-{units[0]}", night)
            asked = "start" if night.town is None else night.town.asking
            replay = f"python -m theatre {name} {units[0]}..{units[-1]}"
            findings = (Finding(night.unit, asked, f"{str(failed).splitlines()[0]} (kept: {kept})", replay),)
    finally:
        shutil.rmtree(path, ignore_errors=True)
    return Done(len(units), night.counts, findings)


async def failure_of(act: Callable[[], Awaitable[None]]) -> Failed | None:
    """What it failed of, if it did. A signal that would end this process ends it in order."""
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_interrupted)
            await act()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        some, rest = group.split(Failed)
        if some is None or rest is not None:
            raise
        return _first(some)
    return None


async def _interrupted(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """What would end this process at once ends it as Ctrl-C does: no daemon and no directory is left behind."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            raise KeyboardInterrupt


def _first(group: BaseExceptionGroup[Failed]) -> Failed:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Failed), "split by it"
    return error


def keep(path: Path, name: str, night: Night | None) -> Path:
    """Move what a failed slice has left to where it stays; where that is."""
    everything = Path(tempfile.gettempdir()) / "bftnode-nights"
    everything.mkdir(mode=0o700, exist_ok=True)
    for old in sorted(everything.iterdir(), key=lambda one: one.stat().st_mtime)[: -KEPT_MAX + 1]:
        shutil.rmtree(old)
    kept = everything / name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.move(path, kept)
    if night is not None and night.town is not None:
        (kept / STORY_NAME).write_text("\n".join([*night.town.story, night.town.troupe.last_words()]))
    return kept
