"""The comparison as rows, and as markdown. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from comparison.findings import grid, verdict
from comparison.plan import BATCHED, TOPICS
from comparison.results import Described, Measured, Results, Spread, Turn, ratios, spread

Get = Callable[[Turn], float | None]
Better = Literal["more", "less", ""]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A line of the table: what is taken from which row of a turn."""

    topic: str  # where a new one begins, else empty
    text: str
    digits: int
    better: Better
    of: Callable[[str], Get]
    ours: str = ""  # the names of rows, as in plan.py; empty for what is of the whole turn
    theirs: str = ""
    headline: str = ""  # what the ratio is of, where it is one of the answers
    loads: bool = False  # whether to say which loads they were
    asked: float | None = None  # of the ratio to the first other: at least or, where less is better, at most


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity, of every system that has it."""

    quantity: Quantity
    cells: tuple[Spread | None, ...]  # by system, ours first
    against: tuple[Spread | None, ...]  # ours to each other's, pair by pair
    notes: tuple[str, ...]  # by system: which load it was

    @property
    def text(self) -> str:
        """With what is better and, where something is asked of the ratio, how much."""
        better, asked = self.quantity.better, self.quantity.asked
        if not better:
            return self.quantity.text
        bound = "" if asked is None else f", asked: {'at least' if better == 'more' else 'at most'} {asked:g} x"
        return f"{self.quantity.text} ({better} is better{bound})"

    @property
    def met(self) -> bool | None:
        """Whether the median of the ratios to the first other is what is asked; None where nothing is."""
        asked, against = self.quantity.asked, self.against[0] if self.against else None
        if asked is None or against is None:
            return None
        return against.median >= asked if self.quantity.better == "more" else against.median <= asked


def _measured(of: Callable[[Measured], float | None]) -> Callable[[str], Get]:
    def named(row: str) -> Get:
        return lambda turn: of(turn.rows[row]) if row in turn.rows else None

    return named


def _whole(of: Get) -> Callable[[str], Get]:
    return lambda _row: of


pace = _measured(lambda one: one.report.operations_per_s)
median = _measured(lambda one: one.report.median_ms)
p99 = _measured(lambda one: one.report.p99_ms)
cpu = _measured(lambda one: one.cpu_us)
due = _measured(lambda one: one.load.rate)
outage = _whole(lambda turn: None if turn.outage is None else turn.outage.seconds)
lost = _whole(lambda turn: None if turn.outage is None else float(turn.outage.lost))
acknowledged = _whole(lambda turn: None if turn.outage is None else float(turn.outage.acknowledged))
missing = _whole(lambda turn: None if turn.outage is None else float(turn.outage.missing))
largest = _whole(lambda turn: max(turn.resident_mb.values(), default=None))
together = _whole(lambda turn: sum(turn.resident_mb.values()) if turn.resident_mb else None)
committed = _whole(lambda turn: float(turn.operations) if turn.resident_mb else None)

QUANTITIES = (
    Quantity("T1", "operations a second, callers' own", 0, "more", pace, "T1", "T1", "Saturated by callers", True, 10),
    Quantity("", "their median latency, ms", 1, "", median, "T1", "T1"),
    Quantity("", "their CPU, us an operation", 0, "less", cpu, "T1", "T1"),
    Quantity(
        "", "operations a second, in batches", 0, "more", pace, BATCHED, BATCHED, "Saturated by batches", loads=True
    ),
    Quantity("", "the same beside the other's single operations", 0, "more", pace, BATCHED, "T1", loads=True, asked=10),
    Quantity("", "CPU of batches, us an operation", 0, "less", cpu, BATCHED, BATCHED),
    Quantity("T2", "operations a second", 0, "more", pace, "T2", "T2", "Each signed alone", True, 1),
    Quantity("", "their median latency, ms", 1, "", median, "T2", "T2"),
    Quantity("", "CPU, us an operation", 0, "less", cpu, "T2", "T2"),
    Quantity("T3", "median latency, ms", 2, "less", median, "T3", "T3", "What one caller waits", asked=2),
    Quantity("", "p99 latency, ms", 2, "less", p99, "T3", "T3", asked=3),
    Quantity("", "CPU, us an operation", 0, "less", cpu, "T3", "T3"),
    Quantity("T4", "operations a second that are due", 0, "", due, "T4", "T4"),
    Quantity("", "median latency, ms", 1, "less", median, "T4", "T4", asked=1),
    Quantity("", "p99 latency, ms", 1, "less", p99, "T4", "T4", "p99 at half load", asked=1),
    Quantity("T5", "seconds", 2, "less", outage, headline="Silence after a kill of the leader", asked=0.5),
    Quantity("", "operations that failed, or whose outcome stayed unknown", 0, "less", lost),
    Quantity("", "acknowledged operations, read back from every survivor", 0, "", acknowledged),
    Quantity("", "of these, missing at one of them", 0, "less", missing),
    Quantity("Memory", "resident, MB, the largest member", 0, "less", largest, headline="Memory of a member"),
    Quantity("", "resident, MB, all members", 0, "less", together),
    Quantity("", "operations that had been committed by then", 0, "", committed),
)


def rows(results: Results) -> list[Row]:
    """In the order of the topics; quantities that nobody has are left out."""
    made = []
    for quantity in QUANTITIES:
        names = [quantity.ours, *[quantity.theirs] * (len(results.systems) - 1)]
        columns = [
            results.values(system.name, quantity.of(name)) for system, name in zip(results.systems, names, strict=True)
        ]
        cells = tuple(spread(column) for column in columns)
        if any(cells):
            against = tuple(spread(ratios(columns[0], column)) for column in columns[1:])
            notes = tuple(
                _loads(results, system, name) if quantity.loads else ""
                for system, name in zip(results.systems, names, strict=True)
            )
            made.append(Row(quantity, cells, against, notes))
    return made


def _loads(results: Results, system: Described, row: str) -> str:
    """Which load a row was: `64 to 256 callers`, `4 callers, batches of 1,000`."""
    turns = [pair.turns[system.name] for pair in results.pairs if system.name in pair.turns]
    loads = [turn.rows[row].load for turn in turns if row in turn.rows]
    if not loads:
        return ""
    least, most = min(load.callers for load in loads), max(load.callers for load in loads)
    callers = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    batch = f", batches of {loads[0].batch:,}" if loads[0].batch > 1 else ""
    return f"{callers} caller{'s' * (most > 1)}{batch}"


# ---- words for numbers


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def cell(one: Spread | None, digits: int) -> str:
    """`6,520 (4,512 to 7,800)`; a dash for nothing."""
    if one is None:
        return "-"
    if one.least == one.most:
        return number(one.median, digits)
    return f"{number(one.median, digits)} ({number(one.least, digits)} to {number(one.most, digits)})"


def significant(value: float) -> str:
    """A ratio in three digits at most."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(one: Spread | None) -> str:
    """`3.75 x (3.10 to 4.20)`."""
    if one is None:
        return "-"
    if one.least == one.most:
        return f"{significant(one.median)} x"
    return f"{significant(one.median)} x ({significant(one.least)} to {significant(one.most)})"


