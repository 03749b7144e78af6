"""One arm against the control within one stage: capped, adjusted by what was before, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flytewheel.experiment.analysis.capping import cap_heavy
from flytewheel.experiment.analysis.cuped import Adjustment, adjust
from flytewheel.experiment.analysis.ratio import Ratio, bound_variance, estimate_ratio, linearise
from flytewheel.experiment.analysis.strata import Stratum
from flytewheel.experiment.metrics import ArmMoments, ArmSums, Metric, UserSums

_SIGNS = (-1.0, 1.0)  # of control and treatment in a difference


@dataclass(frozen=True, slots=True)
class Difference:
    """Both arms of one metric after capping. `adjustment` is CUPED's, None where it does not help."""

    control: Ratio
    treatment: Ratio
    sums: tuple[ArmSums, ArmSums]
    adjustment: Adjustment | None = None
    cap: float | None = None
    capped_users: int = 0

    @property
    def value(self) -> float:
        """Treatment − control, adjusted."""
        return self.treatment.estimate - self.control.estimate - self.shift

    @property
    def shift(self) -> float:
        return self.adjustment.shift if self.adjustment else 0.0

    @property
    def variances(self) -> tuple[float, float]:
        """Of control and treatment, adjusted; NaN where fewer than two users give none."""
        if self.adjustment:
            return self.adjustment.variances
        before, after = self.control.variance, self.treatment.variance
        return (math.nan if before is None else before, math.nan if after is None else after)

    def to_stratum(self, *, share: bool) -> Stratum:
        """This stage as a stratum; of a `share` the variance is never below that of independent requests."""
        totals = (self.control.total, self.treatment.total)
        variance = float(
            bound_variance((self.control.estimate, self.treatment.estimate), self.variances, totals, share=share)
        )
        size = totals[0] * totals[1] / (totals[0] + totals[1])
        theta = self.adjustment.theta if self.adjustment else 0.0
        kept = tuple((sign, theta, sums) for sign, sums in zip(_SIGNS, self.sums, strict=True)
                     if isinstance(sums, ArmMoments))  # fmt: skip
        return Stratum(self.value, variance, size, *self._parts(), kept)

    def _parts(self) -> tuple[NDArray[np.float64] | None, NDArray[np.generic] | None]:
        by_user = [sums for sums in self.sums if isinstance(sums, UserSums)]
        keys = [sums.keys for sums in by_user if sums.keys is not None]
        if len(keys) < 2:
            return None, None
        signed = []
        for sign, sums, ratio in zip(_SIGNS, by_user, (self.control, self.treatment), strict=True):
            parts = linearise(sums, ratio.estimate)
            if self.adjustment and sums.before is not None:
                earlier = estimate_ratio(sums.before)
                parts = parts - (self.adjustment.theta * linearise(sums.before, earlier.estimate) if earlier else 0.0)
            signed.append(sign * parts)
        return np.concatenate(signed), np.concatenate(keys)


def compare(metric: Metric, arms: Mapping[str, ArmSums], arm: str, control: str) -> Difference | tuple[str, ...]:
    """Compares one arm with the control; the arms that have no data, where one has none.

    The cap is pooled over all arms, so that it is the same whichever pair is compared.
    """
    if absent := tuple(name for name in (control, arm) if name not in arms):
        return absent
    capped, cap, capped_users = cap_heavy(arms, metric.cap)
    pair = (capped[control], capped[arm])
    ratios = [estimate_ratio(sums) for sums in pair]
    if ratios[0] is None or ratios[1] is None:
        return tuple(name for name, ratio in zip((control, arm), ratios, strict=True) if ratio is None)
    return Difference(ratios[0], ratios[1], pair, adjust(*pair), cap, capped_users)
