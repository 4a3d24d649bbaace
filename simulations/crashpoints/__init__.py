"""Every persist point of short worlds, crashed in every way that a disk allows, and again at every one of the recovery.

A unit is one crash: a world, who dies, at which of its writes, and what of that write is there afterwards (mortal.py).
Playing it plays that crash alone, and then with a second one at each persist point of the recovery that follows, in
each way. The judges of simulations/judges look on; in the end everything is executed everywhere.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from simulations.crashpoints.mortal import FORGETFUL, Blow, Mode, Point
from simulations.crashpoints.worlds import WORLDS, ShortWorld, play
from simulations.slices import play as play_slice
from simulations.slices import there
from simulations.work import Done, Finding
from simulations.world import Violation

__all__ = ["CrashPoints", "Enumeration", "Run", "Unit", "enumeration", "report", "run", "runs_of"]

CHUNK = 30

AGAIN = (Mode.BEFORE, Mode.TORN, Mode.AFTER, Mode.SAID, Mode.LOST)
"""The ways of the second crash. A blackout and a damaged record in it are those of a first crash."""

STORY_LINES = 2000


class Unit(NamedTuple):
    """A world and the first blow in it."""

    world: ShortWorld
    victim: int
    blow: Blow
    records: tuple[str, ...]  # what the write at which it falls would write


class Run(NamedTuple):
    """What came of a unit's crash, alone or with a second one."""

    unit: Unit
    blows: tuple[Blow, ...]
    recovery: tuple[Point, ...]  # since the last blow that fell
    violation: Violation | None
    story: tuple[str, ...]


class Enumeration(NamedTuple):
    """All there is to be played."""

    units: tuple[Unit, ...]
    points: int  # persist points of all worlds and victims
    records: Mapping[str, int]  # kind of record -> at how many points it is written
    modes: Mapping[Mode, int]  # units of each


def _ways(point: Point, number: int, modes: tuple[Mode, ...], *, may_forget: bool) -> Iterator[Blow]:
    """The blows that can fall at a point."""
    for mode in modes:
        if mode in FORGETFUL and not may_forget:
            continue
        if mode is Mode.TORN:
            yield from (Blow(number, mode, cut) for cut in range(len(point.cuts)))
        elif (mode is not Mode.HALF_SAID or point.words > 1) and (mode is not Mode.SAID or point.words):
            yield Blow(number, mode)


@cache
def enumeration() -> Enumeration:
    """Play each world without a crash, and count."""
    units: list[Unit] = []
    records: Counter[str] = Counter()
    points = 0
    for world in WORLDS:
        for victim in range(4):
            if victim == world.liar:
                continue
            stage, violation = play(world, victim)
            assert violation is None, f"{world.name} holds without a crash: {violation}"
            points += len(stage.victim.points)
            for number, point in enumerate(stage.victim.points):
                records.update(_kind(record) for record in point.records)
                ways = _ways(point, number, tuple(Mode), may_forget=world.may_forget(victim))
                units += [Unit(world, victim, blow, point.records) for blow in ways]
    return Enumeration(tuple(units), points, dict(sorted(records.items())), Counter(unit.blow.mode for unit in units))


def _kind(record: str) -> str:
    """Records with a number in their name are of one kind."""
    return record.split(".", 1)[0] + (".*" if "." in record else "")


class CrashPoints:
    """The set, for whoever plays sets (work.py)."""

    name = "crashpoints"
    story = "a crash at one persist point of a short world, and again at each one of its recovery"
    chunk = CHUNK

    @property
    def units(self) -> int:
        """How many first crashes there are."""
        return len(enumeration().units)

    @property
    def full(self) -> int:
        """All of them."""
        return self.units

    def play(self, first: int, last: int) -> Done:
        """These units."""
        counts: Counter[str] = Counter()
        findings = []
        for number in range(first, last):
            for run in runs_of(enumeration().units[number]):
                counts["runs"] += 1
                counts["crashes"] += len(run.blows)
                counts[f"{run.blows[-1].mode}{' again' if len(run.blows) > 1 else ''}"] += 1
                if run.violation is not None:
                    findings.append(_finding(number, run))
        return Done(last - first, dict(counts), tuple(findings))


def _finding(number: int, run: Run) -> Finding:
    where = ", then ".join(f"{blow.mode} write {blow.point}" for blow in run.blows)
    assert run.violation is not None, "found"
    detail = f"{run.unit.world.name}, n{run.unit.victim} dies {where}: {run.violation.detail}"
    return Finding(number, run.violation.name, detail, f"python -m simulations crashpoints --unit {number}")


def runs_of(unit: Unit, *, remember: int = 0) -> Iterator[Run]:
    """The crash alone; then with each second one at the points of its recovery."""
    alone = _run(unit, (unit.blow,), remember)
    yield alone
    if alone.violation is not None:
        return
    for number, point in enumerate(alone.recovery):
        for again in _ways(point, number, AGAIN, may_forget=unit.world.may_forget(unit.victim)):
            yield _run(unit, (unit.blow, again), remember)


def _run(unit: Unit, blows: tuple[Blow, ...], remember: int) -> Run:
    stage, violation = play(unit.world, unit.victim, blows, remember=remember)
    if violation is None and stage.victim.struck != len(blows):
        violation = Violation("struck", f"{stage.victim.struck} of {len(blows)} crashes happened")
    return Run(unit, blows, tuple(stage.victim.points), violation, tuple(stage.world.story))


def report(number: int) -> str:
    """Play a unit with open eyes: the story of the first of its runs in which something is violated, or of its crash
    alone."""
    unit = enumeration().units[number]
    runs, told = 0, None
    for run in runs_of(unit, remember=STORY_LINES):
        runs += 1
        if told is None or run.violation is not None:
            told = run
        if run.violation is not None:
            break
    assert told is not None, "the crash alone is one"
    if told.violation is None:
        ending = f"unit {number}: nothing was violated in {runs} runs; this is the crash alone"
    else:
        ending = f"unit {number}: VIOLATED {told.violation}"
    blows = "; then ".join(f"n{unit.victim} {blow}" for blow in told.blows)
    return "\n".join([f"unit {number}: {unit.world.name} ({unit.world.story}): {blows}", *told.story, ending])


def run(units: range | None, unit: int | None, *, only_list: bool) -> int:
    """The command: what there is, then these units (all), a line a chunk. The exit code."""
    print(_counted(), flush=True)
    if only_list:
        return 0
    work = CrashPoints()
    if unit is None:
        return play_slice(work, units)
    if not there(work, range(unit, unit + 1)):
        return 2
    story = report(unit)
    print(story)
    return 1 if "VIOLATED" in story.rsplit("\n", 1)[-1] else 0


def _counted() -> str:
    """The enumeration in words."""
    there = enumeration()
    worlds = "\n".join(f"  {world.name:18} {world.story}" for world in WORLDS)
    records = ", ".join(f"{name} {count}" for name, count in there.records.items())
    modes = ", ".join(f"{mode} {there.modes[mode]}" for mode in Mode)
    return (
        f"{len(WORLDS)} worlds of four members, each of which dies in its turn:\n{worlds}\n"
        f"{there.points} persist points; what is written at how many of them: {records}\n"
        f"{len(there.units)} first crashes: {modes}"
    )
