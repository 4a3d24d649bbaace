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
class Slice:
    """What CI plays of a set, and how many runs that is at least."""

    units: range
    runs: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One set: where it lives, what CI plays of it (None: see `because`), and how many units are asked for where that
    is not what the set itself calls full."""

    address: str  # module:attribute
    ci: Slice | None = None
    because: str = ""
    full: int | None = None


SETS: dict[str, Entry] = {
    "twins": Entry("simulations.worlds.twins:TWINS", Slice(range(104), 104)),
    "twins-late": Entry("simulations.worlds.twins:TWINS_LATE", Slice(range(104), 104)),
    "twins-held": Entry("simulations.worlds.twins:TWINS_HELD", Slice(range(104), 104)),
    "twins-late-held": Entry("simulations.worlds.twins:TWINS_LATE_HELD", Slice(range(104), 104)),
    "lost": Entry("simulations.worlds.lost:LOST", Slice(range(400), 400)),
    "orders": Entry("simulations.worlds.orders:ORDERS", Slice(range(4000), 4000)),
    "crashpoints": Entry("simulations.crashpoints:CrashPoints", Slice(range(8), 150)),
    "mutation": Entry("simulations.mutation.work:Mutation", Slice(range(200), 200), full=250_000),
    "fuzz": Entry("nights.fuzz.work:FUZZ", None, "tests/fuzz plays a short unit of every target"),
    "swarm": Entry("simulations.campaign:SWARM", None, "tests/simulation/test_swarm.py plays 200 seeds"),
    "exam": Entry("tests.exam.work:EXAM", None, "tests/e2e/test_hunt.py hunts one; a hunt is a minute of two cores"),
    "kills": Entry("theatre.nights.kills:KILLS", None, "tests/e2e/test_nights.py plays 2"),
    "histories": Entry("theatre.nights.histories:HISTORIES", None, "tests/e2e/test_nights.py plays a short one"),
    "bitflips": Entry("theatre.nights.rotten:BITFLIPS", None, "tests/e2e/test_nights.py plays 20"),
    "truncations": Entry("theatre.nights.rotten:TRUNCATIONS", None, "tests/e2e/test_nights.py plays 10"),
    "zeroed": Entry("theatre.nights.rotten:ZEROED", None, "tests/e2e/test_nights.py plays 10"),
    "rollbacks": Entry("theatre.nights.disks:ROLLBACKS", None, "tests/e2e/test_nights.py plays 1"),
    "full": Entry("theatre.nights.disks:FULL", None, "tests/e2e/test_nights.py plays 1"),
    "fsync": Entry("theatre.nights.disks:FSYNC", None, "tests/e2e/test_nights.py plays 1"),
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


def full_of(name: str) -> int:
    """How many units of this set are asked for, by its name or address. Raises NoSuchSet."""
    asked = SETS[name].full if name in SETS else None
    return find(address_of(name)).full if asked is None else asked


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
