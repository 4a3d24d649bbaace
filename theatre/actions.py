"""What each word of words.WORDS does to the processes, their disks and their wires."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from simulations.script import Step
from theatre import proxy, rot
from theatre.lies import LIES
from theatre.troupe import Failed

if TYPE_CHECKING:
    from theatre.play import RealPlay

LATE_S = 20.0
"""How late `height at least` may come true."""

POLL_S = 0.1


async def _submit(play: "RealPlay", step: Step) -> None:
    for _ in range(step.count):
        play.submit(step.client)
        await trio.sleep(step.every_ms / 1000 * play.stretch)


async def _resubmit(play: "RealPlay", step: Step) -> None:
    """The client library does it."""


async def _crash(play: "RealPlay", step: Step) -> None:
    async with play.standing_still():
        await play.troupe.kill(*play.chosen(step))


async def _stop(play: "RealPlay", step: Step) -> None:
    async with play.standing_still():
        await play.troupe.stop(*play.chosen(step))


async def _start(play: "RealPlay", step: Step) -> None:
    async with play.standing_still():
        await play.troupe.start(*play.chosen(step))


async def _pause(play: "RealPlay", step: Step) -> None:
    for member in play.chosen(step):
        play.troupe.pause(member)


async def _resume(play: "RealPlay", step: Step) -> None:
    for member in play.chosen(step):
        play.troupe.resume(member)


async def _copy(play: "RealPlay", step: Step) -> None:
    for member in play.chosen(step):
        play.troupe.copy_data(member)


async def _put_back(play: "RealPlay", step: Step) -> None:
    await _with_another_disk(play, step, play.troupe.put_data_back)


async def _wipe(play: "RealPlay", step: Step) -> None:
    await _with_another_disk(play, step, play.troupe.wipe_data)


async def _with_another_disk(play: "RealPlay", step: Step, exchange: Callable[[int], None]) -> None:
    async with play.standing_still():
        await play.troupe.kill(*play.chosen(step))
        for member in play.chosen(step):
            exchange(member)
        await play.troupe.start(*play.chosen(step))


async def _flip(play: "RealPlay", step: Step) -> None:
    for member in play.chosen(step):
        async with play.standing_still():
            # As the simulator has it: a log rots while the member runs, for the rest it goes down and comes back.
            if step.what != "log":
                await play.troupe.kill(member)
            data, alive = play.troupe.home(member).data_path, play.troupe.is_up(member)
            names = rot.flip_bits(data, step.what, step.count, play.dice, alive=alive)
            play.troupe.damaged(member)
            play.say(f"a bit of each of {len(names)} records of n{member} is another: {', '.join(names[:3])} ...")
            await play.troupe.start(member)


async def _misdirect(play: "RealPlay", step: Step) -> None:
    for member in play.chosen(step):
        async with play.standing_still():
            await play.troupe.kill(member)
            source, target = rot.misdirect(play.troupe.home(member).data_path, step.what, play.dice)
            play.troupe.damaged(member)
            play.say(f"n{member}: {source} lies where {target} should")
            await play.troupe.start(member)


async def _refused(play: "RealPlay", step: Step) -> None:
    async with play.standing_still():
        with trio.move_on_after(LATE_S):
            while any(play.troupe.is_up(i) and play.troupe.is_damaged(i) for i in play.chosen(step)):
                play.troupe.check_alive()
                await trio.sleep(POLL_S)
    for member in play.chosen(step):
        if member not in play.troupe.refused:
            raise Failed(f"n{member} does not refuse its disk\n{play.troupe.last_words()}")
        play.say(f"n{member} refuses its disk: {play.troupe.refused[member]}")


async def _late_writes(play: "RealPlay", step: Step) -> None:
    """The daemons do it (driver.BEHIND_MS_MAX)."""


async def _cut(play: "RealPlay", step: Step) -> None:
    for member in step.members:
        for other in play.rest(step):
            play.wires.sky.cut(member, other)
            play.wires.sky.cut(other, member)


async def _one_way_cut(play: "RealPlay", step: Step) -> None:
    for member in step.members:
        for other in step.to:
            play.wires.sky.cut(member, other)


async def _join(play: "RealPlay", _: Step) -> None:
    play.wires.sky.join()


async def _clog(play: "RealPlay", step: Step) -> None:
    for member in step.members:
        for other in play.rest(step):
            play.wires.sky.clog(member, other, step.ms / 1000 * play.stretch)
            play.wires.sky.clog(other, member, step.ms / 1000 * play.stretch)


async def _line(play: "RealPlay", step: Step) -> None:
    for member in play.chosen(step):
        if step.kbit_s:
            play.wires.sky.bits_s[member] = step.kbit_s * 1000 / play.stretch
        else:
            play.wires.sky.bits_s.pop(member, None)


async def _weather(play: "RealPlay", step: Step) -> None:
    weather = proxy.Weather(step.delay_max_ms / 1000 * play.stretch, step.tail_ms / 1000 * play.stretch, step.loss)
    if step.members:
        play.wires.sky.own_weather |= {(member, to): weather for member in step.members for to in play.rest(step)}
    else:
        play.wires.sky.weather = weather


async def _fair(play: "RealPlay", _: Step) -> None:
    play.wires.sky.clear()
    for member in range(play.script.n):
        play.troupe.resume(member)
    async with play.standing_still():
        await play.troupe.start(*range(play.script.n))


async def _height_at_most(play: "RealPlay", step: Step) -> None:
    async with play.standing_still():
        status = await play.status()
    highest = max((item.committed for i, item in status.items() if i in play.correct()), default=0)
    if highest > step.height:
        raise Failed(f"height {highest} was reached where {step.height} was the most")


async def _height_at_least(play: "RealPlay", step: Step) -> None:
    members = step.members or play.correct()
    with trio.move_on_after(LATE_S):
        async with play.standing_still():
            while True:
                status = await play.status()
                if all(i in status and status[i].executed >= step.height for i in members):
                    return
                await trio.sleep(POLL_S)
    stand = ", ".join(f"n{i} {status[i].executed if i in status else 'silent'}" for i in members)
    raise Failed(f"height {step.height} is not reached: {stand}")


ACTIONS: dict[str, Callable[["RealPlay", Step], Awaitable[None]]] = {
    "submit": _submit,
    "resubmit": _resubmit,
    "crash": _crash,
    "stop": _stop,
    "start": _start,
    "pause": _pause,
    "resume": _resume,
    "copy disk": _copy,
    "put disk back": _put_back,
    "wipe disk": _wipe,
    "flip bit": _flip,
    "misdirect write": _misdirect,
    "refused": _refused,
    "late writes": _late_writes,
    "cut": _cut,
    "one-way cut": _one_way_cut,
    "join": _join,
    "clog": _clog,
    "line": _line,
    "weather": _weather,
    "fair": _fair,
    "height at most": _height_at_most,
    "height at least": _height_at_least,
    **LIES,
}
"""The words of words.WORDS."""
