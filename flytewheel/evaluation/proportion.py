"""Intervals of rates, where a bootstrap alone knows too little: near 0 and 1, and where all rows say the same.

If every user of 22 prefers one answer, every resample does, and the percentile interval is [1, 1]: as if nobody could
ever disagree. So the interval of a rate reaches at least as far as Wilson's score interval (Wilson 1927, JASA 22: 209)
with Student's quantile and the effective number of rows that the bootstrap's own width implies (Korn & Graubard 1998,
Survey Methodology 24: 193). That width counts as no less than what one more user of the other opinion would bring:
with n users all of one mind, the effective number is about n, whatever rows each has. In the middle the two intervals
are nearly the same. Coverage by simulation: tests/evaluation/test_proportion.py and `python -m benchmarks.gate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flytewheel.evaluation.bootstrap import Comparison, Statistic, ratio, student_quantile
from flytewheel.evaluation.measure import Compare, share
from flytewheel.records import Interval


def compare_shares(units: Sequence[str], values: Any, compare: Compare) -> Comparison:
    """The mean of values in [0, 1], one a row, against its complement."""
    return compare_rates(units, share(values), ratio, compare, users=len(set(units)))


def compare_rates(
    units: Sequence[str], columns: Any, statistic: Statistic, compare: Compare, *, users: int
) -> Comparison:
    """A rate against its complement: candidate p, champion 1 - p, difference 2 p - 1.

    Args:
        units: (rows,) whose row it is: the user.
        columns: (rows, columns) figures that may be summed.
        statistic: Maps their sums to the rate.
        compare: Draws the resamples.
        users: Who bear the rate's uncertainty, at most as many as there are.
    """
    found = compare(units, columns, columns, statistic=statistic)
    rate = widen(found.candidate, users)
    if rate.estimate is None or rate.low is None or rate.high is None:
        return Comparison(rate, rate, rate, found.rows, found.users)
    other = Interval(1 - rate.estimate, 1 - rate.high, 1 - rate.low, rate.level)
    gap = Interval(2 * rate.estimate - 1, 2 * rate.low - 1, 2 * rate.high - 1, rate.level)
    return Comparison(rate, other, gap, found.rows, found.users)


def widen(interval: Interval, users: int) -> Interval:
    """The interval of a rate, no narrower than Wilson's; unknown where it is, or of fewer than two users."""
    if interval.estimate is None or interval.low is None or interval.high is None or users < 2:
        return Interval(None, None, None, interval.level)
    rate = min(max(interval.estimate, 0.0), 1.0)
    quantile = student_quantile(1 - (1 - interval.level) / 2, users - 1)
    inside = min(max(rate, 1 / (users + 1)), users / (users + 1))
    error = max((interval.high - interval.low) / (2 * quantile), max(inside, 1 - inside) / (users + 1))
    effective = inside * (1 - inside) / error**2
    pull = quantile**2 / effective
    centre = (rate + pull / 2) / (1 + pull)
    half = quantile / (1 + pull) * math.sqrt(rate * (1 - rate) / effective + pull / (4 * effective))
    low, high = min(interval.low, centre - half, rate), max(interval.high, centre + half, rate)
    return Interval(rate, float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)), interval.level)
