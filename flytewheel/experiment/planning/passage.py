"""When a test that is looked at again and again ends, and on which side: the distribution of its first passage.

W(I) = I·(D − δ₀) is Brownian motion with drift in the information I = 1/SE²: mean (δ − δ₀)·I, variance I, independent
increments. What has not passed is carried from look to look by Gauss–Legendre integration (Armitage, McPherson and Rowe
1969; Jennison and Turnbull 2000, ch. 19). A boundary of infinity lets nothing pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from flytewheel.experiment.analysis.e_values import log_e_value

FARTHEST = 8.0  # standard errors beyond the mean: 1e-15 of the mass is left out
_NODES_A_BELL, _MOST_NODES = 3, 320

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Passage:
    """Probabilities, `(looks,)`, of passing first at each look: below (better than the margin) or above (worse)."""

    below: Floats
    above: Floats


def find_boundaries(information: Floats, tau: float, limit: float) -> Floats:
    """The z from which a one-sided e-value at each information is at least `limit` (a natural logarithm)."""
    low, high = np.zeros_like(information), np.full_like(information, FARTHEST)
    for _ in range(40):  # with little information the evidence grows slowly with z
        high = np.where(log_e_value(high, information, tau) < limit, 2 * high, high)
    for _ in range(50):
        middle = (low + high) / 2
        passes = log_e_value(middle, information, tau) >= limit
        low, high = np.where(passes, low, middle), np.where(passes, middle, high)
    return high


def find_passage(information: Sequence[float], drift: float, below: Sequence[float], above: Sequence[float]) -> Passage:
    """The first passage at each look.

    Args:
        information: growing, above 0, `(looks,)`; a look without new information counts as none.
        drift: δ − δ₀, in the metric's units.
        below: z at or below which a look passes on that side, −infinity where it cannot.
        above: z at or above which it passes on the other.
    """
    looks = len(information)
    passed = np.zeros(looks), np.zeros(looks)
    nodes, mass, before = np.zeros(1), np.ones(1), 0.0
    for look, now in enumerate(information):
        step = now - before
        if step <= 1e-9 * now:
            continue
        root, scale = math.sqrt(now), math.sqrt(step)
        means = nodes + drift * step
        lower, upper = below[look] * root, above[look] * root
        passed[0][look] = mass @ ndtr((lower - means) / scale) if math.isfinite(lower) else 0.0
        passed[1][look] = mass @ ndtr((means - upper) / scale) if math.isfinite(upper) else 0.0
        left = max(lower, drift * now - FARTHEST * root)
        right = min(upper, drift * now + FARTHEST * root)
        if right <= left:
            break
        unit, weights = _nodes(_choose_nodes(right - left, scale))
        following = left + (right - left) * (unit + 1) / 2
        density = np.exp(-0.5 * ((following[:, None] - means[None, :]) / scale) ** 2) @ mass
        mass = density * weights * (right - left) / 2 / (scale * math.sqrt(2 * math.pi))
        nodes, before = following, now
    return Passage(*passed)


def _choose_nodes(width: float, scale: float) -> int:
    return min(_MOST_NODES, 8 * math.ceil((16 + _NODES_A_BELL * width / scale) / 8))


@lru_cache(maxsize=64)
def _nodes(count: int) -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(count)
