from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from flytewheel.evaluation.judging.length import control_length, fit_logistic
from flytewheel.evaluation.measure import Compare

COMPARE = Compare(400, 0.95, 1)
USERS = [f"user-{at % 50}" for at in range(300)]


def draw(rate: float, slope: float, shift: float, *, seed: int = 1) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Preferences with a rate of `rate` at equal length, ours being `shift` standard deviations longer."""
    rng = np.random.default_rng(seed)
    gaps = rng.normal(shift, 1, 300)
    chance = 1 / (1 + np.exp(-np.log(rate / (1 - rate)) - slope * np.tanh(gaps)))
    return (rng.random(300) < chance).astype(float), [(1000 + round(100 * gap), 1000) for gap in gaps]


def test_a_judge_of_length_alone_gives_one_half() -> None:
    """It prefers the longer answer always, and ours is the longer one in seven of ten."""
    rng = np.random.default_rng(4)
    gaps = rng.normal(0.5, 1, 300)
    lengths = [(1000 + round(100 * gap), 1000) for gap in gaps]
    wins = [float(ours > theirs) for ours, theirs in lengths]
    found = control_length(USERS, wins, lengths, COMPARE)
    assert np.mean(wins) > 0.65
    assert found.rate.candidate.low < 0.5 < found.rate.candidate.high
    assert found.slope > 3


def test_a_rate_at_equal_length_is_found_again() -> None:
    wins, lengths = draw(0.6, 1.5, 0.8, seed=2)
    found = control_length(USERS, wins, lengths, COMPARE)
    assert wins.mean() > 0.68
    assert found.rate.candidate.estimate == pytest.approx(0.6, abs=0.06)
    assert found.rate.candidate.low <= 0.6 <= found.rate.candidate.high
    assert found.rate.champion.estimate == pytest.approx(1 - found.rate.candidate.estimate)


def test_answers_of_one_length_leave_the_rate_as_it_is() -> None:
    wins = [1.0] * 40 + [0.0] * 10
    found = control_length(USERS[:50], wins, [(7, 7)] * 50, COMPARE)
    assert found.rate.candidate.estimate == pytest.approx(0.8, abs=0.002)
    assert (found.longer, found.note) == (0.0, "")


def test_the_fit_is_that_of_another_library() -> None:
    """Ridge with standard deviations 5 and 2.5: columns scaled by them, then one penalty of 1 on both."""
    wins, lengths = draw(0.7, 1.0, 0.2, seed=5)
    gaps = np.array([ours - theirs for ours, theirs in lengths], dtype=float)
    inputs = np.tanh(gaps / gaps.std())
    oracle = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    oracle.fit(np.stack([np.full(300, 5.0), 2.5 * inputs], axis=1), wins)
    assert fit_logistic(inputs, wins) == pytest.approx(oracle.coef_[0] * [5.0, 2.5], abs=1e-5)


def test_all_won_is_fitted_too() -> None:
    lengths = [(100 + at % 7, 103) for at in range(60)]
    found = control_length(USERS[:60], [1.0] * 60, lengths, COMPARE).rate.candidate
    assert 0.97 < found.estimate < 1
    assert 0.8 < found.low < 0.97


@pytest.mark.parametrize(("gap", "side"), [(5, "candidate's"), (-5, "champion's")])
def test_a_side_that_is_always_longer_leaves_it_unknown(gap: int, side: str) -> None:
    lengths = [(100 + gap + at % 3, 100) for at in range(60)]
    found = control_length(USERS[:60], [1.0] * 60, lengths, COMPARE)
    assert not found.rate.candidate.known
    assert found.note.startswith(f"the {side} answer is the longer one in 100% of the duels")


def test_nothing_is_unknown() -> None:
    assert not control_length([], [], [], COMPARE).rate.candidate.known
