"""Plays a slice of a set in tasks, writes down each as it ends, and says how far it is.

What is done on this code (or, where that is asked, on any) is not done again. A worker that dies is told with the units
that it had, and they are played once more; the second death is a finding. What a set can make smaller is made so. A
slice that did less than it stands for ends the campaign; whether its units were worth something, the set itself judges.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nights.crew import Crew, Died, Ended, Job, Play, Raised, Reduce
from nights.ledger import Found, Ledger, Stretch
from nights.sets import digest_of, find
from simulations.work import Done, Finding, Reducer, is_alone

FINDINGS_MAX = 10
"""A campaign gives out no more tasks after so many units with findings: they have one cause more often than not."""

REDUCED_MAX = 3
"""Of a campaign's findings so many are made smaller: the first."""

PROGRESS_S = 10.0
"""A line in so many seconds."""

Tell = Callable[[str], None]


class LessDone(Exception):
    """A slice came back with less than it stands for, or a set raised: a campaign cannot go on."""


@dataclass(slots=True)
class Report:
    """What a campaign came to."""

    name: str
    asked: int  # units
    before: int  # of them, done before on this code
    units: int = 0  # done now
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0  # of workers, added up
    findings: list[Finding] = field(default_factory=list)
    smaller: list[Finding] = field(default_factory=list)
    stopped: str = ""  # why not all of it was played

    @property
    def missing(self) -> int:
        return self.asked - self.before - self.units

    def line(self, width: int) -> str:
        """Progress: done of asked, runs a core-second, findings, time left."""
        runs = self.counts["runs"]
        pace = f"{runs / self.seconds:.2f} runs/s a core" if self.seconds else "no pace yet"
        left = ""
        if self.units and self.missing:
            left = f", {_duration(self.missing * self.seconds / self.units / width)} left"
        if self.before == self.asked:
            return f"{self.name}: all {self.asked} units are done; another ledger plays them again"
        return (
            f"{self.name}: {self.before + self.units}/{self.asked} units, {runs} runs now, {pace}, "
            f"{len(self.findings)} findings{left}"
        )


class Campaign:
    """One slice of one set, by a crew, into a ledger."""

    def __init__(
        self, name: str, address: str, crew: Crew, ledger: Ledger, code: str, tell: Tell, *, once: bool = False
    ) -> None:
        self._name = name
        self._once = once
        self._address = address
        self._work = find(address)
        self._digest = digest_of(address)
        self._crew = crew
        self._ledger = ledger
        self._code = code
        self._tell = tell
        self._width = 1 if is_alone(self._work) else crew.size
        self._waiting: deque[Job] = deque()
        self._died: set[Job] = set()  # once; asked of, never iterated over
        self._told_at = time.monotonic()

    def play(self, asked: range, until: float | None = None) -> Report:
        """What is missing of these units; after `until` (time.monotonic) no task is begun. Raises LessDone."""
        missing = self._ledger.missing(self._name, self._digest, asked, once=self._once)
        units = sum(len(gap) for gap in missing)
        report = Report(self._name, len(asked), len(asked) - units)
        # A slice of less than a task for each worker is cut for all of them.
        chunk = max(1, min(self._work.chunk, -(-units // self._width)))
        tasks = (Play(self._address, self._digest, *ends) for ends in tasks_of(missing, chunk))
        given = 0
        self._tell(report.line(self._width))
        while True:
            while given < self._width and (job := self._next(tasks, report, until)) is not None:
                self._crew.give(job)
                given += 1
            if not given:
                break
            event = self._crew.next(PROGRESS_S)
            if event is not None:
                given -= 1
                self._heed(event, report)
            self._progress(report)
        self._tell(report.line(self._width) + (f"; {report.stopped}" if report.stopped else ""))
        return report

    def _next(self, tasks: Iterator[Play], report: Report, until: float | None) -> Job | None:
        if self._waiting:
            return self._waiting.popleft()
        if len({finding.unit for finding in report.findings}) >= FINDINGS_MAX:
            report.stopped = f"stopped after {FINDINGS_MAX} units with findings"
            return None
        if until is not None and time.monotonic() >= until and (report.units or report.stopped):
            report.stopped = "its time is over"
            return None
        return next(tasks, None)

    def _heed(self, event: Ended | Raised | Died, report: Report) -> None:
        assert event.job.address == self._address, "a crew that another campaign has left at work is not used again"
        match event:
            case Ended(Play() as job, Done() as done, seconds):
                self._done(job, done, seconds, report)
            case Ended(Reduce() as job, Finding() as less):
                if less.replay != job.finding.replay:
                    self._ledger.found(self._found(job.finding, less.replay))
                    report.smaller.append(less)
                    self._tell(f"{self._name}: unit {less.unit} again, with less: {less.replay}")
            case Raised():
                raise LessDone(f"{self._name}: {event.job} raised\n{event.words}")
            case Died():
                self._again(event, report)
            case _:
                raise AssertionError(f"a result that does not belong to its job: {event}")

    def _done(self, job: Play, done: Done, seconds: float, report: Report) -> None:
        if done.units != job.last - job.first:
            raise LessDone(f"{self._name}: {job} came back as {done.units} units")
        strangers = [finding.unit for finding in done.findings if not job.first <= finding.unit < job.last]
        if strangers:
            raise LessDone(f"{self._name}: {job} came back with findings of units {strangers}")
        stretch = Stretch(
            self._name, self._digest, job.first, job.last, done.counts, done.notes, seconds, self._code, now()
        )
        self._ledger.done(stretch, done.findings)
        report.units += done.units
        report.counts.update(done.counts)
        report.seconds += seconds
        for finding in done.findings:
            self._tell_of(finding, report)
            if isinstance(self._work, Reducer) and len(report.findings) <= REDUCED_MAX:
                self._waiting.append(Reduce(self._address, self._digest, finding))

    def _again(self, event: Died, report: Report) -> None:
        job = event.job
        self._tell(f"{self._name}: a worker died with {job}: {event.how}")
        if isinstance(job, Reduce):
            return  # the finding stays as it is
        if event.again and job not in self._died:
            self._died.add(job)
            self._waiting.append(job)
            self._tell(f"{self._name}: {job} once more")
            return
        replay = f"python -m simulations campaign {self._name} --units {job.first}..{job.last - 1}"
        finding = Finding(job.first, "died", f"workers died with {job}: {event.how}", replay)
        self._ledger.found(self._found(finding, ""))
        self._tell_of(finding, report)
        report.stopped = report.stopped or "units at which workers died are not done"

    def _found(self, finding: Finding, smaller: str) -> Found:
        return Found(self._name, self._digest, finding, smaller, self._code, now())

    def _tell_of(self, finding: Finding, report: Report) -> None:
        report.findings.append(finding)
        if len(report.findings) <= 2 * FINDINGS_MAX:
            self._tell(f"{self._name}: unit {finding.unit} VIOLATED {finding.judge}: {finding.detail}")
            self._tell(f"    {finding.replay}")

    def _progress(self, report: Report) -> None:
        if time.monotonic() - self._told_at >= PROGRESS_S:
            self._told_at = time.monotonic()
            self._tell(report.line(self._width))


def tasks_of(missing: Iterable[range], chunk: int) -> Iterator[tuple[int, int]]:
    """(first, last) of tasks, cut where multiples of the chunk are, so that gaps of any shape give the same tasks."""
    for gap in missing:
        first = gap.start
        while first < gap.stop:
            last = min(gap.stop, first - first % chunk + chunk)
            yield first, last
            first = last


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