def machine_rows(results: Results) -> list[tuple[str, Spread, int]]:
    """The calibration, a line each."""
    calibrations = [turn.calibration for turn in turns(results)]
    lines: list[tuple[str, Sequence[float | None], int]] = [
        ("Ed25519 verifications a second, one core", [one.verifications_per_s for one in calibrations], 0),
        ("synced writes of 4 kB a second", [one.synced_writes_per_s for one in calibrations], 0),
        ("CPUs that others kept busy meanwhile", others(results), 2),
        ("operations a second that signatures alone allow, each alone", bounds(results), 0),
        ("per cent of that which T2 reached (asked: at least 75)", parts_of_bound(results), 0),
    ]
    return [(text, found, digits) for text, values, digits in lines if (found := spread(values)) is not None]


def turns(results: Results) -> list[Turn]:
    return [turn for pair in results.pairs for turn in pair.turns.values()]


def others(results: Results) -> list[float | None]:
    return [one.others for turn in turns(results) for one in [*turn.curve, *turn.rows.values()]]


def bounds(results: Results) -> list[float | None]:
    """Cores / (n x verify + sign): every member checks every client's signature, and the client makes it."""
    ours = results.systems[0]

    def bound(turn: Turn) -> float | None:
        can = turn.calibration
        each_s = ours.members / can.verifications_per_s + 1 / can.signatures_per_s
        return results.cores / each_s if "T2" in turn.rows else None

    return results.values(ours.name, bound)


