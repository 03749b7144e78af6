"""Decides with what probability a new user is given each arm, out of what the arms earned so far.

Every policy is *probability matching*: it gives a vector of probabilities, and the arm is where the user's sticky draw
falls in it. So the logged propensity is the probability itself and no estimate of one, and the same user under the same
statistics lands in the same arm in every process.

- **Thompson** (1933; Chapelle and Li 2011): P(arm k has the highest mean) under independent Beta posteriors with a
  uniform prior. Drawing from these probabilities is what sampling the posteriors does. They are integrated numerically,
  P_k = ∫ f_k(x) Π_{j≠k} F_j(x) dx, on points laid within eight standard deviations of every arm's mean: nothing is lost
  where one posterior is a hundred times as narrow as another.
- **ε-greedy**: the highest posterior mean; ties are shared.
- **LinUCB** (Li, Chu, Langford and Schapire 2010, "A contextual-bandit approach to personalized news article
  recommendation", algorithm 1, disjoint): θ_k = A_k⁻¹b_k with A_k = I + Σxxᵀ, b_k = Σxr; the highest
  θ_kᵀx + α·√(xᵀA_k⁻¹x). It is ε-mixed: without that, propensities are 0 or 1 and nothing can be learnt from the log.

The reward r is in [0, 1]. A fractional success counts as that part of one success and the rest of one failure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UCB_WIDTH = 0.5  # α; Li et al. found 0.2 to 0.6 best, and rewards in [0, 1] have σ ≤ 1/2
RIDGE = 1.0
_SPAN = 8.0  # standard deviations; beyond them lies less than 1e-15
_POINTS = 65  # an arm


def match_best(successes: Floats, failures: Floats) -> Floats:
    """P(arm k is best), `(…, arms)`, from successes and failures `(…, arms)`, both at least 0."""
    alpha, beta = successes + 1.0, failures + 1.0
    total = alpha + beta
    mean = alpha / total
    spread = np.sqrt(alpha * beta / (total * total * (total + 1)))
    steps = np.linspace(-_SPAN, _SPAN, _POINTS)
    points = np.clip(mean[..., None] + spread[..., None] * steps, 1e-12, 1 - 1e-12)
    points = np.sort(points.reshape(*mean.shape[:-1], -1), axis=-1)[..., None, :]  # (…, 1, arms · points)
    log_density = (alpha - 1)[..., None] * np.log(points) + (beta - 1)[..., None] * np.log1p(-points)
    density = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
    pieces = 0.5 * (density[..., 1:] + density[..., :-1]) * np.diff(points)
    pieces /= pieces.sum(axis=-1, keepdims=True)  # probability of each piece, (…, arms, pieces)
    middle = np.cumsum(pieces, axis=-1) - 0.5 * pieces
    # Π of the others' distribution functions; by logarithms, so that K arms cost K and not K².
    logs = np.log(np.maximum(middle, 1e-300))
    best = (pieces * np.exp(logs.sum(axis=-2, keepdims=True) - logs)).sum(axis=-1)
    found: Floats = best / best.sum(axis=-1, keepdims=True)
    return found


def match_highest(scores: Floats) -> Floats:
    """All probability to the highest score, `(…, arms)`; ties share it evenly."""
    highest = scores >= scores.max(axis=-1, keepdims=True)
    shared: Floats = highest / highest.sum(axis=-1, keepdims=True)
    return shared


def score_greedy(successes: Floats, failures: Floats) -> Floats:
    """Posterior means, `(…, arms)`."""
    found: Floats = (successes + 1.0) / (successes + failures + 2.0)
    return found


def score_linucb(moments: Floats, products: Floats, context: Floats, width: float = UCB_WIDTH) -> Floats:
    """Upper confidence bounds, `(…, arms)`.

    Args:
        moments: Σxxᵀ of each arm, `(arms, d, d)`, without the ridge.
        products: Σxr of each arm, `(arms, d)`.
        context: `(…, d)`.
        width: α.
    """
    inverse: Floats = np.asarray(np.linalg.inv(moments + RIDGE * np.eye(moments.shape[-1])), dtype=np.float64)
    return bound_linucb(inverse, np.einsum("kij,kj->ki", inverse, products), context, width)


def bound_linucb(inverse: Floats, weights: Floats, context: Floats, width: float = UCB_WIDTH) -> Floats:
    """As `score_linucb`, from A_k⁻¹ `(arms, d, d)` and θ_k `(arms, d)`."""
    widths = np.einsum("...i,kij,...j->...k", context, inverse, context, optimize=False)
    found: Floats = context @ weights.T + width * np.sqrt(np.maximum(widths, 0.0))
    return found


def mix_floor(probabilities: Floats, floor: float) -> Floats:
    """Mixes `(…, arms)` with an even split so that no arm has less than `floor`, which is at most 1/arms."""
    arms = probabilities.shape[-1]
    mixed: Floats = floor + max(0.0, 1.0 - arms * floor) * probabilities
    return mixed


def place_draw(probabilities: Floats, u: float) -> int:
    """The arm in whose stretch of [0, 1) a draw falls; stretches are laid side by side in the order of the arms."""
    reached = 0.0
    for arm, probability in enumerate(probabilities.tolist()):
        reached += probability
        if u < reached:
            return arm
    return len(probabilities) - 1
