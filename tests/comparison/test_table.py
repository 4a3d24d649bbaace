"""The table: medians, ends, ratios of neighbours, and nothing that was not measured."""

from comparison.results import Spread, Turn, ratios, spread
from comparison.table import (
    BEGIN,
    END,
    bounds,
    cell,
    markdown,
    pair_by_pair,
    parts_of_bound,
    ratio,
    rows,
    written_into,
)
from tests.comparison.made import ETCD_OF_4, calibration, results, theirs


def line_of(text: str, words: str) -> str:
    return next(line for line in text.splitlines() if words in line)


def test_a_spread_is_of_what_is_known() -> None:
    """Gaps are left out; of nothing there is nothing."""
    assert spread([3.0, None, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([None, None]) is None


def test_ratios_are_of_neighbours() -> None:
    """A pair where one of them is missing, or nothing, has none."""
    assert ratios([2.0, 3.0, None, 4.0], [1.0, 2.0, 1.0, 0.0]) == [2.0, 1.5, None, None]


def test_a_machine_that_swings_does_not_swing_the_ratio() -> None:
    """Both were half as fast in the second pair: the figures have ends, the ratio is exact."""
    line = line_of(markdown(results()), "callers' own")
    assert "30,000 (20,000 to 40,000)<br>1,024 callers" in line
    assert "3,750 (2,500 to 5,000)<br>512 callers" in line
    assert line.endswith("| 8.00 x<br>reached: NO |")


def test_each_alone_is_compared_with_the_puts_of_its_own_neighbour() -> None:
    """Both saturated; and beside it how much of what signatures allow was reached."""
    alone = next(row for row in rows(results()) if row.quantity.topic == "T2")
    assert alone.against == (Spread(1.25, 1.25, 1.25),)
    assert alone.notes == ("64 callers", "64 callers")


def test_the_bound_of_signatures() -> None:
    """Two cores, four verifications of 50 us and a signature of 20 us: 220 us an operation, 9,091 a second."""
    bound = bounds(results())[0]
    assert bound is not None
    assert round(bound) == 9091
    assert [part and round(part) for part in parts_of_bound(results())] == [55, 55]


def test_every_topic_is_there_once_and_in_order() -> None:
    """The table has a line for each, and the legend says what it is."""
    text = markdown(results())
    topics = [row.quantity.topic for row in rows(results()) if row.quantity.topic]
    assert topics == ["T1", "T2", "T3", "T4", "T5", "Memory"]
    assert all(f"- {topic}: " in text for topic in topics[:-1])


def test_what_was_not_measured_is_not_there() -> None:
    """With T3 alone there are lines of T3 alone, and no bound."""
    made = results()
    for pair in made.pairs:
        for turn in pair.turns.values():
            turn.curve, turn.rows = [], {"T3": turn.rows["T3"]}
            turn.outage, turn.resident_mb = None, {}
    assert {row.quantity.ours for row in rows(made)} == {"T3"}
    assert "signatures alone" not in markdown(made)
    heads, body = pair_by_pair(made)
    assert heads == ["pair", "bftnode verifications/s", "etcd verifications/s", "bftnode T3 ms", "etcd T3 ms"]
    assert body[0] == ["1", "20,000", "20,000", "5.00", "1.00"]


def test_a_second_other_has_columns_of_its_own() -> None:
    """Figures and a ratio for each; where its turn is missing, a dash."""
    made = results()
    made.systems.append(ETCD_OF_4)
    made.pairs[0].turns[ETCD_OF_4.name] = theirs(0.5, ETCD_OF_4.name)
    made.pairs[1].turns[ETCD_OF_4.name] = Turn(ETCD_OF_4.name, calibration(1.0))
    text = markdown(made)
    assert line_of(text, "callers' own").endswith("| 8.00 x<br>reached: NO | 16.0 x |")
    assert "bftnode / etcd of 4" in text
    assert {len(line.split(" | ")) for line in text.splitlines() if line.startswith("| ")} <= {2, 7, 22}


def test_words_for_numbers() -> None:
    """Ends where they differ; ratios in three digits."""
    assert cell(None, 0) == ratio(None) == "-"
    assert cell(Spread(1234.5, 1234.5, 1234.5), 1) == "1,234.5"
    assert cell(Spread(2.0, 1.0, 3.0), 2) == "2.00 (1.00 to 3.00)"
    assert ratio(Spread(3.456, 12.34, 123.4)) == "3.46 x (12.3 to 123)"


def test_what_is_asked_of_a_ratio_is_said_with_its_verdict() -> None:
    """Eight times is not ten; sixteen is; a wait of five times is more than twice."""
    text = markdown(results())
    assert line_of(text, "callers' own (more is better, asked: at least 10 x)").endswith("8.00 x<br>reached: NO |")
    assert line_of(text, "single operations").endswith("16.0 x<br>reached: yes |")
    assert line_of(text, "(less is better, asked: at most 2 x)").endswith("5.00 x<br>reached: NO |")
    met = {row.quantity.topic: row.met for row in rows(results()) if row.quantity.topic}
    assert met == {"T1": False, "T2": True, "T3": False, "T4": None, "T5": False, "Memory": None}


def test_what_is_written_takes_the_place_of_what_was_and_of_nothing_else() -> None:
    """Between the marks, below the file's own heading; a file without marks, or with one, is the table's alone."""
    page = f"# Benchmarks\n\nby hand\n\n{BEGIN}\nold\n{END}\n\n## More\n"
    new = written_into(page, "# A beside B\n\nfigures\n")
    assert new == f"# Benchmarks\n\nby hand\n\n{BEGIN}\n\n## A beside B\n\nfigures\n\n{END}\n\n## More\n"
    assert written_into(new, "# A beside B\n\nfigures\n") == new
    assert written_into("", "# A\n") == written_into(f"{BEGIN} old", "# A\n") == "# A\n"
