"""Outcomes, bounds and the comparison of two models, against scipy and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from flytewheel.evaluation.suite.statistics import (
    Outcome,
    binomial_tail,
    bound_share,
    find_significant,
    find_worse,
    judge_share,
    measure_worsening,
)


@pytest.mark.parametrize(
    ("passed", "samples", "least", "outcome"),
    [
        (1, 1, 1.0, Outcome.PASSES),
        (0, 1, 1.0, Outcome.FAILS),
        (9, 10, 1.0, Outcome.FAILS),  # always means always
        (8, 10, 0.8, Outcome.PASSES),
        (7, 10, 0.8, Outcome.CANNOT_TELL),  # P(Bin(10, .8) <= 7) = 0.32
        (5, 10, 0.8, Outcome.FAILS),  # 0.033
        (6, 10, 0.8, Outcome.CANNOT_TELL),  # 0.121
        (0, 2, 0.5, Outcome.CANNOT_TELL),  # 0.25
        (0, 5, 0.5, Outcome.FAILS),  # 1/32
        (3, 10, 0.3, Outcome.PASSES),  # 0.3 * 10 is 3 in floats, too
    ],
)
def test_three_outcomes(passed: int, samples: int, least: float, outcome: Outcome) -> None:
    assert judge_share(passed, samples, least) is outcome


def test_fails_is_a_clopper_pearson_bound_below_what_is_asked() -> None:
    for samples in (1, 3, 10, 40):
        for passed in range(samples + 1):
            low, high = bound_share(passed, samples)
            exact = stats.binomtest(passed, samples).proportion_ci(0.9, method="exact")
            assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-12)
            for least in (0.05, 0.31, 0.5, 0.8, 0.99):
                assert binomial_tail(passed, samples, least) == pytest.approx(stats.binom.cdf(passed, samples, least))
                assert (judge_share(passed, samples, least) is Outcome.FAILS) == (high < least)


@pytest.mark.parametrize(("own", "other"), [(5, 5), (10, 10), (6, 9), (25, 25)])
def test_worsening_is_boschloos_p_value(own: int, other: int) -> None:
    for ours in range(own + 1):
        for theirs in range(0, other + 1, max(1, other // 4)):
            if ours / own < theirs / other:
                table = [[ours, theirs], [own - ours, other - theirs]]
                wanted = stats.boschloo_exact(table, alternative="less", n=256).pvalue
                found = measure_worsening((ours, own), (theirs, other))
                assert found == pytest.approx(wanted, rel=1e-3)
                assert found <= stats.fisher_exact(table, alternative="less")[1] + 1e-12


def test_worsening_by_hand() -> None:
    """2 of 10 against 10 of 10: (10, 0..2), (9, 0) and (8, 0) are as far apart: 111 / 2^20 at a share of one half."""
    assert measure_worsening((2, 10), (10, 10)) == pytest.approx(111 / 2**20, rel=1e-6)
    assert measure_worsening((10, 10), (2, 10)) == pytest.approx(1.0, abs=1e-4)
    assert measure_worsening((5, 5), (5, 5)) == 1.0


def test_holm_by_hand() -> None:
    assert find_significant([0.04, 0.001, 0.03, 0.013]) == [False, True, False, True]  # 0.03 > 0.05 / 2
    assert find_significant([]) == []
    assert find_significant([0.05]) == [True]


def test_greedy_answers_are_compared_as_they_are() -> None:
    ours, theirs = [(0, 1), (1, 1), (1, 1), (0, 1), (1, 10)], [(1, 1), (0, 1), (1, 1), (0, 1), (10, 10)]
    assert find_worse(ours, theirs) == [True, False, False, False, True]


def test_greedy_cases_do_not_weaken_the_test_of_the_sampled_ones() -> None:
    greedy, sampled = [(1, 1)] * 5_000, [(2, 10)]
    assert find_worse(greedy + sampled, [(1, 1)] * 5_000 + [(10, 10)])[-1]


@pytest.mark.parametrize("samples", [(5, 5), (10, 10), (5, 10)])
def test_200_flaky_cases_of_two_equal_models_flip_the_gate_in_5_percent_at_most(samples: tuple[int, int]) -> None:
    """1,000 evaluations; true pass rates 0.3 to 0.95, the same for both. Seen: 0, 1.1 and 0.3 %."""
    rng = np.random.default_rng(20)
    flipped = 0
    for _ in range(1_000):
        drawn = rng.integers(samples[0], samples[1] + 1, size=200)
        rates = rng.uniform(0.3, 0.95, size=200)
        ours, theirs = rng.binomial(drawn, rates), rng.binomial(drawn, rates)
        pairs = [list(zip(side.tolist(), drawn.tolist(), strict=True)) for side in (ours, theirs)]
        flipped += any(find_worse(*pairs))
    print(f"{samples}: {flipped} of 1,000 evaluations")
    assert flipped <= 50


@pytest.mark.parametrize(
    ("samples", "cases", "power"),
    [(10, 200, 0.67), (15, 200, 0.97), (10, 50, 0.87), (10, 20, 0.96), (8, 20, 0.79), (5, 1, 0.94), (5, 20, 0.32)],
)
def test_a_case_that_drops_from_always_to_one_in_five_is_found(samples: int, cases: int, power: float) -> None:
    """Among flaky cases that did not change: the chance that it is named, over 2,000 evaluations."""
    rng = np.random.default_rng(7)
    level = 0.05 / cases  # Holm's first step: the others do not help it
    counts = rng.binomial(samples, 0.2, size=2_000)
    found = np.mean([measure_worsening((int(count), samples), (samples, samples)) <= level for count in counts])
    print(f"{samples} answers, {cases} cases: {found:.3f}")
    assert found >= power - 0.03
    whole = find_worse([(0, samples)] + [(samples, samples)] * (cases - 1), [(samples, samples)] * cases)
    assert whole[0] == (measure_worsening((0, samples), (samples, samples)) <= level)
