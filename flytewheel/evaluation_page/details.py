"""What a measure keeps besides its figures (`details`), whatever it is: facts as a list, lists of mappings as tables,
nested mappings under headings of their own. Nothing of it is markup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flytewheel.evaluation_page.figures import spell
from flytewheel.evaluation_page.style import section, words
from flytewheel.evaluation_page.subject import Subject, read_interval, read_number, show_interval, show_number

FIRST = ("groundedness", "safety")
_SHOWN_ELSEWHERE = {"topics": ("rows",), "suite": ("newly_failing", "newly_passing")}
_MOST_ROWS, _MOST_COLUMNS, _LONG, _DEEPEST = 40, 12, 600, 3
_INTERVAL = {"estimate", "low", "high"}


def draw_details(subject: Subject) -> str:
    """A part for each measure that kept something."""
    details = subject.evaluation.get("details")
    if not isinstance(details, Mapping):
        return ""
    names = [name for name in FIRST if name in details] + [name for name in details if name not in FIRST]
    parts = []
    for name in names:
        kept = details[name]
        if isinstance(kept, Mapping) and name in _SHOWN_ELSEWHERE:
            kept = {key: value for key, value in kept.items() if key not in _SHOWN_ELSEWHERE[name]}
        if kept not in ({}, [], None):
            parts.append(f'<div class="card"><h3>{words(spell(str(name)))}</h3>{draw_value(kept)}</div>')
    return section("details", "Details", *parts)


def draw_value(value: Any, depth: int = 0) -> str:
    """Any JSON-like value as HTML."""
    if isinstance(value, Mapping):
        return words(show_interval(read_interval(value))) if value.keys() >= _INTERVAL else _draw_mapping(value, depth)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if value and all(isinstance(item, Mapping) for item in value):
            return _draw_table(value)
        items = "".join(f"<li>{draw_value(item, depth + 1)}</li>" for item in value[:_MOST_ROWS])
        return f"<ul>{items}</ul>{_more(len(value))}" if items else "<p>none</p>"
    return _scalar(value)


def _draw_mapping(value: Mapping[str, Any], depth: int) -> str:
    if not value:
        return "<p>none</p>"
    if depth >= _DEEPEST:
        return f"<code>{words(_json(value))}</code>"
    facts = {key: item for key, item in value.items() if not _is_nested(item)}
    rows = "".join(
        f'<tr><th scope="row">{words(spell(str(key)))}</th><td>{draw_value(item)}</td></tr>'
        for key, item in list(facts.items())[:_MOST_ROWS]
    )
    table = f"<table><tbody>{rows}</tbody></table>{_more(len(facts))}" if rows else ""
    nested = "".join(
        f"<h4>{words(spell(str(key)))}</h4>{draw_value(item, depth + 1)}"
        for key, item in list(value.items())[: 4 * _MOST_ROWS]
        if key not in facts
    )
    return table + nested


def _draw_table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(str(key) for row in rows[:_MOST_ROWS] for key in row))
    shown = columns[:_MOST_COLUMNS]
    head = "".join(f'<th scope="col">{words(spell(name))}</th>' for name in shown)
    body = "".join(
        f"<tr>{''.join(_draw_cell(name, row.get(name)) for name in shown)}</tr>" for row in rows[:_MOST_ROWS]
    )
    hidden = f'<p class="soft">columns left out: {words(", ".join(columns[_MOST_COLUMNS:]))}</p>'
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide">{table}</div>{_more(len(rows))}{hidden if len(columns) > len(shown) else ""}'


def _draw_cell(name: str, value: Any) -> str:
    shown = draw_value(value, _DEEPEST) if _is_nested(value) or isinstance(value, Mapping) else _scalar(value)
    return f'<td data-head="{words(spell(name))}" dir="auto">{shown}</td>'


def _is_nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not value.keys() >= _INTERVAL
    return isinstance(value, list | tuple)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if value is None or isinstance(value, float):
        return show_number(read_number(value))
    text = str(value)
    return words(text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text) - _LONG:,} characters more)")


def _more(count: int) -> str:
    more = count - _MOST_ROWS
    return f'<p class="soft">and {more:,} more, in evaluation.json</p>' if more > 0 else ""


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
