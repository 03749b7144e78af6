"""Probabilities of arms against sampling, arithmetic by hand, and what a draw does with them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.regret import bound_slope, play
from flytewheel.experiment.allocation.features import count_dimensions, make_context
from flytewheel.experiment.allocation.policies import (
    match_best,
    match_highest,
    mix_floor,
    place_draw,
    score_greedy,
    score_linucb,
)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ([0, 0], [0, 0]),
        ([3, 5.5], [7, 4.5]),
        ([300, 50, 0], [700, 100, 0]),  # one posterior forty times as wide as another
        ([1e6, 1e6 + 1500, 2], [1e6, 1e6 - 1500, 2]),
        ([40, 40, 40, 40, 44], [60, 60, 60, 60, 56]),
    ],
)
def test_thompsons_probabilities_are_those_of_sampling(good: list[float], bad: list[float]) -> None:
    """A million draws of the posteriors: a share of them is known to 0.0005, and four of these are allowed."""
    successes, failures = np.array(good, float), np.array(bad, float)
    drawn = np.random.default_rng(3).beta(successes + 1, failures + 1, size=(1_000_000, len(good)))
    shares = np.bincount(drawn.argmax(axis=1), minlength=len(good)) / len(drawn)
    assert match_best(successes, failures) == pytest.approx(shares, abs=0.002)


def test_many_problems_at_once_are_each_as_alone() -> None:
    good, bad = np.array([[3.0, 5.0], [80.0, 20.0]]), np.array([[7.0, 5.0], [20.0, 80.0]])
    together = match_best(good, bad)
    assert together == pytest.approx(np.array([match_best(good[0], bad[0]), match_best(good[1], bad[1])]), abs=1e-12)
    assert together.sum(axis=1) == pytest.approx([1, 1])


def test_a_better_arm_by_hand() -> None:
    """One success against none: P(Beta(2, 1) > Beta(1, 2)) = ∫ 2x · (2x − x²) dx = 4/3 − 1/2 = 5/6."""
    assert match_best(np.array([1.0, 0.0]), np.array([0.0, 1.0]))[0] == pytest.approx(5 / 6, abs=0.002)


def test_the_floor_holds_and_all_adds_up() -> None:
    mixed = mix_floor(np.array([1.0, 0.0, 0.0]), 0.1)
    assert mixed == pytest.approx([0.8, 0.1, 0.1])
    assert mix_floor(np.array([1.0, 0.0]), 0.5) == pytest.approx([0.5, 0.5])


def test_ties_are_shared() -> None:
    assert match_highest(np.array([0.4, 0.4, 0.1])) == pytest.approx([0.5, 0.5, 0.0])
    assert score_greedy(np.array([1.0, 0.0]), np.array([0.0, 0.0])) == pytest.approx([2 / 3, 1 / 2])


def test_linucb_by_hand() -> None:
    """One number of context, x = 1. Arm 0: three users, two good: A = 4, θ = 2/4; its bound is 0.5 + 0.5 · √(1/4).
    Arm 1, never met: A = 1, θ = 0, and its bound 0 + 0.5 · 1.
    """
    moments, products = np.array([[[3.0]], [[0.0]]]), np.array([[2.0], [0.0]])
    assert score_linucb(moments, products, np.array([1.0])) == pytest.approx([0.75, 0.5])


def test_draws_fall_into_arms_as_often_as_said() -> None:
    probabilities = np.array([0.2, 0.5, 0.3])
    draws = (np.arange(1000) + 0.5) / 1000
    counts = np.bincount([place_draw(probabilities, u) for u in draws], minlength=3)
    assert counts.tolist() == [200, 500, 300]
    assert place_draw(np.array([0.5, 0.5 - 1e-17]), 1 - 2**-53) == 1


def test_a_context_is_the_same_everywhere_and_within_its_bounds() -> None:
    features = ("topic", "prompt_length", "recent_reward")
    seen = make_context(features, topic="Refunds", prompt_length=10**9, recent_reward=None)
    assert len(seen) == count_dimensions(features) == 12
    assert (seen[0], seen[1:9].sum(), seen[9]) == (1, 1, 1)
    assert seen[10:].tolist() == [0, 0]
    assert np.array_equal(seen, make_context(features, topic=" refunds ", prompt_length=10**9, recent_reward=None))
    assert make_context(features, topic="", prompt_length=0, recent_reward=0.25).tolist() == [1] + [0] * 9 + [0.25, 1]
    odd = make_context(("topic",), topic="\ud800 ünïcode", prompt_length=0, recent_reward=None)
    assert odd.sum() == 2


def test_thompsons_regret_grows_no_faster_than_it_may() -> None:
    """Small: 40 runs of 20,000 users; `python -m benchmarks.regret` is the whole of it."""
    means = (0.25, 0.15)
    assert play(means, match_best, 20_000, 40).slope <= 1.5 * bound_slope(means)
