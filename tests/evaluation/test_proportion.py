from __future__ import annotations

import numpy as np
import pytest

from flytewheel.evaluation.measure import Compare, share
from flytewheel.evaluation.proportion import compare_shares, widen
from flytewheel.records import Interval

RUNS = 250


def test_all_of_one_mind_is_not_certain() -> None:
    """22 users, all ones: error 22/23/23, so 22/23 * 1/23 / error^2 = 24.05 rows count; t(0.975, 21) = 2.0796, and
    Wilson's lower end of 1 is n / (n + t^2) = 24.05 / 28.37 = 0.8476.
    """
    found = widen(Interval(1.0, 1.0, 1.0), 22)
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.8476, abs=1e-4)
    mirrored = widen(Interval(0.0, 0.0, 0.0), 22)
    assert (mirrored.low, mirrored.high) == (0.0, pytest.approx(1 - 0.8476, abs=1e-4))


def test_more_rows_of_the_same_users_do_not_make_it_surer_and_one_who_differs_changes_little() -> None:
    compare = Compare(300, 0.95, 1)
    units = [f"user-{at % 22}" for at in range(300)]
    once = compare_shares(units[:22], [1.0] * 22, compare).candidate
    often = compare_shares(units, [1.0] * 300, compare).candidate
    differs = compare_shares(units, [1.0] * 299 + [0.0], compare).candidate
    assert once.low == often.low
    assert often.low - 0.02 < differs.low <= often.low


def test_the_middle_is_left_as_the_bootstrap_has_it() -> None:
    rng = np.random.default_rng(2)
    units, hits = [f"user-{at % 60}" for at in range(300)], rng.random(300) < 0.5
    compare = Compare(1000, 0.95, 1)
    plain = compare(units, share(hits), share(hits)).candidate
    found = compare_shares(units, hits, compare).candidate
    assert (found.low, found.high) == (pytest.approx(plain.low, abs=0.004), pytest.approx(plain.high, abs=0.004))


@pytest.mark.parametrize("users", [0, 1])
def test_fewer_than_two_users_are_unknown(users: int) -> None:
    assert widen(Interval(0.5, 0.4, 0.6), users) == Interval(None, None, None)
    found = compare_shares(["a"] * users, [1.0] * users, Compare(50, 0.95, 1))
    assert not found.candidate.known
    assert not found.difference.known


def test_a_figure_that_is_not_finite_is_unknown() -> None:
    assert not compare_shares(["a", "b", "c"], [1.0, float("nan"), 0.0], Compare(50, 0.95, 1)).candidate.known


@pytest.mark.parametrize("users", [10, 22])
@pytest.mark.parametrize("truth", [0.5, 0.9, 0.97])
def test_it_covers_the_truth_where_a_bootstrap_alone_does_not(users: int, truth: float) -> None:
    """Users' own rates from Beta(4 truth, 4 (1 - truth)), 12 rows each; 250 runs, standard error of 95 %: 1.4 %."""
    rng = np.random.default_rng(3)
    units = [f"user-{at}" for at in range(users) for _ in range(12)]
    covered, plain = 0, 0
    for run in range(RUNS):
        rates = rng.beta(4 * truth, 4 * (1 - truth), users)
        hits = (rng.random((users, 12)) < rates[:, None]).ravel()
        compare = Compare(300, 0.95, run)
        found, alone = (
            compare_shares(units, hits, compare).candidate,
            compare(units, share(hits), share(hits)).candidate,
        )
        covered += found.low <= truth <= found.high
        plain += alone.low <= truth <= alone.high
    assert covered / RUNS >= 0.92
    if truth > 0.95:
        assert plain / RUNS < 0.9
