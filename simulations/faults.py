"""What goes wrong while the world is unkind, at times drawn from the seed: crashes, cuts, storms, disks."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from simulations.adversaries import TWINS
from simulations.disks import Image
from simulations.judges import Judge
from simulations.network import Network
from simulations.node import Node
from simulations.swarm import Plan
from simulations.world import World


class Faults:
    """Schedules the faults of a plan, and ends them."""

    def __init__(
        self, world: World, network: Network, judge: Judge, plan: Plan, nodes: Sequence[Node], twins: Sequence[Node]
    ) -> None:
        self._world = world
        self._network = network
        self._judge = judge
        self._plan = plan
        self._nodes = nodes
        self._twins = twins
        self._random = world.random("faults")
        self._latest = world.random("faults, what came last")
        self._last = world.random("faults, and the generation after")
        self._images: dict[int, Image] = {}
        self._over = False
        self._mortal = [node for node in nodes if node.member not in plan.liars]

    def schedule(self) -> None:
        dice, plan = self._random, self._plan
        actions = {
            "crash": self._crash,
            "crash in write": self._crash_in_write,
            "crash while speaking": self._crash_while_speaking,
            "cut": self._cut,
            "one-way cut": self._one_way_cut,
            "primary cut": self._primary_cut,
            "storm": self._storm,
            "slow disk": self._slow_disk,
            "stop": self._stop,
            "power cut": self._power_cut,
        }
        for name, count in plan.faults.items():
            for _ in range(count if name in actions else 0):
                self._world.after(dice.randint(0, plan.unkind_ms), self._unless_over, actions[name])
        self._schedule_latest()
        for node in [*self._nodes, *self._twins]:
            node.behind_ms = plan.behind_ms
        for member in plan.amnesiacs:
            kept = dice.randint(0, plan.unkind_ms - 2)
            self._world.after(kept, self._keep_image, self._nodes[member])
            self._world.after(dice.randint(kept + 1, plan.unkind_ms - 1), self._forget, self._nodes[member])
        if plan.disk_delay_max_ms:
            for node in self._nodes:
                node.sync_delay_ms = lambda: dice.randint(0, plan.disk_delay_max_ms)
        for a in range(len(self._nodes)):
            # Now and then a link of its own kind.
            if dice.random() < 0.1:
                b = dice.randrange(len(self._nodes))
                slow = replace(plan.weather, delay_max_ms=plan.weather.delay_max_ms * 10)
                self._network.own_weather[a, b] = slow

    def _schedule_latest(self) -> None:
        """What was added later has dice of its own, so that old seeds keep theirs (swarm.py)."""
        dice, plan = self._latest, self._plan
        actions = {
            "clog": self._clog,
            "narrow line": self._narrow_line,
            "full disk": self._full_disk,
            "drift": self._drift,
        }
        for name, count in plan.faults.items():
            for _ in range(count if name in actions else 0):
                self._world.after(dice.randint(0, plan.unkind_ms), self._unless_over, actions[name])
        for _ in range(plan.faults.get("broken link", 0)):
            self._world.after(self._last.randint(0, plan.unkind_ms), self._unless_over, self._broken_link)
        twins = [node for node in [*self._nodes, *self._twins] if plan.liars.get(node.member) == (TWINS,)]
        for twin in twins if plan.twins_crash else ():
            self._world.after(dice.randint(0, plan.unkind_ms), self._unless_over, partial(self._twin_down, twin))
        for twin in twins if plan.twins_forget else ():
            kept = dice.randint(0, plan.unkind_ms - 2)
            self._world.after(kept, self._keep_image, twin)
            back = dice.randint(kept + 1, plan.unkind_ms - 1)
            self._world.after(back, self._unless_over, partial(self._twin_forgets, twin))
        for member in plan.amnesiacs if plan.disks_rot else ():
            node = self._nodes[member]
            self._world.after(dice.randint(0, plan.unkind_ms), self._unless_over, partial(self._rot, node))

    def heal(self) -> None:
        """A kind world: no faults of machines and networks any more, and everybody is up."""
        self._over = True
        self._network.heal()
        for node in [*self._nodes, *self._twins]:
            node.sync_delay_ms = _at_once
            node.crash_after_sends = None
            node.disk.full = False
            node.drift(0)
            if not node.up:
                node.start()
                self._replace_disk(node)  # where the one that it has is damaged

    def _unless_over(self, action: object) -> None:
        if not self._over and callable(action):
            action()

    # ---- what was added later

    def _broken_link(self) -> None:
        """One's connections to some break, and are made again, at once or not."""
        dice, places = self._last, self._places()
        one = dice.choice(places)
        for other in dice.sample(places, dice.randint(1, len(places))):
            if other != one:
                self._network.break_link(one, other, dice.choice((1, 50, 200, 2000)))

    def _clog(self) -> None:
        """The links of one place, or between two, deliver nothing for up to five seconds, and then everything."""
        dice, places = self._latest, self._places()
        one = dice.choice(places)
        others = [place for place in places if place != one]
        self._network.clog([one], dice.sample(others, dice.choice((1, len(others)))), dice.choice((300, 2000, 5000)))

    def _narrow_line(self) -> None:
        place = self._latest.choice(self._places())
        self._network.kbit_s[place] = self._latest.choice((16, 64, 256))
        self._world.after(self._latest.choice((1000, 5000)), self._wide_again, place)

    def _wide_again(self, place: int) -> None:
        self._network.kbit_s.pop(place, None)

    def _full_disk(self) -> None:
        node = self._latest.choice(self._mortal)
        node.disk.full = True
        self._world.after(self._latest.choice((100, 1000, 4000)), self._room_again, node)

    def _room_again(self, node: Node) -> None:
        node.disk.full = False

    def _drift(self) -> None:
        """Clocks that run up to five percent fast or slow."""
        self._latest.choice(self._mortal).drift(self._latest.randint(-50_000, 50_000))

    def _twin_down(self, twin: Node) -> None:
        twin.crash()
        self._world.after(self._latest.choice((1, 100, 1000)), self._up, twin)

    def _twin_forgets(self, twin: Node) -> None:
        twin.crash()
        twin.disk.put_back(self._images[twin.place])
        self._world.after(self._latest.choice((1, 100)), self._up, twin)

    def _rot(self, node: Node) -> None:
        """A record of a disk is damaged while the machine is down: the node refuses to run, and gets a new disk."""
        dice = self._latest
        node.crash()
        places = node.disk.places(dice.choice(("journal", "state")))
        if len(places) > 1 and dice.random() < 0.5:
            node.disk.misdirect(*dice.sample(places, 2))
        elif places:
            node.disk.flip(dice.choice(places), dice)
        self._world.after(1, self._up, node)
        self._world.after(dice.choice((2, 500, 3000)), self._replace_disk, node)

    def _replace_disk(self, node: Node) -> None:
        if not node.up and node.refused:
            self._world.tell(node.name, "is given a new disk")
            node.disk.wipe()
            node.start()

    # ---- machines

    def _crash(self) -> None:
        self._down(self._random.choice(self._mortal))

    def _down(self, node: Node) -> None:
        node.crash()
        self._world.after(self._random.choice((1, 100, 1000, 4000)), self._up, node)

    def _stop(self) -> None:
        """A member is stopped in order, as for an upgrade."""
        node = self._random.choice(self._mortal)
        node.stop()
        self._world.after(self._random.choice((1, 100, 1000)), self._up, node)

    def _power_cut(self) -> None:
        """Many or all machines die at once (T12)."""
        dice = self._random
        for node in dice.sample(self._mortal, dice.randint((len(self._mortal) + 1) // 2, len(self._mortal))):
            node.crash()
            self._world.after(dice.choice((1, 100, 1000)), self._up, node)

    def _up(self, node: Node) -> None:
        if not node.up:
            node.start()

    def _crash_in_write(self) -> None:
        """One of the next writes never ends."""
        node, dice = self._random.choice(self._mortal), self._random
        usual, countdown = node.sync_delay_ms, dice.randint(1, 5)

        def delay() -> int:
            nonlocal countdown
            countdown -= 1
            if countdown > 0:
                return usual()
            node.sync_delay_ms = usual
            self._world.after(1, self._down, node)
            return 2

        node.sync_delay_ms = delay

    def _crash_while_speaking(self) -> None:
        """The next turn that speaks is durable, and heard by some."""
        node = self._random.choice(self._mortal)
        node.crash_after_sends = self._random.randint(0, 2 * self._plan.n)
        self._world.after(self._random.choice((100, 1000)), self._down, node)

    def _slow_disk(self) -> None:
        node, dice, slow_ms = self._random.choice(self._mortal), self._random, self._plan.disk_stall_ms + 50
        usual = node.sync_delay_ms
        node.sync_delay_ms = lambda: dice.randint(0, slow_ms)
        self._world.after(dice.randint(100, 4000), self._quick_again, node, usual)

    def _quick_again(self, node: Node, usual: object) -> None:
        assert callable(usual), "a delay"
        if not self._over:
            node.sync_delay_ms = usual

    def _keep_image(self, node: Node) -> None:
        self._images[node.place] = node.disk.image()

    def _forget(self, node: Node) -> None:
        """The machine comes back with an old disk, or with a new one."""
        node.crash()
        image = self._images[node.place]
        if self._random.random() < 0.5:
            self._world.tell(node.name, f"is rolled back to height {image.log[-1][0].seq}")
            node.disk.put_back(image)
        else:
            self._world.tell(node.name, "is wiped")
            node.disk.wipe()
        self._world.after(self._random.choice((1, 500)), self._up, node)

    # ---- the network

    def _places(self) -> list[int]:
        return [node.place for node in [*self._nodes, *self._twins]]

    def _cut(self) -> None:
        """Two or three groups that do not hear each other."""
        dice, places = self._random, self._places()
        groups = dice.choice((2, 2, 3))
        of = {place: dice.randrange(groups) for place in places}
        for a in range(groups):
            rest = [place for place in places if of[place] != a]
            self._network.cut_between([place for place in places if of[place] == a], rest)
        self._later_joined()

    def _one_way_cut(self) -> None:
        dice, places = self._random, self._places()
        deaf = dice.sample(places, dice.randint(1, len(places) // 2))
        self._network.cut_between(dice.sample(places, dice.randint(1, len(places))), deaf, both_ways=False)
        self._later_joined()

    def _primary_cut(self) -> None:
        """Whoever leads the highest view loses some of the others."""
        views = [node.replica.position.view for node in self._nodes if node.up]
        if views:
            primary = max(views) % self._plan.n
            others = [place for place in self._places() if place != primary]
            self._network.cut_between([primary], self._random.sample(others, self._random.randint(1, len(others))))
            self._later_joined()

    def _later_joined(self) -> None:
        self._world.after(self._random.choice((200, 1000, 3000)), self._network.join)

    def _storm(self) -> None:
        """A while in which hardly anything arrives."""
        usual = self._network.weather
        self._network.weather = replace(usual, loss=self._random.choice((0.5, 0.8, 1.0)))
        self._world.after(self._random.choice((200, 1000, 3000)), self._calm)

    def _calm(self) -> None:
        if not self._over:
            self._network.weather = self._plan.weather


def _at_once() -> int:
    return 0
