"""Decides whether a design can decide: how long each stage of a rollout takes, what it finds, and what would do if not.

Every stage is a stratum of its own and must clear a candidate that is as good as the champion. It is cleared at the
first look, after the dwell, at which all guardrails are; guardrails are taken as independent, and as staying cleared
once they are, which the information that only grows makes nearly true. Stages follow one another, so their times add
up. A design is refused when such a candidate has not come through all stages within the longest that the rollout may
take (`ab_testing.max_duration_days`), with `WANTED` probability.

The primary metric is read at the stages' ends (O'Brien–Fleming spending over the information, `analysis.sequential`),
of all stages so far together, each a stratum weighted by its information.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flytewheel.errors import ExperimentError
from flytewheel.experiment.analysis.e_values import PLANNED_POWER
from flytewheel.experiment.planning.guarding import Course, Rules, find_detectable, follow
from flytewheel.experiment.planning.passage import Floats
from flytewheel.experiment.planning.primary import PrimaryStage, plan_primary
from flytewheel.experiment.planning.traffic import Traffic
from flytewheel.recipe import AbTestingSpec, Guardrail

WANTED = PLANNED_POWER
_STEPS = (0.25, 0.5, 1.0, 2.0, 7.0, 14.0, 28.0)
_MOST_LOOKS, _FEWER_LOOKS = 32, 14
_HARM = 3.0  # margins, of a relative or absolute one, where nothing else is stated


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guardrail in one stage. Days are expected ones, `None` where it is less likely than not within the longest that
    the rollout may take; `clears` and `finds` are probabilities by then; `harm` and `detectable` are in the margin's
    unit, the one that was stated and the smallest that is found with `WANTED`.
    """

    metric: str
    relative: bool
    margin: float
    clears: float
    days_to_clear: float | None
    harm: float
    finds: float
    days_to_harm: float | None
    detectable: float | None


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. `clears` is the probability that a healthy candidate is cleared within the longest that the rollout
    may take, `days` what it takes then; `alarms` that it is taken back all the same.
    """

    stage: int
    share: float
    users_per_day: float
    clears: float
    alarms: float
    days: float | None
    guardrails: tuple[Guarded, ...]


@dataclass(frozen=True, slots=True)
class Remedies:
    """Each alone decides. `share` is the smallest first share, `margin` the smallest factor on all margins, with what
    they become; users a day; days that the rollout may take.
    """

    share: float | None
    margin: float | None
    margins: dict[str, float] | None
    users_per_day: float | None
    max_days: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A design, what is to be expected of it, and whether it `decides`: a healthy candidate comes through all stages
    within `max_days` with the probability `comes_through`. Else `limits` says what it lacks, and `remedies` what would
    do, each by itself.
    """

    decides: bool
    comes_through: float
    traffic: Traffic
    max_days: float
    stages: tuple[Stage, ...]
    days: float | None
    primary_metric: str
    primary: tuple[PrimaryStage, ...]
    primary_note: str = ""
    limits: tuple[str, ...] = ()
    remedies: Remedies | None = None


