"""The deck of each station: the figures that a person would look at, from the station's report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from flytewheel import figures
from flytewheel.dataset.readme import describe_length_bias, draw_figures, list_examples, order_counts
from flytewheel.figures import describe_interval
from flytewheel.records import HOLDOUT, PARTS, Interval
from flytewheel.training_deck import describe_training, show

_GREEN, _RED, _AMBER = "#2da44e", "#e5534b", "#b08800"  # readable on light and on dark
_SIDES = {"for": _GREEN, "against": _RED, "cannot tell": _AMBER}
_DECISIONS = {"promote_to_canary": _GREEN, "reject": _RED, "hold": _AMBER}


def describe(station: str, report: Mapping[str, Any]) -> str:
    """Renders a station's report as HTML.

    Args:
        station: name of the station. Of one that is not known the curves are shown, if it left any, and a plain table.
        report: JSON-like report, as `runs.read_reports` gives it.
    """
    parts = {
        "curate": _dataset,
        "evaluate": _evaluation,
        "gate": _verdict,
    }.get(station, describe_training if "curve" in report else _plain)(report)
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


def _evaluation(report: Mapping[str, Any]) -> list[str]:
    rows = [
        (name, *(describe_interval(Interval(**metric[key])) for key in ("candidate", "champion", "difference")))
        for name, metric in report["metrics"].items()
    ]
    return [figures.table(("metric", "candidate", "champion", "difference"), rows)]


def _verdict(report: Mapping[str, Any]) -> list[str]:
    """The decision first, then every reason behind the side that it is on; the side is a word and a colour."""
    own, override = report.get("verdict", report["decision"]), report.get("override")
    overruled = f"The gate's own verdict was {own}; {override['by']} overruled it." if override else ""
    rows = "".join(
        f'<tr><td style="color:{_SIDES.get(side, "inherit")};white-space:nowrap"><b>{escape(side)}</b></td>'
        f"<td>{escape(text)}</td></tr>"
        for side, text in map(_split_reason, report["reasons"])
    )
    return [
        f'<p style="font-size:1.5rem;color:{_DECISIONS.get(report["decision"], "inherit")}">'
        f"<b>{escape(report['decision'])}</b></p>",
        figures.paragraph(overruled) if overruled else "",
        f"<table><tr><th></th><th>reason</th></tr>{rows}</table>",
    ]


def _split_reason(reason: str) -> tuple[str, str]:
    side, colon, text = reason.partition(": ")
    return (side, text) if colon and side in _SIDES else ("", reason)


def _plain(report: Mapping[str, Any]) -> list[str]:
    return [figures.table(("fact", "value"), [(key, show(value)) for key, value in report.items()])]
