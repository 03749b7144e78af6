"""Decides what a metric is: a ratio of two of a user's counters, which direction is bad, and what it is used for.

Counters and the metrics that need no declaring are the recipe's vocabulary (flytewheel/recipe/metrics.py); a recipe
adds own ones, and gives roles, margins and caps.

An answer counts for the arm that its user was *assigned*, also where the control answered in its place. "The
treatment's p95 is at most 5 % slower" is `latency_p95` with a relative margin of 0.05: P(T > 1.05·q) ≤ P(C > q), for
whatever q; shares rather than quantiles, so that the variance and the test of the other metrics hold for it, with the
margin inside the threshold. q is the 95 % quantile of the control's latencies when its burn-in was over, and frozen
from then on: at the boundary, where the treatment is the control slowed by just the margin, both shares are equal at
any q, and only how many answers lie beyond depends on it. A q that followed the data would move the sums of everyone
at every look (and by Bahadur's representation (1966) err with the control: 13 % and not 5 % on either side where the
treatment's tail is twice as dense, simulated). A request that no arm could answer leaves no interaction, hence no
error here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flytewheel.errors import ExperimentError
from flytewheel.recipe import AbTestingSpec, Guardrail, MetricSpec
from flytewheel.recipe.metrics import BUILT_IN, Worse
from flytewheel.recipe.metrics import Role as Role

# Counters that count a part of another's answers: their ratio lies in [0, 1].
_PARTS = {
    ("ups", "votes"), ("downs", "votes"), ("slow", "timed"), ("first_slow", "first_timed"), ("grounded", "checked"),
    ("unsupported", "spans"),
}  # fmt: skip
_UNBOUNDED = {"tokens", "rating_sum", "reward_sum", "spans", "unsupported"}


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
    worse: Worse
    role: Role = "watch"
    relative_margin: float | None = None
    absolute_margin: float | None = None
    cap: float | None = None
    tail: float | None = None

    @property
    def is_share(self) -> bool:
        """Whether it lies in [0, 1] by its making: answers of some kind among answers."""
        pair = (self.numerator, self.denominator)
        return pair in _PARTS or (self.denominator == "requests" and self.numerator not in _UNBOUNDED)


METRICS: Mapping[str, Metric] = {
    name: Metric(name, plain.numerator, plain.denominator, plain.worse, tail=plain.tail)
    for name, plain in BUILT_IN.items()
}


def find_metric(name: str) -> Metric:
    """The built-in metric of this name.

    Raises:
        ExperimentError: there is none.
    """
    if name not in METRICS:
        raise ExperimentError(f"metric {name!r} of a guardrail is not known: known are {', '.join(METRICS)}")
    return METRICS[name]


def declare_guardrail(guardrail: Guardrail, declared: Mapping[str, Metric] | None = None) -> Metric:
    """The metric of a recipe's guardrail, with its margin; `declared` are the recipe's own.

    Raises:
        ExperimentError: the metric is not known.
    """
    return replace(
        (declared or {}).get(guardrail.metric) or find_metric(guardrail.metric),
        role="guardrail",
        relative_margin=guardrail.relative_margin,
        absolute_margin=guardrail.absolute_margin,
    )


def declare_metrics(ab_testing: AbTestingSpec) -> tuple[Metric, ...]:
    """Everything that a recipe measures: its primaries, its guardrails, and what it watches.

    A metric that is both primary and guardrail comes twice, once in each role, with the guardrail's margin.
    """
    declared = {spec.name: _declare(spec) for spec in ab_testing.metrics}
    guarded = {guardrail.metric: declare_guardrail(guardrail, declared) for guardrail in ab_testing.guarded}
    known = {**METRICS, **declared, **guarded}
    return (
        *(replace(known[name], role="primary") for name in ab_testing.primaries),
        *guarded.values(),
        *(metric for metric in declared.values() if metric.role == "watch"),
    )


def _declare(spec: MetricSpec) -> Metric:
    plain = METRICS.get(spec.name)
    if plain is None:
        assert spec.numerator
        assert spec.denominator
        assert spec.worse  # the recipe refuses an own metric without
        plain = Metric(spec.name, spec.numerator, spec.denominator, spec.worse)
    return replace(
        plain,
        role=spec.role,
        relative_margin=spec.relative_margin,
        absolute_margin=spec.absolute_margin,
        cap=spec.cap,
    )