def plan_design(
    ab_testing: AbTestingSpec,
    traffic: Traffic,
    *,
    max_days: float,
    harms: Mapping[str, float] | None = None,
) -> Plan:
    """Foretells a rollout by this design under this traffic; remedies are `planning.remedies`' to add.

    Args:
        ab_testing: stages, guardrails, dwell, burn-in and level.
        traffic: with a baseline for each guardrail.
        max_days: longest that the rollout may take.
        harms: by metric, what to find, in the margin's unit; default 3 margins.

    Raises:
        ExperimentError: a guardrail's metric or baseline is not known, a harm is not of a guardrail, or there is no
            guardrail, so that nothing could clear a stage.
    """
    stated = dict(harms or {})
    guarded = {guardrail.metric for guardrail in ab_testing.guarded}
    if not guarded:
        raise ExperimentError("no guardrail is set: nothing can clear a stage; give ab_testing.guardrails")
    if strange := sorted(set(stated) - guarded):
        known = ", ".join(sorted(guarded))
        raise ExperimentError(f"harm of {', '.join(strange)}: no such guardrail; there are {known}")
    if not 0 < max_days < math.inf:
        raise ExperimentError(f"the longest that a rollout may take must be above 0 days, not {max_days!r}")
    shares = list_shares(ab_testing)
    looks = list_looks(max_days)
    clearings = [find_clearing(follow_all(ab_testing, traffic, share=share, looks=looks)) for share in shares]
    stages = tuple(
        _plan_stage(number, share, clearings[number], looks, ab_testing, traffic, stated)
        for number, share in enumerate(shares)
    )
    days = [stage.days for stage in stages]
    primary, note = plan_primary(
        ab_testing.primary_metric,
        traffic,
        [(stage.share, stage.days or max_days) for stage in stages],
        alpha=1 - ab_testing.confidence_level,
    )
    through = add_up(clearings)
    limits = () if through >= WANTED else (_name_limit(stages, through, max_days),)
    return Plan(
        not limits,
        through,
        traffic,
        max_days,
        stages,
        None if None in days else math.fsum(each for each in days if each is not None),
        ab_testing.primary_metric,
        primary,
        note,
        limits,
    )


def find_through(ab_testing: AbTestingSpec, traffic: Traffic, *, max_days: float) -> float:
    """The probability that a healthy candidate comes through all stages within so many days."""
    looks = list_looks(max_days)
    shares = list_shares(ab_testing)
    return add_up([find_clearing(follow_all(ab_testing, traffic, share=share, looks=looks)) for share in shares])


def add_up(clearings: Sequence[Floats]) -> float:
    """The probability that stages which follow one another are all cleared by the last look; `(looks,)` each."""
    together = np.diff(clearings[0], prepend=0.0)
    for clearing in clearings[1:]:
        # Look k of a stage is k + 1 steps after its beginning, so two stages at k and l end at look k + l + 1.
        together = np.convolve(together, np.diff(clearing, prepend=0.0))
        together = np.concatenate([[0.0], together])[: len(clearing)]
    return float(np.clip(together.sum(), 0.0, 1.0))


def list_shares(ab_testing: AbTestingSpec) -> list[float]:
    """The shares that are compared at: the initial one and the stages above it, without everyone."""
    first = ab_testing.initial_traffic_split
    return [first, *(share for share in ab_testing.rollout_stages if first < share < 1)]


def list_looks(max_days: float, most: int = _MOST_LOOKS) -> list[float]:
    """Days at which a stage is looked at, evenly apart. Ticks come more often and find things some hours earlier."""
    step = next((step for step in _STEPS if max_days / step <= most), max_days / most)
    return [step * number for number in range(1, math.floor(max_days / step + 1e-9) + 1)] or [max_days]


def follow_all(
    ab_testing: AbTestingSpec, traffic: Traffic, *, share: float, looks: Sequence[float]
) -> dict[str, Course]:
    """The course of each guardrail in a stage of a candidate that is as good as the champion."""
    rules = read_rules(ab_testing)
    return {
        guardrail.metric: follow(guardrail, traffic, rules, share=share, looks=looks)
        for guardrail in ab_testing.guarded
    }


def read_rules(ab_testing: AbTestingSpec) -> Rules:
    """What holds for every guardrail."""
    return Rules(ab_testing.burn_in_users, ab_testing.confidence_level, ab_testing.stage_duration_hours / 24)


def find_clearing(courses: Mapping[str, Course]) -> Floats:
    """The probability that all guardrails have cleared by each look, `(looks,)`."""
    return np.asarray(np.prod([course.cleared for course in courses.values()], axis=0), dtype=np.float64)


def expect_days(looks: Sequence[float], by: Floats) -> float | None:
    """Days until something that has happened by each look with these probabilities, given that it does; `None` where
    it is less likely than not.
    """
    if by[-1] < 0.5:
        return None
    at = np.diff(by, prepend=0.0)
    return float(np.asarray(looks) @ at / at.sum())


