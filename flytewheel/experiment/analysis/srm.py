"""Sample ratio mismatch: whether users an arm contradict the shares, by an e-value that may be looked at hourly.

The mixture over the shares is a Dirichlet of weight 1,000 that sits at the planned ones (Lindon and Malek 2022,
"Anytime-Valid Inference for Multinomial Count Data"): for two equal arms Beta(500, 500), which would be blunt at other
shares. E ≥ 1,000 stops: a false alarm in at most one stage of a thousand, over all looks together; a χ² looked at
hourly stops 12 % (simulated). Each router is told by the same e-value, with the limit times the number of routers
(Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

SRM_LIMIT = 1000.0
SRM_WEIGHT = 1000.0


def srm_log_e_value(users: Mapping[str, int], shares: Mapping[str, float]) -> float | None:
    """ln E against users ~ Multinomial(shares); None where nobody is split: fewer than two arms have a share."""
    open_arms = {arm: share for arm, share in shares.items() if share > 0}
    total_share = sum(open_arms.values())
    if len(open_arms) < 2:
        return None
    counts = {arm: users.get(arm, 0) for arm in open_arms}
    log_e = math.lgamma(SRM_WEIGHT) - math.lgamma(SRM_WEIGHT + sum(counts.values()))
    for arm, share in open_arms.items():
        weight = SRM_WEIGHT * share / total_share
        log_e += math.lgamma(weight + counts[arm]) - math.lgamma(weight) - counts[arm] * math.log(share / total_share)
    return log_e


def has_sample_ratio_mismatch(users: Mapping[str, int], shares: Mapping[str, float], *, tests: int = 1) -> bool:
    """Whether users an arm contradict the shares; `tests` is how many such questions are asked side by side.

    An arm without a share that has users is no mismatch of the others: a share of 0 or 1 splits nobody.
    """
    log_e = srm_log_e_value(users, shares)
    return log_e is not None and log_e >= math.log(SRM_LIMIT * tests)
