"""Power of a difference between two means or ratios, and what it takes to see one: normal theory for one look.

SE² = V_c/n_c + V_t/n_t with V the variance of one user (of the linearised ratio: m·Var R). Power at a true difference
δ is Φ(δ/SE − z) + Φ(−δ/SE − z), z = Φ⁻¹(1 − α/2), or Φ(δ/SE − z₁₋α) one-sided; the smallest effect that is detectable
(MDE) at a power is where that is reached. As tea-tasting's `solve_power` with the normal distribution (the oracle in
the tests). Planning builds stages, shares and repeated looks on it.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.stats import norm


def standard_error(user_variance: float, users: float, share: float) -> float:
    """SE of the difference when `share`, in (0, 1), of all `users` are treated and both arms vary alike."""
    return math.sqrt(user_variance / (users * (1 - share)) + user_variance / (users * share))


def power(effect: float, error: float, *, alpha: float = 0.05, two_sided: bool = True) -> float:
    """The probability of seeing a true difference `effect` (one-sided: in its own direction)."""
    size = abs(effect) / error
    if not two_sided:
        return float(norm.sf(norm.isf(alpha) - size))
    limit = norm.isf(alpha / 2)
    return float(norm.sf(limit - size) + norm.cdf(-limit - size))


def mde(error: float, *, power_wanted: float = 0.8, alpha: float = 0.05, two_sided: bool = True) -> float:
    """The smallest true difference that is seen with this power, above 0."""
    if not two_sided:
        return float((norm.isf(alpha) + norm.ppf(power_wanted)) * error)
    far = 2 * (norm.isf(alpha / 2) + max(0.0, norm.ppf(power_wanted)) + 1)
    size = brentq(lambda effect: power(effect, 1.0, alpha=alpha) - power_wanted, 0.0, far, xtol=1e-12)
    return float(size) * error


def users_needed(
    effect: float,
    user_variance: float,
    share: float,
    *,
    power_wanted: float = 0.8,
    alpha: float = 0.05,
    two_sided: bool = True,
) -> float:
    """Users in all arms together that see a true difference `effect` with this power; not rounded."""
    at_one = mde(standard_error(user_variance, 1.0, share), power_wanted=power_wanted, alpha=alpha, two_sided=two_sided)
    return (at_one / abs(effect)) ** 2
