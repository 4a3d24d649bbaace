"""The network between nodes: loss, delay, duplication, reordering, spikes, clogs, narrow links, cuts in one or both
directions.

Places, not members, are connected: a cloned member stands at two places (adversaries/twins.py). What is sent over
a cut or lost is gone; links authenticate, so a frame always comes from the member at its place.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simulations.world import World

Rule = Callable[[int, int, bytes], bool]
"""(from place, to place, frame) -> whether it may pass; for directed schedules."""

DUPLICATE_SPREAD_MS = 3000
"""A duplicate comes up to so much later than the original: long after what it was about."""

BACKLOG_MS_MAX = 5000
"""A narrow link takes on so much more than it can send; what comes then is lost, as from a full outbox."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How links behave. Probabilities are of one frame; delays are drawn evenly, which also reorders."""

    delay_min_ms: int = 1
    delay_max_ms: int = 10
    loss: float = 0.0
    duplicate: float = 0.0
    spike: float = 0.0  # of a delay ...
    spike_ms: int = 0  # ... of up to so much more
    tail_ms: int = 0  # mean of an exponential part that is added to every delay: most are short, some are very long


FAIR = Weather()


class Network:
    """Delivers frames to places."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random("network")
        self.weather = FAIR
        self.own_weather: dict[tuple[int, int], Weather] = {}
        self.cut: dict[tuple[int, int], None] = {}
        self.rule: Rule | None = None
        self.clogged: dict[tuple[int, int], int] = {}  # link -> until when it delivers nothing
        self.kbit_s: dict[int, int] = {}  # place -> what its line carries, each way
        self._line_free_ms: dict[tuple[int, str], int] = {}
        self._hear: dict[int, Callable[[int, bytes], None]] = {}
        self._linked: dict[int, Callable[[int], None]] = {}
        self._unlinked: dict[int, Callable[[int], None]] = {}
        self._links: dict[tuple[int, int], int] = {}  # two places -> how many links they have had
        self._places_of: dict[int, list[int]] = {}
        self._member_at: dict[int, int] = {}
        self.frames = 0

    def settle_at(
        self,
        place: int,
        member: int,
        hear: Callable[[int, bytes], None],
        linked: Callable[[int], None],
        unlinked: Callable[[int], None],
    ) -> None:
        """Somebody lives at `place` as `member`; `hear(sender member, frame)`, `linked(member)`, `unlinked(member)`."""
        self._hear[place] = hear
        self._linked[place] = linked
        self._unlinked[place] = unlinked
        self._member_at[place] = member
        self._places_of.setdefault(member, []).append(place)

    def send(self, place: int, member: int, frame: bytes) -> None:
        """From a place to wherever `member` is."""
        for to in self._places_of[member]:
            if to != place:
                self._send(place, to, frame)

    def _send(self, place: int, to: int, frame: bytes) -> None:
        dice, world = self._random, self._world
        self.frames += 1
        delay = self._delay(place, to, frame)
        if world.telling:
            world.sent(place, to, frame, None if delay is None else world.now_ms + delay)
        if delay is None:
            return
        self._world.after(delay, self._deliver, place, to, frame)
        weather = self.own_weather.get((place, to), self.weather)
        if weather.duplicate and dice.random() < weather.duplicate:
            self._world.after(delay + dice.randint(0, DUPLICATE_SPREAD_MS), self._deliver, place, to, frame)

    def _delay(self, place: int, to: int, frame: bytes) -> int | None:
        """How long this frame takes; None: it is lost."""
        dice = self._random
        if (place, to) in self.cut or (self.rule is not None and not self.rule(place, to, frame)):
            return None
        weather = self.own_weather.get((place, to), self.weather)
        if weather.loss and dice.random() < weather.loss:
            return None
        # What randint comes to, without its three calls; the same dice fall.
        span = weather.delay_max_ms - weather.delay_min_ms + 1
        bits = span.bit_length()
        delay = dice.getrandbits(bits)
        while delay >= span:
            delay = dice.getrandbits(bits)
        delay += weather.delay_min_ms
        if weather.spike and dice.random() < weather.spike:
            delay += dice.randint(0, weather.spike_ms)
        if weather.tail_ms:
            delay += int(dice.expovariate(1 / weather.tail_ms))
        return self._through_lines(place, to, len(frame), delay) if self.kbit_s else delay

    def _through_lines(self, place: int, to: int, size: int, delay: int) -> int | None:
        """The delay with the time on the sender's and the receiver's line, each of which sends one frame after the
        other; None: more waits there than an outbox holds."""
        now = self._world.now_ms
        for line in ((place, "up"), (to, "down")):
            rate = self.kbit_s.get(line[0])
            if rate is None:
                continue
            begins = max(now, self._line_free_ms.get(line, 0))
            if begins - now > BACKLOG_MS_MAX:
                return None
            ends = begins + -(-size * 8 // rate)  # kbit/s is bit/ms
            self._line_free_ms[line] = ends
            delay += ends - now
        return delay

    def _deliver(self, place: int, to: int, frame: bytes) -> None:
        if self.clogged and self.clogged.get((place, to), 0) > self._world.now_ms:
            self._world.at(self.clogged[place, to], self._deliver, place, to, frame)
            return
        self._hear[to](self._member_at[place], frame)

    # ---- links

    def link(self, place: int) -> None:
        """Somebody starts: it and the others get new links to each other, unless they are cut off."""
        for other in self._hear:
            self._link(place, other)

    def _link(self, place: int, other: int) -> None:
        if place == other or (place, other) in self.cut or (other, place) in self.cut:
            return
        delay = self._random.randint(self.weather.delay_min_ms, self.weather.delay_max_ms)
        pair = (min(place, other), max(place, other))
        self._links[pair] = self._links.get(pair, 0) + 1
        self._world.after(delay, self._linked[place], self._member_at[other])
        self._world.after(delay, self._linked[other], self._member_at[place])

    def unlink(self, place: int) -> None:
        """A process dies: its system closes its connections, and the others hear of it, unless they are cut off."""
        for other in self._hear:
            if place != other and (place, other) not in self.cut:
                self._end_link(place, other, (other,))

    def break_link(self, place: int, other: int, ms: int) -> None:
        """The connection between two places breaks, and is made again after `ms`."""
        self._end_link(place, other, (place, other))
        self._world.after(ms, self._link, place, other)

    def _end_link(self, place: int, other: int, who: Iterable[int]) -> None:
        """Of a link that was replaced meanwhile nobody hears that it ended."""
        pair = (min(place, other), max(place, other))
        for hears in who:
            gone = other if hears == place else place
            delay = self._random.randint(self.weather.delay_min_ms, self.weather.delay_max_ms)
            self._world.after(delay, self._say_ended, pair, self._links.get(pair, 0), hears, gone)

    def _say_ended(self, pair: tuple[int, int], link: int, hears: int, gone: int) -> None:
        if self._links.get(pair, 0) == link:
            self._unlinked[hears](self._member_at[gone])

    def cut_between(self, one: Iterable[int], other: Iterable[int], *, both_ways: bool = True) -> None:
        """Nothing passes from a place of `one` to a place of `other` (nor back)."""
        others = list(other)
        for a in one:
            for b in others:
                if a != b:
                    self.cut[a, b] = None
                    if both_ways:
                        self.cut[b, a] = None

    def clog(self, one: Iterable[int], other: Iterable[int], ms: int) -> None:
        """For so long nothing arrives between these places; then everything does, in any order."""
        others = list(other)
        for a in one:
            for b in others:
                if a != b:
                    self.clogged[a, b] = self.clogged[b, a] = self._world.now_ms + ms

    def join(self) -> None:
        """The cuts are over, and links are made again."""
        pairs = dict.fromkeys((min(pair), max(pair)) for pair in self.cut)
        self.cut.clear()
        for place, other in pairs:
            self._link(place, other)

    def heal(self) -> None:
        """A perfect network from now on. What is on its way still arrives."""
        self.own_weather.clear()
        self.kbit_s.clear()
        self._line_free_ms.clear()
        self.rule = None
        self.weather = FAIR
        self.join()
