"""The shipped analysis over many runs and looks at once: the same functions, on arrays. `analyse` gives the same
figures (tests/benchmarks/test_calibration.py holds the two against each other)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.crowd import FIELDS, Bools, Floats, split_moments
from flytewheel.experiment.analysis.always_valid import bound_difference
from flytewheel.experiment.analysis.e_values import MIN_EVENTS, Weighing, choose_tau, log_e_value, size_margin, weigh
from flytewheel.experiment.analysis.ratio import bound_variance, estimate_from_moments
from flytewheel.experiment.analysis.sequential import find_boundaries
from flytewheel.experiment.metrics import Metric

BURN_IN_USERS = 50
LEVEL = 0.95
ALPHA = 1 - LEVEL
Pair = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Read:
    """Both arms at every look; pairs are (control, treatment), each `(runs, looks)`. `variance` is the difference's,
    never below that of independent requests; `events` `(2, 2, runs, looks)` by kind (good, not good) and arm.
    """

    rates: Pair
    variances: Pair
    users: Pair
    totals: Pair
    events: Floats
    difference: Floats
    variance: Floats


def compare_arms(moments: Floats) -> Read:
    """Reads moments `(runs, 6, looks, 2)`; a seventh row is Σw²N of weighted sums: totals are then effective ones."""
    arms = split_moments(moments)
    (before, variance_before), (after, variance_after) = (estimate_from_moments(arm) for arm in arms)
    x, n = (np.stack([np.asarray(getattr(arm, name)) for arm in arms]) for name in ("x", "n"))
    users = (np.asarray(arms[0].users), np.asarray(arms[1].users))
    with np.errstate(divide="ignore", invalid="ignore"):
        if moments.shape[1] > FIELDS:
            total = n * n / np.moveaxis(moments[:, FIELDS], -1, 0)
            x, n = x / n * total, total
        variance = bound_variance((before, after), (variance_before, variance_after), (n[0], n[1]), share=True)
    return Read(
        (before, after),
        (variance_before, variance_after),
        users,
        (n[0], n[1]),
        np.stack([x, n - x]),
        after - before,
        np.asarray(variance),
    )


@dataclass(frozen=True, slots=True)
class Primaries:
    """A primary at every look, all `(runs, looks)`; `told` says where anything may be said."""

    difference: Floats
    variance: Floats
    half: Floats
    log_e_worse: Floats
    told: Bools

    def misses(self, truth: float) -> Bools:
        """Where the interval does not hold the true difference."""
        missed: Bools = self.told & (np.abs(self.difference - truth) > self.half)
        return missed

    def worse(self, alpha: float = ALPHA) -> Bools:
        """Where it is called worse than the control, with half of `alpha`."""
        called: Bools = self.told & (self.log_e_worse >= -math.log(alpha / 2))
        return called


def weigh_guardrail(metric: Metric, moments: Floats) -> Weighing:
    """A guardrail at every look; moments are `(runs, 6, looks, 2)`."""
    read = compare_arms(moments)
    return weigh(
        metric,
        read.rates,
        read.variances,
        read.users,
        read.totals,
        burn_in_users=BURN_IN_USERS,
        confidence_level=LEVEL,
    )


def misses_guardrail(metric: Metric, moments: Floats, truth: float) -> Bools:
    """Where a guardrail's always-valid interval does not hold the true difference."""
    weighed = weigh_guardrail(metric, moments)
    control = np.asarray(compare_arms(moments).rates[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = choose_tau(size_margin(metric, control)[1], ALPHA)
        half = bound_difference(weighed.variance, tau=tau, alpha=ALPHA)
        missed: Bools = (weighed.held < 0) & (np.abs(weighed.difference - truth) > half)
    return missed


def weigh_primary(metric: Metric, moments: Floats) -> Primaries:
    """A primary of one stage at every look; moments are `(runs, 6, looks, 2)`."""
    read = compare_arms(moments)
    told = (np.asarray(read.users) >= BURN_IN_USERS).all(axis=0) & are_told(read.events)
    return fill_primary(metric, read.rates[0], read.difference, read.variance, told)


def are_told(events: Floats) -> Bools:
    """Where both arms have enough events of either kind."""
    enough: Bools = (events >= MIN_EVENTS).all(axis=(0, 1))
    return enough


def fill_primary(metric: Metric, control: Floats, difference: Floats, variance: Floats, told: Bools) -> Primaries:
    """Interval and evidence of differences; `control` is the present stage's rate, by which τ goes."""
    toward_bad = -1.0 if metric.worse == "lower" else 1.0
    told = told & np.isfinite(variance) & (variance > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        planned = metric.absolute_margin or (metric.relative_margin or 0.05) * control
        tau = choose_tau(planned, ALPHA)
        half = np.asarray(bound_difference(variance, tau=tau, alpha=ALPHA))
        log_e = np.asarray(log_e_value(toward_bad * difference / np.sqrt(variance), 1 / variance, tau))
    return Primaries(difference, variance, half, log_e, told)


def find_better(primaries: Primaries, planned: Sequence[int], looks: int, good: float = 1.0) -> Bools:
    """Which runs are called better at one of their planned looks, `planned` in the order of time; `(runs,)`."""
    z = good * primaries.difference[:, planned] / np.sqrt(primaries.variance[:, planned])
    told = primaries.told[:, planned]
    information = 1 / primaries.variance[:, planned]
    called = np.zeros(len(z), dtype=bool)
    for run in np.flatnonzero((told & (z > 1.95)).any(axis=1)):  # no boundary lies below a single look's 1.96
        taken = np.flatnonzero(told[run])
        bounds = find_boundaries(information[run, taken], (taken + 1) / looks, alpha=ALPHA / 2, two_sided=False)
        called[run] = bool((z[run, taken] >= bounds).any())
    return called


def pool_stages(moments: Floats, ends: Sequence[int]) -> Floats:
    """Moments over all stages together, as if they were one: what the reference design looks at."""
    pooled = moments.copy()
    for end, following in zip(ends, [*ends[1:], moments.shape[2]], strict=True):
        pooled[:, :, end:following] += pooled[:, :, end - 1, None]
    return pooled


def are_called_apart_by_t_test(moments: Floats, planned: slice) -> Bools:
    """The reference design: a t-test on every response, looked at daily until it says something; `(runs,)`."""
    control, treatment = split_moments(moments[:, :, planned])
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = [np.asarray(arm.x) / np.asarray(arm.n) for arm in (control, treatment)]
        spreads = [
            rate * (1 - rate) / (np.asarray(arm.n) - 1) for rate, arm in zip(rates, (control, treatment), strict=True)
        ]
        z = (rates[1] - rates[0]) / np.sqrt(spreads[0] + spreads[1])
    called: Bools = (np.abs(z) > 1.96).any(axis=1)
    return called
