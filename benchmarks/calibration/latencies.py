"""Latencies of a canary, counted as PostgreSQL counts them: shares beyond the control's p95 of the day.

Log-normal with σ = 0.5 (a p95 of 2.3 medians), a fifth of the variance is the user's own; the treatment's are `slower`
times as long.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SPREAD, CORRELATION, MARGIN = 0.5, 0.2, 0.05


def draw_latencies(
    generator: np.random.Generator, *, slower: float, share: float, days: int, per_day: float, users: int = 4000
) -> NDArray[np.float64]:
    """Moments of `latency_p95` at the end of each day, `(6, days, 2)`."""
    treated = generator.random(users) < share
    own = SPREAD * math.sqrt(CORRELATION) * generator.standard_normal(users, dtype=np.float32)
    moments = np.empty((6, days, 2))
    seen_user, seen = np.empty(0, dtype=int), np.empty(0, dtype=np.float32)
    for day in range(days):
        user = np.repeat(np.arange(users), generator.poisson(per_day, users))
        noise = SPREAD * math.sqrt(1 - CORRELATION) * generator.standard_normal(len(user), dtype=np.float32)
        logs = own[user] + noise + np.where(treated[user], math.log(slower), 0).astype(np.float32)
        seen_user, seen = np.concatenate([seen_user, user]), np.concatenate([seen, logs])
        of_treatment = treated[seen_user]
        of_control = seen[~of_treatment]
        place = math.ceil(0.95 * len(of_control)) - 1
        threshold = np.partition(of_control, place)[place]
        slow = seen_user[seen > np.where(of_treatment, threshold + math.log1p(MARGIN), threshold)]
        x, n = np.bincount(slow, minlength=users), np.bincount(seen_user, minlength=users)
        moments[:, day] = np.stack([_add_up(x[arm], n[arm]) for arm in (~treated, treated)], axis=1)
    return moments


def _add_up(x: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array([np.count_nonzero(n), x.sum(), n.sum(), x @ x, x @ n, n @ n], dtype=float)
