"""One-sided e-values of a difference against a margin, valid however often one looks; for one look or arrays of them.

The likelihood ratio of D ~ N(δ, SE²) mixed over δ − δ₀ ~ half-normal(τ): with I = 1/SE², z = (D − δ₀)/SE and
a² = τ²I/(1 + τ²I), E = 2·(1 + τ²I)^(−½)·exp(a²z²/2)·Φ(az) (Robbins 1970; Johari, Pekelis and Walsh 2015; Howard et al.
2021). E ≥ 1/α happens with probability at most α while D's mean is on the wrong side, over all looks together (Ville).

τ is set before the data by the margin: τ² = c/I*, c = −2 ln α + ln(1 − 2 ln α), I* half the planned information,
planned being what finds a difference of one margin with 80 % power, ((z₁₋α + z₀.₈)/δ₀)². So τ = 1.6·δ₀ at 95 %.

`weigh` is all of a guardrail's arithmetic; `guardrails.judge` words it and says what a look may tell from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from flytewheel.experiment.analysis.records import Floats
from flytewheel.experiment.metrics import Metric

MIN_EVENTS = 10.0  # of the rarer kind, expected at the margin
PLANNED_POWER = 0.8
PLANNED_SPREAD = 0.5  # σ of the logarithm of latencies

# What keeps a look from telling, in the order in which it is asked; `weigh` gives the place, −1 where nothing does.
ZERO_MARGIN, BURN_IN, OUT_OF_RANGE, FEW_EVENTS, ZERO_VARIANCE = range(5)


@dataclass(frozen=True, slots=True)
class Weighing:
    """A guardrail's figures; each of one shape. `held` is the place of what keeps it from telling, −1: nothing."""

    difference: NDArray[np.float64]
    margin: NDArray[np.float64]
    expected: NDArray[np.float64]
    variance: NDArray[np.float64]
    log_e_harm: NDArray[np.float64]
    log_e_cleared: NDArray[np.float64]
    held: NDArray[np.int64]

    def harmed(self, confidence_level: float) -> NDArray[np.bool_]:
        """Where the treatment is credibly worse than the margin allows."""
        return (self.held < 0) & (self.log_e_harm >= -math.log(1 - confidence_level))

    def cleared(self, confidence_level: float) -> NDArray[np.bool_]:
        """Where it is credibly not worse than that."""
        return (self.held < 0) & (self.log_e_cleared >= -math.log(1 - confidence_level))


def log_e_value(z: Floats, information: Floats, tau: Floats) -> Floats:
    """ln E of the one-sided mixture; `z` counts standard errors beyond the null, `information` is 1/SE²."""
    scale = tau * tau * information
    a_squared = scale / (1 + scale)
    log_e: Floats = math.log(2) - 0.5 * np.log1p(scale) + 0.5 * a_squared * z * z + log_ndtr(np.sqrt(a_squared) * z)
    return log_e


def choose_tau(margin: Floats, alpha: float) -> Floats:
    """The mixture's scale τ, in the metric's units, for a margin (its size) and a level."""
    normal = NormalDist()
    planned = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(PLANNED_POWER)) ** 2
    c = -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
    return abs(margin) * math.sqrt(c / (planned / 2))


def plan_effect(tail: float, margin: float) -> float:
    """How far apart identical arms are in a quantile's metric, whose relative `margin` moved one threshold."""
    normal = NormalDist()
    place = normal.inv_cdf(tail)
    return normal.cdf(place) - normal.cdf(place - math.log1p(margin) / PLANNED_SPREAD)


def size_margin(metric: Metric, control: Floats) -> tuple[Floats, Floats]:
    """The margin's size δ₀ at this control rate, and the difference that the mixture is planned for."""
    if metric.tail is not None:
        return np.zeros_like(control), np.full_like(control, plan_effect(metric.tail, metric.relative_margin or 0.0))
    if metric.absolute_margin is not None:
        return np.full_like(control, metric.absolute_margin), np.full_like(control, metric.absolute_margin)
    size = (metric.relative_margin or 0.0) * np.abs(control)
    return size, size


def weigh(
    metric: Metric,
    estimates: tuple[Floats, Floats],
    variances: tuple[Floats, Floats],
    users: tuple[Floats, Floats],
    totals: tuple[Floats, Floats],
    *,
    burn_in_users: int,
    confidence_level: float,
    share: bool = True,
    shift: Floats = 0.0,
) -> Weighing:
    """Weighs a guardrail; every pair is (control, treatment), of numbers or of arrays of one shape.

    Args:
        metric: direction, margin, and tail of a quantile's.
        estimates: ratios of the arms, finite.
        variances: theirs, by user; NaN where fewer than two users give none.
        users: users of each arm.
        totals: denominators of each arm.
        burn_in_users: users an arm below which nothing is said.
        confidence_level: 1 − α of each side.
        share: the metric counts events in [0, 1], so that 10 of the rarer kind are asked for and the treatment's
            variance is never taken below that of independent requests at the margin's rate, as a score test has it.
        shift: what is taken off the difference (CUPED's part), in the metric's units.
    """
    before, after = (np.asarray(estimate, dtype=float) for estimate in estimates)
    toward_bad = -1.0 if metric.worse == "lower" else 1.0
    size, planned = size_margin(metric, before)
    # A quantile's threshold comes from the control, so there must be requests beyond it, too.
    smaller = totals[1] if metric.tail is None else np.minimum(totals[0], totals[1])
    difference = after - before - shift
    at_margin = before + toward_bad * size
    rarer = np.minimum(at_margin, 1 - at_margin)
    expected = smaller * rarer
    alpha = 1 - confidence_level
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        floor = at_margin * (1 - at_margin) / totals[1] if share else 0.0
        variance = variances[0] + np.maximum(variances[1], floor)
        beyond = (toward_bad * difference - size) / np.sqrt(variance)  # standard errors on the bad side of the margin
        tau = choose_tau(planned, alpha)
        log_e_harm = log_e_value(beyond, 1 / variance, tau)
        log_e_cleared = log_e_value(-beyond, 1 / variance, tau)
        told = np.isfinite(variance) & (variance > 0)
    few = np.minimum(users[0], users[1]) < max(2, burn_in_users)
    unknown = np.isnan(variances[0]) | np.isnan(variances[1])
    held = np.select(
        [planned <= 0, few | unknown, share & (rarer <= 0), share & (expected < MIN_EVENTS), ~told],
        [ZERO_MARGIN, BURN_IN, OUT_OF_RANGE, FEW_EVENTS, ZERO_VARIANCE],
        default=-1,
    )
    return Weighing(
        difference,
        toward_bad * size,
        expected,
        variance,
        np.asarray(log_e_harm, dtype=float),
        np.asarray(log_e_cleared, dtype=float),
        held,
    )
