"""The thread that writes: a quick write is waited for in place, a slow one holds up nobody else."""

import threading

import pytest
import trio
import trio.testing

from bftnode.node.writer import Writer
from bftnode.storage.errors import DiskFull


@pytest.mark.covers("D13", "P52")
async def test_a_write_that_takes_long_does_not_hold_up_the_event_loop() -> None:
    """The write ends only because somebody else in the loop has his turn meanwhile; and so does the one after it."""
    writer = Writer()
    for _ in range(2):
        disk = threading.Event()
        done: list[bool] = []

        async def write(disk: threading.Event, done: list[bool]) -> None:
            done.append(await writer.run(disk.wait, 10))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, disk, done)
            await trio.testing.wait_all_tasks_blocked()
            assert not done
            disk.set()
        assert done == [True]
    assert await writer.run(abs, -1) == 1


async def test_a_quick_write_is_waited_for_in_place() -> None:
    """Nobody else has a turn meanwhile, unless the machine keeps the thread waiting each of so many times."""
    writer = Writer()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        in_place = 0
        for number in range(200):
            before = turns
            assert await writer.run(abs, -number) == number
            in_place += turns == before
        assert in_place
        nursery.cancel_scope.cancel()


@pytest.mark.covers("D04")
@pytest.mark.parametrize("slow", [False, True])
async def test_what_a_write_raises_is_raised_where_it_was_asked_for(*, slow: bool) -> None:
    """In place or not."""
    writer = Writer()
    disk = threading.Event()

    def full(_: None) -> None:
        if slow:
            disk.wait(10)
        raise DiskFull("no room")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_when_blocked, disk)
        with pytest.raises(DiskFull):
            await writer.run(full, None)


async def test_a_write_that_was_begun_is_waited_for_whatever_is_cancelled() -> None:
    """What is durable is always known."""
    writer = Writer()
    disk = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_when_blocked, disk)
        nursery.cancel_scope.cancel()
        assert await writer.run(disk.wait, 10)


async def set_when_blocked(disk: threading.Event) -> None:
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked()
    disk.set()
