"""The wires between real members: one TCP proxy for each pair, which sees bytes and never a message.

Of each pair the member with the higher index dials, and dials its own wire: members have genesis files that differ in
addresses alone, which are no part of what a cluster is. What TCP makes of a fault is what happens here:

- cut: in that direction nothing is forwarded; what was sent waits and arrives when the cut ends, as what TCP sends
  again does. Nothing is read meanwhile, so the sender's buffers fill. A connection that is begun in a cut gets no
  further than its first bytes, and ends by its members' deadlines.
- clog: a cut that ends by itself.
- narrow line: pieces leave one after the other at that speed, of all connections of a member together.
- delay: each piece of bytes is held back by a random time, and those behind it wait: TCP does not reorder.
- loss: a lost piece comes when TCP would have sent it again: after RETRANSMIT_S, twice that if it is lost again, and so
  on; after LOSSES_MAX losses the connection is reset.
"""

from dataclasses import dataclass, field
from random import Random

import trio

PIECE_BYTES = 64 * 1024
PIECES_MAX = 64
"""Pieces on their way in one direction of one connection; at the bound nothing more is read, so the sender waits."""

RETRANSMIT_S = 0.2
LOSSES_MAX = 5


@dataclass(frozen=True, slots=True)
class Weather:
    """What every piece of bytes goes through."""

    delay_max_s: float = 0.0
    tail_s: float = 0.0  # mean of an exponential part on top
    loss: float = 0.0


FAIR = Weather()


@dataclass(slots=True)
class Sky:
    """What all wires have in common."""

    dice: Random
    weather: Weather = FAIR
    own_weather: dict[tuple[int, int], Weather] = field(default_factory=dict)  # (from, to): instead of the common one
    cuts: dict[tuple[int, int], None] = field(default_factory=dict)  # (from, to): nothing passes
    clogs: dict[tuple[int, int], float] = field(default_factory=dict)  # (from, to): nothing passes until then
    bits_s: dict[int, float] = field(default_factory=dict)  # what a member's line carries, each way
    changed: trio.Event = field(default_factory=trio.Event)
    _free_at: dict[tuple[int, str], float] = field(default_factory=dict)

    def cut(self, sender: int, receiver: int) -> None:
        self.cuts[sender, receiver] = None

    def join(self) -> None:
        """All cuts end."""
        self.cuts.clear()
        self.changed.set()
        self.changed = trio.Event()

    def clog(self, sender: int, receiver: int, seconds: float) -> None:
        """Nothing passes for so long."""
        self.clogs[sender, receiver] = trio.current_time() + seconds

    async def passable(self, sender: int, receiver: int) -> None:
        """Returns at once, or when cut and clog end."""
        while True:
            if (sender, receiver) in self.cuts:
                await self.changed.wait()
            elif (until := self.clogs.get((sender, receiver), 0.0)) > trio.current_time():
                with trio.move_on_at(until):
                    await self.changed.wait()
            else:
                return

    async def carried(self, sender: int, receiver: int, size: int) -> None:
        """Takes as long as so many bytes take on the narrower of two lines, behind what is on them already."""
        now = done = trio.current_time()
        for line in ((sender, "out"), (receiver, "in")):
            if (bits_s := self.bits_s.get(line[0])) is not None:
                self._free_at[line] = max(now, self._free_at.get(line, 0.0)) + size * 8 / bits_s
                done = max(done, self._free_at[line])
        if done > now:
            await trio.sleep_until(done)

    def clear(self) -> None:
        """No more delay, loss, cuts, clogs or narrow lines."""
        self.weather = FAIR
        self.own_weather.clear()
        self.clogs.clear()
        self.bits_s.clear()
        self.join()

    def delay_s(self, sender: int, receiver: int) -> float | None:
        """How long the next piece takes; None: the connection is reset."""
        weather, delay_s = self.own_weather.get((sender, receiver), self.weather), 0.0
        if weather.delay_max_s:
            delay_s += self.dice.uniform(0.0, weather.delay_max_s)
        if weather.tail_s:
            delay_s += self.dice.expovariate(1 / weather.tail_s)
        losses = 0
        while weather.loss and self.dice.random() < weather.loss:
            delay_s += RETRANSMIT_S * 2**losses
            losses += 1
            if losses == LOSSES_MAX:
                return None
        return delay_s


class Wire:
    """What `dialler` reaches `target` by: a listening port, and behind it the target's own."""

    def __init__(self, sky: Sky, dialler: int, target: int, port: int) -> None:
        self._sky = sky
        self._dialler = dialler
        self._target = target
        self._port = port  # the target's own

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever. Starts with the port that the dialler is to be told. Raises OSError if there is none."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self._connection, listeners)

    async def _connection(self, near: trio.SocketStream) -> None:
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self._port)
        except OSError:
            return  # the target is down: the dialler's connection ends, and it tries again
        async with far, trio.open_nursery() as nursery:

            async def one_way(source: trio.SocketStream, sink: trio.SocketStream, sender: int, receiver: int) -> None:
                await self._carry(source, sink, sender, receiver)
                nursery.cancel_scope.cancel()

            nursery.start_soon(one_way, near, far, self._dialler, self._target)
            nursery.start_soon(one_way, far, near, self._target, self._dialler)

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream, sender: int, receiver: int) -> None:
        """Until either end closes, or a reset."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](PIECES_MAX)
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async with send:
                    due = 0.0
                    while piece := await _bytes_of(source):
                        delay_s = self._sky.delay_s(sender, receiver)
                        if delay_s is None:
                            nursery.cancel_scope.cancel()
                            return
                        due = max(due, trio.current_time() + delay_s)
                        await send.send((due, piece))
                        await self._sky.passable(sender, receiver)

            nursery.start_soon(read)
            async for due, piece in receive:
                await trio.sleep_until(due)
                await self._sky.carried(sender, receiver, len(piece))
                await self._sky.passable(sender, receiver)
                try:
                    await sink.send_all(piece)
                except trio.BrokenResourceError:
                    break
            nursery.cancel_scope.cancel()


async def _bytes_of(source: trio.SocketStream) -> bytes:
    """Some bytes; none when there will be no more."""
    try:
        return bytes(await source.receive_some(PIECE_BYTES))
    except trio.BrokenResourceError:
        return b""


class Wires:
    """All wires of a cluster. `port(dialler, target)` is what the dialler's genesis names."""

    def __init__(self, dice: Random) -> None:
        self.sky = Sky(dice)
        self._ports: dict[tuple[int, int], int] = {}

    async def string_up(self, nursery: trio.Nursery, ports: dict[int, int]) -> None:
        """A wire for every pair of the members whose own ports these are. They last as long as the nursery."""
        for target, own in sorted(ports.items()):
            for dialler in sorted(ports):
                if dialler > target:
                    wire = Wire(self.sky, dialler, target, own)
                    self._ports[dialler, target] = await nursery.start(wire.serve)

    def port(self, dialler: int, target: int, own: int) -> int:
        """Where the dialler is sent; the target's own port for a pair that never dials."""
        return self._ports.get((dialler, target), own)
