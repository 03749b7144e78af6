"""Where the candidate got better and worse: a row a topic, a column a figure, the clearest losses first.

The figures by topic are the evaluation's (`details["topics"]["rows"]`); nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.evaluation_page.figures import STANDINGS, spell
from flytewheel.evaluation_page.style import section, words
from flytewheel.evaluation_page.subject import (
    Standing,
    Subject,
    find_direction,
    judge_difference,
    read_interval,
    read_number,
    show_interval,
    show_number,
)
from flytewheel.records import Interval

MOST = 60  # topics


@dataclass(frozen=True, slots=True)
class TopicFigure:
    """One figure of one topic. `verdict` is what the evaluation says of it, if it says anything."""

    topic: str
    figure: str
    candidate: float | None
    champion: float | None
    difference: Interval
    rows: int
    users: int
    verdict: str

    @property
    def standing(self) -> Standing:
        return judge_difference(self.difference, find_direction(self.figure))


def read_topics(subject: Subject) -> list[TopicFigure]:
    """All figures by topic; entries that are none are left out."""
    details = subject.evaluation.get("details") or {}
    found = details.get("topics") if isinstance(details, Mapping) else None
    rows = found.get("rows") if isinstance(found, Mapping) else None
    return [
        TopicFigure(
            topic=str(row.get("topic") or "no topic"),
            figure=str(row.get("figure") or "figure"),
            candidate=_estimate(row.get("candidate")),
            champion=_estimate(row.get("champion")),
            difference=read_interval(row.get("difference")),
            rows=int(read_number(row.get("rows")) or 0),
            users=int(read_number(row.get("users")) or 0),
            verdict=str(row.get("verdict") or ""),
        )
        for row in (rows if isinstance(rows, Sequence) and not isinstance(rows, str) else ())
        if isinstance(row, Mapping)
    ]


def order_topics(found: Sequence[TopicFigure]) -> list[str]:
    """Topics with the clearest losses first, the clearest gains last; by name among equals."""

    def badness(topic: str) -> tuple[int, str]:
        standings = [one.standing for one in found if one.topic == topic]
        return standings.count("better") - standings.count("worse"), topic

    return sorted({one.topic for one in found}, key=badness)


def draw_topics(subject: Subject) -> str:
    """The heat table."""
    found = read_topics(subject)
    title = "Better and worse by topic"
    if not found:
        return section("topics", title, "<p>This evaluation has no figures by topic.</p>")
    figures = list(dict.fromkeys(one.figure for one in found))
    cells = {(one.topic, one.figure): one for one in found}
    topics = order_topics(found)
    head = "".join(f'<th scope="col">{words(spell(name))}</th>' for name in ("topic", *figures))
    body = "".join(
        f'<tr><th scope="row" dir="auto">{words(topic)}</th>'
        f"{''.join(_draw_cell(name, cells.get((topic, name))) for name in figures)}</tr>"
        for topic in topics[:MOST]
    )
    more = f"<p>and {len(topics) - MOST:,} topics more, in evaluation.json</p>" if len(topics) > MOST else ""
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return section("topics", title, f"<p>{words(_summarise(found))}</p>", f'<div class="card wide">{table}</div>', more)


def _summarise(found: Sequence[TopicFigure]) -> str:
    def named(standing: str) -> str:
        names = [f"{one.topic} ({spell(one.figure)})" for one in found if one.standing == standing]
        return (", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")) if names else "none"

    return f"Clearly worse: {named('worse')}. Clearly better: {named('better')}."


def _draw_cell(name: str, one: TopicFigure | None) -> str:
    if one is None:
        return f'<td data-head="{words(spell(name))}">–</td>'
    look, sign = STANDINGS[one.standing]
    sides = f"{show_number(one.candidate)} against {show_number(one.champion)}"
    said = f", {one.verdict}" if one.verdict and one.verdict != one.standing else ""
    told = "" if one.standing == "cannot tell" else f" {show_interval(one.difference, signed=True)}"
    return (
        f'<td class="heat {look}" data-head="{words(spell(name))}"><b><span aria-hidden="true">{sign}</span> '
        f"{one.standing}</b>{words(told)}<small>{words(sides)}; {one.rows:,} rows of {one.users:,} users"
        f"{words(said)}</small></td>"
    )


def _estimate(value: Any) -> float | None:
    """A figure that is given bare, or with its interval."""
    return read_number(value.get("estimate")) if isinstance(value, Mapping) else read_number(value)
