from __future__ import annotations

import math

import numpy as np
import pytest

from flytewheel.evaluation.bootstrap import compare_by_user, expanded_tail, exponential_ratio, ratio
from flytewheel.records import Interval

RUNS = 500
UNKNOWN = Interval(None, None, None, 0.95)


def columns(values: object) -> np.ndarray:
    column = np.asarray(values, dtype=float)
    return np.stack([column, np.ones_like(column)], axis=1)


def compare(units: object, ours: object, theirs: object, **options: object):
    defaults = {"statistic": ratio, "samples": 500, "level": 0.95, "seed": 3}
    return compare_by_user(list(map(str, units)), columns(ours), columns(theirs), **(defaults | options))


def test_estimates_are_ratios_of_sums() -> None:
    """Candidate 3 of 4, champion 1 of 4: 0.75, 0.25 and 0.5, though user b has three rows and user a one."""
    found = compare("abbb", [0, 1, 1, 1], [1, 0, 0, 0])
    assert (found.candidate.estimate, found.champion.estimate, found.difference.estimate) == (0.75, 0.25, 0.5)
    assert (found.rows, found.users) == (4, 2)


def test_two_users_resampled_give_the_three_possible_means() -> None:
    """User a has 0 and b has 1: resamples are aa, ab, bb; the widened tail of two users takes the extremes."""
    found = compare("ab", [0, 1], [1, 1], samples=2000)
    assert (found.candidate.low, found.candidate.high) == (0, 1)
    assert (found.difference.low, found.difference.high) == (-1, 0)


def test_perplexity_is_weighted_by_tokens() -> None:
    """10 nats over 10 tokens and 0 over 30: exp(10 / 40)."""
    sums = np.array([[10.0, 10.0], [0.0, 30.0]])
    found = compare_by_user(["a", "b"], sums, sums, exponential_ratio, samples=50, level=0.9, seed=1)
    assert found.candidate.estimate == pytest.approx(math.exp(0.25))
    assert found.difference == Interval(0.0, 0.0, 0.0, 0.9)


@pytest.mark.parametrize("units", ["", "a", "aaaa"])
def test_fewer_than_two_users_are_unknown(units: str) -> None:
    found = compare(units, [1.0] * len(units), [0.0] * len(units))
    assert found.candidate == found.champion == found.difference == UNKNOWN
    assert found.rows == len(units)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_figure_that_is_not_finite_is_unknown_for_that_model_only(bad: float) -> None:
    found = compare("abc", [1, bad, 1], [1, 0, 1])
    assert found.candidate == found.difference == UNKNOWN
    assert found.champion.known


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    rng = np.random.default_rng(5)
    units, ours, theirs = rng.integers(0, 20, 100), rng.integers(0, 2, 100), rng.integers(0, 2, 100)
    order = rng.permutation(100)
    once = compare(units, ours, theirs)
    assert compare(units[order], ours[order], theirs[order]) == once
    assert compare(units, ours, theirs, seed=4).difference != once.difference


def test_many_users_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flytewheel.evaluation.bootstrap._CELLS", 60)
    found = compare(range(30), np.arange(30) % 2, np.zeros(30), samples=101)
    assert found.difference.low is not None
    assert found.difference.low > 0


def test_tails_follow_the_published_formula() -> None:
    """n = 5, 95 %: t(0.975, 4) = 2.77645 by the tables, Phi(-sqrt(5/4) * 2.77645) = Phi(-3.10417) = 0.000954."""
    assert expanded_tail(0.95, 5) == pytest.approx(0.000954, abs=1e-6)
    assert expanded_tail(0.95, 4) == pytest.approx(0.5 * math.erfc(math.sqrt(4 / 3) * 3.18245 / math.sqrt(2)), rel=1e-4)
    assert expanded_tail(0.95, 100_000) == pytest.approx(0.025, abs=1e-5)


def simulate(rng: np.random.Generator, users: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two equally good models: each user has a rate of their own, Beta(1.2, 0.8), intra-user correlation 1/3."""
    sizes = rng.integers(2, 12, users)
    units = np.repeat(np.arange(users), sizes)
    rates = rng.beta(1.2, 0.8, users)[units]
    return units, rng.random(len(units)) < rates, rng.random(len(units)) < rates


@pytest.mark.parametrize("users", [10, 40])
def test_intervals_cover_the_truth_as_often_as_they_say(users: int) -> None:
    """A/A on clustered rows: 95 % nominal, 93 to 98.5 % tolerated for the difference (500 runs: standard error 1 %).

    For one model's own rate, between-user spread dominates: there resampling rows covers far too seldom.
    """
    rng = np.random.default_rng(11)
    hits = {"difference": 0, "by user": 0, "by row": 0}
    for run in range(RUNS):
        units, ours, theirs = simulate(rng, users)
        found = compare(units, ours, theirs, seed=run)
        rows = compare(range(len(units)), ours, theirs, seed=run)
        hits["difference"] += found.difference.low <= 0 <= found.difference.high
        hits["by user"] += found.candidate.low <= 0.6 <= found.candidate.high
        hits["by row"] += rows.candidate.low <= 0.6 <= rows.candidate.high
    coverage = {name: count / RUNS for name, count in hits.items()}
    assert 0.93 <= coverage["difference"] <= 0.985, coverage
    assert 0.92 <= coverage["by user"] <= 0.985, coverage
    assert coverage["by row"] < 0.85, coverage
