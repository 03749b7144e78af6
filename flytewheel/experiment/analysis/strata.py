"""One difference out of several stages: each is compared within itself, and only then are they combined.

Pooling users of a 10 % and a 50 % stage while the baseline drifts calls 26 % of identical arms different; stratified
by stage 5 % (simulated). D = Σ w_s·D_s/Σ w_s, w_s = N_c·N_t/(N_c + N_t) of the stage's denominators (Mantel and
Haenszel 1959): weights of size alone, so that no outcome can choose its own weight; or 1/Var D_s where
`by="precision"` is asked for.

People stay from stage to stage, some of them in another arm, so stages are not independent. Where users have keys,
their parts in the error are added up over all stages, w_s·(±(X − R·N)/ΣN), and the variance is that of the sums by
user; kept sums of products between strata give the same. Without either it is taken at its largest,
(Σ w_s·SE_s/Σ w_s)², which no dependence can exceed (Cauchy and Schwarz).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flytewheel.experiment.metrics import ArmMoments


@dataclass(frozen=True, slots=True)
class Stratum:
    """One stage's difference. `size` is N_c·N_t/(N_c + N_t); `parts` the users' signed parts in the error of the
    difference, `(users,)`, beside their `keys`; None where users have no keys.
    `kept` are the arms' kept sums, each with its sign and CUPED's θ, where these stand for the users.
    """

    difference: float
    variance: float
    size: float
    parts: NDArray[np.float64] | None = None
    keys: NDArray[np.generic] | None = None
    kept: tuple[tuple[float, float, ArmMoments], ...] = ()


def combine(strata: Sequence[Stratum], *, by: Literal["size", "precision"] = "size") -> tuple[float, float]:
    """The difference over all strata, and its variance; one stratum is itself."""
    if len(strata) == 1:
        return strata[0].difference, strata[0].variance
    weights = np.array([one.size if by == "size" else 1 / one.variance for one in strata])
    weights = weights / weights.sum()
    difference = float(sum(weight * one.difference for weight, one in zip(weights, strata, strict=True)))
    bound = float(sum(weight * math.sqrt(one.variance) for weight, one in zip(weights, strata, strict=True))) ** 2
    return difference, min(bound, _add_up(weights, strata) or bound)


def _add_up(weights: NDArray[np.float64], strata: Sequence[Stratum]) -> float | None:
    if all(one.kept for one in strata):
        return _add_up_kept(weights, strata)
    parts = [weight * one.parts for weight, one in zip(weights, strata, strict=True) if one.parts is not None]
    keys = [one.keys for one in strata if one.keys is not None]
    if len(parts) < len(strata) or len(keys) < len(strata):
        return None
    users, places = np.unique(np.concatenate(keys), return_inverse=True)
    sums = np.bincount(places, weights=np.concatenate(parts))
    return len(users) / (len(users) - 1) * float(sums @ sums)


def _add_up_kept(weights: NDArray[np.float64], strata: Sequence[Stratum]) -> float:
    """(Σ over strata and arms of a user's parts)², added up over users: every two places' sums of products."""
    terms = [(weight * sign, np.array([1.0, -theta]), arm) for weight, one in zip(weights, strata, strict=True)
             for sign, theta, arm in one.kept]  # fmt: skip
    squares: float = sum(
        one_weight * other_weight * float(one @ arm.linearise(its) @ other)
        for one_weight, one, arm in terms
        for other_weight, other, its in terms
    )
    users = _count_users([[arm for _, _, arm in one.kept] for one in strata])
    return users / (users - 1) * max(0.0, squares)


def _count_users(strata: Sequence[Sequence[ArmMoments]]) -> int:
    """At least so many different users: those of each stratum less those of every two (Bonferroni; of two strata it is
    just so many), and never fewer than in the largest.
    """
    sizes = [sum(arm.users for arm in arms) for arms in strata]
    shared = sum(
        int(one.between(other)[0, 0]) for arms, others in combinations(strata, 2) for one in arms for other in others
    )
    return max(*sizes, sum(sizes) - shared)
