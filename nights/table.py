"""What the nights came to: docs/nights.md for people, docs/nights.json for the next machine.

The second holds what the ledger holds, summed up by stretches of neighbouring units. It is committed with the first, so
that a fresh clone knows what is done on its code and goes on from there. It grows by a line of some 300 bytes for each
set and each code on which a night was spent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import msgspec

from nights.ledger import Found, Ledger, Stretch
from nights.sets import ROOT, SETS, digest_of, find, full_of
from simulations.work import Finding

JSON = ROOT / "docs" / "nights.json"
PAGE = ROOT / "docs" / "nights.md"
VERSION = 1

FINDINGS_MAX = 50
"""The page shows so many different ones, those of the present code first; all are in the JSON."""


class BadNights(Exception):
    """docs/nights.json cannot be read."""


class _Finding(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    digest: str
    unit: int
    judge: str
    detail: str
    replay: str
    smaller: str
    code: str
    seen: str

    def __post_init__(self) -> None:
        if "\n" in self.replay or self.unit < 0:
            raise ValueError("a replay is one line, a unit is not negative")


class _Stretch(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    digest: str
    first: int
    last: int
    counts: dict[str, int]
    notes: dict[str, str]
    seconds: float
    code: str
    ended: str

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.last or "runs" not in self.counts or not self.seconds >= 0:
            raise ValueError("a stretch has units, runs and seconds")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    done: list[_Stretch]
    findings: list[_Finding]


def take_over(ledger: Ledger, path: Path) -> int:
    """Into the ledger what was done elsewhere; how many stretches were news. Raises BadNights."""
    if not path.is_file():
        return 0
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except msgspec.DecodeError as error:
        raise BadNights(f"{path}: {error}; check it out again, or move it away") from error
    if file.version != VERSION:
        raise BadNights(f"{path}: version {file.version}, not {VERSION}; use the code that wrote it")
    for one in file.findings:
        finding = Finding(one.unit, one.judge, one.detail, one.replay)
        ledger.found(Found(one.name, one.digest, finding, one.smaller, one.code, one.seen))
    return sum(ledger.add(Stretch(**msgspec.structs.asdict(one))) for one in file.done)


def write(ledger: Ledger, commit: str, json: Path, page: Path) -> None:
    """Both files, whole or not at all."""
    stretches, findings = ledger.stretches(), ledger.findings()
    _replace(json, "\n".join(_json(stretches, findings)) + "\n")
    _replace(page, "\n".join(_page(ledger, stretches, findings, commit)) + "\n")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _json(stretches: Sequence[Stretch], findings: Sequence[Found]) -> Iterator[str]:
    """A line for each stretch and each finding, so that two machines' files can be merged by lines."""
    yield f'{{"version": {VERSION}, "done": ['
    yield from _lines(asdict(one) for one in stretches)
    yield '], "findings": ['
    yield from _lines(
        {"name": one.name, "digest": one.digest, **asdict(one.finding)}
        | {"smaller": one.smaller, "code": one.code, "seen": one.seen}
        for one in findings
    )
    yield "]}"


def _lines(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    lines = [msgspec.json.encode(row).decode() for row in rows]
    yield from (line + ("," if number < len(lines) else "") for number, line in enumerate(lines, 1))


def _page(ledger: Ledger, stretches: Sequence[Stretch], findings: Sequence[Found], commit: str) -> Iterator[str]:
    yield from (
        "# Nights",
        "",
        f"What was played, as of {commit}. Written by `./scripts/night`, which goes on from here:",
        "`./scripts/night --hours 8` takes a slice of every set, in proportion to what is missing of it, and writes",
        "this page again; `./scripts/night --hours 0` only writes it. A single slice, again:",
        "`python -m simulations campaign SET --units A..B --ledger /tmp/again.sqlite`.",
        "Done on this code is what was played on the same sources (a digest of them); a change of a source makes it",
        "undone. Done on any is what was played at least once, on whatever code, and where something was found, again",
        "since, on other code; `--once` plays only what is left of that.",
        "Seconds are those of workers, added up, on whatever machines; runs are what a set counts as such.",
        "",
        "| set | a unit is | full set | done on this code | done on any | findings | core-seconds | runs a core-second "
        "| last commit |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    for name in SETS:
        of_set = [one for one in stretches if one.name == name]
        yield _row(ledger, name, of_set, [it for it in findings if it.name == name])
    yield from ("", "## What was counted", "")
    for name in SETS:
        counts: Counter[str] = Counter()
        notes: dict[str, str] = {}
        for one in sorted((one for one in stretches if one.name == name), key=lambda one: one.ended):
            counts.update(one.counts)
            notes.update(one.notes)
        said = [f"{count:,} {what}" for what, count in counts.items()] + [f"{key}: {it}" for key, it in notes.items()]
        yield f"- {name}: {'; '.join(said) or 'nothing yet'}"
    yield from ("", "## What was found", "")
    if findings:
        yield from ("What was found stays here. What was wrong in the product has its row in docs/bugs.md.", "")
    yield from _found(findings)


def _row(ledger: Ledger, name: str, stretches: Sequence[Stretch], findings: Sequence[Found]) -> str:
    address = SETS[name].address
    full, digest = full_of(name), digest_of(address)
    here, once = (full - sum(map(len, ledger.missing(name, digest, range(full), once=it))) for it in (False, True))
    runs, seconds = sum(one.counts["runs"] for one in stretches), sum(one.seconds for one in stretches)
    latest = max(stretches, key=lambda one: one.ended, default=None)
    now = sum(1 for it in findings if it.digest == digest)
    cells = [
        name,
        find(address).story,
        f"{full:,}",
        f"{here:,} ({_percent(here, full)})",
        f"{once:,} ({_percent(once, full)})",
        f"{now} ({len(findings)} in all)" if findings else "0",
        f"{seconds:,.0f}",
        f"{runs / seconds:,.2f}" if seconds else "",
        "" if latest is None else latest.code,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _percent(part: int, whole: int) -> str:
    """Rounded down: 100 % is all of it."""
    return f"{part * 1000 // whole / 10:g} %"


def _found(findings: Sequence[Found]) -> Iterator[str]:
    """What one line shows again is one line here, however many units came upon it."""
    digests = {name: digest_of(entry.address) for name, entry in SETS.items()}
    same: dict[tuple[str, ...], list[Found]] = {}
    for it in sorted(findings, key=lambda it: (digests.get(it.name) != it.digest, it.name, it.finding.unit)):
        same.setdefault((it.name, it.digest, it.finding.judge, it.smaller or it.finding.replay), []).append(it)
    for (name, digest, judge, replay), them in islice(same.items(), FINDINGS_MAX):
        first = min(them, key=lambda it: it.seen)
        where = "on this code" if digests.get(name) == digest else f"on the code of {first.code}"
        units = ", ".join(str(it.finding.unit) for it in them)
        yield f"- {name} {units}, {judge}, {where}, first seen {first.seen}: {first.finding.detail}"
        yield f"  `{replay}`"
    if len(same) > FINDINGS_MAX:
        yield f"- {len(same) - FINDINGS_MAX} more in nights.json"
    if not same:
        yield "Nothing."
