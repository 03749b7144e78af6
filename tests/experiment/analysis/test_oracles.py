"""Ratios, sequential intervals, CUPED, power and Holm against gbstats and tea-tasting on shared cases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tea_tasting as tt

from flytewheel.experiment.analysis import power as planned
from flytewheel.experiment.analysis.always_valid import bound_difference, log_e_difference
from flytewheel.experiment.analysis.cuped import adjust
from flytewheel.experiment.analysis.holm import adjust_p_values
from flytewheel.experiment.analysis.ratio import Moments, Ratio, estimate_from_moments, estimate_ratio
from flytewheel.experiment.metrics import UserSums

CASES = [(seed, users, share) for seed, (users, share) in enumerate(((200, 0.5), (1000, 0.1), (5000, 0.5), (60, 0.3)))]


def draw(seed: int, users: int, share: float, *, effect: float = 0.03) -> dict[str, UserSums]:
    """Two arms whose users differ in how often they come and in what they think, before and after."""
    generator = np.random.default_rng(seed)
    arms = {}
    for arm, size, shift in (
        ("control", round(users * (1 - share)), 0.0),
        ("treatment", round(users * share), effect),
    ):
        own = generator.beta(7, 3, size)
        before, now = 1 + generator.poisson(3, size), 1 + generator.poisson(4, size)
        seen = UserSums(generator.binomial(before, own).astype(float), before.astype(float))
        liked = generator.binomial(now, np.clip(own + shift, 0, 1)).astype(float)
        arms[arm] = UserSums(liked, now.astype(float), before=seen)
    return arms


def read(sums: UserSums) -> Ratio:
    ratio = estimate_ratio(sums)
    assert ratio is not None
    assert ratio.variance is not None
    return ratio


def variance(ratio: Ratio) -> float:
    return float(ratio.variance or math.nan)


def to_gbstats(sums: UserSums) -> Any:
    statistics = pytest.importorskip("gbstats.models.statistics", reason="an oracle: pip install --no-deps gbstats")
    parts = [
        statistics.SampleMeanStatistic(n=sums.users, sum=float(each.sum()), sum_squares=float(each @ each))
        for each in (sums.numerators, sums.denominators)
    ]
    return statistics.RatioStatistic(
        n=sums.users,
        m_statistic=parts[0],
        d_statistic=parts[1],
        m_d_sum_of_products=float(sums.numerators @ sums.denominators),
    )


@pytest.mark.parametrize(("seed", "users", "share"), CASES)
def test_a_ratio_and_its_variance_are_gbstats(seed: int, users: int, share: float) -> None:
    for sums in draw(seed, users, share).values():
        ours, theirs = read(sums), to_gbstats(sums)
        assert ours.estimate == pytest.approx(theirs.mean, rel=1e-12)
        assert ours.variance == pytest.approx(theirs.variance / theirs.n, rel=1e-9)


@pytest.mark.parametrize("tuned", [500.0, 5000.0])
@pytest.mark.parametrize(("seed", "users", "share"), CASES)
def test_the_two_sided_sequential_result_is_gbstats(seed: int, users: int, share: float, tuned: float) -> None:
    tests = pytest.importorskip("gbstats.frequentist.tests", reason="an oracle: pip install --no-deps gbstats")
    arms = draw(seed, users, share)
    config = tests.SequentialConfig(difference_type="absolute", alpha=0.05, sequential_tuning_parameter=tuned)
    theirs = tests.SequentialTwoSidedTTest(to_gbstats(arms["control"]), to_gbstats(arms["treatment"]), config)
    control, treatment = read(arms["control"]), read(arms["treatment"])
    spread = variance(control) + variance(treatment)
    everyone = control.users + treatment.users
    tau = theirs.rho * math.sqrt(everyone * spread)  # their nρ² is our τ²I
    difference = treatment.estimate - control.estimate
    half = float(bound_difference(spread, tau=tau, alpha=0.05))
    assert (difference - half, difference + half) == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)
    p_value = min(1.0, math.exp(-float(log_e_difference(difference, spread, tau=tau))))
    assert p_value == pytest.approx(theirs.p_value, rel=1e-9)


def to_table(arms: dict[str, UserSums]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in ("variant", "x", "n", "x_before", "n_before")}
    for number, sums in enumerate(arms.values()):
        assert sums.before is not None
        columns["variant"] += [number] * sums.users
        columns["x"] += sums.numerators.tolist()
        columns["n"] += sums.denominators.tolist()
        columns["x_before"] += sums.before.numerators.tolist()
        columns["n_before"] += sums.before.denominators.tolist()
    return pa.table(columns)


@pytest.mark.parametrize(("seed", "users", "share"), CASES)
def test_cuped_is_tea_tastings(seed: int, users: int, share: float) -> None:
    arms = draw(seed, users, share)
    metric = tt.RatioOfMeans("x", "n", "x_before", "n_before", use_t=False)
    theirs = tt.Experiment(rate=metric).analyze(to_table(arms))["rate"]
    ours = adjust(arms["control"], arms["treatment"])
    assert ours is not None
    difference = read(arms["treatment"]).estimate - read(arms["control"]).estimate - ours.shift
    assert difference == pytest.approx(theirs.effect_size, rel=1e-9)
    half = 1.959963984540054 * math.sqrt(sum(ours.variances))
    assert difference + half == pytest.approx(theirs.effect_size_ci_upper, rel=1e-9)
    assert ours.kept < 1


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize(("share", "users"), [(0.5, 400), (0.1, 4000)])
def test_power_and_the_detectable_effect_are_tea_tastings(share: float, users: int, two_sided: bool) -> None:
    table = pa.table({"x": np.random.default_rng(1).normal(5, 2, 500)})
    spread = float(np.var(table["x"].to_numpy(), ddof=1))
    given: dict[str, Any] = {"use_t": False, "equal_var": False, "ratio": share / (1 - share), "n_obs": users}
    given |= {"alternative": "two-sided" if two_sided else "greater"}
    error = planned.standard_error(spread, users, share)
    told = tt.Mean("x", effect_size=0.3, **given).solve_power(table, "power")[0]
    assert planned.power(0.3, error, two_sided=two_sided) == pytest.approx(told.power, rel=1e-9)
    told = tt.Mean("x", **given).solve_power(table, "effect_size")[0]
    assert planned.mde(error, two_sided=two_sided) == pytest.approx(told.effect_size, rel=1e-6)
    told = tt.Mean("x", effect_size=0.3, **given).solve_power(table, "n_obs")[0]
    asked = planned.users_needed(0.3, spread, share, two_sided=two_sided)
    assert math.ceil(asked) == told.n_obs


def test_holm_is_tea_tastings() -> None:
    generator = np.random.default_rng(5)
    arms = {f"m{number}": generator.normal(5, 2, 400) for number in range(4)}
    arms["m2"][200:] += 0.6
    table = pa.table({"variant": [0] * 200 + [1] * 200, **arms})
    result = tt.Experiment({name: tt.Mean(name) for name in arms}).analyze(table)
    adjusted = tt.adjust_fwer(result, method="bonferroni", arbitrary_dependence=True)
    theirs = {name: row["pvalue_adj"] for rows in adjusted.values() for name, row in rows.items()}
    ours = adjust_p_values([result[name].pvalue for name in arms])
    assert ours == pytest.approx([theirs[name] for name in arms], rel=1e-9)
    assert ours[2] == pytest.approx(4 * result["m2"].pvalue, rel=1e-9)


def test_moments_give_what_users_give() -> None:
    drawn = [draw(seed, users, share)["control"] for seed, users, share in CASES]
    x, n = [sums.numerators for sums in drawn], [sums.denominators for sums in drawn]
    moments = Moments(
        np.array([len(each) for each in x], dtype=float),
        np.array([each.sum() for each in x]),
        np.array([each.sum() for each in n]),
        np.array([each @ each for each in x]),
        np.array([a @ b for a, b in zip(x, n, strict=True)]),
        np.array([each @ each for each in n]),
    )
    estimates, variances = estimate_from_moments(moments)
    for place, sums in enumerate(drawn):
        ratio = read(sums)
        assert (estimates[place], variances[place]) == pytest.approx((ratio.estimate, ratio.variance), rel=1e-9)