def state_harm(guardrail: Guardrail, harms: Mapping[str, float]) -> float:
    """The harm that is to be found, in the margin's unit."""
    margin = guardrail.relative_margin if guardrail.relative_margin is not None else guardrail.absolute_margin or 0.0
    return harms.get(guardrail.metric, _HARM * margin)


# ------------------------------------------------------------------------------------------------------------ parts


def _plan_stage(
    number: int,
    share: float,
    clearing: Floats,
    looks: Sequence[float],
    ab_testing: AbTestingSpec,
    traffic: Traffic,
    harms: Mapping[str, float],
) -> Stage:
    healthy = follow_all(ab_testing, traffic, share=share, looks=looks)
    alarms = 1 - float(np.prod([1 - course.harm[-1] for course in healthy.values()]))
    guarded = tuple(
        _plan_guardrail(guardrail, healthy[guardrail.metric], share, looks, ab_testing, traffic, harms)
        for guardrail in ab_testing.guarded
    )
    users = traffic.users_per_day * share
    return Stage(number, share, users, float(clearing[-1]), alarms, expect_days(looks, clearing), guarded)


def _plan_guardrail(
    guardrail: Guardrail,
    healthy: Course,
    share: float,
    looks: Sequence[float],
    ab_testing: AbTestingSpec,
    traffic: Traffic,
    harms: Mapping[str, float],
) -> Guarded:
    rules, harm = read_rules(ab_testing), state_harm(guardrail, harms)
    harmed = follow(guardrail, traffic, rules, share=share, looks=looks, harm=harm)
    relative = guardrail.relative_margin is not None
    margin = guardrail.relative_margin if guardrail.relative_margin is not None else guardrail.absolute_margin
    fewer = list_looks(looks[-1], _FEWER_LOOKS)
    return Guarded(
        guardrail.metric,
        relative,
        margin or 0.0,
        float(healthy.cleared[-1]),
        expect_days(looks, healthy.cleared),
        harm,
        float(harmed.harm[-1]),
        expect_days(looks, harmed.harm),
        find_detectable(guardrail, traffic, rules, share=share, looks=fewer, power=WANTED),
    )


def _name_limit(stages: Sequence[Stage], through: float, max_days: float) -> str:
    slowest = min(stages, key=lambda stage: (stage.clears, -(stage.days or math.inf)))
    worst = min(slowest.guardrails, key=lambda guarded: (guarded.clears, -(guarded.days_to_clear or math.inf)))
    return (
        f"a candidate as good as the champion comes through all {len(stages)} stages within {max_days:g} days with"
        f" {through:.0%}, {WANTED:.0%} is wanted; the slowest is stage {slowest.stage} at {slowest.share:.0%}, and"
        f" there {worst.metric}"
    )


def with_margin(ab_testing: AbTestingSpec, metric: str, margin: float) -> AbTestingSpec:
    """The design with another margin of one guardrail, in the same unit."""

    def change(guardrail: Guardrail) -> Guardrail:
        if guardrail.metric != metric:
            return guardrail
        unit = "relative_margin" if guardrail.relative_margin is not None else "absolute_margin"
        return guardrail.model_copy(update={unit: margin})

    others = tuple(spec for spec in ab_testing.metrics if spec.role != "guardrail")
    return ab_testing.model_copy(
        update={"guardrails": tuple(change(one) for one in ab_testing.guarded), "metrics": others}
    )


def with_share(ab_testing: AbTestingSpec, share: float) -> AbTestingSpec:
    """The design whose smallest share is this one."""
    kept = tuple(each for each in ab_testing.rollout_stages if each > share)
    return ab_testing.model_copy(update={"initial_traffic_split": share, "rollout_stages": (share, *kept)})


def with_users(traffic: Traffic, users_per_day: float) -> Traffic:
    """The same traffic of more or fewer users."""
    return replace(traffic, users_per_day=users_per_day)
