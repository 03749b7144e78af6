"""Boundaries of a primary metric that is looked at a few planned times: O'Brien–Fleming by α-spending.

Up to the part t of the information, one side has spent α*(t) = 2·(1 − Φ(z_{1−α/2}/√t)) of its α (Lan and DeMets 1983,
"Discrete sequential boundaries for clinical trials"; the shape of O'Brien and Fleming 1979): hardly anything at first,
so that the last look asks for little more than a single one would. The boundary of look k is the z at which the
probability of crossing there and at no look before is what has not been spent: Brownian motion W(I) with
Corr(z_j, z_k) = √(I_j/I_k), integrated look by look (Armitage, McPherson and Rowe 1969; Jennison and Turnbull 2000,
ch. 19), by Gauss–Legendre between the boundaries. Spending and information are two clocks: what is spent may go by the
number of the look while correlations go by the information that was found (Lan and DeMets 1989).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

FARTHEST = 8.0  # a z beyond which nothing is asked: P(|Z| > 8) = 1e-15
_LEAST_STEP = 1e-6  # of the information: a look with less new information than that is none


def spend(fraction: float, alpha: float) -> float:
    """What one side has spent of its `alpha` at this part of the information; all of it from 1 on."""
    if fraction <= 0:
        return 0.0
    return float(2 * norm.sf(norm.isf(alpha / 2) / math.sqrt(min(1.0, fraction))))


def find_boundaries(
    information: Sequence[float], fractions: Sequence[float], *, alpha: float, two_sided: bool = True
) -> tuple[float, ...]:
    """The z of each planned look; two-sided: |z| is compared, and each side spends α/2.

    Args:
        information: 1/SE² at each look. A look that brought nothing new asks for `FARTHEST` and spends nothing.
        fractions: how much of the plan each look is, growing, 1 at the end: of the information, or of the looks.
        alpha: of both sides together where there are two.
    """
    side = alpha / 2 if two_sided else alpha
    found: list[float] = []
    state: _State | None = None
    used = 0.0
    for place, (now, fraction) in enumerate(zip(information, fractions, strict=True)):
        step = now - (state.information if state else 0.0)
        if not math.isfinite(now) or step <= _LEAST_STEP * now:
            found.append(FARTHEST)
            continue
        due = spend(fraction, side) - used
        z = _solve(state, now, due)
        used += due if z < FARTHEST else 0.0
        found.append(z)
        following = next((later - now for later in information[place + 1 :] if later > now), None)
        if following is not None:
            state = _advance(state, now, z, following, two_sided)
    return tuple(found)


class _State:
    """The density of W = z·√I at one look, of what has crossed at none; on Gauss–Legendre nodes."""

    __slots__ = ("information", "mass", "nodes")

    def __init__(self, information: float, nodes: NDArray[np.float64], mass: NDArray[np.float64]) -> None:
        self.information, self.nodes, self.mass = information, nodes, mass


def _solve(state: _State | None, now: float, due: float) -> float:
    """The z that lets just `due` cross on its side, among what has not crossed before."""
    if due <= 1e-15:
        return FARTHEST
    if state is None:
        return min(FARTHEST, float(norm.isf(due)))
    held, scale = state, math.sqrt(now - state.information)

    def miss(z: float) -> float:
        return float(held.mass @ ndtr((held.nodes - z * math.sqrt(now)) / scale)) - due

    if miss(FARTHEST) >= 0:
        return FARTHEST
    return float(brentq(miss, -FARTHEST, FARTHEST, xtol=1e-9)) if miss(-FARTHEST) > 0 else -FARTHEST


def _advance(state: _State | None, now: float, z: float, following: float, two_sided: bool) -> _State:
    high = z * math.sqrt(now)
    low = -high if two_sided else -FARTHEST * math.sqrt(now)
    # A node for every quarter of the narrowest bell; Gauss–Legendre is exact to 1e-8 from there on.
    bell = math.sqrt(min(following, now - (state.information if state else 0.0)))
    unit, weights = _nodes(min(512, 16 * math.ceil((24 + 4 * (high - low) / bell) / 16)))
    nodes = low + (high - low) * (unit + 1) / 2
    if state is None:
        density = np.exp(-0.5 * nodes**2 / now) / math.sqrt(2 * math.pi * now)
    else:
        scale = math.sqrt(now - state.information)
        steps = (nodes[:, None] - state.nodes[None, :]) / scale
        density = np.exp(-0.5 * steps**2) @ state.mass / (scale * math.sqrt(2 * math.pi))
    return _State(now, nodes, density * weights * (high - low) / 2)


@lru_cache(maxsize=64)
def _nodes(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(count)