def parts_of_bound(results: Results) -> list[float | None]:
    """What of that was reached, in per cent."""
    reached = results.values(results.systems[0].name, pace("T2"))
    return [None if part is None else 100 * part for part in ratios(reached, bounds(results))]


def failures(results: Results) -> int:
    return sum(one.report.failures for turn in turns(results) for one in [*turn.curve, *turn.rows.values()])


def order(results: Results) -> str:
    """Who took turns, and how many."""
    took = [one.name for one in results.systems if any(one.name in pair.turns for pair in results.pairs)]
    return f"{' then '.join(took)}, {len(results.pairs)} x"


def how(results: Results) -> str:
    """What is true of all figures."""
    turns_ = (
        f"In turns: {order(results)}; each turn with an empty cluster. Medians (minima to maxima) of all turns; ratios "
        "are of neighbouring turns. "
        if results.pairs
        else ""
    )
    return (
        f"{results.machine}. {turns_}Windows of {results.seconds:g} s after a warm-up that is left out. Values of 128 "
        "bytes. Members and load share the machine; the CPU is of both together. Resident memory counts pages of the "
        "database's file that are mapped."
    )


# ---- markdown


def markdown(results: Results) -> str:
    ours, *rest = results.systems
    heads = ["", "", *(one.title for one in results.systems), *(f"{ours.name} / {one.name}" for one in rest)]
    table, found = [], rows(results)
    for row in found:
        cells = [
            cell(one, row.quantity.digits) + (f"<br>{note}" if note and one is not None else "")
            for one, note in zip(row.cells, row.notes, strict=True)
        ]
        against = [ratio(one) for one in row.against]
        if row.met is not None:
            against[0] += f"<br>reached: {verdict(row.met)}"
        table.append([row.quantity.topic, row.text, *cells, *against])
    pairs = [[text, cell(one, digits)] for text, one, digits in machine_rows(results)]
    lines = [f"# {results.title}", "", f"{results.began}, `{results.command}`. {how(results)}", ""]
    if found:
        lines += [
            *_grid(heads, table),
            "",
            *(
                f"- {topic}: {text}."
                for topic, text in TOPICS.items()
                if any(row.quantity.topic == topic for row in found)
            ),
            "- Operations that were refused or whose outcome is unknown, in all windows together: "
            f"{failures(results):,}.",
            "",
        ]
    for section in results.sections:
        lines += [f"## {section.topic}: {TOPICS[section.topic]}", "", *_grid(*grid(section)), ""]
        lines += [*(f"- {note}" for note in section.notes), ""]
    if pairs:
        lines += ["## The machine in those minutes", "", *_grid(["", "median (minimum to maximum)"], pairs), ""]
    if found:
        lines += ["## Pair by pair", "", *_grid(*pair_by_pair(results)), ""]
    lines += ["## How each was run", "", *(f"- {one.name}: {one.flags}." for one in results.systems)]
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- compare: from here -->", "<!-- compare: to here -->"
"""Marks in a file that says more than what was measured."""


def written_into(existing: str, text: str) -> str:
    """`text` in the place between the marks of `existing`, a level of headings lower; without marks, `text` alone."""
    before, begin, rest = existing.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return text
    lowered = "".join(f"#{line}" if line.startswith("#") else line for line in text.splitlines(keepends=True))
    return f"{before}{BEGIN}\n\n{lowered}\n{END}{after}"


def pair_by_pair(results: Results) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: what each pair gave, so that anyone sees how far the machine swings."""
    quantities: list[tuple[str, int, Get]] = [
        ("verifications/s", 0, lambda turn: turn.calibration.verifications_per_s),
        ("T1 op/s", 0, pace("T1")),
        ("batches op/s", 0, pace(BATCHED)),
        ("T2 op/s", 0, pace("T2")),
        ("T3 ms", 2, median("T3")),
        ("T4 p99 ms", 1, p99("T4")),
        ("T5 s", 2, outage("")),
    ]
    columns = [
        (f"{one.name} {text}", digits, results.values(one.name, of))
        for text, digits, of in quantities
        for one in results.systems
    ]
    columns = [column for column in columns if any(value is not None for value in column[2])]
    heads = ["pair", *(text for text, _, _ in columns)]
    body = []
    for i in range(len(results.pairs)):
        cells = ["-" if (value := values[i]) is None else number(value, digits) for _, digits, values in columns]
        body.append([str(i + 1), *cells])
    return heads, body


def _grid(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *body]]
