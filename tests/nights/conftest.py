"""A directory for the tiny sets, and a ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nights.ledger import Ledger
from tests.nights import tiny


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tiny sets are played; workers inherit the name."""
    monkeypatch.setenv(tiny.DIRECTORY, str(tmp_path))
    return tmp_path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened
