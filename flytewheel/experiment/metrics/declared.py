"""Decides what a metric is: a ratio of two of a user's counters, which direction is bad, and what it is used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from flytewheel.errors import ExperimentError

Role = Literal["primary", "guardrail", "watch"]


@dataclass(frozen=True, slots=True)
class Metric:
    """How a metric is read from a user's counters.

    Attributes:
        name: what recipes, reports and pages call it.
        numerator: counter that is summed by user.
        denominator: counter that it is divided by.
        worse: which direction is bad.
        role: what it decides: `primary` is what the experiment is for, a `guardrail` may not worsen, `watch` is shown.
        relative_margin: what a worsening may be, as a part of the control's rate; or
        absolute_margin: in the metric's own units.
        cap: quantile in (0, 1] of the users' numerators that heavier users are cut to; None: nobody is.
        tail: of a quantile's metric, the control's share beyond it: there a relative margin moves the treatment's
            threshold, and not the share.
    """

    name: str
    numerator: str
    denominator: str
    worse: Literal["lower", "higher"]
    role: Role = "watch"
    relative_margin: float | None = None
    absolute_margin: float | None = None
    cap: float | None = None
    tail: float | None = None


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("thumbs_up_rate", "ups", "votes", "lower"),
        Metric("error_rate", "failed", "requests", "higher"),
        Metric("latency_p95", "slow", "timed", "higher", tail=0.05),
        Metric("correction_rate", "corrected", "requests", "higher"),
        Metric("conversion_rate", "ups", "requests", "lower"),
    )
}


def find_metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        ExperimentError: there is none.
    """
    if name not in METRICS:
        raise ExperimentError(f"metric {name!r} of a guardrail is not known: known are {', '.join(METRICS)}")
    return METRICS[name]
