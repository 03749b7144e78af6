"""The table of figures: both models with their intervals, and a forest plot of the difference with its zero, the
tolerated margin and the good direction. A bound of the candidate's own interval is drawn on that interval instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flytewheel.evaluation_page.style import section, words
from flytewheel.evaluation_page.subject import (
    Figure,
    Subject,
    read_figures,
    read_number,
    show_interval,
    show_number,
)
from flytewheel.records import Interval

WIDTH, HEIGHT, PAD = 270, 46, 8
_WIDTHS = (23, 14, 14, 17, 24, 8)  # of the columns, in per cent
_MIDDLE = 22
STANDINGS = {  # look, sign
    "better": ("good", "▲"),
    "worse": ("bad", "▼"),
    "differs": ("plain", "≠"),
    "no difference shown": ("plain", "="),
    "cannot tell": ("unsure", "?"),
}
_BOUNDS = {"min_lower_bound": 1, "min": 1, "max_upper_bound": -1, "max": -1}


def draw_figures(subject: Subject) -> str:
    """Counts, the table, and what is to be known to read it."""
    figures = read_figures(subject)
    head = ("figure", subject.candidate, subject.champion, "difference", "", "rows")
    top = "".join(f'<th scope="col">{words(name)}</th>' for name in head)
    rows = "".join(_draw_row(figure, subject) for figure in figures)
    widths = "".join(f'<col style="width:{share}%"/>' for share in _WIDTHS)
    table = (
        f'<table class="stack figures"><colgroup>{widths}</colgroup><thead><tr>{top}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    level = figures[0].difference.level if figures else 0.95
    told = (
        f"Difference: {subject.candidate} minus {subject.champion}. Intervals at {level:.0%}, from resamples of users; "
        "the thick line is the interval, the dashed line what is tolerated. Better or worse is said where the whole "
        "interval lies on one side of zero."
    )
    empty = "<p>No figure was measured.</p>"
    card = f'<p class="soft">{words(told)}</p><div class="card">{table}</div>' if figures else empty
    return section("figures", "Figures", draw_counts(subject), card, _draw_skipped(subject))


def draw_counts(subject: Subject) -> str:
    """Whole numbers about the candidate, such as regressions."""
    counts: Mapping[str, Any] = subject.evaluation.get("counts") or {}
    items = []
    for name, value in counts.items():
        shown = show_count(value)
        rule = describe_rule(subject.rules.get(name) or {})
        asked = f"<small>{words(rule)}</small>" if rule else ""
        items.append(f"<li><b>{shown}</b>{words(spell(name))} {asked}</li>")
    return f'<ul class="facts">{"".join(items)}</ul>' if items else ""


def show_count(value: Any) -> str:
    """A whole number as one, anything else as a figure."""
    number = read_number(value)
    return f"{number:,.0f}" if number is not None and number.is_integer() else show_number(number)


def describe_rule(rule: Mapping[str, Any]) -> str:
    """What the gate asks of a figure, in words."""
    said = []
    if rule.get("improve"):
        said.append("must improve")
    for key, text in (
        ("max_worsening", "may worsen by {:.3g} % of the champion's"),
        ("max_worsening_absolute", "may worsen by {:.3g}"),
        ("min_lower_bound", "interval above {:.4g}"),
        ("max_upper_bound", "interval below {:.4g}"),
        ("min", "at least {:.4g}"),
        ("max", "at most {:.4g}"),
    ):
        bound = read_number(rule.get(key))
        if bound is not None:
            said.append(text.format(100 * bound if "%" in text else bound))
    return "; ".join(said)


def spell(name: str) -> str:
    """A figure's name for people."""
    return name.replace("_", " ")


def draw_interval(figure: Figure) -> str:
    """The forest plot of one figure; empty where nothing can be drawn."""
    bounds = {key: found for key in _BOUNDS if (found := read_number(figure.rule.get(key))) is not None}
    relative = bool(figure.rule.get("improve")) or any(
        read_number(figure.rule.get(key)) is not None for key in ("max_worsening", "max_worsening_absolute")
    )
    if bounds and not relative and figure.candidate.known:
        return _draw_own(figure, bounds)
    return _draw_difference(figure) if figure.difference.known else ""


def _draw_row(figure: Figure, subject: Subject) -> str:
    look, sign = STANDINGS[figure.standing]
    arrow = {1: "↑ more is better", -1: "↓ less is better", 0: "neither is better"}[figure.direction]
    rule = describe_rule(figure.rule)
    asked = f"<small>asked: {words(rule)}</small>" if rule else "<small>not asked</small>"
    chip = f'<span class="chip {look}"><span aria-hidden="true">{sign}</span> {figure.standing}</span>'
    chip = chip if figure.difference.known else ""
    cells = (
        f'<th scope="row">{words(spell(figure.name))}<small class="soft"> {arrow}</small>{asked}</th>'
        f"{_cell(subject.candidate, _spread(figure.candidate))}{_cell(subject.champion, _spread(figure.champion))}"
    )
    where = f"{figure.rows:,} <small>of {figure.users:,} users</small>"
    return (
        f"<tr>{cells}{_cell('difference', _spread(figure.difference, signed=True) + chip)}"
        f'<td class="plot">{draw_interval(figure)}</td>{_cell("rows", where)}</tr>'
    )


