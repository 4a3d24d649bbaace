"""The inputs that are kept: what reaches code that no other one reaches, and what once broke something."""

from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parent.parent.parent
CORPUS = CHECKOUT / "tests" / "fuzz" / "corpus"
FOUND = CHECKOUT / "tests" / "fuzz" / "found"


def kept(folder: Path, name: str) -> list[Path]:
    """The files of one target, in order of their names."""
    return sorted(path for path in (folder / name).glob("*") if path.is_file())


def inputs_of(target: Any) -> list[bytes]:
    """Seeds, corpus and what was found, each once, in this order."""
    files = [path.read_bytes() for folder in (CORPUS, FOUND) for path in kept(folder, target.name)]
    return list(dict.fromkeys([*target.seeds(), *files]))
