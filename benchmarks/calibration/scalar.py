"""Regimes whose primary goes over several strata: `analyse` itself, run by run.

A ramp keeps its users from stage to stage, some of them in another arm, while the baseline drifts. Thompson sampling
moves the share after every batch of new users towards the arm that seems better; a batch is a stratum, so within each
the share was fixed before its users came (the weights may depend on the past, not on the batch; allocation/policies.py
gives the shares, with the floor of 10 %).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.calibration.crowd import Crowd, Events, draw_events, sum_users
from flytewheel.experiment.allocation.policies import match_best, mix_floor
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.records import Design, Finding, PastLook
from flytewheel.experiment.metrics import StageCounts, UserSums, find_metric

PRIMARY = replace(find_metric("thumbs_up_rate"), role="primary", relative_margin=0.05)
RAMP = Crowd(stages=((0, 0.1), (4, 0.25), (8, 0.5)), drift=0.2)
BATCHES, BATCH_USERS, FLOOR = 7, 720, 0.1


@dataclass(frozen=True, slots=True)
class Called:
    """What one identical pair of arms was called at any look, and whether an interval ever missed 0."""

    apart: bool
    missed: bool


def ramp(generator: np.random.Generator, *, every_hours: int) -> Called:
    """A ramp with looks every so many hours; the ends of its stages are the planned looks."""
    events = draw_events(RAMP, generator)
    design = Design((PRIMARY,), looks=len(RAMP.stages))
    ends = [24 * first for first, _ in RAMP.stages[1:]] + [RAMP.hours]
    shares = [{"control": 1 - share, "treatment": share} for _, share in RAMP.stages]
    kept = [_count(sum_users(events, RAMP, hour=RAMP.hours, stage=number), shares[number]) for number in range(3)]
    history: tuple[PastLook, ...] = ()
    apart = missed = False
    for end in range(every_hours, RAMP.hours + 1, every_hours):
        stage = next(number for number, last in enumerate(ends) if end <= last)
        now = _count(sum_users(events, RAMP, hour=end - 1, stage=stage), shares[stage])
        look = ends.index(end) + 1 if end in ends else 0
        found = analyse(design, [*kept[:stage], now], look=look, history=history)
        history += found.to_history()
        apart, missed = _tell(found.findings[0], apart, missed)
    return Called(apart, missed)


def thompson(generator: np.random.Generator) -> Called:
    """Batches of new users under Thompson sampling; each batch ends with a planned look."""
    design = Design((PRIMARY,), looks=BATCHES)
    stages: list[StageCounts] = []
    history: tuple[PastLook, ...] = ()
    apart = missed = False
    good, bad = np.zeros(2), np.zeros(2)
    for batch in range(BATCHES):
        share = float(mix_floor(match_best(good, bad), FLOOR)[1])
        crowd = Crowd(users=BATCH_USERS, days=2, per_day=1.5, stages=((0, share),))
        events = _renumber(draw_events(crowd, generator), batch * BATCH_USERS)
        arms = sum_users(events, replace(crowd, users=BATCH_USERS * BATCHES), hour=crowd.hours, stage=0)
        rates = {arm: sums.numerators / sums.denominators for arm, sums in arms.items()}
        good += [rates["control"].sum(), rates["treatment"].sum()]
        bad += [(1 - rates["control"]).sum(), (1 - rates["treatment"]).sum()]
        stages.append(_count(arms, {"control": 1 - share, "treatment": share}))
        found = analyse(design, stages, look=batch + 1, history=history)
        history += found.to_history()
        apart, missed = _tell(found.findings[0], apart, missed)
    return Called(apart, missed)


def _count(arms: dict[str, UserSums], shares: dict[str, float]) -> StageCounts:
    return StageCounts({arm: sums.users for arm, sums in arms.items()}, {PRIMARY.name: arms}, shares=shares)


def _renumber(events: Events, first: int) -> Events:
    return replace(events, user=events.user + first)


def _tell(found: Finding, apart: bool, missed: bool) -> tuple[bool, bool]:
    outside = found.interval is not None and not found.interval[0] <= 0 <= found.interval[1]
    return apart or found.outcome in ("better", "worse"), missed or outside
