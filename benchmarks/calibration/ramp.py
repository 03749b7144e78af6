"""A ramp: its users stay from stage to stage, some of them in another arm, while the baseline drifts.

The primary goes over all stages, each a stratum, and a user's parts in the error are added up over them
(analysis/strata.py). What that takes at every hour is sums, too: beside each stage's own moments those of the present
stage's events with the users' finished parts in the stages before. `tests/benchmarks/test_calibration.py` holds every
figure against `analyse`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.crowd import (
    Bools,
    Crowd,
    Events,
    Floats,
    Ints,
    add_hours,
    add_up,
    count_before,
    draw_events,
)
from benchmarks.calibration.looks import BURN_IN_USERS, Primaries, are_told, compare_arms, fill_primary, find_better
from flytewheel.experiment.metrics import Metric

RAMP = Crowd(stages=((0, 0.1), (4, 0.25), (8, 0.5)), drift=0.2)


@dataclass(frozen=True, slots=True)
class Sums:
    """Of many runs: `moments` `(runs, 6, hours, 2)` begin anew with each stage; `cross` `(runs, stages, 2, hours, 2)`
    are ΣpX and ΣpN of the present stage's events with the users' parts p in each earlier stage; `gram`
    `(runs, stages, stages)` Σpp of whole stages; `met` `(runs, hours)` users so far, in any stage.
    """

    moments: Floats
    cross: Floats
    gram: Floats
    met: Floats


def draw_ramps(crowd: Crowd, generators: list[np.random.Generator]) -> Sums:
    """Draws one ramp with each generator."""
    parts = [add_stages(draw_events(crowd, generator), crowd) for generator in generators]
    return Sums(*(np.stack(each) for each in zip(*parts, strict=True)))


def add_stages(events: Events, crowd: Crowd) -> tuple[Floats, Floats, Floats, Floats]:
    """What `Sums` holds, of one run."""
    moments = add_up(events, crowd)
    stages, good = len(crowd.stages), events.good.astype(float)
    parts = np.zeros((stages, crowd.users))
    cross = np.zeros((stages, 2, crowd.hours, 2))
    for stage, end in enumerate(crowd.ends):
        parts[stage] = _find_parts(events, stage, moments[:, end - 1], crowd.users)
        if end < crowd.hours:
            mine = np.where(events.stage > stage, parts[stage, events.user], 0.0)
            cross[stage] = add_hours((mine * good, mine), events, crowd)
    first = count_before(events.user, good)[0] == 0
    met = np.bincount(events.hour[first], minlength=crowd.hours).cumsum()
    return moments, cross, parts @ parts.T, met.astype(float)


def _find_parts(events: Events, stage: int, last: Floats, users: int) -> Floats:
    """Each user's signed part in the error of a whole stage's difference; `last` are its moments, `(6, 2)`."""
    mine = events.stage == stage
    user, arm = events.user[mine], events.treated[mine].astype(int)
    x, n = last[1], last[2]
    rate = x / n
    added = (events.good[mine] - rate[arm]) / n[arm] * np.where(arm, 1.0, -1.0)
    return np.bincount(user, weights=added, minlength=users)


def weigh_ramp(metric: Metric, sums: Sums, crowd: Crowd) -> Primaries:
    """The primary over all stages so far, at every look."""
    read = compare_arms(sums.moments)
    runs, hours = read.difference.shape
    of_hour = np.searchsorted(crowd.ends, np.arange(hours), side="right")
    counted = (np.asarray(read.users) >= BURN_IN_USERS).all(axis=0)  # of the present stage
    ended = [end - 1 for end in crowd.ends]
    assert counted[:, ended[:-1]].all(), "a whole stage without its burn-in"
    sizes = _weigh_sizes(read.totals)
    weights = np.zeros((len(ended), runs, hours))
    differences, variances, events = np.zeros_like(weights), np.zeros_like(weights), np.zeros((2, 2, runs, hours))
    for stage, end in enumerate(ended):
        present, past = of_hour == stage, of_hour > stage
        for target, source in ((weights, sizes), (differences, read.difference), (variances, read.variance)):
            target[stage][:, present] = source[:, present]
            target[stage][:, past] = source[:, end, None]
        weights[stage][:, present] *= counted[:, present]
        events[:, :, :, past] += read.events[:, :, :, end, None]
        events[:, :, :, present] += read.events[:, :, :, present] * counted[:, present]
    with np.errstate(invalid="ignore"):
        weights = weights / weights.sum(axis=0)
        added = np.nansum(weights * differences, axis=0)
        bound = np.nansum(weights * np.sqrt(variances), axis=0) ** 2
        spread = _add_variance(sums, weights, of_hour, ended, counted)
    several = (weights > 0).sum(axis=0) > 1
    variance = np.where(several, np.minimum(bound, np.where(spread > 0, spread, bound)), bound)
    told = (weights > 0).any(axis=0) & (np.asarray(read.totals) > 0).all(axis=0) & are_told(events)
    return fill_primary(metric, read.rates[0], added, variance, told)


def _weigh_sizes(totals: tuple[Floats, Floats]) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(totals[0] * totals[1] / (totals[0] + totals[1]))


def _add_variance(sums: Sums, weights: Floats, of_hour: Ints, ended: list[int], counted: Bools) -> Floats:
    """m/(m − 1)·Σ_u (Σ_s w_s·p_us)², with the present stage's parts as of each hour."""
    runs, hours = counted.shape
    moments, total = sums.moments, np.zeros((runs, hours))
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = moments[:, 1] / moments[:, 2]
        own = (moments[:, 3] - 2 * rate * moments[:, 4] + rate**2 * moments[:, 5]) / moments[:, 2] ** 2
        mixed = (sums.cross[:, :, 0] - rate[:, None] * sums.cross[:, :, 1]) / moments[:, None, 2]
    mixed = np.nan_to_num(mixed[..., 1] - mixed[..., 0])  # (runs, stages, hours)
    for stage in range(len(ended)):
        present, past = of_hour == stage, of_hour > stage
        total[:, present] += weights[stage][:, present] ** 2 * np.nan_to_num(own.sum(axis=-1))[:, present]
        for other in range(len(ended)):
            both = past & (of_hour > other)
            total[:, both] += (weights[stage] * weights[other])[:, both] * sums.gram[:, stage, other, None]
        now = np.choose(of_hour, weights)
        total[:, past] += 2 * (weights[stage] * now * mixed[:, stage])[:, past]
    before = np.array([0, *ended[:-1]])[of_hour]
    met = np.where(counted, sums.met, sums.met[:, before])
    return met / (met - 1) * total


def are_better_by_stage(primaries: Primaries, crowd: Crowd) -> Bools:
    """Which runs are called better at a stage's end; `(runs,)`."""
    return find_better(primaries, [end - 1 for end in crowd.ends], len(crowd.stages))
