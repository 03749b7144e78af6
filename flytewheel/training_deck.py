"""A training's deck: its facts in words and units, and its curves, each beside those that it is read with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

from flytewheel import figures
from flytewheel.curves import Chart, draw_chart, draw_swatch
from flytewheel.gauges import CHARTS, CURVES, is_number, read_curve
from flytewheel.progress import describe_seconds

_LONG = 400
_STYLE = (
    "<style>.fw-c{display:flex;flex-wrap:wrap;gap:.8rem}.fw-c figure{margin:0}.fw-c figcaption{font-size:12px;"
    "padding-left:66px}.fw-c figcaption svg{vertical-align:middle;margin:0 .4rem 0 0}.fw-c figcaption span"
    "{margin-right:1rem;white-space:nowrap}.fw-c svg{max-width:100%;height:auto}</style>"
)


def describe_training(report: Mapping[str, Any]) -> list[str]:
    """The parts of the deck of a training report, JSON-like. What a report lacks is not shown; fields that this does
    not know are shown under their own names.
    """
    facts = [
        (words, tell(report[key]))
        for key, (words, tell) in _FACTS.items()
        if report.get(key) is not None and not (key in _UNSAID_AT_ZERO and not report[key])
    ]
    elsewhere = {*_FACTS, *_NOTES, "curve", "fitted", "held_out", "taken_back"}
    others = [(key, show(value)) for key, value in report.items() if key not in elsewhere and value != ""]
    taken_back = "Taken back: nothing of this training is published, the adapter is the one that it started from."
    said = [taken_back] if report.get("taken_back") else []
    said += [report[key] for key in _NOTES if report.get(key)]
    return [
        *(figures.paragraph(line) for line in (*said, *(report.get("fitted") or ()))),
        *_describe_held_out(report.get("held_out") or {}),
        figures.table(("fact", "value"), [*facts, *others]),
        *draw_curves(report),
    ]


def show(value: Any) -> str:
    """A fact in words: numbers with their thousands apart, lists and mappings as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if is_number(value) else json.dumps(value, ensure_ascii=False)[:_LONG]


def _describe_held_out(held_out: Mapping[str, Any]) -> list[str]:
    lines = [figures.paragraph(line) for line in figures.describe_held_out(held_out)]
    bins = [(each["pairs"], f"{each['confidence']:.3f}", f"{each['right']:.3f}") for each in held_out.get("bins", ())]
    calibration = figures.table(("pairs", "confidence", "right"), bins) if bins else ""
    return [figures.section("Held out", *lines, calibration)] if lines else []


def draw_curves(report: Mapping[str, Any], *, titled: bool = True) -> list[str]:
    """The charts of a training report, with a title above them or without; empty where it has no curve."""
    drawn = []
    steps = [step for metric in CURVES for step, _ in read_curve(report, metric)]
    for title, metrics in CHARTS.items():
        lines = {metric: line for metric in metrics if (line := read_curve(report, metric))}
        if lines:
            names = [CURVES[metric] for metric in lines]
            chart = Chart(title, "step", tuple(lines.values()), (min(steps), max(steps)))
            legend = "".join(f"<span>{draw_swatch(number)}{escape(name)}</span>" for number, name in enumerate(names))
            caption = f"<figcaption>{legend}</figcaption>" if len(names) > 1 else ""
            drawn.append(f"<figure>{draw_chart(chart, names)}{caption}</figure>")
    charts = f'<div class="fw-c">{"".join(drawn)}</div>'
    return [_STYLE, figures.section("Curves", charts) if titled else charts] if drawn else []


def _seconds(value: Any) -> str:
    if not is_number(value):
        return show(value)
    return describe_seconds(value) if value >= 60 else f"{value:.1f} s"


def _unit(words: str) -> Callable[[Any], str]:
    return lambda value: f"{show(value)} {words}"


def _share(value: Any) -> str:
    return f"{value:.1%}" if is_number(value) else show(value)


def _first_step(value: Any) -> str:
    return f"step {show(value)}" if value else "no, from the start"


def _epoch(value: Any) -> str:
    if not isinstance(value, Mapping):
        return show(value)
    words = {
        "rows": "rows", "batches": "forward passes", "steps_per_epoch": "steps", "tokens": "tokens",
        "loss_tokens": "of them with loss", "padded_tokens": "computed, padding included",
    }  # fmt: skip
    return ", ".join(f"{show(count)} {words.get(key, key)}" for key, count in _in_order(value, words))


def _in_order(value: Mapping[str, Any], first: Iterable[str]) -> list[tuple[str, Any]]:
    return [(key, value[key]) for key in dict.fromkeys((*first, *value)) if key in value]


_NOTES = ("stopped", "truncation", "batching")  # sentences, which stand above the table
_UNSAID_AT_ZERO = (
    "reference_answers", "reference_computed", "reference_discarded", "truncated_tokens", "micro_batch", "total_seconds"
)  # fmt: skip
_FACTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "method": ("method", show),
    "reason": ("why", show),
    "device": ("device", show),
    "rows": ("rows trained on", show),
    "truncated_rows": ("rows longer than base.max_length", show),
    "truncated_tokens": ("tokens lost with these rows", show),
    "redacted_rows": ("rows with personal data that curation had left", show),
    "steps": ("steps", show),
    "micro_batch": ("rows through the model at once", show),
    "batches": ("one epoch", _epoch),
    "resumed_from_step": ("resumed", _first_step),
    "seconds": ("wall time of the last attempt", _seconds),
    "total_seconds": ("wall time of all attempts", _seconds),
    "start_loss": ("validation loss before the first step", show),
    "first_loss": ("first training loss", show),
    "last_loss": ("last training loss", show),
    "eval_loss": ("validation loss", show),
    "tokens": ("tokens, without padding", show),
    "mean_useful_share": ("useful share of computed tokens", _share),
    "mean_loss_share": ("share of computed tokens that the loss is of", _share),
    "mean_tokens_per_s": ("all tokens, padding included", _unit("a second")),
    "mean_useful_tokens_per_s": ("useful tokens", _unit("a second")),
    "peak_memory_gib": ("peak memory", _unit("GiB")),
    "reference_answers": ("answers scored by the reference policy", show),
    "reference_computed": ("of them computed, the others were cached", show),
    "reference_discarded": ("broken files of that cache thrown away", show),
    "base": ("content of the base model", show),
    "adapter_digest": ("digest of the adapter", show),
}
