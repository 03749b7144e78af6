"""Intervals for a candidate, a champion and their difference, by a paired bootstrap over users.

The unit is the user: one person's rows resemble each other, and resampling rows gives intervals that are far too short.
Users are drawn with replacement, both models are read on the same draw, and every metric is a function of summed
per-user columns, so that a ratio such as perplexity keeps its weights. Percentile intervals, with the tails widened for
few users (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4): the
"expanded" percentile interval, which replaces alpha/2 by Phi(-sqrt(n/(n-1)) t_{1-alpha/2, n-1})); simulated coverage in
tests/evaluation/test_bootstrap.py. Fewer than two users, or a figure that is not finite, gives an unknown interval,
never a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from flytewheel.records import Interval

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_CELLS = 4_000_000  # weights held at once, 32 MB


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of both models. `difference` is candidate minus champion; `rows` were scored, of `users` (units) in
    all. `lower_is_better` is said of figures that only the recipe names; of the others `report` knows it."""

    candidate: Interval
    champion: Interval
    difference: Interval
    rows: int
    users: int
    lower_is_better: bool = False


def ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """First column over second: (..., 2) to (...)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def exponential_ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp of the first column over the second: nats and tokens to perplexity."""
    with np.errstate(over="ignore"):
        return np.exp(ratio(sums))


def compare_by_user(
    units: Sequence[str],
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64],
    statistic: Statistic,
    *,
    samples: int,
    level: float,
    seed: int,
) -> Comparison:
    """Estimates both models and their difference with intervals.

    Args:
        units: (rows,) whose row it is: the user.
        candidate: (rows, columns) figures that may be summed.
        champion: The same rows in the same order.
        statistic: Maps sums (..., columns) to the metric (...).
        samples: Resamples of the users.
        level: Of the two-sided intervals, in (0.5, 1).
        seed: Decides the resamples, whatever the order of the rows.
    """
    names = sorted(set(units))
    if len(names) < 2:
        unknown = Interval(None, None, None, level)
        return Comparison(unknown, unknown, unknown, len(units), len(names))
    ours, theirs = sum_by_unit(units, names, candidate), sum_by_unit(units, names, champion)
    rng = np.random.default_rng(seed)
    draws: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    share = np.full(len(names), 1 / len(names))
    step = max(1, _CELLS // len(names))
    with np.errstate(invalid="ignore"):
        for start in range(0, samples, step):
            weights = rng.multinomial(len(names), share, size=min(step, samples - start)).astype(np.float64)
            draws[0].append(statistic(weights @ ours))
            draws[1].append(statistic(weights @ theirs))
        drawn_ours, drawn_theirs = np.concatenate(draws[0]), np.concatenate(draws[1])
        ours_now, theirs_now = statistic(ours.sum(axis=0)), statistic(theirs.sum(axis=0))
        return Comparison(
            _interval(ours_now, drawn_ours, level, len(names)),
            _interval(theirs_now, drawn_theirs, level, len(names)),
            _interval(ours_now - theirs_now, drawn_ours - drawn_theirs, level, len(names)),
            len(units),
            len(names),
        )


def sum_by_unit(units: Sequence[str], names: Sequence[str], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums rows (rows, columns) into (names, columns)."""
    place = {name: index for index, name in enumerate(names)}
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, [place[unit] for unit in units], rows)
    return sums


def _interval(estimate: NDArray[np.float64], drawn: NDArray[np.float64], level: float, units: int) -> Interval:
    if not (np.isfinite(estimate).all() and np.isfinite(drawn).all()):
        return Interval(None, None, None, level)
    tail = expanded_tail(level, units)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high), level)


@lru_cache(maxsize=64)
def expanded_tail(level: float, units: int) -> float:
    """Share of resamples beyond each end of an interval at `level` from `units` units: alpha/2, less when they are
    few."""
    quantile = student_quantile(1 - (1 - level) / 2, units - 1)
    return NormalDist().cdf(-math.sqrt(units / (units - 1)) * quantile)


@lru_cache(maxsize=256)
def student_quantile(probability: float, freedom: int) -> float:
    """Student's t quantile above the median by bisection; the normal one from 1,000 degrees of freedom on."""
    if freedom >= 1000:
        return NormalDist().inv_cdf(probability)
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _student_cdf(t: float, freedom: int) -> float:
    """P(T <= t) for t >= 0 and whole degrees of freedom, a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2 == 1
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for power in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + inside) / 2
