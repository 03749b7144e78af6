"""CUPED: what users did before the experiment takes out the part of the noise that was there before, too.

For a ratio metric by linearisation (Deng, Xu, Kohavi and Walker 2013; Deng, Knoblich and Lu 2018): L = (X − R·N)/N̄
now and B the same of the time before. D′ = D − θ·(R_b,t − R_b,c), Var R′ = Var(L − θB)/m, θ = Cov(L, B)/Var(B) over
all arms together, each linearised at the pooled ratio, as tea-tasting has it: one θ for both arms, because an own θ by
arm would let the arms' populations differ. A user without a before gets the mean: B = 0.

Never worse than without: where the estimated variance would not shrink, or nobody has a before, there is no adjustment.
Nor is there one where users have weights (adaptive.py): θ would follow the past that gave them their arms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flytewheel.experiment.analysis.ratio import Ratio, estimate_ratio, linearise
from flytewheel.experiment.metrics import ArmMoments, ArmSums, UserSums

_ROUNDING = 1e-13  # of the squares: what differences of doubles cannot tell from nothing


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`shift` is taken off the difference; `variances` are those of (control, treatment) after it; `kept` is the part
    of the difference's variance that is left.
    """

    theta: float
    shift: float
    variances: tuple[float, float]
    kept: float


def adjust(control: ArmSums, treatment: ArmSums) -> Adjustment | None:
    """The adjustment of one difference, or None where none helps."""
    if _is_weighed(control) or _is_weighed(treatment):
        return None
    arms = (_Arm.read(control), _Arm.read(treatment))
    if arms[0] is None or arms[1] is None:
        return None
    pooled = _Arm.read(_join(control, treatment))
    if pooled is None:
        return None
    theta = pooled.both / pooled.before if pooled.before > 0 else 0.0
    if theta == 0 or not math.isfinite(theta):
        return None
    plain = sum(arm.ratio.variance or 0.0 for arm in arms if arm is not None)
    variances = tuple(arm.vary(theta) for arm in arms if arm is not None)
    kept = sum(variances) / plain if plain > 0 else 1.0
    if not kept < 1:
        return None
    shift = theta * (arms[1].earlier - arms[0].earlier)
    return Adjustment(theta, shift, (variances[0], variances[1]), kept)


def _is_weighed(sums: ArmSums) -> bool:
    return isinstance(sums, UserSums) and sums.weights is not None


@dataclass(frozen=True, slots=True)
class _Arm:
    """Both ratios of an arm, and the sums of squares and products of users' parts in their errors."""

    ratio: Ratio
    earlier: float
    now: float
    both: float
    before: float

    @classmethod
    def read(cls, sums: ArmSums) -> _Arm | None:
        ratio = estimate_ratio(sums)
        if ratio is None or ratio.users < 2:
            return None
        if isinstance(sums, ArmMoments):
            x, n = sums.sum_up(before=True)
            if not sums.has_before or n <= 0:
                return None
            (now, both), (_, before) = sums.linearise(sums).tolist()
            return cls(ratio, x / n * sums.unit, now, both, before)
        if sums.before is None or sums.before.users != sums.users:
            return None
        earlier = estimate_ratio(sums.before)
        if earlier is None:
            return None
        parts, parts_before = linearise(sums, ratio.estimate), linearise(sums.before, earlier.estimate)
        products = (float(parts @ parts), float(parts @ parts_before), float(parts_before @ parts_before))
        return cls(ratio, earlier.estimate, *products)

    def vary(self, theta: float) -> float:
        """The variance of the adjusted ratio; what is left of a difference by rounding alone is nothing."""
        squares = self.now - 2 * theta * self.both + theta**2 * self.before
        users = self.ratio.users
        return users / (users - 1) * (squares if squares > _ROUNDING * self.now else 0.0)


def _join(one: ArmSums, other: ArmSums) -> ArmSums:
    if isinstance(one, ArmMoments) and isinstance(other, ArmMoments):
        return one.join(other)
    assert isinstance(one, UserSums)
    assert isinstance(other, UserSums)
    before = None
    if one.before is not None and other.before is not None:
        before = _concatenate(one.before, other.before)
    return _concatenate(one, other, before)


def _concatenate(one: UserSums, other: UserSums, before: UserSums | None = None) -> UserSums:
    numerators = np.concatenate([one.numerators, other.numerators])
    return UserSums(numerators, np.concatenate([one.denominators, other.denominators]), before)
