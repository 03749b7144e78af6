"""The parts of an analysis: capping, CUPED, strata, several primaries, the split, and what a winner is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flytewheel.experiment.analysis.capping import cap_heavy
from flytewheel.experiment.analysis.cuped import adjust
from flytewheel.experiment.analysis.holm import adjust_p_values, step_down
from flytewheel.experiment.analysis.selection import correct_winner
from flytewheel.experiment.analysis.srm import has_sample_ratio_mismatch, srm_log_e_value
from flytewheel.experiment.analysis.strata import Stratum, combine
from flytewheel.experiment.metrics import UserSums


def sums(numerators: object, denominators: object, before: UserSums | None = None) -> UserSums:
    return UserSums(np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float), before)


def test_a_heavy_user_keeps_the_own_rate_and_weighs_what_the_quantile_does() -> None:
    # Denominators of both arms: 1, 2, 2, 4, 40; the 80 % quantile is 4, so that one user of 40 counts as one of 4.
    arms = {"control": sums([1, 0], [1, 2]), "treatment": sums([2, 4, 10], [2, 4, 40])}
    capped, cap, above = cap_heavy(arms, 0.8)
    assert (cap, above) == (4.0, 1)
    assert capped["treatment"].numerators.tolist() == [2, 4, 1]
    assert capped["treatment"].denominators.tolist() == [2, 4, 4]
    assert capped["control"].numerators.tolist() == [1, 0]


@pytest.mark.parametrize("quantile", [None, 0.99])
def test_nothing_is_capped_without_a_quantile_or_without_finite_users(quantile: float | None) -> None:
    assert cap_heavy({}, quantile)[1:] == (None, 0)
    assert cap_heavy({"control": sums([], [])}, quantile)[1:] == (None, 0)
    assert cap_heavy({"control": sums([1], [math.inf])}, quantile)[1:] == (None, 0)
    assert cap_heavy({"control": sums([0], [0])}, quantile)[1:] == (None, 0)


def draw_arm(generator: np.random.Generator, users: int, *, known: float = 1.0) -> UserSums:
    own = generator.beta(2, 2, users)
    n, earlier = 1 + generator.poisson(5, users), (1 + generator.poisson(9, users)) * (generator.random(users) < known)
    before = sums(generator.binomial(earlier, own), earlier)
    return sums(generator.binomial(n, own), n, before)


def test_cuped_takes_the_variance_that_was_there_before_and_no_more_than_that() -> None:
    """1,500 identical pairs: the adjusted difference is centred, and varies as it says it does."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(1500):
        arms = [draw_arm(generator, users, known=0.7) for users in (200, 60)]
        adjusted = adjust(*arms)
        assert adjusted is not None
        rates = [arm.numerators.sum() / arm.denominators.sum() for arm in arms]
        found.append((rates[1] - rates[0], rates[1] - rates[0] - adjusted.shift, sum(adjusted.variances)))
    plain, adjusted_differences, variances = np.array(found).T
    assert abs(adjusted_differences.mean()) < 3 * adjusted_differences.std() / math.sqrt(1500)
    assert adjusted_differences.var() < 0.8 * plain.var()
    assert adjusted_differences.var() == pytest.approx(variances.mean(), rel=0.12)  # 3 standard errors of a variance


def test_cuped_never_makes_it_worse() -> None:
    generator = np.random.default_rng(2)
    for _ in range(200):
        arms = [
            sums(generator.binomial(5, 0.5, 20), np.full(20, 5), sums(generator.binomial(5, 0.5, 20), np.full(20, 5)))
            for _ in range(2)
        ]
        adjusted = adjust(*arms)
        assert adjusted is None or adjusted.kept < 1


@pytest.mark.parametrize(
    "before",
    [None, sums([], []), sums([0, 0, 0], [0, 0, 0]), sums([1, 1, 1], [1, 1, 1]), sums([math.nan] * 3, [1, 1, 1])],
    ids=["none", "of nobody", "nobody was there", "all alike", "not finite"],
)
def test_without_a_usable_before_there_is_no_adjustment(before: UserSums | None) -> None:
    assert adjust(sums([1, 2, 0], [2, 2, 2], before), sums([1, 0, 2], [2, 2, 2], before)) is None


