"""The shipped analysis over many runs and looks at once: the same functions, on arrays. `analyse` gives the same
figures (tests/benchmarks/test_calibration.py holds the two against each other)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.crowd import split_moments
from flytewheel.experiment.analysis.always_valid import bound_difference
from flytewheel.experiment.analysis.e_values import MIN_EVENTS, Weighing, choose_tau, log_e_value, weigh
from flytewheel.experiment.analysis.ratio import Moments, bound_variance, estimate_from_moments
from flytewheel.experiment.analysis.sequential import find_boundaries
from flytewheel.experiment.metrics import Metric

BURN_IN_USERS = 50
LEVEL = 0.95
ALPHA = 1 - LEVEL
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Primaries:
    """A primary at every look, all `(runs, looks)`; `told` says where anything may be said."""

    difference: NDArray[np.float64]
    variance: NDArray[np.float64]
    half: NDArray[np.float64]
    log_e_worse: NDArray[np.float64]
    told: Bools

    def misses(self, truth: float) -> Bools:
        """Where the interval does not hold the true difference."""
        missed: Bools = self.told & (np.abs(self.difference - truth) > self.half)
        return missed

    def worse(self) -> Bools:
        """Where it is called worse than the control."""
        called: Bools = self.told & (self.log_e_worse >= -math.log(ALPHA / 2))
        return called


def weigh_guardrail(metric: Metric, moments: NDArray[np.float64]) -> Weighing:
    """A guardrail at every look; moments are `(runs, 6, looks, 2)`."""
    arms = split_moments(moments)
    (before, variance_before), (after, variance_after) = (estimate_from_moments(arm) for arm in arms)
    return weigh(
        metric,
        (before, after),
        (variance_before, variance_after),
        (np.asarray(arms[0].users), np.asarray(arms[1].users)),
        (np.asarray(arms[0].n), np.asarray(arms[1].n)),
        burn_in_users=BURN_IN_USERS,
        confidence_level=LEVEL,
    )


def weigh_primary(metric: Metric, moments: NDArray[np.float64]) -> Primaries:
    """A primary of one stage at every look; moments are `(runs, 6, looks, 2)`."""
    arms = split_moments(moments)
    (before, variance_before), (after, variance_after) = (estimate_from_moments(arm) for arm in arms)
    totals = (np.asarray(arms[0].n), np.asarray(arms[1].n))
    told = _are_told(arms)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.asarray(bound_variance((before, after), (variance_before, variance_after), totals, share=True))
        told &= np.isfinite(variance) & (variance > 0)
        tau = choose_tau((metric.relative_margin or 0.05) * before, ALPHA)
        difference = after - before
        half = np.asarray(bound_difference(variance, tau=tau, alpha=ALPHA))
        toward_bad = -1.0 if metric.worse == "lower" else 1.0
        log_e = np.asarray(log_e_value(toward_bad * difference / np.sqrt(variance), 1 / variance, tau))
    return Primaries(difference, variance, half, log_e, told)


def _are_told(arms: tuple[Moments, Moments]) -> Bools:
    told = np.ones(np.shape(arms[0].n), dtype=bool)
    for arm in arms:
        x, n = np.asarray(arm.x), np.asarray(arm.n)
        told &= (np.asarray(arm.users) >= BURN_IN_USERS) & (np.minimum(x, n - x) >= MIN_EVENTS)
    return told


def are_better(primaries: Primaries, planned: slice, looks: int) -> Bools:
    """Which runs are called better at one of their planned looks; `(runs,)`."""
    z = primaries.difference[:, planned] / np.sqrt(primaries.variance[:, planned])
    told = primaries.told[:, planned]
    information = 1 / primaries.variance[:, planned]
    called = np.zeros(len(z), dtype=bool)
    for run in np.flatnonzero((told & (z > 1.95)).any(axis=1)):  # no boundary lies below a single look's 1.96
        taken = np.flatnonzero(told[run])
        bounds = find_boundaries(information[run, taken], (taken + 1) / looks, alpha=ALPHA / 2, two_sided=False)
        called[run] = bool((z[run, taken] >= bounds).any())
    return called


def are_called_apart_by_t_test(moments: NDArray[np.float64], planned: slice) -> Bools:
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
