"""A scenario as a file: a story in a sentence, who misbehaves, what happens when, and what must hold (TOML).

    story = "The primary falls silent while clients wait; the next one orders everything."
    covers = ["N03", "P16"]
    n = 4

    [liars.0]                      # by index; the primary of view 0 is member 0
    behaviours = ["silent"]        # as `list` names them; several are composed
    from_ms = 500                  # correct until then (default 0)
    probability = 0.5              # when it lies: of each message; at heights, in views, on kinds of messages
    views = [0, 1]                 # (trigger.py); what is left out is always so
    kinds = ["COMMIT"]

    [[step]]
    at_ms = 100
    do = "submit"                  # the words are ACTIONS
    count = 5

    [expect]
    executed = true                # everything that was submitted is executed by all correct members,
    within_ms = 30000              # so many ms after the last step
    view_at_least = 1
    accused = []                   # exactly these members, each with a proof; nobody is asked about if left out

A member whose behaviours are ["twins"] lives twice (adversaries/twins.py): its second self is at place n, the next
one's at n + 1, and steps may name these places as they name members.

What the judge (judges/) looks at all the time it looks at here too. A file that cannot be played raises BadScript
with the key that is wrong.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind
from bftnode.protocol.transactions import Transaction
from simulations.adversaries import BEHAVIOURS, TWINS
from simulations.adversaries.liar import Liar
from simulations.adversaries.other_cluster import OtherCluster
from simulations.adversaries.trigger import ALWAYS, Trigger, Triggered
from simulations.disks import Image
from simulations.elsewhere import inform
from simulations.network import FAIR, Weather
from simulations.node import PPM, Node
from simulations.scenarios.stage import CLIENTS, Stage
from simulations.troubles import TROUBLES
from simulations.world import Violation

MEMBERS_MAX = 64
SUBMIT_MAX = 1000
"""Sizes at which a story is no longer one that somebody reads; the swarm is for more."""

DATABASES = ("journal", "blocks", "log", "state")
"""What is kept on a disk, for steps that damage it."""

T = TypeVar("T")


class BadScript(Exception):
    """The file says something that cannot be played."""


@dataclass(frozen=True, slots=True)
class LiarScript:
    """One Byzantine member."""

    behaviours: tuple[str, ...]
    from_ms: int = 0
    probability: float = 1.0
    heights: tuple[int, ...] = ()
    views: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()

    @property
    def trigger(self) -> Trigger:
        return Trigger(self.probability, self.heights, self.views, tuple(Kind[name] for name in self.kinds))


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens at a time. Which fields mean something depends on `do`: see ACTIONS."""

    at_ms: int
    do: str
    members: tuple[int, ...] = ()
    to: tuple[int, ...] = ()
    count: int = 1
    every_ms: int = 0
    client: int = 0
    ms: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    delay_max_ms: int = FAIR.delay_max_ms
    tail_ms: int = 0
    kbit_s: int = 0
    ppm: int = 0
    what: str = "journal"
    height: int = 0


@dataclass(frozen=True, slots=True)
class Expect:
    """What must be so at the end, beside what must be so all the time."""

    executed: bool = True
    within_ms: int = 60_000
    view_at_least: int = 0
    view_at_most: int = 2**40
    accused: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """A scenario file."""

    story: str
    covers: tuple[str, ...]
    step: tuple[Step, ...]
    n: int = 4
    window: int = 8
    seed: str = "script"
    liars: Mapping[int, LiarScript] = field(default_factory=dict)
    amnesiacs: tuple[int, ...] = ()  # members whose disks are wiped or rolled back: they owe nobody anything
    expect: Expect = field(default_factory=Expect)

    @property
    def twins(self) -> tuple[int, ...]:
        """Members that live twice, in order: the first one's second self is at place n."""
        return tuple(sorted(member for member, liar in self.liars.items() if liar.behaviours == (TWINS,)))


# ---- reading