def _spread(interval: Interval, *, signed: bool = False) -> str:
    """The estimate, and its interval below."""
    if not interval.known:
        return words(show_interval(interval))
    ends = ", ".join(show_number(end, signed=signed) for end in (interval.low, interval.high))
    return f"<b>{show_number(interval.estimate, signed=signed)}</b> <small>[{ends}]</small> "


def _cell(head: str, html: str) -> str:
    return f'<td data-head="{words(head)}">{html}</td>'


def _draw_skipped(subject: Subject) -> str:
    skipped: Mapping[str, Any] = subject.evaluation.get("skipped") or {}
    told = ", ".join(f"{spell(str(name))} {show_count(count)}" for name, count in skipped.items())
    return f'<p class="soft">Longer than the model\'s room and left out: {words(told)}.</p>' if told else ""


def _draw_difference(figure: Figure) -> str:
    spread, margin = figure.difference, _tolerated(figure)
    limit = None if margin is None or figure.direction == 0 else -figure.direction * margin
    ends = [abs(end) for end in (spread.low, spread.high, limit) if end is not None]
    reach = max(ends, default=0.0) * 1.12 or 1.0
    scale = _Scale(-reach, reach)
    zero = scale.at(0)
    parts = []
    if figure.direction:
        edge = scale.at(limit if limit is not None else 0)
        left, right = (PAD, WIDTH - PAD)
        good = (edge, right) if figure.direction > 0 else (left, edge)
        bad = (left, edge) if figure.direction > 0 else (edge, right)
        parts += [_block("ok", *good), *([_block("no", *bad)] if limit is not None else [])]
        side = "end" if figure.direction > 0 else "start"
        name = "better →" if figure.direction > 0 else "← better"
        parts.append(_text(right - 2 if figure.direction > 0 else left + 2, 10, name, side, "dir"))
    parts.append(_stroke("zero", zero))
    if limit:
        parts.append(_stroke("lim", scale.at(limit)))
    parts += _draw_bar(spread, scale)
    parts.append(_text(zero, HEIGHT - 2, "0", "middle"))
    tolerated = "" if limit is None or not limit else f"; tolerated up to {show_number(limit, signed=True)}"
    way = {1: "more is better", -1: "less is better", 0: "neither is better"}[figure.direction]
    told = f"{spell(figure.name)}: difference {show_interval(spread, signed=True)}, {way}{tolerated}"
    return _svg(told, STANDINGS[figure.standing][0], parts)


def _draw_own(figure: Figure, bounds: Mapping[str, float]) -> str:
    spread = figure.candidate
    ends = [end for end in (spread.low, spread.high, *bounds.values()) if end is not None]
    pad = (max(ends) - min(ends)) * 0.15 or abs(ends[0]) * 0.1 or 1.0
    scale = _Scale(min(ends) - pad, max(ends) + pad)
    parts, told, held = [], [], True
    for key, bound in bounds.items():
        way, edge = _BOUNDS[key], scale.at(bound)
        parts.append(_block("no", *((PAD, edge) if way > 0 else (edge, WIDTH - PAD))))
        end = spread.estimate if key in ("min", "max") else spread.low if way > 0 else spread.high
        held = held and end is not None and (end - bound) * way >= 0
        told.append(describe_rule({key: bound}))
    for bound in bounds.values():
        parts += [_stroke("lim", scale.at(bound)), _text(scale.at(bound), HEIGHT - 2, f"{bound:.4g}", "middle")]
    parts += _draw_bar(spread, scale)
    parts.append(_text(PAD + 2, 10, "the candidate itself", "start"))
    words_ = f"{spell(figure.name)}: candidate {show_interval(spread)}; {', '.join(told)}"
    return _svg(words_, "good" if held else "unsure", parts)


def _tolerated(figure: Figure) -> float | None:
    """How much worse is tolerated, in the figure's unit; 0 where it must improve; `None` where nothing is asked."""
    relative = read_number(figure.rule.get("max_worsening"))
    if relative is not None:
        champion = figure.champion.estimate
        return None if champion is None else relative * abs(champion)
    absolute = read_number(figure.rule.get("max_worsening_absolute"))
    return absolute if absolute is not None else 0.0 if figure.rule.get("improve") else None


class _Scale:
    """Values to pixels."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._span = low, (high - low) or 1.0

    def at(self, value: float) -> float:
        return PAD + (value - self._low) / self._span * (WIDTH - 2 * PAD)


def _draw_bar(spread: Interval, scale: _Scale) -> list[str]:
    if spread.low is None or spread.high is None or spread.estimate is None:
        return []
    low, high, middle = (scale.at(end) for end in (spread.low, spread.high, spread.estimate))
    caps = "".join(f"M{end:.1f} {_MIDDLE - 5}v10" for end in (low, high))
    return [
        f'<path class="bar" d="M{low:.1f} {_MIDDLE}H{high:.1f}{caps}"/>',
        f'<circle class="dot" cx="{middle:.1f}" cy="{_MIDDLE}" r="4.5"/>',
    ]


def _block(kind: str, left: float, right: float) -> str:
    return f'<rect class="{kind}" x="{left:.1f}" y="14" width="{max(right - left, 0):.1f}" height="17"/>'


def _stroke(kind: str, place: float) -> str:
    return f'<path class="{kind}" d="M{place:.1f} 13V33"/>'


def _text(left: float, top: float, text: str, anchor: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{left:.1f}" y="{top}" text-anchor="{anchor}">{words(text)}</text>'


def _svg(told: str, look: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="iv {look}" role="img" aria-label="{words(told)}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}"><title>{words(told)}</title>{"".join(parts)}</svg>'
    )
