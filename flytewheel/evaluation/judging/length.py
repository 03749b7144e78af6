"""The win rate had both answers been equally long.

Judges like long answers. AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475, section 3) regresses the preference on
the difference in length, squashed, and reads the regression at no difference: P(ours) = logistic(theta + phi *
tanh(d / s)), d our characters minus theirs, s the standard deviation of d over the duels; the figure is
logistic(theta). The paper's third term, the difficulty of each instruction, is estimated from many models and left out
here.

Departs from it for few duels: theta and phi have normal priors of mean 0 and standard deviations 5 and 2.5 (weakly
informative, Gelman et al. 2008, Annals of Applied Statistics 2: 1360), so that a fit exists where all duels are won.
The interval is the user bootstrap, each resample one Newton step from the fit (Shao & Tu 1995, "The Jackknife and
Bootstrap", section 8.4), which makes it a function of sums over users.

Where one side is nearly always the longer one there is nothing to read the regression at: the figure is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.measure import Compare
from flytewheel.evaluation.proportion import compare_rates
from flytewheel.records import Interval

Columns = NDArray[np.float64]

_PRECISION = np.array([1 / 5.0**2, 1 / 2.5**2])
_STEPS = 50
_FARTHEST = 12.0  # logits; a rate of 0.999994
OVERLAP = 0.05  # of the duels at least, in which each side is not the longer one


@dataclass(frozen=True, slots=True)
class LengthControl:
    """The adjusted rate; `slope` is phi, `longer` the share of duels in which our answer is the longer one."""

    rate: Comparison
    slope: float | None
    longer: float
    note: str = ""


def control_length(
    users: Sequence[str], preferences: Sequence[float], lengths: Sequence[tuple[int, int]], compare: Compare
) -> LengthControl:
    """Adjusts preferences (rows,) in [0, 1] for the `lengths` of both answers, in characters."""
    gaps = np.array([ours - theirs for ours, theirs in lengths], dtype=np.float64)
    longer = float((gaps > 0).mean()) if len(gaps) else 0.0
    shorter = float((gaps < 0).mean()) if len(gaps) else 0.0
    if max(longer, shorter) > 1 - OVERLAP or not len(gaps):
        unknown = Interval(None, None, None, compare.level)
        side, share = ("candidate's", longer) if longer > shorter else ("champion's", shorter)
        note = f"the {side} answer is the longer one in {share:.0%} of the duels: no win rate at equal length"
        found = Comparison(unknown, unknown, unknown, len(gaps), len(set(users)))
        return LengthControl(found, None, longer, note if len(gaps) else "")
    spread = gaps.std()
    inputs = np.tanh(gaps / spread) if spread > 0 else np.zeros_like(gaps)
    wins = np.asarray(preferences, dtype=np.float64)
    fit = fit_logistic(inputs, wins)

    def step(sums: Columns) -> Columns:
        first, second, a, b, c = np.moveaxis(sums, -1, 0)
        first, second = first - _PRECISION[0] * fit[0], second - _PRECISION[1] * fit[1]
        a, c = a + _PRECISION[0], c + _PRECISION[1]
        return _logistic(fit[0] + (c * first - b * second) / (a * c - b * b))

    columns = _list_terms(inputs, wins, fit)
    rate = compare_rates(users, columns, step, compare, users=len(set(users)))
    return LengthControl(rate, float(fit[1]), longer)


def fit_logistic(inputs: Columns, wins: Columns) -> Columns:
    """Theta and phi at the mode, by Newton's method.

    Args:
        inputs: (rows,) in [-1, 1].
        wins: (rows,) in [0, 1].

    Returns:
        (2,)
    """
    fit = np.zeros(2)
    for _ in range(_STEPS):
        first, second, a, b, c = _list_terms(inputs, wins, fit).sum(axis=0)
        pull = np.array([first, second]) - _PRECISION * fit
        move = np.linalg.solve(np.array([[a, b], [b, c]]) + np.diag(_PRECISION), pull)
        largest = np.abs(move).max()
        fit = fit + move * min(1.0, 2.0 / largest) if largest > 0 else fit
        if largest < 1e-10:
            break
    return fit


def _list_terms(inputs: Columns, wins: Columns, fit: Columns) -> Columns:
    """Gradient and curvature of each row's log-likelihood: (rows, 5)."""
    chance = _logistic(fit[0] + fit[1] * inputs)
    rest, weight = wins - chance, chance * (1 - chance)
    return np.stack([rest, rest * inputs, weight, weight * inputs, weight * inputs**2], axis=1)


def _logistic(logits: Columns) -> Columns:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_FARTHEST, _FARTHEST))))