def test_strata_by_hand() -> None:
    # Weights 1/4 and 3/4: D = 0.25·0.4 + 0.75·0.2 = 0.25.
    first, second = Stratum(0.4, 0.04, 10.0), Stratum(0.2, 0.01, 30.0)
    # Without keys the worst: (0.25·0.2 + 0.75·0.1)² = 0.015625.
    assert combine([first, second]) == pytest.approx((0.25, 0.015625))
    # The same two users in both: parts 0.25·(1, −1) + 0.75·(0.1, −0.1) = (0.325, −0.325); 2/1 · 2·0.325² = 0.4225,
    # more than Cauchy and Schwarz allow for these variances, which therefore hold.
    keys = np.array([7, 8])
    parts = [
        Stratum(0.4, 0.04, 10.0, np.array([1.0, -1.0]), keys),
        Stratum(0.2, 0.01, 30.0, np.array([0.1, -0.1]), keys),
    ]
    assert combine(parts) == pytest.approx((0.25, 0.015625))
    # Others in each stage: 4/3 · (0.25²·(0.02 + 0.02) + 0.75²·(0.005 + 0.005)).
    apart = [
        Stratum(0.4, 0.04, 10.0, math.sqrt(0.02) * np.array([1.0, -1.0]), np.array([1, 2])),
        Stratum(0.2, 0.01, 30.0, math.sqrt(0.005) * np.array([1.0, -1.0]), np.array([3, 4])),
    ]
    assert combine(apart) == pytest.approx((0.25, 4 / 3 * (0.0625 * 0.04 + 0.5625 * 0.01)))
    assert combine([first]) == (0.4, 0.04)
    # By precision: weights 25 : 100.
    assert combine([first, second], by="precision")[0] == pytest.approx(0.2 * 0.4 + 0.8 * 0.2)


def test_holm_asks_again_at_what_is_left() -> None:
    p_values = (0.01, 0.04, 0.03)
    tests = [lambda level, p=p: p <= level for p in p_values]  # type: ignore[misc]
    assert [rejected for rejected, _ in step_down(tests, 0.05)] == [True, False, False]  # 0.03 > 0.05/2
    assert [level for _, level in step_down(tests, 0.05)] == pytest.approx([0.05 / 3, 0.025, 0.025])
    assert [rejected for rejected, _ in step_down(tests, 0.06)] == [True, True, True]
    assert adjust_p_values(p_values) == pytest.approx((0.03, 0.06, 0.06))
    assert step_down([], 0.05) == ()


def test_three_arms_by_hand() -> None:
    # Dirichlet(500, 300, 200): one user of each: 500·300·200/(1000·1001·1002) over 0.5·0.3·0.2.
    users, shares = {"a": 1, "b": 1, "c": 1}, {"a": 0.5, "b": 0.3, "c": 0.2}
    log_e = srm_log_e_value(users, shares)
    assert math.exp(log_e or 0) == pytest.approx(500 * 300 * 200 / (1000 * 1001 * 1002) / 0.03)
    assert has_sample_ratio_mismatch({"a": 500, "b": 300, "c": 320}, shares)
    assert not has_sample_ratio_mismatch({"a": 500, "b": 300, "c": 200}, shares)
    assert srm_log_e_value({"a": 9}, {"a": 1.0, "b": 0.0}) is None


def test_each_further_router_asks_for_more() -> None:
    shares = {"control": 0.5, "treatment": 0.5}
    users = next(
        {"control": 500, "treatment": 500 + more}
        for more in range(500)
        if has_sample_ratio_mismatch({"control": 500, "treatment": 500 + more}, shares)
    )
    assert not has_sample_ratio_mismatch(users, shares, tests=10)


def test_a_winner_is_corrected_for_its_luck_and_a_holdback_for_the_rest() -> None:
    """20,000 experiments with a true difference of 1 SE and a boundary of 2: winners look 2.5 times as good."""
    generator = np.random.default_rng(4)
    seen = generator.normal(1.0, 1.0, 20_000)
    winners = seen[seen > 2.0][:600]
    held = generator.normal(1.0, 0.7, len(winners))
    found = [
        correct_winner(float(one), 1.0, 2.0, holdback=(float(other), 0.7))
        for one, other in zip(winners, held, strict=True)
    ]
    naive, conditional, holdback, both = (
        np.mean([getattr(one, name) for one in found]) for name in ("naive", "conditional", "holdback", "estimate")
    )
    assert naive > 2.3
    assert abs(conditional - 1) < 0.5 * (naive - 1)
    assert abs(holdback - 1) < 0.1
    assert abs(both - 1) < 0.2
    spread = np.std([one.estimate for one in found])
    assert spread < np.std([one.conditional for one in found])


def test_far_beyond_the_boundary_there_is_no_luck_to_take_off() -> None:
    assert correct_winner(10.0, 1.0, 2.0).estimate == pytest.approx(10.0, abs=1e-3)
    assert correct_winner(-10.0, 1.0, 2.0).estimate == pytest.approx(-10.0, abs=1e-3)
    assert 0 <= correct_winner(2.01, 1.0, 2.0).estimate < 1.0
