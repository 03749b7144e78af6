from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.curves import Chart, describe_chart, draw_chart, draw_sheet, draw_swatch, find_ticks, thin

NAN, INF = math.nan, math.inf


def test_a_line_goes_from_corner_to_corner_of_its_axes() -> None:
    """Steps 0..100 and losses 0..2 are round: the field is 66..542 wide (560 - 18) and 188..32 high (230 - 42)."""
    drawn = draw_chart(Chart("loss", "step", (((0, 2), (100, 0)),)), ["a"])
    assert 'points="66.0,32.0 542.0,188.0"' in drawn
    root = ElementTree.fromstring(drawn)
    words = [each.text for each in root.findall(".//{*}text")]
    assert words == ["loss", "0", "0.5", "1.0", "1.5", "2.0", "0", "20", "40", "60", "80", "100", "step"]


def test_runs_of_different_lengths_share_the_axes() -> None:
    short, long = ((0, 1), (50, 1)), ((0, 0), (100, 2))
    drawn = draw_chart(Chart("loss", "step", (short, (), long)), ["a", "b", "c"])
    assert re.findall(r'class="fw-l fw-l(\d)" points="([^"]*)"', drawn) == [
        ("0", "66.0,110.0 304.0,110.0"),
        ("2", "66.0,188.0 542.0,32.0"),
    ]
    assert "b: no curve" in drawn


def test_what_is_not_finite_is_a_gap_and_is_said() -> None:
    line = ((0, 2), (20, 1), (40, NAN), (60, INF), (80, 1), (100, 0), (120, 1e305))
    chart = Chart("loss", "step", (line,))
    drawn = draw_chart(chart, ["a"])
    assert len(re.findall("<polyline", drawn)) == 2
    assert "nan" not in drawn.lower()
    assert describe_chart(chart, ["a"]) == "loss: a from 2 to 0 over step 0 to 100, 3 not finite"
    assert "nothing finite to draw" in draw_chart(Chart("loss", "step", (((0, NAN),),)), ["a"])


def test_few_points_are_dots_and_one_point_needs_no_span() -> None:
    drawn = draw_chart(Chart("loss", "step", (((7, 0.5),),)), ["a"])
    assert drawn.count("<circle") == 1
    assert "<polyline" not in drawn
    assert 'cx="304.0" cy="110.0"' in drawn  # in the middle
    flat = draw_chart(Chart("loss", "step", (tuple((step, -3.0) for step in range(20)),)), ["a"])
    assert "<circle" not in flat


def test_panels_of_one_station_share_their_steps() -> None:
    """100 of 0..200 is in the middle of the field, 66 + 476 / 2."""
    assert 'cx="304.0"' in draw_chart(Chart("loss", "step", (((100, 0.5),),), (1, 200)), ["a"])


def test_thinning_keeps_the_ends_and_every_spike() -> None:
    points = [(float(step), 1.0) for step in range(5000)]
    points[0], points[1234], points[4321], points[-1] = (0, 7.0), (1234, 99.0), (4321, -5.0), (4999, 3.0)
    kept = thin(points, 100)
    assert len(kept) <= 100
    assert {points[0], points[1234], points[4321], points[-1]} <= set(kept)
    assert kept == sorted(kept)
    assert thin(points[:100], 100) == points[:100]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (5, 120, [0, 25, 50, 75, 100, 125]), (0.0, 0.0, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert find_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(-1e12, 1e12), st.floats(0, 1e12), st.booleans())
def test_ticks_hold_every_value_and_are_few(low: float, span: float, whole: bool) -> None:
    ticks = find_ticks(low, low + span, whole=whole)
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] - slack <= low
    assert low + span <= ticks[-1] + slack
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))
    assert not whole or all(tick == int(tick) for tick in ticks)


def test_a_sheet_has_a_legend_and_a_column_a_station() -> None:
    wicked = '<script>alert("&")</script>\x00' + "long " * 60
    charts = [Chart("loss", "step", (((0, 1), (9, 2)), ((0, 3),)))]
    sheet = draw_sheet(wicked, [charts, charts * 2], ["first", wicked])
    root = ElementTree.fromstring(sheet.encode())
    assert not root.findall(".//{*}script")
    assert root.get("viewBox") == f"0 0 {2 * 560} {34 + 2 * 20 + 2 * 230}"
    assert len(root.findall("{*}g")) == 3
    assert "first" in [each.text for each in root.findall("{*}text")]
    assert ElementTree.fromstring(draw_sheet("none", [], ["a"])).get("width") == "560"
    assert 'class="fw-l fw-l5"' in draw_swatch(5)
