"""Small pictures for decks and pages: tables, line charts and interval plots as plain HTML and SVG, without any script.

A Flyte deck with inline plotly weighs 4.8 MB; these weigh a few kilobytes and need no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from flytewheel.records import Interval

WIDTH, HEIGHT, PAD = 560, 180, 36
STYLE = (
    "<style>body{font:14px system-ui,sans-serif;margin:1.5rem;max-width:60rem;color:#222;background:#fff}"
    "table{border-collapse:collapse;margin:.6rem 0}"
    "td,th{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}h2{font-size:1.1rem;margin-top:1.4rem}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}}</style>"
)


def page(title: str, *parts: str) -> str:
    """A deck: a title and its parts."""
    return f"{STYLE}<h1>{escape(title)}</h1>{''.join(parts)}"


def section(title: str, *parts: str) -> str:
    """A titled part of a deck."""
    return f"<h2>{escape(title)}</h2>{''.join(parts)}"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; numbers are aligned to the right."""

    def cell(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"<td>{escape(str(value))}</td>"
        return f'<td class="n">{value:,}</td>' if isinstance(value, int) else f'<td class="n">{value:,.4g}</td>'

    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{body}</table>"


def counts(values: Mapping[str, int], name: str = "reason") -> str:
    """Counts, largest first."""
    largest_first = sorted(values, key=lambda key: -values[key])
    return table((name, "rows"), [(key, values[key]) for key in largest_first])


def line_chart(points: Sequence[tuple[float, float]], *, x: str, y: str) -> str:
    """One curve with its first and last value written out; an empty text without points."""
    if not points:
        return ""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    span_x, span_y = (max(xs) - min(xs)) or 1.0, (max(ys) - min(ys)) or 1.0

    def place(point: tuple[float, float]) -> str:
        left = PAD + (point[0] - min(xs)) / span_x * (WIDTH - 2 * PAD)
        top = HEIGHT - PAD - (point[1] - min(ys)) / span_y * (HEIGHT - 2 * PAD)
        return f"{left:.1f},{top:.1f}"

    path = " ".join(place(point) for point in points)
    label = f"{y} over {x}: {ys[0]:.4g} to {ys[-1]:.4g}"
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}">'
        f'<polyline fill="none" stroke="#2a6fdb" stroke-width="2" points="{path}"/>'
        f'<text x="{PAD}" y="16" font-size="12" fill="currentColor">{escape(label)}</text>'
        f'<text x="{PAD}" y="{HEIGHT - 8}" font-size="11" fill="currentColor">'
        f"{escape(x)} {min(xs):g} – {max(xs):g}</text></svg>"
    )


def describe_interval(interval: Interval, digits: int = 3) -> str:
    """`0.812 [0.770, 0.851]`, or `cannot tell`."""
    if interval.estimate is None:
        return "cannot tell"
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:.{digits}f}"
    return f"{interval.estimate:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
