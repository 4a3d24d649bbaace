"""What is planted: one changed place of the core at a time, in a copy of the checkout.

bugs.toml has the bugs, harmless.toml what only looks like one. Both say how to add more.
"""

import hashlib
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
COPIED = (
    "bftnode",
    "simulations",
    "theatre",
    "tests",
    "docs",
    "scripts",
    "configs",
    "requirements",
    "pyproject.toml",
    "README.md",
)

TOPICS = frozenset(
    (
        "blocks",
        "catch-up",
        "certificates",
        "checkpoints",
        "cosigning",
        "custody",
        "dedupe",
        "execution",
        "forensics",
        "forks",
        "merkle",
        "nonces",
        "persistence",
        "private records",
        "quarantine",
        "quorums",
        "receipts",
        "replay windows",
        "sessions and pins",
        "signed frames",
        "slow primaries",
        "timers",
        "view change",
        "votes",
        "waiting for company",
        "watermarks",
    )
)
"""What an examiner would ask about; there is a bug of each."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One place of the core, changed."""

    name: str
    topic: str
    file: str
    old: str
    new: str
    seen_by: str = ""  # the tests that are about it: for a glance
    harmless: bool = False

    @property
    def digest(self) -> str:
        """Of what it does: an answer to another patch of this name is none to this one."""
        return hashlib.sha256("\0".join((self.file, self.old, self.new)).encode()).hexdigest()[:16]


class BadPatch(Exception):
    """The place that a patch changes is not there, or not only once."""


def patches() -> list[Patch]:
    """All bugs, then all that is harmless, in the order of their files."""
    here = Path(__file__).parent
    bugs = tomllib.loads((here / "bugs.toml").read_text(encoding="utf-8"))["bug"]
    harmless = tomllib.loads((here / "harmless.toml").read_text(encoding="utf-8"))["harmless"]
    return [*(Patch(**item) for item in bugs), *(Patch(**item, harmless=True) for item in harmless)]


def planted(source: str, patch: Patch) -> str:
    """`source` with the patch in it. Raises BadPatch."""
    if source.count(patch.old) != 1:
        times = source.count(patch.old)
        raise BadPatch(f"{patch.name}: its line stands {times} times in {patch.file}; mend tests/exam/*.toml")
    return source.replace(patch.old, patch.new)


def plant(patch: Patch | None, copy: Path) -> None:
    """Make the copy, with the patch in it if there is one. Bytecode comes along: what is not changed is not compiled
    again. Raises BadPatch."""
    for name in COPIED:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, copy / name)
        else:
            shutil.copy2(CHECKOUT / name, copy / name)
    if patch is not None:
        file = copy / patch.file
        file.write_text(planted(file.read_text(encoding="utf-8"), patch), encoding="utf-8")
