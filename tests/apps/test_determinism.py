"""Two processes that execute the same blocks have the same state, whatever the order of their sets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apps.history import fingerprint

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.covers("K10", "P37")
@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_the_order_of_sets_is_nowhere_in_the_state(hash_seed: str) -> None:
    """A process with another PYTHONHASHSEED prints the same history, down to the order of its changes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.apps.history"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == fingerprint().split()


@pytest.mark.covers("K10")
def test_the_history_is_the_one_on_record() -> None:
    """A change here means that two versions of this program would have two states: a hard fork, to be said aloud."""
    assert fingerprint().split() == (Path(__file__).parent / "history.txt").read_text(encoding="ascii").split()
