"""Guardrails: formulas against numbers worked by hand, behaviour against simulated canaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.errors import ExperimentError
from flytewheel.experiment.analysis.e_values import choose_tau, log_e_value, plan_effect
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.ratio import estimate_ratio
from flytewheel.experiment.analysis.records import Design, Finding
from flytewheel.experiment.analysis.srm import has_sample_ratio_mismatch, srm_log_e_value
from flytewheel.experiment.metrics import StageCounts, UserSums, declare_guardrail
from flytewheel.recipe import Guardrail

THUMBS = Guardrail(metric="thumbs_up_rate", relative_margin=0.05)
ERRORS = Guardrail(metric="error_rate", absolute_margin=0.01)
LATENCY = Guardrail(metric="latency_p95", relative_margin=0.05)


def sums(numerators: object, denominators: object) -> UserSums:
    return UserSums(np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float))


def look(guardrail: Guardrail, control: UserSums, treatment: UserSums, *, burn_in_users: int = 50) -> Finding:
    design = Design((declare_guardrail(guardrail),), burn_in_users=burn_in_users)
    arms = {"control": control, "treatment": treatment}
    stage = StageCounts({arm: sums.users for arm, sums in arms.items()}, {guardrail.metric: arms})
    return analyse(design, [stage], look=0, shares=[{"control": 0.5, "treatment": 0.5}]).findings[0]


def test_the_variance_of_a_ratio_by_hand() -> None:
    # R = 6/8. Residuals 1 − 1.5, 3 − 3, 2 − 1.5: squares sum to 0.5; 3/2 · 0.5 / 8² = 0.01171875.
    ratio = estimate_ratio(sums([1, 3, 2], [2, 4, 2]))
    assert ratio is not None
    assert (ratio.estimate, ratio.variance, ratio.users, ratio.total) == (0.75, 0.01171875, 3, 8)


def test_the_e_value_by_hand() -> None:
    # τ²I = 3, z = 2: a² = 3/4, E = 2 · 4^(−½) · e^(0.75 · 4 / 2) · Φ(1.7320508) = 4.4816891 · 0.9583677 = 4.2951061
    assert math.exp(log_e_value(2.0, information=3.0, tau=1.0)) == pytest.approx(4.2951061, rel=1e-6)


@given(z=st.floats(-6, 6), information=st.floats(0.1, 100), tau=st.floats(0.01, 1))
def test_the_e_value_is_the_half_normal_mixture(z: float, information: float, tau: float) -> None:
    delta = np.linspace(0, 9 * tau, 40_001)
    error = 1 / math.sqrt(information)
    prior = 2 * np.exp(-((delta / tau) ** 2) / 2) / (tau * math.sqrt(2 * math.pi))
    likelihood_ratio = np.exp(delta * z / error - delta**2 * information / 2)
    mixed = float(np.trapezoid(prior * likelihood_ratio, delta))
    assert math.exp(log_e_value(z, information, tau)) == pytest.approx(mixed, rel=1e-4)


def test_far_from_the_alternative_the_logarithm_stays_finite() -> None:
    near, far = log_e_value(-29.9, 1e6, 1.0), log_e_value(-30.1, 1e6, 1.0)
    assert near > far > near - 0.1  # the two ways of computing Φ's tail meet
    assert math.isfinite(log_e_value(-1e6, 1e6, 1.0))
    assert math.isfinite(log_e_value(1e6, 1e6, 1.0))


def test_tau_by_hand() -> None:
    # c = −2 ln 0.05 + ln(1 − 2 ln 0.05) = 5.99146 + 1.94469 = 7.93616; planned information for a margin of 1:
    # (1.64485 + 0.84162)² = 6.18256; τ² = 7.93616 / 3.09128 = 2.56727.
    assert choose_tau(1.0, 0.05) ** 2 == pytest.approx(2.56727, rel=1e-4)
    assert choose_tau(-0.03, 0.05) == pytest.approx(0.03 * math.sqrt(2.56727), rel=1e-4)


def test_the_planned_effect_of_a_quantile_by_hand() -> None:
    # Φ⁻¹(0.05) = −1.644854; ln 1.05 / 0.5 = 0.097580; 0.05 − Φ(−1.742434) = 0.05 − 0.040716
    assert plan_effect(0.05, 0.05) == pytest.approx(0.009284, abs=1e-6)
    assert plan_effect(0.05, 0.0) == 0


def halve(control: int, treatment: int, share: float) -> tuple[dict[str, int], dict[str, float]]:
    return {"control": control, "treatment": treatment}, {"control": 1 - share, "treatment": share}


def test_sample_ratio_by_hand() -> None:
    # Beta(500, 500) at one half: two users, both treatment: (500/1000 · 501/1001) / 0.25 = 1.000999
    assert math.exp(srm_log_e_value(*halve(0, 2, 0.5)) or 0) == pytest.approx(500 / 1000 * 501 / 1001 / 0.25)
    # Beta(100, 900) at a tenth: (100/1000 · 101/1001) / 0.01 = 1.008991
    assert math.exp(srm_log_e_value(*halve(0, 2, 0.1)) or 0) == pytest.approx(100 / 1000 * 101 / 1001 / 0.01)
    assert not has_sample_ratio_mismatch(*halve(900, 100, 0.1))
    assert has_sample_ratio_mismatch(*halve(3400, 600, 0.1))
    assert not has_sample_ratio_mismatch(*halve(0, 600, 1.0))  # nobody is split


def many(rate: float, users: int, per_user: int = 10) -> UserSums:
    """Users with `per_user` requests each, whose successes come to `rate` in all and differ a little."""
    total = round(rate * users * per_user)
    numerators = np.full(users, total // users)
    numerators[: total - numerators.sum()] += 1
    return sums(numerators, np.full(users, per_user))


@pytest.mark.parametrize(
    ("guardrail", "control", "treatment", "outcome", "reason"),
    [
        (THUMBS, many(0.7, 2000), many(0.7, 2000), "cleared", "not worse"),
        (THUMBS, many(0.7, 2000), many(0.5, 200), "harm", "worse"),
        (THUMBS, many(0.7, 2000), many(0.665, 2000), "hold", "cannot tell"),  # on the margin
        (THUMBS, many(0.7, 2000), many(0.9, 200), "cleared", "not worse"),
        (ERRORS, many(0.01, 2000), many(0.1, 200), "harm", "worse"),
        (ERRORS, many(0.01, 2000), many(0.01, 2000), "cleared", "not worse"),
        (THUMBS, many(0.7, 2000), many(0.5, 49), "hold", "fewer than 50 users"),
        (THUMBS, many(0.7, 49), many(0.5, 2000), "hold", "fewer than 50 users"),
        (ERRORS, many(0.0, 2000), many(0.0, 99), "hold", "fewer than 10 events"),  # 990 requests · 1 % < 10
        (ERRORS, many(0.0, 2000), many(0.0, 101), "cleared", "not worse"),  # no error ever: it need not hold for ever
        # A quantile's margin is in what was counted: the boundary is the control's own 5 %, however near.
        (LATENCY, many(0.05, 2000), many(0.04, 2000), "cleared", "not worse"),
        (LATENCY, many(0.05, 2000), many(0.05, 2000), "hold", "cannot tell"),
        (LATENCY, many(0.05, 2000), many(0.06, 2000), "harm", "worse"),
        (LATENCY, many(0.05, 51, 3), many(0.04, 2000), "hold", "fewer than 10 events"),  # no threshold yet
        (LATENCY, many(0.05, 2000), many(0.04, 51, 3), "hold", "fewer than 10 events"),
        (
            Guardrail(metric="latency_p95", relative_margin=0.0),
            many(0.05, 99),
            many(0.04, 99),
            "hold",
            "margin is zero",
        ),
        (THUMBS, sums([], []), many(0.7, 100), "hold", "no data in control"),
        (THUMBS, many(0.7, 100), sums([], []), "hold", "no data in treatment"),
        (THUMBS, many(0.7, 100), sums([math.nan] * 90, [1.0] * 90), "hold", "no data in treatment"),
        (THUMBS, many(0.0, 100), many(0.0, 100), "hold", "margin is zero"),
        (Guardrail(metric="error_rate", relative_margin=0.05), many(1.0, 99), many(1.0, 99), "hold", "zero variance"),
    ],
)
def test_outcomes(guardrail: Guardrail, control: UserSums, treatment: UserSums, outcome: str, reason: str) -> None:
    found = look(guardrail, control, treatment)
    assert (found.outcome, reason in found.reason) == (outcome, True), found


def test_a_quantiles_boundary_is_zero_and_both_arms_count_in_the_error() -> None:
    # 100 users an arm with 10 requests, of whom 5 and 8 are slow in all of them. Squares of the residuals sum to
    # 5·9.5² + 95·0.5² = 475 and 8·9.2² + 92·0.8² = 736; Var R = 100/99 · that / 1000².
    control, treatment = (sums([10] * slow + [0] * (100 - slow), [10] * 100) for slow in (5, 8))
    found = look(LATENCY, control, treatment)
    assert (found.margin, found.difference) == (0, pytest.approx(0.03))
    assert found.standard_error == pytest.approx(math.sqrt(100 / 99 * (475 + 736) / 1000**2))


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ExperimentError, match="known are thumbs_up_rate"):
        look(Guardrail(metric="smiles", absolute_margin=0.1), many(0.5, 100), many(0.5, 100))


# ------------------------------------------------------------------------------------------------- simulated canaries

USERS, SHARE, DAYS, CORRELATION, RATE = 4000, 0.1, 14, 0.2, 0.7


def draw_looks(generator: np.random.Generator, effect: float) -> Iterator[tuple[UserSums, UserSums]]:
    """Fourteen daily looks at one canary: a tenth of 4,000 users, half a vote a day each, correlated within a user.

    A user's own rate is Beta with the arm's mean and an intra-user correlation of 0.2; `effect` is the treatment's
    relative one.
    """
    treated = generator.random(USERS) < SHARE
    mean = np.where(treated, RATE * (1 + effect), RATE)
    weight = 1 / CORRELATION - 1
    own = generator.beta(mean * weight, (1 - mean) * weight)
    votes = generator.poisson(0.5, size=(DAYS, USERS))
    ups = generator.binomial(votes, own)
    for day_votes, day_ups in zip(votes.cumsum(axis=0), ups.cumsum(axis=0), strict=True):
        seen = day_votes > 0
        control, treatment = seen & ~treated, seen & treated
        yield sums(day_ups[control], day_votes[control]), sums(day_ups[treatment], day_votes[treatment])


def simulate(effect: float, *, canaries: int, seed: int) -> Counter[str]:
    """How many canaries called harm, and were cleared, at any of their looks."""
    generator = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    for _ in range(canaries):
        counts.update(
            {look(THUMBS, control, treatment).outcome for control, treatment in draw_looks(generator, effect)}
        )
    return counts


CANARIES = 600
TOLERANCE = 3 * math.sqrt(0.05 * 0.95 / CANARIES)  # three standard errors of a share of 5 %: 2.7 points


def test_identical_arms_are_not_called_harm() -> None:
    assert simulate(0.0, canaries=CANARIES, seed=1)["harm"] / CANARIES <= 0.05 + TOLERANCE


def test_exactly_on_the_margin_neither_side_errs_more_than_it_may() -> None:
    counts = simulate(-0.05, canaries=CANARIES, seed=2)
    assert counts["harm"] / CANARIES <= 0.05 + TOLERANCE
    assert counts["cleared"] / CANARIES <= 0.05 + TOLERANCE


def test_a_loss_of_thirty_percent_is_found() -> None:
    counts = simulate(-0.3, canaries=60, seed=3)
    assert counts["harm"] == 60
    assert counts["cleared"] == 0


LATENCY_CANARIES = 200
LATENCY_TOLERANCE = 3 * math.sqrt(0.05 * 0.95 / LATENCY_CANARIES)  # 4.6 points


def draw_latencies(
    generator: np.random.Generator, slower: float, share: float, per_day: float
) -> Iterator[tuple[UserSums, UserSums]]:
    """Fourteen daily looks at the latencies of 4,000 users, counted as `count_stage` counts them.

    Latencies are log-normal with σ = 0.5 (their p95 is 2.3 medians); a fifth of the variance is the user's own; the
    treatment's are `slower` times as long.
    """
    treated = generator.random(USERS) < share
    own = generator.standard_normal(USERS)
    users = [np.repeat(np.arange(USERS), generator.poisson(per_day, USERS)) for _ in range(DAYS)]
    ends = np.cumsum([len(day) for day in users])
    user = np.concatenate(users)
    noise = generator.standard_normal(len(user))
    latency = np.exp(0.5 * (math.sqrt(CORRELATION) * own[user] + math.sqrt(1 - CORRELATION) * noise))
    latency *= np.where(treated[user], slower, 1.0)
    for end in ends:
        seen, of_treatment = latency[:end], treated[user[:end]]
        of_control = seen[~of_treatment]
        place = math.ceil(0.95 * len(of_control)) - 1
        threshold = np.partition(of_control, place)[place]
        slow = seen > threshold * np.where(of_treatment, 1.05, 1.0)
        numerators = np.bincount(user[:end], weights=slow, minlength=USERS)
        denominators = np.bincount(user[:end], minlength=USERS)
        control, treatment = (denominators > 0) & ~treated, (denominators > 0) & treated
        yield sums(numerators[control], denominators[control]), sums(numerators[treatment], denominators[treatment])


def simulate_latencies(slower: float, share: float, *, canaries: int, seed: int, per_day: float = 1.0) -> Counter[str]:
    """How many canaries called harm, and were cleared, at any of their looks."""
    generator = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    for _ in range(canaries):
        looks = draw_latencies(generator, slower, share, per_day)
        counts.update({look(LATENCY, control, treatment).outcome for control, treatment in looks})
    return counts


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_p95_that_is_slower_by_the_margin_is_on_the_boundary(share: float) -> None:
    counts = simulate_latencies(1.05, share, canaries=LATENCY_CANARIES, seed=5)
    assert counts["cleared"] / LATENCY_CANARIES <= 0.05 + LATENCY_TOLERANCE
    assert counts["harm"] / LATENCY_CANARIES <= 0.05 + LATENCY_TOLERANCE


@pytest.mark.parametrize(("share", "per_day"), [(0.1, 3.0), (0.5, 1.0)])
def test_identical_latencies_are_cleared_in_most_canaries(share: float, per_day: float) -> None:
    counts = simulate_latencies(1.0, share, canaries=60, seed=6, per_day=per_day)
    assert counts["harm"] <= 3
    assert counts["cleared"] > 30  # 43 and 54 expected from 1,000 canaries, standard deviation at most 3.5


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_p95_that_is_30_percent_slower_is_found(share: float) -> None:
    counts = simulate_latencies(1.3, share, canaries=20, seed=7)
    assert (counts["harm"], counts["cleared"]) == (20, 0)


def test_a_true_split_is_not_called_a_mismatch_and_a_broken_one_is() -> None:
    generator = np.random.default_rng(4)

    def stops(rate: float, share: float) -> bool:
        treated = np.cumsum(generator.random(USERS) < rate)
        looks = range(11, USERS, 12)  # hourly, twelve new users an hour
        return any(has_sample_ratio_mismatch(*halve(n + 1 - int(treated[n]), int(treated[n]), share)) for n in looks)

    assert sum(stops(0.1, 0.1) for _ in range(500)) <= 3  # at most one in a thousand: P(more than 3 of 500) < 0.2 %
    assert all(stops(0.14, 0.1) for _ in range(20))
