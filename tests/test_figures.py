from __future__ import annotations

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
        figures.line_chart([(0, 1)], x=wicked, y=wicked),
    )
    assert "<script" not in page
    for place in ("h1", "h2", "p", "th", "td", "text"):
        assert f"&lt;/script&gt;</{place}>" in page or f"&lt;/script&gt; 0 – 0</{place}>" in page, place


def test_a_curve_goes_from_its_first_to_its_last_value() -> None:
    """Range 0..10 on the 560 - 2·36 points wide field, 2..1 on the 180 - 2·36 high one; y grows downwards."""
    chart = figures.line_chart([(0, 2.0), (10, 1.0)], x="step", y="loss")
    assert 'points="36.0,36.0 524.0,144.0"' in chart
    assert "loss over step: 2 to 1" in chart
    assert figures.line_chart([], x="step", y="loss") == ""
    assert "36.0,144.0" in figures.line_chart([(5, 3.0)], x="step", y="loss")  # one point: no division by zero


def test_numbers_are_aligned_and_counts_sorted() -> None:
    assert '<td class="n">1,200</td>' in figures.table(("rows",), [(1200,)])
    assert "<td>True</td>" in figures.table(("on",), [(True,)])
    found = figures.counts({"few": 1, "many": 9})
    assert found.index("many") < found.index("few")


def test_an_unknown_stations_deck_is_a_table_of_facts() -> None:
    deck = decks.describe("elsewhere", {"seconds": 1.5, "nested": {"a": [1]}, "long": "x" * 900})
    assert "<td>nested</td><td>{&quot;a&quot;: [1]}</td>" in deck
    assert "<td>1.5</td>" in deck
