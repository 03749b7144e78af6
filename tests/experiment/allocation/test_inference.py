"""After an allocation that learnt: A/A errs at most 5 % of the time where the usual test errs twice as often."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.inference import Effect, estimate_adaptive, estimate_batched
from flytewheel.experiment.allocation.policies import Floats, match_best, mix_floor

RUNS, BATCHES, SIZE = 4_000, 25, 40
SLACK = 3 * math.sqrt(0.05 * 0.95 / RUNS)  # Monte Carlo: 1.2 points


class Logs(NamedTuple):
    """Simulated logs, each `(runs, users)` but the batches, `(users,)`."""

    treated: np.ndarray
    propensities: Floats
    outcomes: Floats
    batches: np.ndarray


def simulate(control: float, treatment: float, seed: int, *, floor: float = 0.1, runs: int = RUNS) -> Logs:
    """Thompson's shares after every batch of users, by the policy that the router has."""
    chance = np.random.default_rng(seed)
    good, bad = np.zeros((runs, 2)), np.zeros((runs, 2))
    parts = []
    for _ in range(BATCHES):
        share = mix_floor(match_best(good, bad), floor)[:, 1:]
        treated = chance.random((runs, SIZE)) < share
        outcomes = (chance.random((runs, SIZE)) < np.where(treated, treatment, control)).astype(float)
        for arm, met in enumerate((~treated, treated)):
            good[:, arm] += (outcomes * met).sum(axis=1)
            bad[:, arm] += ((1 - outcomes) * met).sum(axis=1)
        parts.append((treated, np.where(treated, share, 1 - share), outcomes))
    treated, propensities, outcomes = (np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
    return Logs(treated, propensities, outcomes, np.repeat(np.arange(BATCHES), SIZE))


def analyse(logs: Logs) -> dict[str, list[Effect]]:
    found: dict[str, list[Effect]] = {"adaptive": [], "batched": []}
    for treated, propensities, outcomes in zip(logs.treated, logs.propensities, logs.outcomes, strict=True):
        found["adaptive"].append(estimate_adaptive(treated, propensities, outcomes))
        found["batched"].append(estimate_batched(treated, logs.batches, outcomes))
    return found


def test_identical_arms_differ_no_more_often_than_said() -> None:
    """False positives at 5 %: at most 5 % and the Monte Carlo slack; the naive z-test, which forgets how users came to
    their arms, exceeds it.
    """
    logs = simulate(0.5, 0.5, 11)
    naive = 0
    for treated, outcomes in zip(logs.treated, logs.outcomes, strict=True):
        one, two = outcomes[treated], outcomes[~treated]
        error = math.sqrt(one.var() / len(one) + two.var() / len(two))
        naive += abs(one.mean() - two.mean()) > 1.96 * error
    rates = {"naive": naive / RUNS}
    for name, effects in analyse(logs).items():
        told = [effect for effect in effects if effect.interval is not None]
        assert len(told) > 0.98 * RUNS
        rates[name] = sum(not effect.interval[0] <= 0 <= effect.interval[1] for effect in told) / RUNS  # type: ignore[index]
    print(f"false positives of {RUNS} runs: {rates}")
    assert rates["naive"] > 0.05 + SLACK
    assert rates["adaptive"] <= 0.05 + SLACK
    assert rates["batched"] <= 0.05 + SLACK


def test_a_difference_is_covered_and_not_biased() -> None:
    """Truth 0.1: intervals cover it in 95 %, and the mean estimate misses it by less than a fifth of its own error."""
    for name, effects in analyse(simulate(0.4, 0.5, 12, runs=1_000)).items():
        told = [effect for effect in effects if effect.interval is not None and effect.estimate is not None]
        covered = sum(effect.interval[0] <= 0.1 <= effect.interval[1] for effect in told) / len(told)  # type: ignore[index]
        estimates = np.array([effect.estimate for effect in told])
        bias = (estimates.mean() - 0.1) / estimates.std()
        print(f"{name}: cover {covered:.3f}, bias {bias:+.2f} of its error, spread {estimates.std():.4f}")
        assert covered >= 0.95 - 0.021, name
        assert abs(bias) < 0.2, name


def test_an_even_split_gives_the_ordinary_difference() -> None:
    """One batch, propensities of a half: batched OLS is Student's pooled test, and the weights of AIPW are all one."""
    chance = np.random.default_rng(5)
    treated, outcomes = np.arange(400) % 2 == 1, chance.normal(0, 1, 400)
    one, two = outcomes[treated], outcomes[~treated]
    found = estimate_batched(treated, [0] * 400, outcomes)
    assert found.estimate == pytest.approx(one.mean() - two.mean())
    assert found.z == pytest.approx(stats.ttest_ind(one, two).statistic)
    robust = estimate_adaptive(treated, np.full(400, 0.5), outcomes)
    assert robust.estimate == pytest.approx(found.estimate, abs=0.02)
    assert robust.standard_error == pytest.approx(found.standard_error, rel=0.05)


def test_two_users_an_arm_and_batch_by_hand() -> None:
    """Batch 0: 3, 1 against 0, 0: difference 2. Batch 1: 1, 1 against 2, 0: difference 0. Squares 2 + 0 + 0 + 2 = 4 by
    4 degrees of freedom: variance 1, √(2·2/4) = 1 each: estimate 1, error √2/2.
    """
    treated = np.array([True, True, False, False] * 2)
    outcomes = np.array([3, 1, 0, 0, 1, 1, 2, 0], float)
    many = np.tile(treated, 25), np.repeat(np.arange(50), 4), np.tile(outcomes, 25)
    found = estimate_batched(*many)
    assert found.estimate == pytest.approx(1.0)
    assert found.standard_error == pytest.approx(1 / math.sqrt(50))
    assert found.users == 200


def test_what_cannot_be_told_is_said() -> None:
    half = np.full(200, 0.5)
    treated = np.arange(200) % 2 == 1
    assert "fewer than 50" in estimate_adaptive(np.arange(200) < 20, half, half).reason
    assert estimate_batched(treated, [0] * 200, np.ones(200)) == Effect(users=200, reason="zero variance")
    assert estimate_adaptive(treated, half, np.ones(200)).reason == "zero variance"
    assert "no number" in estimate_adaptive(treated, half, np.full(200, math.nan)).reason
    assert "no batch" in estimate_batched(treated, np.arange(200), np.arange(200.0)).reason
    with pytest.raises(ExperimentError, match="propensity"):
        estimate_adaptive(treated, np.ones(200), half)
    with pytest.raises(ExperimentError, match="a row a user"):
        estimate_adaptive(treated, half[:9], half)
