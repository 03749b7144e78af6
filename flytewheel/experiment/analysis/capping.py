"""Heavy users capped: nobody weighs more than the user at a quantile of all arms together.

A user whose denominator is above that quantile keeps the own rate and counts with the quantile's denominator: numerator
and denominator shrink by one factor (winsorising the weight; Kohavi, Tang and Xu 2020, "Trustworthy Online Controlled
Experiments", ch. 22). What is compared is then the capped metric, the same in every arm, because the cap is pooled: a
cap by arm would depend on the treatment. The finding says the cap and how many met it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from flytewheel.experiment.metrics import ArmSums, UserSums


def cap_heavy(arms: Mapping[str, ArmSums], quantile: float | None) -> tuple[dict[str, ArmSums], float | None, int]:
    """Caps the users of all arms; returns them with the cap, in denominators, and how many were above it.

    Without a quantile, without users, or where a denominator is not finite nothing is capped and the cap is None.
    """
    if quantile is None:
        return dict(arms), None, 0
    by_user = {arm: sums for arm, sums in arms.items() if isinstance(sums, UserSums)}
    assert by_user.keys() == arms.keys(), "a cap is a quantile of users: read them"
    pooled = np.concatenate([sums.denominators for sums in by_user.values()]) if arms else np.empty(0)
    if not len(pooled) or not np.isfinite(pooled).all():
        return dict(arms), None, 0
    cap = float(np.quantile(pooled, quantile, method="inverted_cdf"))
    if cap <= 0:
        return dict(arms), None, 0
    capped: dict[str, ArmSums] = {}
    for arm, sums in by_user.items():
        factor = np.minimum(1.0, cap / np.maximum(sums.denominators, cap))
        capped[arm] = replace(sums, numerators=sums.numerators * factor, denominators=sums.denominators * factor)
    return capped, cap, int((pooled > cap).sum())
