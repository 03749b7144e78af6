"""Do the statistics keep their word? Experiments between two identical arms, by the shipped analysis, under what is
configured: the recipe's metrics, margins and level, and those of experiments that run.

Users have a rate of their own (Beta around the mean, correlation 0.2 within a user) and come by a Poisson process, so a
test that counts responses would fail (benchmarks/calibration has the regimes, and 10,000 runs). The last look of every
day is one; the end of the last a planned one. Called apart, an arm is *better*, *worse* or *harmful*, at any look.

An alarm is more than `max_false_positives` of the runs and what chance adds to that: three standard errors of a share
at that bound, so that one night in 700 is one by chance, where the true share is just at the bound.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from flytewheel.database import connect
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.records import Design
from flytewheel.experiment.guardrails import make_design
from flytewheel.experiment.metrics import Metric, StageCounts, UserSums
from flytewheel.recipe import AbTestingSpec, Recipe
from flytewheel.recipe.upkeep import CalibrationSpec
from flytewheel.records import digest
from flytewheel.upkeep.reports import Report

CORRELATION, PER_DAY, RATE = 0.2, 3.0, 0.6
_RARE = 0.03  # what errors are like
_SPREAD = 0.5  # σ of log-normal latencies: a p95 of 2.3 medians
_CALLED = ("better", "worse", "harm")
SLACK_ERRORS = 3.0  # standard errors


def check_calibration(database_url: str, recipe: Recipe, *, seed: int) -> Report:
    """Runs the self-check over the recipe's configuration and those of running experiments that differ from it.

    Args:
        database_url: PostgreSQL.
        recipe: its `ab_testing`, and `automation.upkeep.calibration`.
        seed: decides every draw.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    spec = recipe.automation.upkeep.calibration
    bound = spec.max_false_positives + SLACK_ERRORS * math.sqrt(
        spec.max_false_positives * (1 - spec.max_false_positives) / spec.runs
    )
    shares: dict[str, float] = {}
    metrics: dict[str, dict[str, int]] = {}
    alarms: list[str] = []
    for place, (label, ab_testing) in enumerate(_list_configured(database_url, recipe).items()):
        apart, by_metric = count_false_positives(make_design(ab_testing), spec, seed=seed + place)
        shares[label], metrics[label] = apart / spec.runs, dict(by_metric)
        if shares[label] > bound:
            worst = ", ".join(f"{name} {count}" for name, count in by_metric.most_common(3))
            alarms.append(
                f"{label} calls identical arms apart in {apart} of {spec.runs} experiments,"
                f" {bound:.1%} allowed ({worst})"
            )
    figures = {
        "runs": spec.runs,
        "seed": seed,
        "allowed": round(bound, 4),
        "largest_share": round(max(shares.values()), 4),
        "shares": {label: round(share, 4) for label, share in shares.items()},
        "called_apart_by_metric": metrics,
    }
    return Report("calibration", recipe.name, figures, tuple(alarms))


def count_false_positives(design: Design, spec: CalibrationSpec, *, seed: int) -> tuple[int, Counter[str]]:
    """How many of `spec.runs` identical pairs are called apart at any look, and by which metric first."""
    generator = np.random.default_rng(seed)
    apart, by_metric = 0, Counter[str]()
    for _ in range(spec.runs):
        called = _run_once(design, spec, generator)
        if called is not None:
            apart += 1
            by_metric[called] += 1
    return apart, by_metric


def _run_once(design: Design, spec: CalibrationSpec, generator: np.random.Generator) -> str | None:
    treated = generator.random(spec.users) < 0.5
    users = {"control": int((~treated).sum()), "treatment": int(treated.sum())}
    totals = {metric.name: _draw(metric, treated, spec, generator) for metric in design.metrics}
    for day in range(spec.days):
        sums = {
            name: {
                arm: _sum(good[: day + 1, mine].sum(axis=0), often[: day + 1, mine].sum(axis=0), np.flatnonzero(mine))
                for arm, mine in (("control", ~treated), ("treatment", treated))
            }
            for name, (good, often) in totals.items()
        }
        stage = StageCounts(users, sums, shares={"control": 0.5, "treatment": 0.5})
        last = day == spec.days - 1
        found = analyse(design, [stage], look=design.looks if last else 0)
        for one in found.findings:
            if one.outcome in _CALLED:
                return one.metric
    return None


def _draw(
    metric: Metric, treated: NDArray[np.bool_], spec: CalibrationSpec, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numerators and denominators, each `(days, users)`: shares of events, or sums of skewed amounts."""
    often = generator.poisson(PER_DAY, (spec.days, spec.users)).astype(float)
    rate = np.full(spec.users, RATE if metric.worse == "lower" else metric.tail or _RARE)
    if metric.tail is not None:  # the treatment's threshold lies beyond the control's by the margin
        beyond = ndtri(1 - metric.tail) + math.log1p(metric.relative_margin or 0.0) / _SPREAD
        rate = np.where(treated, ndtr(-beyond), rate)
    weight = 1 / CORRELATION - 1
    own = generator.beta(rate * weight, (1 - rate) * weight, spec.users)
    if metric.is_share:
        return generator.binomial(often.astype(int), own).astype(float), often
    amounts = np.exp(generator.standard_normal(spec.users) * 0.5)
    return often * amounts * generator.gamma(4.0, 0.25, often.shape), often


def _sum(good: NDArray[np.float64], often: NDArray[np.float64], keys: NDArray[np.int64]) -> UserSums:
    came = often > 0
    return UserSums(good[came], often[came], keys=keys[came])


def _list_configured(database_url: str, recipe: Recipe) -> Mapping[str, AbTestingSpec]:
    """The recipe's configuration, and that of each running experiment that is another one."""
    found = {f"recipe {recipe.name}": recipe.ab_testing}
    known = {digest(recipe.ab_testing)}
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT e.experiment_id, r.recipe -> 'ab_testing' FROM experiments e JOIN runs r ON r.run_id = e.launch_key"
            " WHERE e.state = 'running' ORDER BY e.experiment_id"
        ).fetchall()
    for experiment_id, stored in rows:
        ab_testing = AbTestingSpec.model_validate(stored)
        if digest(ab_testing) not in known:
            known.add(digest(ab_testing))
            found[f"experiment {experiment_id}"] = ab_testing
    return found
