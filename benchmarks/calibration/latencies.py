"""Latencies of a canary, counted as PostgreSQL counts them: shares beyond the control's p95, which is frozen when its
burn-in is over (flytewheel/experiment/metrics/look.py), seen at hourly looks.

Log-normal with σ = 0.5 (a p95 of 2.3 medians), a fifth of the variance is the user's own; the treatment's are `slower`
times as long.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.crowd import Bools, Crowd, Events, Ints, draw_visits, split_visits
from flytewheel.experiment.metrics.look import BURN_IN_ANSWERS

SPREAD, CORRELATION, MARGIN, BURN_IN_USERS = 0.5, 0.2, 0.05, 50


def draw_latencies(crowd: Crowd, generator: np.random.Generator, *, slower: float) -> Events:
    """Answers of one stage; `good` is whether one is slow. Of `crowd` only who comes when counts, and the shares."""
    visits = draw_visits(crowd, generator)
    stage, treated = split_visits(crowd, visits)
    own = SPREAD * math.sqrt(CORRELATION) * generator.standard_normal(crowd.users, dtype=np.float32)
    logs = SPREAD * math.sqrt(1 - CORRELATION) * generator.standard_normal(len(stage), dtype=np.float32)
    logs += own[visits.user]
    logs[treated] += np.float32(math.log(slower) - math.log1p(MARGIN))  # as if beyond the control's own threshold
    return Events(visits.user, visits.hour, stage, treated, logs > _freeze(visits.user, visits.hour, treated, logs))


def _freeze(user: Ints, hour: Ints, treated: Bools, logs: NDArray[np.float32]) -> np.float32:
    """The control's p95 at the first hourly look with enough users and answers; of everything where there is none."""
    for last in range(int(hour.max(initial=0)) + 1):
        counted = np.flatnonzero(~treated & (hour <= last))
        if len(counted) >= BURN_IN_ANSWERS and len(np.unique(user[counted])) >= BURN_IN_USERS:
            break
    place = math.ceil(0.95 * len(counted)) - 1
    threshold: np.float32 = np.partition(logs[counted], place)[place]
    return threshold
