"""All scenarios by name: stories in files (scenarios/*.toml, script.py) and schedules in Python (scenarios/*.py).

A new story is a new file; nothing else has to know of it.
"""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from simulations.scenarios import SCHEDULES
from simulations.script import BadScript, Play, load

SCRIPTS = Path(__file__).parent / "scenarios"
SAFE = "safe, and everything that was asked for is done"
SAFE_ONLY = "safe; that not everything is done was expected"


_played: dict[str, tuple[str, ...]] = {}


class Scenario(NamedTuple):
    """Something to play."""

    name: str
    story: str
    covers: tuple[str, ...]
    perform: Callable[[], object]
    ending: str = SAFE  # what is so where nothing is violated

    def play(self) -> None:
        """Raises Violation."""
        self.perform()
        _played[self.name] = self.covers


def played() -> Iterator[tuple[str, str]]:
    """(id, scenario) of all here that were played in this process, to their end, without a violation (coverage.py)."""
    known = names()
    for name, covers in _played.items():
        if name not in known:
            continue  # a file of somebody's own
        for fault in covers:
            yield fault, f"scenario {name}"


def names() -> list[str]:
    """Of all scenarios, in order."""
    return sorted([*SCHEDULES, *(path.stem for path in SCRIPTS.glob("*.toml"))])


def find(name: str) -> Scenario:
    """By its name, or by the path of a file of one's own. Raises BadScript where there is none that can be played."""
    schedule = SCHEDULES.get(name)
    if schedule is not None:
        story = (schedule.__doc__ or "").split("\n\n")[0]
        return Scenario(
            name, " ".join(story.split()), schedule.covers, schedule.play, getattr(schedule, "ENDING", SAFE)
        )
    path = Path(name) if name.endswith(".toml") else SCRIPTS / f"{name}.toml"
    if not path.is_file():
        near = get_close_matches(name, names(), 1)
        raise BadScript(f"no scenario {name}" + (f"; {near[0]}?" if near else ": `list` shows their names"))
    script = load(path)
    ending = SAFE if script.expect.executed else SAFE_ONLY
    return Scenario(name, script.story, script.covers, lambda: Play(script).run(), ending)
