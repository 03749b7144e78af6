"""A metric's interval over time: one bar a look, the margin, and the line of no difference.

Stages are strata and are never pooled: each begins anew, with a line where it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from flytewheel.curves import find_ticks
from flytewheel.evaluation_page.style import words
from flytewheel.experiment.reading.findings import Finding
from flytewheel.experiment.reading.history import History, Look
from flytewheel.experiment.reading.sentence import NAMES, describe_interval, describe_margin, tell_span

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 26, 36
_MOST_BARS = 60

Point = tuple[Look, Finding]


def draw_intervals(history: History, metric: str, role: str = "guardrail") -> str:
    """The picture of one metric with its figures as a table; empty where no look has an interval."""
    points = [
        (look, found)
        for look in history.looks
        for found in look.findings
        if (found.metric, found.role) == (metric, role) and found.low is not None and found.high is not None
    ]
    if not points:
        return ""
    newest = points[-1][1]
    limit = newest.margin or 0.0
    places = _Places(points, limit)
    parts = [*_draw_ground(places, newest, limit), *_draw_axes(places, newest), *_draw_stages(places, points)]
    parts += [
        part for _, group in groupby(points, key=lambda one: one[0].stage) for part in _draw_run(places, [*group])
    ]
    return (
        f'<svg class="time" role="img" aria-label="{words(_tell(points))}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f"{''.join(parts)}</svg>{_draw_table(points)}"
    )


class _Places:
    """Days and differences to pixels."""

    def __init__(self, points: Sequence[Point], limit: float) -> None:
        ends = [end for _, found in points for end in (found.low or 0.0, found.high or 0.0)]
        self.x_ticks = find_ticks(0.0, max(points[-1][0].days, 0.05), most=6)
        self.y_ticks = find_ticks(min(*ends, 0.0, 1.1 * limit), max(*ends, 0.0, 1.1 * limit), most=5)

    def x(self, days: float) -> float:
        """Pixels from the left."""
        return LEFT + days / self.x_ticks[-1] * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _draw_ground(places: _Places, found: Finding, limit: float) -> list[str]:
    """The area beyond the margin, the margin itself, and no difference."""
    edge = places.y(limit)
    bottom = HEIGHT - BOTTOM
    top, high = (TOP, edge - TOP) if found.harm_side > 0 else (edge, bottom - edge)
    right = WIDTH - RIGHT
    return [
        f'<rect class="beyond" x="{LEFT}" y="{top:.1f}" width="{right - LEFT}" height="{max(high, 0):.1f}"/>',
        f'<path class="zero" d="M{LEFT} {places.y(0):.1f}H{right}"/>',
        f'<path class="limit" d="M{LEFT} {edge:.1f}H{right}"/>',
        f'<text x="{LEFT + 6}" y="{TOP - 8}">{"above" if found.harm_side > 0 else "below"} the dashed line: '
        f"worse than allowed</text>",
    ]


def _draw_axes(places: _Places, found: Finding) -> list[str]:
    small = found.control is None or abs(found.control) <= 1
    scale, step = (100, places.y_ticks[1] - places.y_ticks[0]) if small else (1, places.y_ticks[1] - places.y_ticks[0])
    digits = next((digits for digits in range(5) if abs(round(step * scale, digits) - step * scale) < 1e-9), 4)
    parts = []
    for tick in places.y_ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {places.y(tick):.1f}H{WIDTH - RIGHT}"/>')
        shown = f"{tick * scale:+.{digits}f}" if abs(tick) > step * 1e-6 else "0"
        parts.append(f'<text class="end" x="{LEFT - 7}" y="{places.y(tick) + 4:.1f}">{shown.replace("-", "−")}</text>')
    for tick in places.x_ticks:
        parts.append(f'<text class="mid" x="{places.x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}">{tick:g}</text>')
    unit = "points" if small else "difference"
    parts.append(f'<text class="end" x="{LEFT - 7}" y="{TOP - 8}">{unit}</text>')
    parts.append(f'<text class="mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}">days</text>')
    return parts


def _draw_stages(places: _Places, points: Sequence[Point]) -> list[str]:
    parts, before = [], points[0][0].stage
    for look, _ in points:
        if look.stage != before:
            before = look.stage
            left = places.x(look.days - (look.stage_hours or 0.0) / 24)
            parts.append(f'<path class="stage" d="M{left:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
            share = "" if look.share is None else f"{look.share:.0%}"
            parts.append(f'<text x="{left + 3:.1f}" y="{TOP + 11}">{share}</text>')
    return parts


def _draw_run(places: _Places, run: Sequence[Point]) -> list[str]:
    """The looks of one stage: a band through all, a bar each where there are few."""
    at = [
        (places.x(look.days), *(places.y(end or 0.0) for end in (found.low, found.high, found.difference)))
        for look, found in run
    ]
    parts = []
    if len(at) > 1:
        lower = " ".join(f"{x:.1f},{low:.1f}" for x, low, _, _ in at)
        upper = " ".join(f"{x:.1f},{high:.1f}" for x, _, high, _ in reversed(at))
        middle = " ".join(f"{x:.1f},{mid:.1f}" for x, _, _, mid in at)
        parts += [f'<polygon class="band" points="{lower} {upper}"/>', f'<polyline class="way" points="{middle}"/>']
    if len(at) <= _MOST_BARS:
        parts += [f'<path class="bar" d="M{x:.1f} {low:.1f}V{high:.1f}"/>' for x, low, high, _ in at]
        parts += [f'<circle class="dot" cx="{x:.1f}" cy="{mid:.1f}" r="3.5"/>' for x, _, _, mid in at]
    return parts


def _tell(points: Sequence[Point]) -> str:
    look, found = points[-1]
    name = NAMES.get(found.metric, found.metric.replace("_", " "))
    return (
        f"{name}: {len(points)} looks; at the newest, after {tell_span(look.days)}, the treatment is "
        f"{describe_interval(found)} the control; allowed: {describe_margin(found)} {found.worse}"
    )


def _draw_table(points: Sequence[Point]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{look.at:%Y-%m-%d %H:%M}</th><td>{look.stage}</td>'
        f"<td>{words(describe_interval(found).removesuffix(' than'))}</td><td>{words(found.outcome)}</td></tr>"
        for look, found in list(reversed(points))[:_MOST_BARS]
    )
    head = "".join(f'<th scope="col">{text}</th>' for text in ("At (UTC)", "Stage", "Interval", "Outcome"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<details><summary>Figures</summary>{table}</details>"
