from __future__ import annotations

import math

import numpy as np

from flytewheel.evaluation.perplexity import Score
from flytewheel.evaluation.preference import prefer_by_likelihood, prefer_by_reward


def test_likelihood_is_compared_per_token() -> None:
    """-6 over 6 tokens (-1 each) beats -4 over 2 (-2 each), though its sum is lower; a tie is no preference."""
    chosen = [Score(-6, 6), Score(-4, 2), Score(-3, 3)]
    rejected = [Score(-4, 2), Score(-6, 6), Score(-5, 5)]
    assert prefer_by_likelihood(chosen, rejected).tolist() == [1, 0, 0]


def test_reward_is_the_gain_over_the_base() -> None:
    """Chosen rose from -10 to -8 (+2), rejected from -3 to -2 (+1): preferred, though less likely in all."""
    found = prefer_by_reward([Score(-8, 4)], [Score(-2, 4)], [Score(-10, 4)], [Score(-3, 4)])
    assert found.tolist() == [1]


def test_what_is_not_finite_is_not_a_wrong_answer() -> None:
    bad = [Score(math.nan, 2), Score(-math.inf, 2), Score(-1, 2)]
    assert np.isnan(prefer_by_likelihood(bad, [Score(-2, 2)] * 3)).tolist() == [True, True, False]
    assert np.isnan(prefer_by_reward(bad, bad, bad, bad)).tolist() == [True, True, False]


def test_no_pairs() -> None:
    assert prefer_by_likelihood([], []).shape == (0,)
