"""The decks of the scheduled looks: first what is amiss, then the figures that it shows in, then the rest."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from flytewheel import figures
from flytewheel.upkeep.bulletin import Bulletin
from flytewheel.upkeep.quality import EDGES
from flytewheel.upkeep.reports import TITLES, Report


def describe_report(report: Report) -> str:
    """A report as HTML."""
    rest = {name: value for name, value in report.figures.items() if not isinstance(value, Mapping | list)}
    parts = [
        figures.section("Amiss", *(figures.paragraph(alarm) for alarm in report.alarms or ("nothing",))),
        figures.table(("figure", "value"), [(_word(key), "–" if each is None else each) for key, each in rest.items()]),
    ]
    drawn = {"quality": _draw_quality, "calibration": _draw_calibration}.get(report.kind)
    if drawn is not None:
        parts += drawn(report.figures)
    elif held := report.figures.get("still_needed"):
        parts.append(figures.section("Still needed", figures.counts(held)))
    return figures.page(TITLES[report.kind], *parts)


def describe_bulletin(bulletin: Bulletin) -> str:
    """A summary as HTML."""
    parts = [figures.table(("figure", "value"), list(bulletin.facts.items()))]
    for title, lines in bulletin.sections.items():
        parts.append(figures.section(title, *(figures.paragraph(line) for line in lines or ("nothing",))))
    return figures.page(f"{bulletin.span} summary of {bulletin.name}", *parts)


def _draw_quality(found: Mapping[str, Any]) -> list[str]:
    rewards = found["rewards"]
    bins = [f"{low:+.1f} to {high:+.1f}" for low, high in pairwise(EDGES)]
    before, recent = _scale(rewards["before"], rewards["recent"])
    return [
        figures.section("Events by type", figures.counts(found["events_by_type"], "type")),
        figures.section(
            "Users by their newest reward", figures.column_chart("per thousand users", bins, before, recent)
        ),
        figures.section("Lines in quarantine", figures.counts(found["lines_quarantined"])),
    ]


def _draw_calibration(found: Mapping[str, Any]) -> list[str]:
    shares = [(label, f"{share:.1%}", f"{found['allowed']:.1%}") for label, share in found["shares"].items()]
    by_metric = found["called_apart_by_metric"].items()
    called = [(label, name, count) for label, own in by_metric for name, count in own.items()]
    return [
        figures.section("Identical arms called apart", figures.table(("configuration", "share", "allowed"), shares)),
        figures.section("By which metric", figures.table(("configuration", "metric", "experiments"), called)),
    ]


def _scale(before: list[int], recent: list[int]) -> tuple[list[int], list[int]]:
    """Both per thousand: four weeks have more users than a day."""
    return tuple([round(1000 * count / max(1, sum(counts))) for count in counts] for counts in (before, recent))  # type: ignore[return-value]


def _word(name: str) -> str:
    return name.replace("_", " ")
