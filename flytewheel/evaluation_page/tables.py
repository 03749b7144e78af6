"""The same as tables of plain values, for wandb: figures, reasons, topics, answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.evaluation_page.figures import describe_rule
from flytewheel.evaluation_page.selection import LONGEST, choose_pairs, text_of
from flytewheel.evaluation_page.subject import Subject, read_figures
from flytewheel.evaluation_page.topics import read_topics
from flytewheel.evaluation_page.verdict import group_reasons, reasons_of
from flytewheel.figures import clean
from flytewheel.records import Interval


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under their columns."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


def list_tables(subject: Subject) -> dict[str, Table]:
    """Tables by name; those without a row are left out. Unknown figures are `None`, never a number."""
    sides = ("candidate", "champion", "difference")
    ends = tuple(f"{side}{end}" for side in sides for end in ("", " low", " high"))
    figures = [
        (
            each.name, *_ends(each.candidate), *_ends(each.champion), *_ends(each.difference), each.rows, each.users,
            each.standing, describe_rule(each.rule),
        )
        for each in read_figures(subject)
    ]  # fmt: skip
    reasons = [
        (kind or "also", reason) for kind, found in group_reasons(reasons_of(subject)).items() for reason in found
    ]
    topics = [
        (
            each.topic, each.figure, each.candidate, each.champion, *_ends(each.difference), each.rows, each.users,
            each.standing, each.verdict,
        )
        for each in read_topics(subject)
    ]  # fmt: skip
    answers = [
        (
            group, pair.ident, str(pair.answer.get("topic") or ""), _last_turn(pair.answer.get("prompt")),
            *(text_of(pair.answer, key)[:LONGEST] for key in ("candidate", "champion", "reference")),
            pair.gain, pair.by,
        )
        for group, pairs in zip(("gained", "lost", "neither"), choose_pairs(subject.answers), strict=True)
        for pair in pairs
    ]  # fmt: skip
    tables = {
        "figures": Table(("figure", *ends, "rows", "users", "standing", "asked"), figures),
        "reasons": Table(("kind", "reason"), reasons),
        "topics": Table(
            (
                "topic", "figure", "candidate", "champion", "difference", "difference low", "difference high", "rows",
                "users", "standing", "verdict",
            ),
            topics,
        ),
        "answers": Table(
            ("group", "id", "topic", "prompt", "candidate", "champion", "reference", "gain", "by"), answers
        ),
    }  # fmt: skip
    return {
        name: Table(table.columns, [tuple(map(_plain, row)) for row in table.rows])
        for name, table in tables.items()
        if table.rows
    }


def _plain(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def _ends(interval: Interval) -> tuple[float | None, float | None, float | None]:
    return interval.estimate, interval.low, interval.high


def _last_turn(prompt: Any) -> str:
    turns = prompt if isinstance(prompt, Sequence) and not isinstance(prompt, str) else [{"content": prompt or ""}]
    return text_of(turns[-1], "content")[:LONGEST] if turns and isinstance(turns[-1], dict) else ""
