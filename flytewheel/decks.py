"""The deck of each station: the figures that a person would look at, from the station's report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flytewheel import figures
from flytewheel.dataset.readme import describe_length_bias, draw_figures, list_examples, order_counts
from flytewheel.figures import describe_held_out, describe_interval
from flytewheel.records import HOLDOUT, PARTS, Interval


def describe(station: str, report: Mapping[str, Any]) -> str:
    """Renders a station's report as HTML.

    Args:
        station: name of the station; unknown ones are shown as a plain table.
        report: JSON-like report, as `runs.read_reports` gives it.
    """
    parts = {
        "curate": _dataset,
        "train_sft": _training,
        "train_reward": _training,
        "align": _training,
        "evaluate": _evaluation,
        "gate": _verdict,
    }.get(station, _plain)(report)
    return figures.page(station, *parts)


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


def _training(report: Mapping[str, Any]) -> list[str]:
    charts = [
        figures.line_chart([(point["step"], point[y]) for point in report["curve"] if y in point], x="step", y=y)
        for y in ("loss", "reward")
    ]
    facts = {key: value for key, value in report.items() if key not in ("curve", "held_out")}
    return [*charts, *_held_out(report.get("held_out") or {}), *_plain(facts)]


def _held_out(held_out: Mapping[str, Any]) -> list[str]:
    lines = [figures.paragraph(line) for line in describe_held_out(held_out)]
    bins = [(each["pairs"], f"{each['confidence']:.3f}", f"{each['right']:.3f}") for each in held_out.get("bins", ())]
    calibration = figures.table(("pairs", "confidence", "right"), bins) if bins else ""
    return [figures.section("Held out", *lines, calibration)] if lines else []


def _evaluation(report: Mapping[str, Any]) -> list[str]:
    rows = [
        (name, *(describe_interval(Interval(**metric[key])) for key in ("candidate", "champion", "difference")))
        for name, metric in report["metrics"].items()
    ]
    return [figures.table(("metric", "candidate", "champion", "difference"), rows)]


def _verdict(report: Mapping[str, Any]) -> list[str]:
    return [figures.paragraph(report["decision"]), figures.table(("reason",), [(line,) for line in report["reasons"]])]


def _plain(report: Mapping[str, Any]) -> list[str]:
    return [figures.table(("fact", "value"), [(key, _shown(value)) for key, value in report.items()])]


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else json.dumps(value, ensure_ascii=False)[:400]
