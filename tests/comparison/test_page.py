"""The page: it needs nothing but itself, says what the table says, and draws what was measured."""

import re
from html.parser import HTMLParser

from comparison.page import Point, Scale, Series, chart, page, series
from comparison.results import Spread
from comparison.table import cell, rows
from tests.comparison.made import ETCD_OF_4, results, theirs

VOID = {"meta", "link", "br"}


class Reader(HTMLParser):
    """Every element with its attributes; that each is closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_else() -> None:
    """No script, no address of anything, and a policy that would refuse them."""
    text = page(results())
    reader = read(text)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in reader.seen}
    assert not re.search(r"https?://|url\(|@import", text)
    assert not any({"src", "href"} & set(attributes) for _, attributes in reader.seen)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_leaves_no_place_empty_and_no_word_unescaped() -> None:
    """Every part of the template is filled; what comes from outside is text."""
    made = results()
    made.machine = "<b>2 cores</b> & more"
    text = page(made)
    assert "<!--" not in text
    assert "&lt;b&gt;2 cores&lt;/b&gt; &amp; more" in text
    assert "<code>bftnode run --home &lt;HOME&gt;</code>" in text


def test_the_page_has_the_figures_of_the_table() -> None:
    """Each median and each ratio."""
    words = " ".join(read(page(results())).words)
    for row in rows(results()):
        for one in row.cells:
            if one is not None:
                assert cell(Spread(one.median, one.median, one.median), row.quantity.digits) in words


def test_the_answers_say_who_is_better() -> None:
    """Four times the pace is won, five times the waiting is lost."""
    tiles = re.findall(r'<li class="(won|lost)"><b>([\d.]+)\u2009x</b><span>(.*?),', page(results()))
    assert ("won", "8.00", "Saturated by callers") in tiles
    assert ("lost", "5.00", "What one caller waits") in tiles
    assert ("won", "0.67", "Silence after a kill of the leader") in tiles


def test_the_verdict_colours_the_ratio_that_it_is_of() -> None:
    """The first other's, however many columns there are: eight times is not ten, and sixteen of a second is none's."""
    made = results()
    made.systems.append(ETCD_OF_4)
    for pair in made.pairs:
        pair.turns[ETCD_OF_4.name] = theirs(0.5, ETCD_OF_4.name)
    line = re.search(r"callers&#x27; own.*?</tr>", page(made))
    assert line is not None
    assert re.findall(r'class="(ratio[^"]*)">([\d.]+)', line[0]) == [("ratio lost", "8.00"), ("ratio", "12.0")]


def test_a_line_for_every_way_and_a_mark_for_every_point() -> None:
    """Medians over the pairs; the open loop is drawn once, with the line it belongs to."""
    lines = series(results(), lambda one: one.report.median_ms)
    assert [line.label for line in lines] == [
        "bftnode, callers' own operations",
        "bftnode, batches of 1,000",
        "etcd, callers' own operations",
        "etcd, transactions of 128",
    ]
    assert lines[0].points[0].operations_per_s == Spread(7500, 5000, 10000)
    assert [line.ring is not None for line in lines] == [True, False, True, False]
    drawn = read(chart(lines, "Latency"))
    marks = [tag for tag, attributes in drawn.seen if attributes.get("class") in {"dot", "ring"}]
    assert (marks.count("circle"), marks.count("rect")) == (4, 4)


def test_a_chart_keeps_everything_inside() -> None:
    """Whatever the figures, even if all are the same."""
    one = Point(Spread(1000, 1000, 1000), Spread(5, 5, 5), "one")
    wide = Point(Spread(1, 0.01, 1e6), Spread(2, 0.001, 1e5), "wide")
    for points in ((one,), (one, wide)):
        drawn = chart([Series("a", "a", True, points)], "Latency")
        places = [float(number) for number in re.findall(r'c[xy]="([-\d.]+)"', drawn)]
        assert places
        assert all(0 < place < 560 for place in places)


def test_ticks_are_one_two_and_five() -> None:
    """And only those on the axis."""
    assert Scale(0.7, 130, 0, 1).ticks == [1, 2, 5, 10, 20, 50, 100]
    assert Scale(1, 100, 0, 200).at(10) == 100


def test_without_curves_the_page_says_so() -> None:
    """`--only T3` measures none."""
    made = results()
    for pair in made.pairs:
        for turn in pair.turns.values():
            turn.curve = []
    assert "No curves were measured" in page(made)
