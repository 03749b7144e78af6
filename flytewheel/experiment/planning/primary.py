"""Power of the primary metric, stage by stage: it is read at each stage's end, of all stages so far.

Information of strata adds up (inverse-variance weights); the boundaries spend α over it as O'Brien and Fleming did
(`analysis.sequential`), two-sided. An effect counts as found where the boundary of its own side is crossed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flytewheel.experiment.analysis.e_values import PLANNED_POWER
from flytewheel.experiment.analysis.sequential import find_boundaries
from flytewheel.experiment.metrics import Metric
from flytewheel.experiment.planning.passage import find_passage
from flytewheel.experiment.planning.traffic import Baseline, Traffic, count_denominators, user_variance

_BISECTIONS = 40


@dataclass(frozen=True, slots=True)
class PrimaryStage:
    """The primary at the end of a stage, `days` after the opening. `boundary` is the |z| asked for, `standard_error`
    that of all stages so far, `mde` the difference (in the metric's units) that is found by then with 80 %, `None`
    where no difference is.
    """

    stage: int
    days: float
    information_share: float
    standard_error: float
    boundary: float
    mde: float | None


def plan_primary(
    metric: str, traffic: Traffic, stages: Sequence[tuple[float, float]], *, alpha: float
) -> tuple[tuple[PrimaryStage, ...], str]:
    """The primary by stage, and why there is nothing to say where there is not.

    Args:
        metric: of the recipe.
        traffic: with its baseline.
        stages: share and days of each.
        alpha: of both sides.
    """
    if metric not in traffic.baselines:
        return (), f"no baseline of the primary metric {metric}: give --baseline {metric}=RATE"
    if metric in traffic.metrics and traffic.metrics[metric].tail is not None:
        return (), f"{metric} is a quantile: it guards, and is no primary"
    information = inform(metric, traffic, stages)
    if information[-1] <= 0:
        return (), f"{metric} does not vary at a rate of {traffic.baselines[metric].rate:g}"
    bounds = find_boundaries(information, [each / information[-1] for each in information], alpha=alpha)
    days = np.cumsum([each for _, each in stages])
    return tuple(
        PrimaryStage(
            number,
            float(days[number]),
            now / information[-1],
            1 / math.sqrt(now),
            bounds[number],
            _find_mde(metric, traffic, stages[: number + 1], bounds[: number + 1]),
        )
        for number, now in enumerate(information)
    ), ""


def inform(metric: str, traffic: Traffic, stages: Sequence[tuple[float, float]], effect: float = 0.0) -> list[float]:
    """1/SE² of the difference at the end of each stage, of all stages so far; the treatment is better by `effect`."""
    baseline, total, found = traffic.find_baseline(metric), 0.0, []
    better = improve(traffic.metrics.get(metric), baseline, effect)
    for share, days in stages:
        users = traffic.count_users(days)
        counted = count_denominators(traffic, baseline, days)
        variance = user_variance(baseline, baseline.rate, counted) / (users * (1 - share))
        variance += user_variance(baseline, better, counted) / (users * share)
        total += 1 / variance if variance > 0 else 0.0
        found.append(total)
    return found


def improve(metric: Metric | None, baseline: Baseline, effect: float) -> float:
    """The treatment's rate where it is better by `effect`."""
    rate = baseline.rate + (-effect if metric is not None and metric.worse == "higher" else effect)
    return rate if baseline.user_variance is not None else min(max(rate, 0.0), 1.0)


def find_power(
    metric: str, traffic: Traffic, stages: Sequence[tuple[float, float]], bounds: Sequence[float], effect: float
) -> float:
    """The probability that a treatment which is better by `effect` is found to be, by the end of these stages."""
    information = inform(metric, traffic, stages, effect)
    passage = find_passage(information, abs(effect), [-bound for bound in bounds], list(bounds))
    return float(passage.above.sum())


def _find_mde(
    metric: str, traffic: Traffic, stages: Sequence[tuple[float, float]], bounds: Sequence[float]
) -> float | None:
    baseline = traffic.find_baseline(metric)
    high = (bounds[-1] + 4) / math.sqrt(inform(metric, traffic, stages)[-1])
    if baseline.user_variance is None:  # the room that a share has
        high = min(high, abs(improve(traffic.metrics.get(metric), baseline, 2.0) - baseline.rate))
    low = 0.0
    if find_power(metric, traffic, stages, bounds, high) < PLANNED_POWER:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        finds = find_power(metric, traffic, stages, bounds, middle) >= PLANNED_POWER
        low, high = (low, middle) if finds else (middle, high)
        if high - low < 1e-3 * high:
            break
    return high
