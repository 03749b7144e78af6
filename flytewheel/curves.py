"""Curves of several runs in one picture, as SVG that needs no script and no library: axes with numbers, gaps where a
value is not finite, one colour and one dash a run, so that they are told apart in print too.

Ticks follow Heckbert, "Nice numbers for graph labels" (Graphics Gems, 1990). A line of thousands of points is thinned
to the lowest and highest of each stretch: a spike stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from flytewheel.figures import clean

Point = tuple[float, float]

WIDTH, HEIGHT = 560, 230  # pixels of one panel
LEFT, RIGHT, TOP, BOTTOM = 66, 18, 32, 42
LEGEND_ROW = 20
MOST_POINTS = 240
_FEW = 12  # points that are drawn one by one as well
_CHARACTER = 6.4  # pixels, about
_LARGEST, _SMALLEST = 1e300, 1e-300  # beyond it a span would overflow: drawn as not finite; below it, it is none
# After Okabe and Ito (2008), told apart by the colour-blind: darkened for white paper, lightened for a dark page.
LIGHT = ("#0072b2", "#d55e00", "#00805c", "#a8418c", "#a67300", "#555555")
_DARK = ("#56b4e9", "#ff9152", "#2ec9a0", "#e48fc9", "#e6b84a", "#bbbbbb")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2")
_STYLE = (
    "<style>.fw-t{fill:#222;font:12px system-ui,sans-serif}.fw-h{font-weight:600}.fw-n{text-anchor:end}"
    ".fw-m{text-anchor:middle}.fw-g{stroke:#e2e2e2}.fw-x{stroke:#888}.fw-p{fill:#fff}"
    ".fw-l{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    + "".join(f".fw-l{n}{{stroke:{c}}}.fw-d{n}{{fill:{c}}}" for n, c in enumerate(LIGHT))
    + "".join(f".fw-l{n}{{stroke-dasharray:{dash}}}" for n, dash in enumerate(DASHES) if dash)
    + "@media screen and (prefers-color-scheme:dark){.fw-t{fill:#ddd}.fw-g{stroke:#333}.fw-x{stroke:#999}"
    ".fw-p{fill:#181818}" + "".join(f".fw-l{n}{{stroke:{c}}}.fw-d{n}{{fill:{c}}}" for n, c in enumerate(_DARK)) + "}"
    "</style>"
)


@dataclass(frozen=True, slots=True)
class Chart:
    """One panel: `lines` holds the points `(x, y)` of each run by rising x, none where a run has no such curve. `span`
    is the least that the x axis covers, so that panels above one another share it.
    """

    title: str
    x: str
    lines: tuple[tuple[Point, ...], ...]
    span: tuple[float, ...] = ()


def draw_chart(chart: Chart, names: Sequence[str]) -> str:
    """One panel as a picture of its own, without a legend. `names` are the runs', one a line."""
    return _svg(chart.title, describe_chart(chart, names), WIDTH, HEIGHT, _panel(chart))


def draw_sheet(title: str, columns: Sequence[Sequence[Chart]], names: Sequence[str]) -> str:
    """All panels as one picture: the legend, then a column of panels for each station. `names` are the legend's."""
    width = WIDTH * max(len(columns), 1)
    top = 34 + LEGEND_ROW * len(names)
    parts, room = [_words(16, 20, title, " fw-h")], int((width - 70) / _CHARACTER)
    for number, name in enumerate(names):
        short = name if len(name) <= room else f"{name[: room - 1]}…"
        parts += [*_swatch(number, 16, 36 + LEGEND_ROW * number), _words(58, 40 + LEGEND_ROW * number, short)]
    for column, charts in enumerate(columns):
        for row, chart in enumerate(charts):
            place = f"translate({column * WIDTH} {top + row * HEIGHT})"
            parts.append(f'<g transform="{place}">{"".join(_panel(chart))}</g>')
    told = "; ".join([*names, *(describe_chart(chart, names) for charts in columns for chart in charts)])
    return _svg(title, told, width, top + HEIGHT * max((len(charts) for charts in columns), default=0), parts)


def draw_swatch(number: int) -> str:
    """The stroke of run `number` (from 0), for a legend in HTML; it says nothing by itself."""
    return f'<svg aria-hidden="true" viewBox="0 0 36 12" width="36" height="12">{"".join(_swatch(number, 0, 6))}</svg>'


