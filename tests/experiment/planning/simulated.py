"""Traffic drawn user by user and request by request, counted and weighed as a tick does: what plans are held against.

A pool of U/r users, each there on a day with probability r; a user asks as often on every such day, votes on a part of
the answers, and votes up with a probability of their own (beta-distributed, so that votes of one user correlate by ρ).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flytewheel.experiment.analysis.e_values import weigh
from flytewheel.experiment.metrics import METRICS
from flytewheel.experiment.planning.guarding import Rules
from flytewheel.experiment.planning.traffic import Baseline, Traffic
from flytewheel.recipe import Guardrail

Floats = NDArray[np.float64]

LOOKS = [float(day) for day in range(1, 15)]
RULES = Rules(burn_in_users=50, confidence_level=0.95, dwell_days=1.0)
TRAFFIC = Traffic(
    150,
    0.25,
    3.0,
    2.0,
    {
        "thumbs_up_rate": Baseline(0.7, counted=0.4, correlation=0.2),
        "error_rate": Baseline(0.03, correlation=0.05),
        "latency_p95": Baseline(0.05, correlation=0.0, spread=0.5),
    },
)
THUMBS = Guardrail(metric="thumbs_up_rate", relative_margin=0.15)
ERRORS = Guardrail(metric="error_rate", absolute_margin=0.03)
SLOW = Guardrail(metric="latency_p95", relative_margin=0.2)


@dataclass(frozen=True)
class Seen:
    """What the looks of each run said: `(runs, looks)`."""

    cleared: NDArray[np.bool_]
    harmed: NDArray[np.bool_]
    z: Floats  # of the difference, in standard errors
    information: Floats


def simulate(
    guardrail: Guardrail,
    traffic: Traffic,
    *,
    share: float,
    days: int,
    runs: int,
    seed: int,
    harm: float = 0.0,
    burn_in_users: int = 50,
    level: float = 0.95,
) -> Seen:
    """Runs of one stage with a look at the end of each day."""
    chance = np.random.default_rng(seed)
    baseline = traffic.baselines[guardrail.metric]
    metric = replace(
        METRICS[guardrail.metric],
        relative_margin=guardrail.relative_margin,
        absolute_margin=guardrail.absolute_margin,
    )
    unit = baseline.rate if guardrail.relative_margin is not None else 1.0
    worse = baseline.rate + (-1 if metric.worse == "lower" else 1) * harm * unit
    pool = round(traffic.users_per_day / traffic.returning)
    treated = np.arange(pool) < round(pool * share)
    seen = [np.zeros((runs, days), dtype=bool), np.zeros((runs, days), dtype=bool)]
    z, information = np.zeros((runs, days)), np.zeros((runs, days))
    for start in range(0, runs, 100):
        some = slice(start, min(start + 100, runs))
        shape = (some.stop - some.start, pool)
        slow = metric.tail is not None
        rates = np.where(treated, worse, baseline.rate)
        own = draw_rates(chance, baseline, np.broadcast_to(rates, shape))
        asks = draw_requests(chance, traffic, shape)
        if slow:
            counted = _look_at_latencies(
                chance, traffic, baseline, treated, asks, days, harm, metric.relative_margin or 0
            )
        else:
            counted = _look_at_votes(chance, traffic, baseline, own, asks, days)
        for day, (x, n) in enumerate(counted):
            arms = [_estimate(x[:, arm], n[:, arm]) for arm in (~treated, treated)]
            pairs = list(zip(*arms, strict=True))
            found = weigh(
                metric, pairs[0], pairs[1], pairs[2], pairs[3], burn_in_users=burn_in_users, confidence_level=level
            )
            seen[0][some, day], seen[1][some, day] = found.cleared(level), found.harmed(level)
            z[some, day] = found.difference / np.sqrt(found.variance)
            information[some, day] = 1 / found.variance
    return Seen(seen[0], seen[1], z, information)


def draw_rates(chance: np.random.Generator, baseline: Baseline, rates: Floats) -> Floats:
    """Every user's own probability, correlated by ρ."""
    if baseline.correlation == 0:
        return np.array(rates)
    weight = (1 - baseline.correlation) / baseline.correlation
    return chance.beta(np.maximum(rates * weight, 1e-9), np.maximum((1 - rates) * weight, 1e-9))


def draw_requests(chance: np.random.Generator, traffic: Traffic, shape: tuple[int, int]) -> NDArray[np.int64]:
    """A user's requests on a day: at least one, of the mean and about the spread that are asked for."""
    more, variance = traffic.requests - 1, traffic.requests_spread**2
    if variance <= more:
        return 1 + chance.poisson(more, shape)
    return 1 + chance.negative_binomial(more**2 / (variance - more), more / variance, shape)


def _look_at_votes(
    chance: np.random.Generator, traffic: Traffic, baseline: Baseline, own: Floats, asks: NDArray[np.int64], days: int
) -> list[tuple[Floats, Floats]]:
    x, n, looks = np.zeros(own.shape), np.zeros(own.shape), []
    for _ in range(days):
        there = chance.random(own.shape) < traffic.returning
        votes = chance.binomial(np.where(there, asks, 0), baseline.counted)
        n += votes
        x += chance.binomial(votes, own)
        looks.append((x.copy(), n.copy()))
    return looks


def _look_at_latencies(
    chance: np.random.Generator,
    traffic: Traffic,
    baseline: Baseline,
    treated: NDArray[np.bool_],
    asks: NDArray[np.int64],
    days: int,
    harm: float,
    margin: float,
) -> list[tuple[Floats, Floats]]:
    """Log-normal latencies, independent within a user; the threshold is the control's 95 % quantile so far."""
    runs, pool = asks.shape
    looks: list[tuple[Floats, Floats]] = []
    kept: list[list[NDArray[np.int64]]] = [[] for _ in range(runs)]
    values: list[list[Floats]] = [[] for _ in range(runs)]
    for _ in range(days):
        there = chance.random(asks.shape) < traffic.returning
        x, n = np.zeros(asks.shape), np.zeros(asks.shape)
        for run in range(runs):
            users = np.repeat(np.arange(pool), np.where(there[run], asks[run], 0))
            drawn = np.exp(chance.normal(0.0, baseline.spread, len(users)))
            kept[run].append(users)
            values[run].append(np.where(treated[users], (1 + harm) * drawn, drawn))
            who, ms = np.concatenate(kept[run]), np.concatenate(values[run])
            threshold = np.quantile(ms[~treated[who]], 0.95, method="inverted_cdf")
            slow = ms > np.where(treated[who], (1 + margin) * threshold, threshold)
            x[run] = np.bincount(who, slow, pool)
            n[run] = np.bincount(who, minlength=pool)
        looks.append((x, n))
    return looks


def _estimate(x: Floats, n: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Ratio, its variance by the delta method, users and total of each run."""
    total, users = n.sum(axis=1), (n > 0).sum(axis=1)
    ratio = x.sum(axis=1) / np.maximum(total, 1)
    spread = ((x - ratio[:, None] * n) ** 2).sum(axis=1)
    variance = users / np.maximum(users - 1, 1) * spread / np.maximum(total, 1) ** 2
    return ratio, np.where(users > 1, variance, math.nan), users, total


def first(seen: NDArray[np.bool_], days: Sequence[float]) -> tuple[float, float]:
    """The share of runs in which it happened, and the mean day of the first time among those."""
    happened = seen.any(axis=1)
    when = np.asarray(days)[seen.argmax(axis=1)][happened]
    return float(happened.mean()), float(when.mean()) if happened.any() else math.nan
