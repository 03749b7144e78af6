"""The deck of each station: the figures that a person would look at, from the station's report.

Those of `evaluate` and `gate` are a page of their own (`judgement`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytewheel import figures
from flytewheel.dataset.readme import describe_length_bias, draw_figures, list_examples, order_counts
from flytewheel.records import HOLDOUT, PARTS
from flytewheel.training_deck import describe_training, show


def describe(station: str, report: Mapping[str, Any]) -> str:
    """Renders a station's report as HTML.

    Args:
        station: name of the station. Of one that is not known the curves are shown, if it left any, and a plain table.
        report: JSON-like report, as `runs.read_reports` gives it.
    """
    draw = _dataset if station == "curate" else describe_training if "curve" in report else _plain
    return figures.page(station, *draw(report))


def _dataset(report: Mapping[str, Any]) -> list[str]:
    """Reports of earlier versions lack some of the keys: what is not there is not shown."""
    parts = (*PARTS, HOLDOUT)
    kinds = [(kind, *(own.get(part, 0) for part in parts)) for kind, own in order_counts(report)]
    steps = [
        (step["name"], step["rows_in"], step["rows_out"], ", ".join(f"{k} {v}" for k, v in step["dropped"].items()))
        for step in report["steps"]
    ]
    drawn = draw_figures(report)
    pairs, comments = report.get("pairs") or {}, report.get("comments") or {}
    said = figures.counts(comments.get("sentiment") or {}, "sentiment")
    themes = [(each["theme"], each["count"], each.get("example", "")) for each in comments.get("themes") or ()]
    return [
        figures.paragraph(f"{report['interactions']:,} interactions, {report['events']:,} feedback events"),
        figures.section("Rows", figures.table(("kind", *parts), kinds)),
        figures.section("Funnel", drawn.get("funnel", "")),
        figures.section("Scores and lengths", drawn.get("scores", ""), drawn.get("lengths", "")),
        figures.section("Topics", drawn.get("topics", ""), figures.counts(report["topics"], "topic")),
        figures.section("Reasons", drawn.get("reasons", "")),
        figures.section("Dropped, redacted examples", figures.table(("reason", "text"), list_examples(report))),
        figures.section(
            "Preference pairs",
            figures.paragraph(describe_length_bias(pairs)),
            figures.counts(pairs.get("sources") or {}, "source"),
        ),
        figures.section("Comments", said, figures.table(("theme", "comments", "example"), themes)),
        figures.section("Personal data replaced", figures.counts(report.get("redacted") or {}, "kind")),
        figures.section("Steps", figures.table(("step", "rows in", "rows out", "dropped"), steps)),
        figures.paragraph(f"data set {report['digest']}"),
    ]


def _plain(report: Mapping[str, Any]) -> list[str]:
    return [figures.table(("fact", "value"), [(key, show(value)) for key, value in report.items()])]
