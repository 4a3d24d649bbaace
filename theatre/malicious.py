"""A malicious member as a daemon: `python -m theatre.malicious --home DIR --behaviour NAME [--behaviour NAME ...]`.

The ordinary daemon in every respect but one: what its replica says passes through behaviours of simulations/adversaries
before it leaves, and what comes in is heard by them too. They are the simulator's own, unchanged. With `--in-disguise`
it is correct until SIGUSR1.
"""

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import cast

import trio

from bftnode.net.link import Receive
from bftnode.node.daemon import main as run_daemon
from bftnode.node.driver import Mouth
from bftnode.node.home import Home, find_home
from bftnode.protocol.blocks import Block, Packed, open_block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import Wire
from bftnode.protocol.envelope import encode_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Kind
from bftnode.replica.core import Replica
from bftnode.replica.position import Quarantine, Timing
from bftnode.storage.store import Storage
from simulations.adversaries import BEHAVIOURS
from simulations.adversaries.liar import ACT_INTERVAL_MS, Behaviour, Letter, Liar
from simulations.adversaries.other_cluster import OtherCluster
from simulations.adversaries.trigger import ALWAYS, Trigger, Triggered
from simulations.elsewhere import inform
from theatre.elsewhere import RealKeys

LOG_BLOCKS_MAX = 1000
"""Blocks that a liar looks back at: all that a scenario makes. Of a longer log it knows the beginning."""

CLIENT_ELSEWHERE = bytes(32)
"""The seed of the client of that other cluster."""


class DiskView:
    """What behaviours ask of a simulated disk, read from the real one."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def log(self) -> list[tuple[Block, Certificate | None]]:
        """Committed blocks by height."""
        found: list[tuple[Block, Certificate | None]] = []
        for seq in range(LOG_BLOCKS_MAX):
            item = self._storage.block_at(seq)
            if item is None:
                break
            header, payload, certificate = item
            found.append((open_block(header, payload), certificate))
        return found

    @property
    def height(self) -> int:
        return self._storage.height

    def read_run(self, first: int, last: int) -> tuple[tuple[Packed, ...], Certificate] | None:
        return self._storage.read_run(first, last)


class Later:
    """What behaviours ask of a simulated world: that something happens later."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery | None = None

    @property
    def now_ms(self) -> int:
        return int(trio.current_time() * 1000)

    def after(self, ms: int, action: Callable[..., None], *arguments: object) -> None:
        """Where the mask does not live yet, or no longer, it never happens."""
        if self.nursery is not None:
            self.nursery.start_soon(self._after, ms, action, arguments)

    async def _after(self, ms: int, action: Callable[..., None], arguments: Sequence[object]) -> None:
        await trio.sleep(ms / 1000)
        action(*arguments)