def describe_chart(chart: Chart, names: Sequence[str]) -> str:
    """The panel in words, for who cannot see it."""
    told = []
    for name, line in zip(names, chart.lines, strict=True):
        drawn = [point for point in line if _is_finite(point)]
        if drawn:
            broken = f", {len(line) - len(drawn):,} not finite" if len(drawn) < len(line) else ""
            told.append(
                f"{name} from {drawn[0][1]:.4g} to {drawn[-1][1]:.4g} over {chart.x} {drawn[0][0]:g} to "
                f"{drawn[-1][0]:g}{broken}"
            )
        else:
            told.append(f"{name}: {'nothing finite' if line else 'no curve'}")
    return f"{chart.title}: {'; '.join(told)}"


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` of finite points by rising x: the ends, and the lowest and highest y of each stretch between."""
    if len(points) <= most:
        return list(points)
    inner, stretches = points[1:-1], max((most - 2) // 2, 1)
    kept = [points[0]]
    for number in range(stretches):
        stretch = inner[number * len(inner) // stretches : (number + 1) * len(inner) // stretches]
        if stretch:
            ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
            kept += sorted(ends)
    return [*kept, points[-1]]


def find_ticks(low: float, high: float, *, most: int = 6, whole: bool = False) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, evenly apart: 4 to `most` or so.

    Args:
        low: finite.
        high: finite, at least `low`.
        most: about how many.
        whole: whole numbers only, as steps are.
    """
    largest = max(abs(low), abs(high))
    if high - low <= max(largest * 1e-9, _SMALLEST):  # flat, or nearly: ticks would fall on one another
        pad = max(largest * 0.1, 1.0 if whole or largest < _SMALLEST else 0.0)
        low, high = low - pad, high + pad
    step = _round_up((high - low) / (most - 1))
    if whole:
        step = max(math.ceil(step), 1)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= value * (1 - 1e-9))


def _panel(chart: Chart) -> list[str]:
    drawn = [point for line in chart.lines for point in line if _is_finite(point)]
    parts = [_words(LEFT, 18, chart.title, " fw-h")]
    if not drawn:
        return [*parts, _words(LEFT, HEIGHT / 2, "nothing finite to draw")]
    covered = [x for x, _ in drawn] + [x for x in chart.span if _is_finite((x, 0))]
    xs = find_ticks(min(covered), max(covered), whole=True)
    ys = find_ticks(min(y for _, y in drawn), max(y for _, y in drawn), most=5)

    def place(point: Point) -> Point:
        left = LEFT + (point[0] - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - RIGHT)
        top = HEIGHT - BOTTOM - (point[1] - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - TOP - BOTTOM)
        return left, top

    for tick in ys:
        top = place((xs[0], tick))[1]
        parts.append(f'<path class="fw-g" d="M{LEFT} {top:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_words(LEFT - 8, top + 4, _number(tick, ys[1] - ys[0]), " fw-n"))
    parts.append(f'<path class="fw-x" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    for tick in xs:
        parts.append(_words(place((tick, 0))[0], HEIGHT - BOTTOM + 16, _number(tick, xs[1] - xs[0]), " fw-m"))
    parts.append(_words((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, chart.x, " fw-m"))
    for number, line in enumerate(chart.lines):
        parts += _line(number, line, place)
    return parts


def _line(number: int, line: Sequence[Point], place: Callable[[Point], Point]) -> list[str]:
    parts = []
    for finite, group in groupby(line, key=_is_finite):
        points = [place(point) for point in thin(list(group))] if finite else []
        if len(points) > 1:
            path = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
            parts.append(f'<polyline class="fw-l fw-l{number}" points="{path}"/>')
        if 0 < len(points) <= _FEW:
            parts += [f'<circle class="fw-d{number}" cx="{left:.1f}" cy="{top:.1f}" r="3"/>' for left, top in points]
    return parts


def _number(value: float, step: float) -> str:
    """A tick with as many decimals as its neighbours need."""
    if abs(value) < step * 1e-6:
        return "0"
    if abs(value) >= 1e6 or step < 1e-5:
        return f"{value:.3g}"
    decimals = next((digits for digits in range(7) if abs(round(step, digits) - step) < step * 1e-6), 6)
    return f"{value:,.{decimals}f}"


def _is_finite(point: Point) -> bool:
    return all(math.isfinite(value) and abs(value) < _LARGEST for value in point)


def _swatch(number: int, left: float, top: float) -> list[str]:
    return [
        f'<path class="fw-l fw-l{number}" d="M{left} {top}H{left + 34}"/>',
        f'<circle class="fw-d{number}" cx="{left + 17}" cy="{top}" r="3"/>',
    ]


def _svg(title: str, told: str, width: float, height: float, parts: Sequence[str]) -> str:
    name, words = escape(clean(title)), escape(clean(told))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{name}" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">'
        f"<title>{name}</title><desc>{words}</desc>{_STYLE}"
        f'<rect class="fw-p" width="{width:g}" height="{height:g}"/>{"".join(parts)}</svg>\n'
    )


def _words(left: float, top: float, text: str, side: str = "") -> str:
    return f'<text class="fw-t{side}" x="{left:.1f}" y="{top:.1f}">{escape(clean(text))}</text>'
