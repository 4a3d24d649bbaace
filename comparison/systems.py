"""What the comparison asks of a system, whichever it is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from comparison.loads import Load
from comparison.processes import Members

START_S = 60.0
"""How long members may take until they take operations; past it the comparison fails with their last words."""


class Running(ABC):
    """A system whose members run, until `close`."""

    members: Members

    @abstractmethod
    def begin(self) -> None:
        """Start the members and wait until operations can be sent. Raises Failed."""

    @abstractmethod
    def load_command(self, load: Load, duration_s: float) -> list[str]:
        """A process of its own that loads the system so and prints a report as JSON."""

    @abstractmethod
    def kill_load_command(self, rate: float, duration_s: float) -> list[str]:
        """An open loop without a warm-up, whose report lists silences between acknowledgements."""

    @abstractmethod
    def leader(self) -> str:
        """The name of the member that leads. Raises Failed when nobody is known to."""

    @abstractmethod
    def close(self) -> None:
        """End every process and give the ports back. Safe at any time."""


Some = TypeVar("Some", bound=Running)


@contextmanager
def started(running: Some) -> Iterator[Some]:
    """It runs, and is gone afterwards. Raises Failed."""
    try:
        running.begin()
        yield running
    finally:
        running.close()


class System(ABC):
    """A system that can be started, each time anew and empty."""

    name: str
    kind: str  # which loads of plan.py are its
    count: int  # of members
    guest = False  # of a guest, whose turn fails, there is a dash, and the others go on

    @property
    @abstractmethod
    def title(self) -> str:
        """With version and number of members, for a heading."""

    @property
    @abstractmethod
    def flags(self) -> str:
        """How a member is started and its load made, for whoever wants to know; a line of markdown."""

    @abstractmethod
    def create(self, path: Path) -> Running:
        """Members with their data under `path`, which is there and empty; none runs yet."""

    def start(self, path: Path) -> Running:
        """The same, ready for operations. Raises Failed."""
        running = self.create(path)
        try:
            running.begin()
        except BaseException:
            running.close()
            raise
        return running
