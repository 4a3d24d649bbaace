"""Which sets there are, what a full one is, and which sources make the code that a set was played on.

A set is named by where it lives, so that a worker, here or on another machine, gets it by importing it and a set with
a guest of its own (atheris) costs nobody else the import. Adding one is one line of SETS.
"""

import hashlib
import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from simulations.work import Sourced, Work

ROOT = Path(__file__).resolve().parent.parent

ALWAYS = ("bftnode/**/*.py", "requirements/run.txt")
"""What every set tests: the house, and what it stands on."""


class NoSuchSet(Exception):
    """A name that no set has, or a set that cannot be imported here."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One set: where it lives, and the slice of it that CI plays (0 units: see `because`)."""

    address: str  # module:attribute
    ci_units: int
    because: str = ""  # why CI plays none of it


SETS: dict[str, Entry] = {
    "crashpoints": Entry("simulations.crashpoints:CrashPoints", 0, "tests/simulation/test_crashpoints.py plays some"),
    "mutation": Entry("simulations.mutation.work:Mutation", 0, "tests/simulation/test_mutation.py plays some"),
    "fuzz": Entry("nights.fuzz.work:FUZZ", 0, "tests/fuzz plays a short unit of every target"),
    "twins": Entry("simulations.worlds.twins:TWINS", 0, "tests/simulation/test_twins.py plays some"),
    "twins-late": Entry("simulations.worlds.twins:TWINS_LATE", 0, "tests/simulation/test_twins.py plays some"),
    "twins-held": Entry("simulations.worlds.twins:TWINS_HELD", 0, "tests/simulation/test_twins.py plays some"),
    "twins-late-held": Entry("simulations.worlds.twins:TWINS_LATE_HELD", 0, "as twins-late, and twins-held"),
    "lost": Entry("simulations.worlds.lost:LOST", 0, "tests/simulation/test_schedules.py plays some"),
    "orders": Entry("simulations.worlds.orders:ORDERS", 0, "tests/simulation/test_schedules.py plays some"),
    "swarm": Entry("simulations.campaign:SWARM", 0, "tests/simulation/test_swarm.py plays 200 seeds"),
    "kills": Entry("theatre.nights.kills:KILLS", 0, "tests/e2e/test_nights.py plays 3"),
    "histories": Entry("theatre.nights.histories:HISTORIES", 0, "tests/e2e/test_nights.py plays a short one"),
    "bitflips": Entry("theatre.nights.rotten:BITFLIPS", 0, "tests/e2e/test_nights.py plays 20"),
    "truncations": Entry("theatre.nights.rotten:TRUNCATIONS", 0, "tests/e2e/test_nights.py plays 10"),
    "zeroed": Entry("theatre.nights.rotten:ZEROED", 0, "tests/e2e/test_nights.py plays 10"),
}


def address_of(name: str) -> str:
    """Where a set lives, by its name; an address (module:attribute) is one already. Raises NoSuchSet."""
    if ":" in name:
        return name
    if name not in SETS:
        raise NoSuchSet(f"there is no set {name!r}: {', '.join(SETS)}")
    return SETS[name].address


def find(address: str) -> Work:
    """The set that lives there: an object, or a class of such. Raises NoSuchSet."""
    module, _, attribute = address.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise NoSuchSet(f"{address} cannot be imported: {error}") from error
    work: Work = found() if isinstance(found, type) else found
    return work


def sources_of(address: str) -> tuple[str, ...]:
    """Patterns of the files that this set's units depend on: the house, and its own room (the small world's, where
    another room plays in it). Raises NoSuchSet."""
    work = find(address)
    if isinstance(work, Sourced):
        return (*ALWAYS, *work.sources)
    room = address.partition(":")[0].split(".")[0]
    rooms = dict.fromkeys(("simulations", room))
    return (*ALWAYS, *(f"{one}/**/*.{kind}" for one in rooms for kind in ("py", "toml")))


@cache
def digest_of(address: str) -> str:
    """SHA-256 (16 hex digits of it) of every source that this set's units depend on: what was played on other code is
    not done. Of the files as they are when it is first asked. Raises NoSuchSet."""
    hasher = hashlib.sha256()
    every = {path for pattern in sources_of(address) for path in ROOT.glob(pattern)}
    for path in sorted(path for path in every if path.is_file()):
        content = path.read_bytes()
        hasher.update(b"%s\0%d\0" % (str(path.relative_to(ROOT)).encode(), len(content)) + content)
    return hasher.hexdigest()[:16]
