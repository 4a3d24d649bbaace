"""What has been played, on which code, and what was found: an SQLite file that any interruption leaves whole.

One task is one transaction: it is in the ledger with its findings, or it is not, and then it is played again. There is
one writer, the engine; that there is a second one is refused when it starts, because both would play the same units.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from simulations.work import Finding

SCHEMA = 1
BUSY_MS = 2000
"""How long another process that is just ending is waited for."""

_TABLES = """
CREATE TABLE IF NOT EXISTS tasks (
    name TEXT NOT NULL, digest TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    counts TEXT NOT NULL, notes TEXT NOT NULL, seconds REAL NOT NULL, code TEXT NOT NULL, ended TEXT NOT NULL,
    PRIMARY KEY (name, digest, first), CHECK (first < last)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (
    name TEXT NOT NULL, digest TEXT NOT NULL, unit INTEGER NOT NULL, judge TEXT NOT NULL,
    detail TEXT NOT NULL, replay TEXT NOT NULL, smaller TEXT NOT NULL, code TEXT NOT NULL, seen TEXT NOT NULL,
    PRIMARY KEY (name, digest, unit, judge)
) STRICT, WITHOUT ROWID;
"""


class BadLedger(Exception):
    """The file is no ledger, is of another version, or is being written by somebody else."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring units that are done, with the sums of what was done in them."""

    name: str
    digest: str
    first: int
    last: int  # not included
    counts: Mapping[str, int]
    notes: Mapping[str, str]
    seconds: float  # of workers, added up
    code: str  # the commit of the latest
    ended: str  # when it ended (UTC, ISO 8601, to the second)

    @property
    def units(self) -> int:
        return self.last - self.first

    def and_then(self, after: "Stretch") -> "Stretch":
        """This one and its neighbour above it, as one."""
        assert (self.name, self.digest, self.last) == (after.name, after.digest, after.first), "neighbours"
        counts = Counter(self.counts)
        counts.update(after.counts)  # unlike +, keeps what is 0
        latest = max(self, after, key=lambda one: one.ended)
        notes = {**self.notes, **after.notes}
        seconds = self.seconds + after.seconds
        return Stretch(
            self.name, self.digest, self.first, after.last, dict(counts), notes, seconds, latest.code, latest.ended
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A finding as it is written down."""

    name: str
    digest: str
    finding: Finding
    smaller: str  # the replay of the least that shows it; empty where nobody has looked for less
    code: str
    seen: str  # when it was first seen (UTC, ISO 8601, to the second)


class Ledger:
    """The open file. Use as a context manager. Raises BadLedger when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._base = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None)
        except sqlite3.Error as error:
            raise BadLedger(f"{path}: {error}; name another file (--ledger)") from error
        try:
            # Locked from the first write until it is closed: one writer, and WAL without a file of shared memory.
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._open()
        except sqlite3.DatabaseError as error:
            self._base.close()
            locked = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            why = "another campaign is writing it: give this one its own" if locked else "name another file"
            raise BadLedger(f"{path}: {error}; {why} (--ledger)") from error

    def _open(self) -> None:
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        (tables,) = self._base.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version != SCHEMA and (version or tables):
            self._base.close()
            raise BadLedger(f"{self._path}: version {version}, not {SCHEMA}; name another file (--ledger)")
        self._base.execute("BEGIN EXCLUSIVE")
        for statement in _TABLES.split(";\n"):
            self._base.execute(statement)
        self._base.execute(f"PRAGMA user_version = {SCHEMA}")
        self._base.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def done(self, stretch: Stretch, findings: Iterable[Finding]) -> None:
        """A task and its findings, durable when this returns."""
        self._base.execute("BEGIN IMMEDIATE")
        self._insert(stretch)
        self._write(Found(stretch.name, stretch.digest, it, "", stretch.code, stretch.ended) for it in findings)
        self._base.execute("COMMIT")

    def _insert(self, it: Stretch) -> None:
        counts, notes = json.dumps(dict(it.counts)), json.dumps(dict(it.notes))
        row = (it.name, it.digest, it.first, it.last, counts, notes, it.seconds, it.code, it.ended)
        self._base.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def found(self, found: Found) -> None:
        """A finding that belongs to no task that ended, or a smaller form of one that is known."""
        self._base.execute("BEGIN IMMEDIATE")
        self._write([found])
        self._base.execute("COMMIT")

    def _write(self, all_found: Iterable[Found]) -> None:
        """Who saw it first stays; what is smaller is added."""
        for it in all_found:
            one = it.finding
            row = (it.name, it.digest, one.unit, one.judge, one.detail, one.replay, it.smaller, it.code, it.seen)
            self._base.execute(
                "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name, digest, unit, judge)"
                " DO UPDATE SET smaller = excluded.smaller WHERE excluded.smaller != ''",
                row,
            )

    def add(self, stretch: Stretch) -> bool:
        """What was done elsewhere; False where it is not taken over. What contains tasks of ours takes their place;
        what overlaps one in part is left out, because its sums cannot be divided, and is played again where missing."""
        ours = self._base.execute(
            "SELECT first, last FROM tasks WHERE name = ? AND digest = ? AND first < ? AND last > ?",
            (stretch.name, stretch.digest, stretch.last, stretch.first),
        ).fetchall()
        if any(first < stretch.first or last > stretch.last for first, last in ours):
            return False
        if sum(last - first for first, last in ours) == stretch.units:
            return False
        self._base.execute("BEGIN IMMEDIATE")
        for first, _ in ours:
            self._base.execute(
                "DELETE FROM tasks WHERE name = ? AND digest = ? AND first = ?", (stretch.name, stretch.digest, first)
            )
        self._insert(stretch)
        self._base.execute("COMMIT")
        return True

    def missing(self, name: str, digest: str, asked: range, *, once: bool = False) -> list[range]:
        """What of the units asked for (step 1) is not done on this code, in order; `once`: nor on any other, where
        what was found last was nothing."""
        gaps: list[range] = []
        at = asked.start
        for first, last in self._base.execute(
            "SELECT first, last FROM tasks WHERE name = ? AND (digest = ? OR ?) AND first < ? AND last > ?"
            " ORDER BY first",
            (name, digest, once, asked.stop, asked.start),
        ):
            if first > at:
                gaps.append(range(at, first))
            at = max(at, last)
        if at < asked.stop:
            gaps.append(range(at, asked.stop))
        if once:
            gaps += [range(unit, unit + 1) for unit in self._failed_before(name, digest, asked)]
        return sorted(gaps, key=lambda gap: gap.start)

    def _failed_before(self, name: str, digest: str, asked: range) -> list[int]:
        """Units in which something was found on other code, and that were not played on any code later."""
        rows = self._base.execute(
            "SELECT DISTINCT unit FROM findings AS seen WHERE name = ?1 AND digest != ?2 AND unit >= ?3 AND unit < ?4"
            " AND EXISTS (SELECT 1 FROM tasks WHERE name = ?1 AND first <= unit AND last > unit)"
            " AND NOT EXISTS (SELECT 1 FROM tasks WHERE name = ?1 AND digest != seen.digest"
            " AND first <= unit AND last > unit AND ended > seen.seen)",
            (name, digest, asked.start, asked.stop),
        )
        return [unit for (unit,) in rows]

    def stretches(self) -> list[Stretch]:
        """All that is done: neighbours joined, by set, code and unit."""
        joined: list[Stretch] = []
        for name, digest, first, last, counts, notes, seconds, code, ended in self._base.execute(
            "SELECT name, digest, first, last, counts, notes, seconds, code, ended FROM tasks"
            " ORDER BY name, digest, first"
        ):
            one = Stretch(name, digest, first, last, json.loads(counts), json.loads(notes), seconds, code, ended)
            before = joined[-1] if joined else None
            if before is not None and (before.name, before.digest, before.last) == (name, digest, first):
                joined[-1] = before.and_then(one)
            else:
                joined.append(one)
        return joined

    def findings(self) -> list[Found]:
        """All of them, by set, code and unit."""
        return [
            Found(name, digest, Finding(unit, judge, detail, replay), smaller, code, seen)
            for name, digest, unit, judge, detail, replay, smaller, code, seen in self._base.execute(
                "SELECT name, digest, unit, judge, detail, replay, smaller, code, seen FROM findings"
                " ORDER BY name, digest, unit, judge"
            )
        ]
