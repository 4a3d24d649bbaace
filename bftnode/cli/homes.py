"""Where a command finds its home: the flag or the environment, and nothing else."""

import os
from pathlib import Path

from bftnode.node.home import Home, find_home


def the_home(flag: Path | None) -> Home:
    """Raises Refused(CONFIGURATION)."""
    return find_home(flag, os.environ)
