"""The ids that a test or a scenario may claim to cover."""

from pathlib import Path

FAULTS = frozenset(
    line
    for line in (Path(__file__).parent / "faults.txt").read_text(encoding="ascii").splitlines()
    if line and not line.startswith("#")
)
