"""The comparison as one page that needs nothing but itself: figures, curves, and how they were got. Pure.

Curves are inline SVG, colours follow the reader's preference for dark or light, and there is no script.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

from comparison.findings import Section, grid
from comparison.plan import TOPICS
from comparison.results import Measured, Results, Spread, spread
from comparison.table import cell, failures, how, machine_rows, number, pair_by_pair, ratio, rows, significant

TEMPLATE = Path(__file__).parent / "page.html"

WIDTH, HEIGHT = 560.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 18.0, 16.0, 46.0
HUES = ("a", "b", "c", "d", "e", "f", "g")
"""Classes of the page's style, a colour each; of more series the colours come again, the labels do not."""
WORDS = {
    "put": "callers' own operations",
    "txn": "transactions of 128",
    "sync": "callers' own operations",
    "coalesced": "callers' own operations",
    "many": "batches of 1,000",
    "alone": "each signed alone",
}
MARK = 4.5
EVEN = (0.95, 1.05)
"""Ratios that are nobody's win: neighbouring turns differ by more."""


class Point(NamedTuple):
    """A load, over all turns."""

    operations_per_s: Spread
    latency_ms: Spread
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart; a single point of an open loop is a ring."""

    label: str
    hue: str
    ours: bool  # round and solid; others are square and dashed
    points: tuple[Point, ...]
    ring: Point | None = None


def page(results: Results) -> str:
    parts = {
        "TITLE": escape(results.title),
        "LEAD": _lead(results),
        "HOW": escape(f"{results.began}. {how(results)}"),
        "STUDIES": "".join(map(_study, results.sections)),
        "TABLE": _table(results),
        "CHARTS": _charts(results),
        "MACHINE": _simple(["", "median (minimum to maximum)"], [[a, cell(b, c)] for a, b, c in machine_rows(results)]),
        "PAIRS": _simple(*pair_by_pair(results)),
        "FAILURES": number(failures(results), 0),
        "SYSTEMS": "".join(f"<dt>{escape(one.title)}</dt><dd>{_code(one.flags)}</dd>" for one in results.systems),
        "COMMAND": escape(results.command),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    if not results.pairs:
        text = re.sub("<!--TURNS-->.*?<!--END-->", "", text, flags=re.DOTALL)
    parts |= {"TURNS": "", "END": ""}
    for name, part in parts.items():
        text = text.replace(f"<!--{name}-->", part)
    return text


def _code(text: str) -> str:
    """`words` in backquotes become code."""
    pieces = text.split("`")
    return "".join(f"<code>{escape(piece)}</code>" if i % 2 else escape(piece) for i, piece in enumerate(pieces))


def _lead(results: Results) -> str:
    """The ratios to the first other that are answers; nothing that is not in the table."""
    if len(results.systems) < 2:
        return ""
    ours, other = results.systems[:2]
    tiles = []
    for row in rows(results):
        against = row.against[0]
        if row.quantity.headline and against is not None:
            better, median = row.quantity.better, against.median
            side = "won" if (median < 1) == (better == "less") else "lost"
            side = "even" if EVEN[0] <= median <= EVEN[1] else side
            about = f"{row.quantity.headline}, {ours.name} / {other.name}: {better} is better"
            tiles.append(f'<li class="{side}"><b>{significant(median)}\u2009x</b><span>{escape(about)}</span></li>')
    return f'<ul class="tiles">{"".join(tiles)}</ul>' if tiles else ""


def _study(section: Section) -> str:
    """A heading, a table whose verdicts have colours, and how it was measured."""
    heads, body = grid(section)
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = []
    for words, line in zip(body, section.lines, strict=True):
        side = "" if line.met is None else ' class="won"' if line.met else ' class="lost"'
        cells = "".join(f"<td>{escape(word)}</td>" for word in words[1:])
        lines.append(f"<tr{side}><th>{escape(words[0])}</th>{cells}</tr>")
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in section.notes)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    title = f"{section.topic}: {TOPICS[section.topic]}"
    return f'<h2>{escape(title)}</h2><div class="wide study">{table}</div>{notes}'


def _table(results: Results) -> str:
    ours, *rest = results.systems
    heads = "".join(f"<th>{escape(one.title)}</th>" for one in results.systems)
    heads += "".join(f"<th>{escape(ours.name)} / {escape(one.name)}</th>" for one in rest)
    lines, span = [], 2 + len(results.systems) + len(rest)
    for row in rows(results):
        if topic := row.quantity.topic:
            about = f"{topic} <span>{escape(TOPICS.get(topic, ''))}</span>"
            lines.append(f'<tr class="topic"><th colspan="{span - 1}">{about}</th></tr>')
        digits = row.quantity.digits
        cells = "".join(_spread_cell(one, digits, note) for one, note in zip(row.cells, row.notes, strict=True))
        # What is asked is asked of the first ratio, so that one has the verdict's colour.
        sides = ["" if row.met is None else " won" if row.met else " lost", *[""] * len(row.against)]
        against = "".join(
            f'<td class="ratio{side}">{_small(ratio(one))}</td>' for one, side in zip(row.against, sides, strict=False)
        )
        lines.append(f"<tr><th>{escape(row.text)}</th>{cells}{against}</tr>")
    return f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _spread_cell(one: Spread | None, digits: int, note: str) -> str:
    if one is None:
        return "<td>-</td>"
    return f"<td>{_small(cell(one, digits))}" + (f"<small>{escape(note)}</small>" if note else "") + "</td>"


def _small(text: str) -> str:
    """The median large, the ends small."""
    middle, bracket, ends = text.partition(" (")
    return f"{escape(middle)}" + (f"<small>{escape(ends.rstrip(')'))}</small>" if bracket else "")


def _simple(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = "".join(
        f"<tr><th>{escape(line[0])}</th>{''.join(f'<td>{escape(word)}</td>' for word in line[1:])}</tr>"
        for line in body
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


# ---- curves


def series(results: Results, latency: Callable[[Measured], float]) -> list[Series]:
    """A line for every way in which a system was loaded."""
    made: list[Series] = []
    for system in results.systems:
        turns = [pair.turns[system.name] for pair in results.pairs if system.name in pair.turns]
        closed: dict[str, dict[int, list[Measured]]] = {}
        for turn in turns:
            for one in turn.curve:
                closed.setdefault(one.load.kind, {}).setdefault(one.load.callers, []).append(one)
        opened = [turn.rows["T4"] for turn in turns if "T4" in turn.rows]
        for kind, points in closed.items():
            line = tuple(
                _point(seen, latency, f"{callers:,} callers" if callers > 1 else "one caller")
                for callers, seen in sorted(points.items())
            )
            mine = [one for one in opened if one.load.kind == kind]
            ring = _point(mine, latency, "open loop") if mine else None
            hue = HUES[len(made) % len(HUES)]
            ours = system is results.systems[0]
            made.append(Series(f"{system.name}, {WORDS.get(kind, kind)}", hue, ours, line, ring))
    return made


def _point(seen: Sequence[Measured], latency: Callable[[Measured], float], what: str) -> Point:
    pace = spread(one.report.operations_per_s for one in seen)
    waiting = spread(latency(one) for one in seen)
    assert pace is not None, "a point is of one measurement at least"
    assert waiting is not None, "as above"
    text = f"{what}: {number(pace.median, 0)} operations a second, {number(waiting.median, 1)} ms"
    return Point(pace, waiting, text)


def _charts(results: Results) -> str:
    charts = []
    for name, latency in (("median", _median_ms), ("99th percentile", _p99_ms)):
        lines = series(results, latency)
        if lines:
            drawn = chart(lines, f"Latency, {name}")
            charts.append(f"<figure><figcaption>Latency, {name}</figcaption>{drawn}</figure>")
            legend = _legend(lines)
    if not charts:
        return "<p>No curves were measured: they come with T1.</p>"
    return f'<ul class="legend">{legend}</ul><div class="charts">{"".join(charts)}</div>'


def _median_ms(one: Measured) -> float:
    return one.report.median_ms


def _p99_ms(one: Measured) -> float:
    return one.report.p99_ms


def _legend(lines: Sequence[Series]) -> str:
    return "".join(f'<li class="{_class(line)}">{_key(line)}{escape(line.label)}</li>' for line in lines)


def _class(line: Series) -> str:
    return line.hue if line.ours else f"{line.hue} other"


def _key(line: Series) -> str:
    return f'<svg viewBox="0 0 34 12" aria-hidden="true"><path class="line" d="M1 6H33"/>{_mark(line, 17, 6, "")}</svg>'


def _mark(line: Series, x: float, y: float, inside: str, size: float = MARK, way: str = "dot") -> str:
    if line.ours:
        return f'<circle class="{way}" cx="{x:.1f}" cy="{y:.1f}" r="{size}">{inside}</circle>'
    place = f'x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}"'
    return f'<rect class="{way}" {place}>{inside}</rect>'


def chart(lines: Sequence[Series], title: str) -> str:
    """Throughput to the right, latency upwards, both logarithmic: a factor is a distance, wherever it is."""
    points = [point for line in lines for point in (*line.points, *((line.ring,) if line.ring else ()))]
    across = _scale([end for point in points for end in point.operations_per_s], LEFT, WIDTH - RIGHT)
    up = _scale([end for point in points for end in point.latency_ms], HEIGHT - BOTTOM, TOP)
    drawn = [f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(title)} by throughput">']
    for value in across.ticks:
        x = across.at(value)
        drawn.append(f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18:.0f}" text-anchor="middle">{_tick(value)}</text>')
    for value in up.ticks:
        y = up.at(value)
        drawn.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        drawn.append(f'<text x="{LEFT - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{_tick(value)}</text>')
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    drawn.append(f'<text x="{middle_x:.0f}" y="{HEIGHT - 8:.0f}" text-anchor="middle">operations a second</text>')
    drawn.append(f'<text transform="translate(14 {middle_y:.0f}) rotate(-90)" text-anchor="middle">ms</text>')
    for line in lines:
        drawn.append(f'<g class="{_class(line)}">')
        places = [(across.at(p.operations_per_s.median), up.at(p.latency_ms.median)) for p in line.points]
        drawn.append(f'<path class="line" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>')
        for point, (x, y) in zip(line.points, places, strict=True):
            (least, most), (low, high) = point.operations_per_s[1:], point.latency_ms[1:]
            ends = f"M{across.at(least):.1f} {y:.1f}H{across.at(most):.1f}M{x:.1f} {up.at(low):.1f}V{up.at(high):.1f}"
            drawn.append(f'<path class="ends" d="{ends}"/>')
            drawn.append(_mark(line, x, y, _hint(line, point)))
        if line.ring is not None:
            x, y = across.at(line.ring.operations_per_s.median), up.at(line.ring.latency_ms.median)
            drawn.append(_mark(line, x, y, _hint(line, line.ring), MARK + 3, "ring"))
        drawn.append("</g>")
    return "".join([*drawn, "</svg>"])


def _hint(line: Series, point: Point) -> str:
    return f"<title>{escape(f'{line.label}, {point.text}')}</title>"


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic axis from `low` at `start` to `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """1, 2 and 5 of each decade."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        all_ = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
        return [value for value in all_ if self.low <= value <= self.high]


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    """With room at both ends; never empty, even if all values are the same."""
    return Scale(min(values) / 1.3, max(values) * 1.3, start, end)


def _tick(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:g}"
