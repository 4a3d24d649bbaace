"""Processes of a comparison: begun one by one, ended one by one by id, and what they cost, from /proc."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from comparison.failures import Failed

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
END_S = 15.0
"""How long a member may take to end after SIGTERM; then it is killed."""
LAST_LINES = 5
POLL_S = 0.1
"""Between two questions to members that start."""


class Members:
    """Named processes with their logs in `path`. `close` ends all of them, whatever state they are in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str]) -> None:
        with open(self.log_path(name), "ab") as log:
            # In a session of its own, so that Ctrl-C reaches us alone and we end what we began, in order.
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def log_path(self, name: str) -> Path:
        return self._path / f"{name}.log"

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._processes.items()}

    def signal(self, name: str, number: signal.Signals) -> None:
        self._processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        """kill -9, and gone."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(END_S)

    def check(self) -> None:
        """Raises Failed if one of them has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise Failed(f"{name} has ended with code {process.returncode}; its last words:\n{self.last_words()}")

    def until(self, ready: Callable[[], bool], within_s: float) -> None:
        """Wait until they are ready. Raises Failed when one of them ends, or time is up."""
        deadline = time.monotonic() + within_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                names = ", ".join(self._processes)
                raise Failed(f"{names} are not up after {within_s:.0f} s; their last words:\n{self.last_words()}")
            time.sleep(POLL_S)

    def last_words(self) -> str:
        lines = []
        for name in self._processes:
            text = self.log_path(name).read_text(errors="replace") if self.log_path(name).exists() else ""
            lines += [f"  {name}: {line[:300]}" for line in text.splitlines()[-LAST_LINES:]]
        return "\n".join(lines)

    def close(self) -> None:
        """TERM to all, KILL to those who do not go."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + END_S
        for process in self._processes.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_S)
        self._processes.clear()


def cpu_seconds(stat: str) -> float:
    """User and system time of a whole process, out of the text of /proc/PID/stat."""
    # The command in parentheses may hold anything, so count from the last one: state is the first field behind it.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def cpu_seconds_of(pid: int) -> float:
    return cpu_seconds(Path(f"/proc/{pid}/stat").read_text())


def resident_mb(status: str, of: str = "VmRSS") -> float:
    """A line of the text of /proc/PID/status, in MB of 10^6 bytes. RssAnon is what no file holds too."""
    for line in status.splitlines():
        if line.startswith(f"{of}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def busy_seconds(stat: str) -> float:
    """CPU seconds that all CPUs together were not idle, or were taken away by the host, out of /proc/stat."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in stat.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def resident_of(pids: Mapping[str, int]) -> dict[str, float]:
    return {name: resident_mb(Path(f"/proc/{pid}/status").read_text()) for name, pid in pids.items()}


class Memory(NamedTuple):
    """Of a member, in MB of 10^6 bytes."""

    resident: float  # with the pages of files that are mapped
    anonymous: float  # what the process itself holds


def memory_of(pids: Mapping[str, int]) -> Memory:
    """The largest of these, in both."""
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids.values()]
    return Memory(max(map(resident_mb, texts)), max(resident_mb(text, "RssAnon") for text in texts))


class Sample(NamedTuple):
    """Spent so far."""

    at_s: float  # of the monotonic clock
    ours_s: float
    all_s: float


def sample(pids: Iterable[int]) -> Sample | None:
    """None when one of them is gone: what it had spent cannot be asked any more."""
    try:
        ours = sum(cpu_seconds(Path(f"/proc/{pid}/stat").read_text()) for pid in pids)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Sample(time.monotonic(), ours, busy_seconds(Path("/proc/stat").read_text()))


class Spent(NamedTuple):
    """CPU seconds a second."""

    ours: float
    others: float


def spent_between(samples: Sequence[Sample], from_s: float, to_s: float) -> Spent | None:
    """By the processes that were sampled, and by all others, in a stretch of the monotonic clock; None if unseen."""
    inside = [one for one in samples if from_s <= one.at_s <= to_s]
    if len(inside) < 2:
        return None
    first, last = inside[0], inside[-1]
    seconds = last.at_s - first.at_s
    ours = last.ours_s - first.ours_s
    return Spent(ours / seconds, max(last.all_s - first.all_s - ours, 0.0) / seconds)