def load(path: Path) -> Script:
    """Raises BadScript, OSError."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadScript(f"{path.name}: {error}") from None
    try:
        steps = raw.get("step", [])
        liars = raw.get("liars", {})
        if type(steps) is not list or type(liars) is not dict:
            raise BadScript("step is written [[step]], liars [liars.INDEX]")
        script = _made(
            Script,
            "",
            {
                **raw,
                "step": tuple(_made(Step, f"step {number}: ", item) for number, item in enumerate(steps, 1)),
                "liars": {_index(key): _made(LiarScript, f"liars.{key}: ", item) for key, item in liars.items()},
                "expect": _made(Expect, "expect: ", raw.get("expect", {})),
            },
        )
        _check(script)
    except BadScript as bad:
        raise BadScript(f"{path.name}: {bad}") from None
    return script


def _index(key: str) -> int:
    if not key.isdecimal():
        raise BadScript(f"liars.{key}: a member is named by its index")
    return int(key)


def _made(kind: type[T], where: str, raw: object) -> T:
    """A dataclass from a table; lists become tuples, an unknown key or another type is refused."""
    if type(raw) is not dict:
        raise BadScript(f"{where}a table is expected")
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # only dataclasses are asked for
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise BadScript(f"{where}{key}: unknown; there are {', '.join(known)}")
        values[key] = tuple(value) if type(value) is list else value
        default = known[key].default
        if default not in (MISSING, None) and type(values[key]) is not type(default):
            if not (type(default) is float and type(value) is int):
                raise BadScript(f"{where}{key}: {type(default).__name__} is expected")
    missing = [
        name
        for name, item in known.items()
        if name not in values and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise BadScript(f"{where}{missing[0]}: missing")
    return kind(**values)


def _check(script: Script) -> None:
    if type(script.story) is not str or not script.story.strip():
        raise BadScript("story: a sentence is expected")
    if not 4 <= script.n <= MEMBERS_MAX:
        raise BadScript(f"n: 4 to {MEMBERS_MAX} members")
    _check_members([*script.liars, *script.amnesiacs, *(script.expect.accused or ())], script.n)
    places = script.n + len(script.twins)
    _check_members([member for step in script.step for member in (*step.members, *step.to)], places)
    for member, liar in script.liars.items():
        for name in liar.behaviours:
            if name not in BEHAVIOURS and liar.behaviours != (TWINS,):
                known = ", ".join((*sorted(BEHAVIOURS), f"or {TWINS} alone"))
                raise BadScript(f"liars.{member}: {name!r} is no behaviour; there are {known}")
        for name in liar.kinds:
            if name not in Kind.__members__:
                raise BadScript(f"liars.{member}: {name!r} is no kind; there are {', '.join(Kind.__members__)}")
        if liar.behaviours == (TWINS,) and liar != LiarScript((TWINS,)):
            raise BadScript(f"liars.{member}: twins are two all the time")
    at_ms = 0
    for number, step in enumerate(script.step, 1):
        if step.do not in ACTIONS:
            raise BadScript(f"step {number}: {step.do!r} is nothing to do; there are {', '.join(sorted(ACTIONS))}")
        if step.what not in DATABASES:
            raise BadScript(f"step {number}: {step.what!r} is not kept on a disk; there are {', '.join(DATABASES)}")
        if not -PPM < step.ppm < PPM:
            raise BadScript(f"step {number}: ppm: less than a million, fast or slow")
        if type(step.at_ms) is not int or step.at_ms < at_ms:
            raise BadScript(f"step {number}: at_ms: steps are in order of time")
        if not (0 < step.count <= SUBMIT_MAX and 0 <= step.client < CLIENTS):
            raise BadScript(f"step {number}: at most {SUBMIT_MAX} at once, of clients 0 to {CLIENTS - 1}")
        at_ms = step.at_ms


def _check_members(named: list[int], most: int) -> None:
    for member in named:
        if type(member) is not int or not 0 <= member < most:
            raise BadScript(f"there is no member {member!r} among {most}")


# ---- playing


class Play:
    """One script on its stage."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.stage = Stage(
            script.n,
            seed=script.seed,
            liars={member: [] for member in script.liars if member not in script.twins},
            twins=script.twins,
            faulty=script.amnesiacs,
            parameters=Parameters(block_transactions_max=3, checkpoint_interval=4, window=script.window),
        )
        self.submitted: list[Transaction] = []
        self.images: dict[int, Image] = {}
        self.dice = self.stage.world.random("script")
        for member, liar in script.liars.items():
            if member not in script.twins:
                self.stage.world.at(max(liar.from_ms, self.stage.world.now_ms), self._corrupt, member, liar)

    def _corrupt(self, member: int, liar: LiarScript) -> None:
        names, trigger = liar.behaviours, liar.trigger
        node, dice = self.stage.nodes[member], self.stage.world.random(f"script liar {member}")
        assert isinstance(node, Liar), "made so"
        behaviours = [BEHAVIOURS[name](dice) for name in names]
        for behaviour in behaviours:
            if isinstance(behaviour, OtherCluster):
                inform(behaviour, self.stage.keyring, self.stage.members)
        node.become(behaviours if trigger == ALWAYS else [Triggered(dice, trigger, item) for item in behaviours])
        self.stage.world.tell(node.name, f"=== is a liar from now on: {' + '.join(names)}")

    def run(self) -> None:
        """Raises Violation."""
        stage = self.stage
        for step in self.script.step:
            stage.run(max(0, step.at_ms - stage.world.now_ms))
            stage.world.tell("", f"=== {step.do} {' '.join(f'n{member}' for member in step.members)}".rstrip())
            ACTIONS[step.do](self, step)
        self._expect(self.script.expect)

    def _expect(self, expect: Expect) -> None:
        stage = self.stage
        if expect.executed and not stage.run(expect.within_ms, self._done):
            missing = [item for item in self.submitted if item.key not in stage.judge.executed]
            raise Violation("liveness", f"{len(missing)} of {len(self.submitted)} are not executed everywhere in time")
        views = [node.replica.position.view for node in stage.nodes if node.up and stage.judge.is_correct(node)]
        if not expect.view_at_least <= max(views) <= expect.view_at_most:
            raise Violation("scenario", f"the highest view is {max(views)}")
        if expect.accused is not None and sorted(stage.judge.accused) != sorted(expect.accused):
            raise Violation("scenario", f"accused are {sorted(stage.judge.accused)}, not {sorted(expect.accused)}")

    def _done(self) -> bool:
        judge = self.stage.judge
        height = len(judge.log) - 1
        correct = [node for node in self.stage.nodes if judge.is_correct(node)]
        executed = all(item.key in judge.executed for item in self.submitted)
        return executed and all(node.up and node.disk.height == height for node in correct)

    def chosen(self, step: Step) -> list[Node]:
        """The members that a step is about; all, where it names none."""
        return [self.stage.everywhere[place] for place in step.members or range(self.places)]

    @property
    def places(self) -> int:
        return len(self.stage.everywhere)

    def rest(self, step: Step) -> list[int]:
        """`to`, or everybody but `members`, where it is left out."""
        return list(step.to) or [place for place in range(self.places) if place not in step.members]


