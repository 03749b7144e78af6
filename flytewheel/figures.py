"""Small pictures for decks, pages and data set cards: tables, bars and columns as plain HTML and SVG.

They need no script, can be read in light and in dark, and say in words what they show.

A Flyte deck with inline plotly weighs 4.8 MB; these weigh a few kilobytes and need no network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from flytewheel.records import Interval

WIDTH, HEIGHT, PAD = 560, 180, 36
LABEL, ROW, FOOT = 190, 22, 22  # pixels: a bar's name, its height, the line of words under columns
LABEL_CHARACTERS = 28
# Only these may stand in XML 1.0; a picture with another character in it is not shown at all.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SVG_STYLE = (
    "<style>.fw-t{fill:#222;font:12px system-ui,sans-serif}.fw-n{text-anchor:end}.fw-a{fill:#2a6fdb}.fw-b{fill:#9aa4b2}"
    "@media(prefers-color-scheme:dark){.fw-t{fill:#ddd}.fw-a{fill:#6ea8ff}.fw-b{fill:#7b8594}}</style>"
)
HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
)
STYLE = (
    "<style>body{font:14px system-ui,sans-serif;margin:1.5rem;max-width:60rem;color:#222;background:#fff}"
    "table{border-collapse:collapse;margin:.6rem 0}"
    "td,th{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}h2{font-size:1.1rem;margin-top:1.4rem}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}}</style>"
)


def document(title: str, *parts: str) -> str:
    """A page of its own from parts that stand in its body; it may run no script and load nothing."""
    return f"{HEAD}<title>{escape(clean(title))}</title></head><body>{''.join(parts)}</body></html>\n"


def page(title: str, *parts: str) -> str:
    """A deck: a title and its parts."""
    return f"{STYLE}<h1>{escape(title)}</h1>{''.join(parts)}"


def section(title: str, *parts: str) -> str:
    """A titled part of a deck."""
    return f"<h2>{escape(title)}</h2>{''.join(parts)}"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def clean(text: str) -> str:
    """`text` without the characters that may not stand in XML, nor be sent to a terminal."""
    return _NOT_XML.sub("\ufffd", text)


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


def bar_chart(title: str, bars: Sequence[tuple[str, int]]) -> str:
    """Named bars from left to right, each with its number; an empty text without bars. A file of its own, or inline."""
    return _bars(title, [(label, (value,)) for label, value in bars], ())


def paired_bar_chart(title: str, bars: Sequence[tuple[str, int, int]]) -> str:
    """Named pairs of bars, before (grey) and after (blue); an empty text without bars."""
    return _bars(title, [(label, (before, after)) for label, before, after in bars], ("before", "after"))


def column_chart(title: str, labels: Sequence[str], before: Sequence[int], after: Sequence[int]) -> str:
    """A distribution before (grey) and after (blue) in the same bins, both to one scale; an empty text without any.

    Args:
        title: what is counted.
        labels: one a bin, `(bins,)`; the first, the middle and the last are written under the columns.
        before: counts, `(bins,)`.
        after: counts, `(bins,)`.
    """
    largest = max((*before, *after), default=0)
    if not largest:
        return ""
    step = (WIDTH - 2 * PAD) / len(labels)
    field = HEIGHT - PAD - FOOT
    parts = [_words(PAD, 30, f"most in a bin: {largest:,}"), *_legend(30)]
    for number in range(len(labels)):
        for index, (colour, value) in enumerate((("b", before[number]), ("a", after[number]))):
            high = value / largest * field
            left = PAD + step * (number + 0.1 + 0.4 * index)
            parts.append(_block(colour, left, HEIGHT - FOOT - high, step * 0.4, high))
    for number, side in ((0, ""), (len(labels) // 2, ""), (len(labels) - 1, " fw-n")):
        place = PAD + step * number if not side else WIDTH - PAD
        parts.append(_words(place, HEIGHT - 6, labels[number], side))
    pairs = zip(labels, before, after, strict=True)
    told = "; ".join(f"{name}: {old:,} before, {new:,} after" for name, old, new in pairs if old or new)
    return _svg(title, told, HEIGHT, parts)


def _bars(title: str, rows: Sequence[tuple[str, tuple[int, ...]]], series: tuple[str, ...]) -> str:
    if not rows:
        return ""
    largest = max(max(values) for _, values in rows) or 1
    top = 44 if series else 28
    parts = _legend(34) if series else []
    for label, values in rows:
        short = label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"
        parts.append(_words(LABEL - 8, top + ROW * len(values) / 2 + 2, short, " fw-n"))
        for index, value in enumerate(values):
            width = value / largest * (WIDTH - LABEL - 2 * PAD)
            colour = "a" if index == len(values) - 1 else "b"
            parts.append(_block(colour, LABEL, top + 3, width, ROW - 8))
            parts.append(_words(LABEL + width + 6, top + ROW - 9, f"{value:,}"))
            top += ROW - 4 if index < len(values) - 1 else ROW
    names = series or ("",)
    told = "; ".join(
        f"{label}: {', '.join(f'{value:,} {name}'.strip() for name, value in zip(names, values, strict=True))}"
        for label, values in rows
    )
    return _svg(title, told, top + 6, parts)


def _svg(title: str, told: str, height: float, parts: Sequence[str]) -> str:
    """A picture that stands alone: what it shows is in its title and description too, for who cannot see it."""
    name, words = (escape(clean(text)) for text in (title, told))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{name}. {words}" '
        f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}">'
        f"<title>{name}</title><desc>{words}</desc>{_SVG_STYLE}{_words(PAD / 2, 16, title)}{''.join(parts)}</svg>\n"
    )


def _legend(top: float) -> list[str]:
    left = WIDTH - 150
    return [
        _block("b", left, top - 9, 10, 10), _words(left + 14, top, "before"),
        _block("a", left + 70, top - 9, 10, 10), _words(left + 84, top, "after"),
    ]  # fmt: skip


def _block(colour: str, left: float, top: float, width: float, height: float) -> str:
    return f'<rect class="fw-{colour}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _words(left: float, top: float, text: str, side: str = "") -> str:
    return f'<text class="fw-t{side}" x="{left:.1f}" y="{top:.1f}">{escape(clean(text))}</text>'


def describe_interval(interval: Interval, digits: int = 3) -> str:
    """`0.812 [0.770, 0.851]`, or `cannot tell`."""
    if interval.estimate is None:
        return "cannot tell"
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:.{digits}f}"
    return f"{interval.estimate:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def describe_held_out(held_out: Mapping[str, Any]) -> list[str]:
    """What a training's report says of rows kept apart, in a line for each kind of figure."""
    lines = []
    if "accuracy" in held_out:
        accuracy, length = (_read_interval(held_out[key]) for key in ("accuracy", "length_accuracy"))
        lines += [
            f"held-out accuracy {accuracy} over {held_out['pairs']:,} pairs",
            f"length alone ({held_out['length_rule']} wins) {length}",
            f"calibration error {held_out['calibration_error']:.3f}",
        ]
    if "reward_gain" in held_out:
        gain = _read_interval(held_out["reward_gain"])
        means = f"{held_out['reward_start']:.3f} → {held_out['reward_end']:.3f}"
        lines.append(f"mean reward {means}, gain {gain} over {held_out['prompts']:,} held-out prompts")
    if held_out.get("kl") is not None:
        lines.append(f"KL {held_out['kl']:.4f} nats a token")
    if held_out.get("note"):
        lines.append(held_out["note"])
    return lines


def _read_interval(value: Mapping[str, Any]) -> str:
    return describe_interval(Interval(**value))
