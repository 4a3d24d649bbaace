"""The wires between real members, over real TCP: bytes pass unchanged, and each fault does what its word says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from theatre.proxy import FAIR, LOSSES_MAX, RETRANSMIT_S, Sky, Weather, Wire, Wires

DEADLINE_S = 10.0
NEAR, FAR = 1, 0  # who dials, and who is dialled


@asynccontextmanager
async def wired(sky: Sky) -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Both ends of one connection by a wire: the dialler's, and that of the member which is dialled."""
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
            wire = Wire(sky, NEAR, FAR, listener.socket.getsockname()[1])
            port = await nursery.start(wire.serve)
            near = await trio.open_tcp_stream("127.0.0.1", port)
            far = await listener.accept()
            async with listener, near, far:
                yield near, far
            nursery.cancel_scope.cancel()


async def exactly(stream: trio.SocketStream, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = await stream.receive_some(size - len(got))
        assert piece, "the connection ended"
        got += piece
    return got


async def silent_for(stream: trio.SocketStream, seconds: float) -> bool:
    with trio.move_on_after(seconds) as patience:
        await stream.receive_some(1)
    return patience.cancelled_caught


async def test_bytes_pass_unchanged_both_ways() -> None:
    """In fair weather a wire is nothing but a wire, for more than fits into its bounds at once, too."""
    data = Random(1).randbytes(8 * 1024 * 1024)
    async with wired(Sky(Random(1))) as (near, far):
        for one, other in ((near, far), (far, near)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.send_all, data)
                assert await exactly(other, len(data)) == data


async def test_the_end_of_one_end_is_the_end_of_the_other() -> None:
    """A member that closes is seen to have closed."""
    async with wired(Sky(Random(1))) as (near, far):
        await far.aclose()
        assert await near.receive_some(1) == b""


@pytest.mark.covers("W17")
async def test_a_cut_holds_everything_back_until_it_ends() -> None:
    """Nothing passes in a cut; afterwards all of it does, in order, as TCP has it."""
    sky = Sky(Random(1))
    async with wired(sky) as (near, far):
        sky.cut(NEAR, FAR)
        sky.cut(FAR, NEAR)
        await near.send_all(b"first ")
        await near.send_all(b"second")
        await far.send_all(b"back")
        assert await silent_for(far, 0.2)
        assert await silent_for(near, 0.2)
        sky.join()
        assert await exactly(far, 12) == b"first second"
        assert await exactly(near, 4) == b"back"


@pytest.mark.covers("W18")
async def test_a_one_way_cut_lets_the_other_way_pass() -> None:
    """Who is not heard still hears."""
    sky = Sky(Random(1))
    async with wired(sky) as (near, far):
        sky.cut(NEAR, FAR)
        await near.send_all(b"unheard")
        await far.send_all(b"heard")
        assert await exactly(near, 5) == b"heard"
        assert await silent_for(far, 0.2)


async def test_a_clog_ends_by_itself() -> None:
    """What was sent meanwhile arrives then, and not before."""
    sky = Sky(Random(1))
    async with wired(sky) as (near, far):
        began = trio.current_time()
        sky.clog(NEAR, FAR, 0.2)
        await near.send_all(b"late")
        assert await exactly(far, 4) == b"late"
        assert trio.current_time() - began >= 0.2


async def test_fair_weather_ends_a_clog_that_somebody_waits_in(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits for its end is not forgotten in it."""
    sky = Sky(Random(1))
    sky.clog(NEAR, FAR, 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sky.passable, NEAR, FAR)
        await trio.sleep(1)
        sky.clear()
    assert trio.current_time() == pytest.approx(1)


async def test_a_narrow_line_takes_its_time() -> None:
    """The narrower of the two ends decides, and what is behind waits for what is before it."""
    sky = Sky(Random(1))
    sky.bits_s |= {NEAR: 10_000_000, FAR: 800_000}
    async with wired(sky) as (near, far):
        began = trio.current_time()
        await near.send_all(bytes(10_000))
        await near.send_all(bytes(10_000))
        await exactly(far, 20_000)
        assert trio.current_time() - began >= 0.2


def test_a_long_tail_comes_on_top() -> None:
    """Exponential, of the mean that was asked for."""
    sky = Sky(Random(1), Weather(tail_s=2.0))
    drawn = [sky.delay_s(NEAR, FAR) or 0.0 for _ in range(10_000)]
    assert 1.9 < sum(drawn) / len(drawn) < 2.1


@pytest.mark.covers("W19")
async def test_delay_keeps_the_order() -> None:
    """Pieces are held back, none overtakes another."""
    sky = Sky(Random(1), Weather(delay_max_s=0.05))
    async with wired(sky) as (near, far):
        data = b"".join(b"%04d" % number for number in range(40))
        began = trio.current_time()
        for start in range(0, len(data), 4):
            await near.send_all(data[start : start + 4])
            await trio.lowlevel.checkpoint()
        assert await exactly(far, len(data)) == data
        assert trio.current_time() - began > 0.005


async def test_too_much_loss_resets_the_connection() -> None:
    """A piece that is lost again and again ends it, for the other end too."""
    async with wired(Sky(Random(1), Weather(loss=1.0))) as (near, far):
        await near.send_all(b"lost")
        assert await far.receive_some(1) == b""
        with pytest.raises((AssertionError, trio.BrokenResourceError)):
            await exactly(near, 1)


def test_a_lost_piece_comes_when_tcp_sends_it_again() -> None:
    """Each loss doubles the wait; none is lost in fair weather."""
    waits = {0.0} | {RETRANSMIT_S * (2**losses - 1) for losses in range(1, LOSSES_MAX)}
    sky = Sky(Random(1), Weather(loss=0.5))
    drawn = [sky.delay_s(NEAR, FAR) for _ in range(1000)]
    assert {None if item is None else round(item, 6) for item in drawn} == {None} | {round(item, 6) for item in waits}
    sky.weather = FAIR
    assert {sky.delay_s(NEAR, FAR) for _ in range(100)} == {0.0}


def test_a_line_may_have_its_own_weather_until_it_clears() -> None:
    """In its direction only."""
    sky = Sky(Random(1))
    sky.own_weather[NEAR, FAR] = Weather(loss=1.0)
    assert (sky.delay_s(NEAR, FAR), sky.delay_s(FAR, NEAR)) == (None, 0.0)
    sky.clear()
    assert sky.delay_s(NEAR, FAR) == 0.0


async def test_each_pair_has_one_wire_and_the_higher_index_dials_it() -> None:
    """Of every pair one member is sent to a wire; the other never dials, and is told the true port."""
    async with trio.open_nursery() as nursery:
        wires = Wires(Random(1))
        own = {0: 1, 1: 2, 2: 3}
        await wires.string_up(nursery, own)
        ports = {(a, b): wires.port(a, b, own[b]) for a in own for b in own}
        assert [pair for pair in sorted(ports) if ports[pair] != own[pair[1]]] == [(1, 0), (2, 0), (2, 1)]
        assert len({ports[pair] for pair in ((1, 0), (2, 0), (2, 1))}) == 3
        nursery.cancel_scope.cancel()