class RealLiar:
    """What simulations.adversaries.liar.Liar offers its behaviours, around a real replica; a daemon's Mask."""

    muted = False

    def __init__(
        self,
        behaviours: Sequence[Behaviour],
        dice: Random,
        timing: Timing,
        *,
        disguised: bool = False,
        act_interval_ms: tuple[int, int] = ACT_INTERVAL_MS,
    ) -> None:
        self._chosen = behaviours
        self._dice = dice
        self._act_interval_ms = act_interval_ms
        self.timing = timing
        self.disguised = disguised
        self.world = Later()
        self._replica: Replica | None = None
        self._mouth: Mouth | None = None
        self._disk: DiskView | None = None

    @property
    def behaviours(self) -> Sequence[Behaviour]:
        """None, as long as it is in disguise."""
        return () if self.disguised else self._chosen

    @property
    def replica(self) -> Replica:
        assert self._replica is not None, "masked"
        return self._replica

    @property
    def members(self) -> Membership:
        return self.replica.members

    @property
    def member(self) -> int:
        return self.replica.me

    @property
    def disk(self) -> DiskView:
        assert self._disk is not None, "masked"
        return self._disk

    # ---- the mask

    def ears(self, receive: Receive) -> Receive:
        def hear(sender: int, frame: bytes) -> Awaitable[None] | None:
            self.replica.position.quarantine = Quarantine.NONE  # it does not care that its disk was rolled back
            for behaviour in self.behaviours:
                behaviour.hear(sender, frame)
            return receive(sender, frame)

        return hear

    def mouth(self, replica: Replica, storage: Storage, mouth: Mouth) -> Mouth:
        self._replica, self._mouth, self._disk = replica, mouth, DiskView(storage)
        for behaviour in self._chosen:
            behaviour.attach(cast(Liar, self))
        return self

    async def live(self) -> None:
        async with trio.open_nursery() as nursery:
            self.world.nursery = nursery
            nursery.start_soon(self._act)

    async def _act(self) -> None:
        while True:
            await trio.sleep(self._dice.randint(*self._act_interval_ms) / 1000)
            for behaviour in self.behaviours:
                behaviour.act()

    # ---- the mouth that its driver knows

    def send(self, member: int, frame: bytes) -> None:
        letters: list[Letter] = [(member, frame)]
        for behaviour in self.behaviours:
            letters = [after for letter in letters for after in _changed(behaviour, letter)]
        for to, raw in letters:
            self._say(to, raw)

    def broadcast(self, frame: bytes) -> None:
        for member in range(self.members.n):
            if member != self.member:
                self.send(member, frame)

    def together(self) -> AbstractContextManager[None]:
        assert self._mouth is not None, "masked"
        return self._mouth.together()

    def _say(self, to: int, frame: bytes) -> None:
        assert self._mouth is not None, "masked"
        if to != self.member:
            self._mouth.send(to, frame)

    # ---- for behaviours

    def seal(self, kind: Kind, body: Wire, payload: bytes = b"") -> bytes:
        """A frame of this member, with its next nonce."""
        return encode_frame(self.replica.voice.seal(kind, body, payload))

    def post(self, to: Sequence[int], frame: bytes) -> None:
        """Past all behaviours."""
        if not self.muted:
            for member in to:
                self._say(member, frame)


def _changed(behaviour: Behaviour, letter: Letter) -> list[Letter]:
    try:
        return behaviour.utter(*letter)
    except Refused:
        return [letter]  # another behaviour has made it unreadable


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m theatre.malicious", description="A member that misbehaves.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--behaviour", action="append", required=True, choices=sorted(BEHAVIOURS), metavar="NAME")
    parser.add_argument("--dice", default="script", help="what its random choices are seeded with")
    parser.add_argument("--in-disguise", action="store_true", help="correct until SIGUSR1")
    parser.add_argument("--act-every-ms", type=int, metavar="MS", help="act so often (default: as in the simulator)")
    parser.add_argument("--probability", type=float, default=1.0, help="of each message; see simulations' trigger.py")
    parser.add_argument("--height", type=int, action="append", default=[], help="lie at this height only")
    parser.add_argument("--view", type=int, action="append", default=[], help="lie in this view only")
    parser.add_argument("--kind", action="append", default=[], choices=list(Kind.__members__), help="about these only")
    parser.add_argument("--homes", type=Path, nargs="+", default=[], help="of all members, for words from elsewhere")
    options = parser.parse_args(arguments)
    dice = Random(options.dice)
    behaviours = [BEHAVIOURS[name](dice) for name in options.behaviour]
    home = find_home(options.home, os.environ)
    for behaviour in behaviours:
        if isinstance(behaviour, OtherCluster):
            if not options.homes:
                parser.error("what was said in another cluster is signed with everybody's keys: --homes")
            seeds = [Home(path).load_identity().seed for path in options.homes]
            inform(behaviour, RealKeys(seeds, CLIENT_ELSEWHERE), home.load_genesis().membership())
    kinds = tuple(Kind[name] for name in options.kind)
    trigger = Trigger(options.probability, tuple(options.height), tuple(options.view), kinds)
    if trigger != ALWAYS:
        behaviours = [Triggered(dice, trigger, item) for item in behaviours]
    config = home.load_config(os.environ, {}).config
    acts = Random(f"{options.dice}/acts")
    often = ACT_INTERVAL_MS if options.act_every_ms is None else (options.act_every_ms, options.act_every_ms)
    mask = RealLiar(behaviours, acts, config.replica_timing(), disguised=options.in_disguise, act_interval_ms=often)

    def drop_disguise(*_: object) -> None:
        mask.disguised = False

    signal.signal(signal.SIGUSR1, drop_disguise)
    return run_daemon(home, config, mask)


if __name__ == "__main__":
    sys.exit(main())
