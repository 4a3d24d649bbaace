"""What studies found: in the table and on the page, beside the turns or without them."""

from comparison.findings import Line, Section, failed, grid
from comparison.page import page
from comparison.table import markdown
from tests.comparison.made import BFTNODE, results
from tests.comparison.test_page import read

MEMORY = Section(
    "T7",
    ("", "figure", "asked"),
    (
        Line(("resident", "90 MB", "<= 150 MB"), True),
        Line(("grown", "9 MB <b>", "flat"), False),
        Line(("more", "1", "")),
    ),
    ("how it was measured.",),
)


def test_what_is_asked_has_a_verdict() -> None:
    """And where nothing is asked there is no column for it."""
    heads, rows = grid(MEMORY)
    assert heads == ["", "figure", "asked", "reached"]
    assert [row[-1] for row in rows] == ["yes", "NO", ""]
    assert grid(Section("T9", ("", "n = 4"), (Line(("a", "1")),)))[0] == ["", "n = 4"]


def test_a_study_is_in_the_table_and_on_the_page() -> None:
    """With its heading, its verdicts and its notes; what comes from outside is text."""
    made = results()
    made.sections.append(MEMORY)
    assert "| grown | 9 MB <b> | flat | NO |" in markdown(made)
    text = page(made)
    words = read(text).words
    assert {"resident", "90 MB", "yes", "NO", "how it was measured."} <= set(words)
    assert '<tr class="lost"><th>grown</th><td>9 MB &lt;b&gt;</td>' in text


def test_a_study_without_turns() -> None:
    """No empty tables, nothing about a second system."""
    made = results()
    made.systems, made.pairs, made.sections = [BFTNODE], [], [MEMORY]
    told, drawn = markdown(made), page(made)
    assert told.startswith("# bftnode by itself\n")
    assert "Pair by pair" not in told
    assert "In turns" not in told + drawn
    assert "Throughput and latency" not in drawn
    assert "<!--" not in drawn
    assert "90 MB" in read(drawn).words


def test_a_study_that_could_not_be_made_says_why() -> None:
    """And is no measurement."""
    section = failed("T8", "the disk is full")
    assert not section.measured
    assert grid(section)[1] == [["", "the disk is full"]]
