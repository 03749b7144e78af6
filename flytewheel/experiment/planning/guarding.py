"""What one guardrail will say in one stage: cleared or harm by which day, and the smallest harm that it finds.

The same e-values, margins, mixture scale and burn-in as `guardrails.judge`, with the information that the traffic is
expected to bring by each look instead of what it has brought.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from flytewheel.errors import ExperimentError
from flytewheel.experiment.analysis.e_values import MIN_EVENTS, choose_tau, plan_effect
from flytewheel.experiment.metrics import Metric
from flytewheel.experiment.planning.passage import Floats, find_boundaries, find_passage
from flytewheel.experiment.planning.traffic import Baseline, Traffic, count_denominators, user_variance
from flytewheel.recipe import Guardrail

_BISECTIONS = 24
_MANY_TIMES = 20.0  # of a quantile or a mean: the largest harm that is looked for


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every guardrail of a design; times in days."""

    burn_in_users: int
    confidence_level: float
    dwell_days: float


@dataclass(frozen=True, slots=True)
class Course:
    """Probabilities by each look, `(looks,)`: that it has cleared the stage, and that it has found harm."""

    cleared: Floats
    harm: Floats


@dataclass(frozen=True, slots=True)
class _Setting:
    """A guardrail in its own terms: δ₀, the effect planned for, and the rates of both arms."""

    size: float
    planned: float
    control: float
    treatment: float
    limit_rate: float
    toward_bad: float
    pull: float = 1.0  # of the control's own error on the treatment's rate


def follow(
    guardrail: Guardrail, traffic: Traffic, rules: Rules, *, share: float, looks: Sequence[float], harm: float = 0.0
) -> Course:
    """What the guardrail will have said by each look.

    Args:
        guardrail: metric and margin.
        traffic: with a baseline of the metric.
        rules: burn-in, level and dwell.
        share: the treatment's, in (0, 1).
        looks: days since the stage began, growing.
        harm: how much worse the treatment is: in the margin's unit (a part of the control's rate or quantile, or
            points). 0: as good as the control.
    """
    baseline = traffic.find_baseline(guardrail.metric)
    setting = _settle(guardrail, traffic.metrics[guardrail.metric], baseline, harm)
    alpha = 1 - rules.confidence_level
    tau, limit = choose_tau(setting.planned, alpha), -math.log(alpha)
    foreseen = [_foresee(guardrail, traffic, baseline, setting, share, days, rules.burn_in_users) for days in looks]
    information = np.array([1 / variance for variance, _, _ in foreseen])
    # The test's variance is an upper bound of what D really has; z is drawn in that, so its boundary is farther away.
    real = np.array([1 / variance for _, variance, _ in foreseen])
    bounds = find_boundaries(information, float(tau), limit) * np.sqrt(real / information)
    bounds = np.where([ready for _, _, ready in foreseen], bounds, math.inf)
    below = np.where(np.asarray(looks) >= rules.dwell_days - 1e-9, -bounds, -math.inf)
    drift = setting.toward_bad * (setting.treatment - setting.control) - setting.size
    passage = find_passage(real.tolist(), drift, below.tolist(), bounds.tolist())
    return Course(np.cumsum(passage.below), np.cumsum(passage.above))


def find_detectable(
    guardrail: Guardrail, traffic: Traffic, rules: Rules, *, share: float, looks: Sequence[float], power: float
) -> float | None:
    """The smallest harm, in the margin's unit, that is found by the last look with this probability."""
    baseline = traffic.find_baseline(guardrail.metric)
    least = (guardrail.relative_margin or guardrail.absolute_margin or 0.0) * 1.0001
    most = _find_most(guardrail, traffic.metrics[guardrail.metric], baseline)

    def finds(harm: float) -> bool:
        found = follow(guardrail, traffic, rules, share=share, looks=looks, harm=harm)
        return bool(found.harm[-1] >= power)

    if not finds(most):
        return None
    low, high = least, most
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
        low, high = (low, middle) if finds(middle) else (middle, high)
        if high - low < 0.01 * high:
            break
    return high


def _find_most(guardrail: Guardrail, metric: Metric, baseline: Baseline) -> float:
    if metric.tail is not None:
        return _MANY_TIMES
    above = _MANY_TIMES * baseline.rate if baseline.user_variance is not None else 0.999 * (1 - baseline.rate)
    room = 0.999 * baseline.rate if metric.worse == "lower" else above
    return room / baseline.rate if guardrail.relative_margin is not None else room


def _settle(guardrail: Guardrail, metric: Metric, baseline: Baseline, harm: float) -> _Setting:
    toward_bad = -1.0 if metric.worse == "lower" else 1.0
    if metric.tail is not None:
        margin = guardrail.relative_margin or 0.0
        normal = NormalDist()
        place = normal.inv_cdf(1 - metric.tail)
        apart = (math.log1p(margin) - math.log1p(harm)) / baseline.spread
        beyond = 1 - normal.cdf(place + apart)
        pull = normal.pdf(place + apart) / normal.pdf(place)
        return _Setting(0.0, plan_effect(metric.tail, margin), metric.tail, beyond, metric.tail, toward_bad, pull)
    rate = baseline.rate
    unit = rate if guardrail.relative_margin is not None else 1.0
    margin = guardrail.relative_margin if guardrail.relative_margin is not None else guardrail.absolute_margin or 0.0
    size = margin * unit
    if size <= 0:
        raise ExperimentError(
            f"guardrail {guardrail.metric}: its margin is zero at a rate of {rate:g}; an absolute_margin would not be"
        )
    treatment = min(max(rate + toward_bad * harm * unit, 0.0), 1.0 if baseline.user_variance is None else math.inf)
    return _Setting(size, size, rate, treatment, rate + toward_bad * size, toward_bad)


def _foresee(
    guardrail: Guardrail,
    traffic: Traffic,
    baseline: Baseline,
    setting: _Setting,
    share: float,
    days: float,
    burn_in_users: int,
) -> tuple[float, float, bool]:
    """After so many days: the variance that the test goes by, the one that D has, and whether burn-in is over.

    A quantile's threshold comes from the control. Its error moves the treatment's share by `pull` times what it moves
    the control's (metrics, on Bahadur): 1 at the margin, where the test's variance is right, and less where it clears.
    """
    counted = count_denominators(traffic, baseline, days)
    users = traffic.count_users(days)
    control, treated = users * (1 - share), users * share
    limit = setting.limit_rate
    floor = limit * (1 - limit) / (treated * counted.mean) if baseline.user_variance is None else 0.0
    of_control = user_variance(baseline, setting.control, counted) / control
    of_treated = user_variance(baseline, setting.treatment, counted) / treated
    tested = of_control + max(of_treated, floor)
    real = max(setting.pull**2 * of_control + of_treated, 1e-6 * tested)
    least_users = min(control, treated) * min(1.0, counted.mean)  # those without a denominator are left out
    if baseline.user_variance is not None:
        return tested, real, least_users >= burn_in_users
    rarer = min(limit, 1 - limit)
    quantile = traffic.metrics[guardrail.metric].tail is not None
    events = (min(control, treated) if quantile else treated) * counted.mean * rarer
    return tested, real, least_users >= burn_in_users and rarer > 0 and events >= MIN_EVENTS
