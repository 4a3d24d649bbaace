"""The mask of a malicious daemon, around a real replica of the small world."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import cast

import trio
import trio.testing

from bftnode.protocol.messages import Kind
from bftnode.storage.store import Storage
from simulations.adversaries import BEHAVIOURS
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges.court import kind_of
from simulations.scenarios.stage import Stage
from simulations.simulation import QUICK
from theatre.malicious import RealLiar

ME = 1


class Sink:
    """A network that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Letter] = []

    def send(self, member: int, frame: bytes) -> None:
        self.sent.append((member, frame))

    def broadcast(self, frame: bytes) -> None:
        raise AssertionError("a mask speaks to one member at a time: what each is told may differ")

    @contextmanager
    def together(self) -> Iterator[None]:
        yield


class Parrot(Behaviour):
    """Says everything twice, the second time to itself, and remembers what it hears."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.heard: list[Letter] = []

    def hear(self, sender: int, frame: bytes) -> None:
        self.heard.append((sender, frame))

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        return [(to, frame), (to, frame), (self.liar.member, frame)]


def masked(*behaviours: Behaviour, disguised: bool = False) -> tuple[RealLiar, Sink]:
    mask, sink = RealLiar(behaviours, Random(1), QUICK, disguised=disguised), Sink()
    storage = cast(Storage, None)  # these behaviours look at no disk
    assert mask.mouth(Stage(4).nodes[ME].replica, storage, sink) is mask
    return mask, sink


def test_in_disguise_it_says_what_its_replica_says() -> None:
    """Until it is told to drop it; then its behaviours speak."""
    mask, sink = masked(Parrot(Random(1)), disguised=True)
    mask.broadcast(b"frame")
    assert sink.sent == [(0, b"frame"), (2, b"frame"), (3, b"frame")]
    sink.sent.clear()
    mask.disguised = False
    mask.send(2, b"frame")
    assert sink.sent == [(2, b"frame"), (2, b"frame")]


def test_it_hears_what_comes_in_and_so_does_its_replica() -> None:
    """Behaviours first, the inbox all the same."""
    parrot, received = Parrot(Random(1)), []
    mask, _ = masked(parrot)
    mask.ears(lambda sender, frame: received.append((sender, frame)))(3, b"frame")
    assert parrot.heard == received == [(3, b"frame")]


def test_behaviours_are_composed_in_their_order() -> None:
    """What one lets out goes through the next: a parrot that is silenced says nothing."""
    silent = next(one for seed in range(20) if len((one := BEHAVIOURS["silent"](Random(seed))).unsaid) == len(Kind))
    mask, sink = masked(Parrot(Random(1)), silent)
    mask.broadcast(mask.seal(Kind.PREPARE, Stage(4).nodes[ME].replica.voice.boot))
    assert sink.sent == []


async def test_it_acts_unprovoked(autojump_clock: trio.testing.MockClock) -> None:
    """From time to time, as long as it lives, and not in disguise."""
    mask, sink = masked(BEHAVIOURS["flooder"](Random(1)), disguised=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mask.live)
        await trio.sleep(5)
        assert sink.sent == []
        mask.disguised = False
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert len(sink.sent) > 10
    assert ME not in {to for to, _ in sink.sent}
    assert {kind_of(frame) for _, frame in sink.sent} > {Kind.PREPARE, Kind.COMMIT}


async def test_later_is_a_little_later(autojump_clock: trio.testing.MockClock) -> None:
    """What a slow primary holds back leaves when it said."""
    mask, sink = masked()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mask.live)
        await trio.testing.wait_all_tasks_blocked()
        mask.world.after(300, mask.post, [2], b"late")
        await trio.sleep(0.29)
        assert sink.sent == []
        await trio.sleep(0.02)
        assert sink.sent == [(2, b"late")]
        nursery.cancel_scope.cancel()