def _submit(play: Play, step: Step) -> None:
    """`count` envelopes of `client`, one each `every_ms`, to `members` (all, where none is named)."""
    for _ in range(step.count):
        play.submitted.append(play.stage.submit(*step.members, client=step.client))
        play.stage.run(step.every_ms)


def _resubmit(play: Play, _: Step) -> None:
    """What is not executed yet goes to everybody again, as its clients would have it."""
    for transaction in play.submitted:
        if transaction.key not in play.stage.judge.executed:
            for node in play.stage.nodes:
                node.submit(transaction)


def _crash(play: Play, step: Step) -> None:
    """kill -9."""
    for node in play.chosen(step):
        node.crash()


def _stop(play: Play, step: Step) -> None:
    """SIGTERM."""
    for node in play.chosen(step):
        node.stop()


def _start(play: Play, step: Step) -> None:
    for node in play.chosen(step):
        if not node.up:
            node.start()


def _pause(play: Play, step: Step) -> None:
    """SIGSTOP."""
    for node in play.chosen(step):
        node.pause()


def _resume(play: Play, step: Step) -> None:
    """SIGCONT."""
    for node in play.chosen(step):
        node.resume()


def _copy(play: Play, step: Step) -> None:
    """Keep a copy of the disk."""
    for node in play.chosen(step):
        play.images[node.place] = node.disk.image()


