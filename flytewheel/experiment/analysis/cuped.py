"""CUPED: what users did before the experiment takes out the part of the noise that was there before, too.

For a ratio metric by linearisation (Deng, Xu, Kohavi and Walker 2013; Deng, Knoblich and Lu 2018): L = (X − R·N)/N̄
now and B the same of the time before. D′ = D − θ·(R_b,t − R_b,c), Var R′ = Var(L − θB)/m, θ = Cov(L, B)/Var(B) over
all arms together, each linearised at the pooled ratio, as tea-tasting has it: one θ for both arms, because an own θ by
arm would let the arms' populations differ. A user without a before gets the mean: B = 0.

Never worse than without: where the estimated variance would not shrink, or nobody has a before, there is no adjustment.
Nor is there one where users have weights (adaptive.py): θ would follow the past that gave them their arms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flytewheel.experiment.analysis.ratio import Ratio, estimate_ratio, linearise
from flytewheel.experiment.metrics import UserSums


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`shift` is taken off the difference; `variances` are those of (control, treatment) after it; `kept` is the part
    of the difference's variance that is left.
    """

    theta: float
    shift: float
    variances: tuple[float, float]
    kept: float


def adjust(control: UserSums, treatment: UserSums) -> Adjustment | None:
    """The adjustment of one difference, or None where none helps."""
    then, then_treated = control.before, treatment.before
    if then is None or then_treated is None or control.weights is not None or treatment.weights is not None:
        return None
    arms = (_Arm.read(control, then), _Arm.read(treatment, then_treated))
    if arms[0] is None or arms[1] is None:
        return None
    pooled = _Arm.read(_join(control, treatment), _join(then, then_treated))
    if pooled is None:
        return None
    spread = float(pooled.before @ pooled.before)
    theta = float(pooled.now @ pooled.before) / spread if spread > 0 else 0.0
    if theta == 0 or not np.isfinite(theta):
        return None
    plain = sum(arm.ratio.variance or 0.0 for arm in arms if arm is not None)
    variances = tuple(arm.vary(theta) for arm in arms if arm is not None)
    kept = sum(variances) / plain if plain > 0 else 1.0
    if not kept < 1:
        return None
    shift = theta * (arms[1].earlier.estimate - arms[0].earlier.estimate)
    return Adjustment(theta, shift, (variances[0], variances[1]), kept)


@dataclass(frozen=True, slots=True)
class _Arm:
    ratio: Ratio
    earlier: Ratio
    now: NDArray[np.float64]
    before: NDArray[np.float64]

    @classmethod
    def read(cls, sums: UserSums, before: UserSums) -> _Arm | None:
        if before.users != sums.users or sums.users < 2:
            return None
        ratio, earlier = estimate_ratio(sums), estimate_ratio(before)
        if ratio is None or earlier is None:
            return None
        return cls(ratio, earlier, _deviate(sums, ratio), _deviate(before, earlier))

    def vary(self, theta: float) -> float:
        """The variance of the adjusted ratio."""
        rest = self.now - theta * self.before
        users = len(rest)
        return float(rest @ rest) / (users * (users - 1))


def _deviate(sums: UserSums, ratio: Ratio) -> NDArray[np.float64]:
    return linearise(sums, ratio.estimate) * sums.users


def _join(one: UserSums, other: UserSums) -> UserSums:
    return UserSums(
        np.concatenate([one.numerators, other.numerators]), np.concatenate([one.denominators, other.denominators])
    )
