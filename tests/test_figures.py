from __future__ import annotations

import re
from xml.etree import ElementTree

from flytewheel import decks, figures
from flytewheel.figures import describe_interval
from flytewheel.records import Interval


def test_an_interval_in_words() -> None:
    assert describe_interval(Interval(0.8125, 0.77, 0.851)) == "0.812 [0.770, 0.851]"
    assert describe_interval(Interval(0.5, None, None), digits=1) == "0.5"
    assert describe_interval(Interval(None, None, None)) == "cannot tell"


def test_texts_of_users_cannot_write_html() -> None:
    wicked = "<script>alert(1)</script>"
    page = figures.page(
        wicked,
        figures.section(wicked, figures.paragraph(wicked)),
        figures.table((wicked,), [(wicked,)]),
        figures.counts({wicked: 1}, wicked),
        figures.bar_chart(wicked, [("a", 1)]),
    )
    assert "<script" not in page
    for place in ("h1", "h2", "p", "th", "td", "text"):
        assert f"&lt;/script&gt;</{place}>" in page, place


def test_numbers_are_aligned_and_counts_sorted() -> None:
    assert '<td class="n">1,200</td>' in figures.table(("rows",), [(1200,)])
    assert "<td>True</td>" in figures.table(("on",), [(True,)])
    found = figures.counts({"few": 1, "many": 9})
    assert found.index("many") < found.index("few")


def test_bars_are_as_long_as_their_numbers() -> None:
    """The largest takes 560 - 190 - 2·36 = 298 points, a third of it 99.3."""
    chart = figures.bar_chart("Rows", [("came in", 1200), ("kept", 400), ("none", 0)])
    assert [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', chart)] == [298.0, 99.3, 0.0]
    assert "<desc>came in: 1,200; kept: 400; none: 0</desc>" in chart
    assert figures.bar_chart("Rows", []) == figures.paired_bar_chart("Rows", []) == ""
    assert "nan" not in figures.bar_chart("Rows", [("none", 0)])


def test_pairs_and_columns_show_before_and_after() -> None:
    """Columns: 180 - 36 - 22 = 122 points for the most, 4; 61 for 2."""
    pairs = figures.paired_bar_chart("Topics", [("disk", 6, 3)])
    assert "<desc>disk: 6 before, 3 after</desc>" in pairs
    columns = figures.column_chart("Scores", ["low", "mid", "high"], [4, 0, 2], [0, 0, 2])
    heights = re.findall(r'<rect class="fw-(.)" [^>]*height="([\d.]+)"', columns)[2:]  # after the legend
    assert heights == [("b", "122.0"), ("a", "0.0"), ("b", "0.0"), ("a", "0.0"), ("b", "61.0"), ("a", "61.0")]
    assert "<desc>low: 4 before, 0 after; high: 2 before, 2 after</desc>" in columns
    assert figures.column_chart("Scores", ["low"], [0], [0]) == ""


def test_pictures_are_well_formed_whatever_people_call_things() -> None:
    wicked = '<script>"&\x00\ud800\ufffe' + "long " * 30
    for chart in (
        figures.bar_chart(wicked, [(wicked, 1)]),
        figures.paired_bar_chart(wicked, [(wicked, 1, 2)]),
        figures.column_chart(wicked, [wicked], [1], [2]),
    ):
        root = ElementTree.fromstring(chart.encode())
        assert root.get("role") == "img"
        assert not root.findall(".//{*}script")


def test_an_unknown_stations_deck_is_a_table_of_facts() -> None:
    deck = decks.describe("elsewhere", {"seconds": 1.5, "nested": {"a": [1]}, "long": "x" * 900})
    assert "<td>nested</td><td>{&quot;a&quot;: [1]}</td>" in deck
    assert "<td>1.5</td>" in deck