def _put_back(play: Play, step: Step) -> None:
    """The machine dies and comes back with the copy of its disk (D07)."""
    for node in play.chosen(step):
        node.crash()
        if node.place not in play.images:
            raise Violation("scenario", f"no copy of {node.name}'s disk was kept")
        node.disk.put_back(play.images[node.place])
        node.start()


def _wipe(play: Play, step: Step) -> None:
    """The machine dies and comes back with an empty disk (D08)."""
    for node in play.chosen(step):
        node.crash()
        node.disk.wipe()
        node.start()


def _slow_disk(play: Play, step: Step) -> None:
    """Each write takes `ms` from now on."""
    for node in play.chosen(step):
        node.sync_delay_ms = lambda: step.ms


def _clock(play: Play, step: Step) -> None:
    """The wall clock shows `ms` more (or less) than the others' from now on; the monotonic one knows nothing of it."""
    for node in play.chosen(step):
        node.wall_offset_ms = step.ms


def _late_writes(play: Play, step: Step) -> None:
    """What promises nothing is written `ms` later, at the latest, from now on."""
    for node in play.chosen(step):
        node.behind_ms = step.ms


def _cut(play: Play, step: Step) -> None:
    """Nothing passes between `members` and `to` (the others, where it is left out)."""
    play.stage.network.cut_between(step.members, play.rest(step))


def _one_way_cut(play: Play, step: Step) -> None:
    """Nothing passes from `members` to `to`; the other way it does."""
    play.stage.network.cut_between(step.members, step.to, both_ways=False)


def _join(play: Play, _: Step) -> None:
    """All cuts end."""
    play.stage.network.join()


def _weather(play: Play, step: Step) -> None:
    """Loss, duplicates and delay on all links (on those from `members` to `to`, where it names some), from now on.
    Delays are drawn evenly up to `delay_max_ms`; an exponential part with a mean of `tail_ms` comes on top."""
    weather = Weather(delay_max_ms=step.delay_max_ms, loss=step.loss, duplicate=step.duplicate, tail_ms=step.tail_ms)
    if step.members:
        for place in step.members:
            play.stage.network.own_weather |= {(place, to): weather for to in play.rest(step)}
    else:
        play.stage.network.weather = weather


def _fair(play: Play, _: Step) -> None:
    """A perfect network and quick disks again, and everybody up."""
    play.stage.network.heal()
    for node in play.stage.everywhere:
        node.sync_delay_ms = lambda: 0
        node.disk.full = False
        node.drift(0)
        if not node.up:
            node.start()


def _height(play: Play, step: Step) -> None:
    """Nobody has executed more than `height` blocks: where nothing may be agreed on, nothing is."""
    highest = len(play.stage.judge.log) - 1
    if highest > step.height:
        raise Violation("scenario", f"height {highest} was reached where {step.height} was the most")


def _reached(play: Play, step: Step) -> None:
    """`members` (all that are correct, where none is named) have executed `height` blocks."""
    nodes = play.chosen(step) if step.members else [n for n in play.stage.nodes if play.stage.judge.is_correct(n)]
    behind = [f"{node.name} {node.disk.height}" for node in nodes if node.disk.height < step.height]
    if behind:
        raise Violation("scenario", f"height {step.height} is not reached: {', '.join(behind)}")


ACTIONS: dict[str, Callable[[Play, Step], None]] = {
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
    "slow disk": _slow_disk,
    "late writes": _late_writes,
    "clock": _clock,
    "cut": _cut,
    "one-way cut": _one_way_cut,
    "join": _join,
    "weather": _weather,
    "fair": _fair,
    "height at most": _height,
    "height at least": _reached,
    **TROUBLES,
}
