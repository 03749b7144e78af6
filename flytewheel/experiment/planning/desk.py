"""A plan for a recipe, from what is given and what the database knows: the one way in for commands, runs and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flytewheel.errors import DatabaseError, ExperimentError
from flytewheel.experiment.metrics import METRICS, declare_metrics
from flytewheel.experiment.planning.past import DAYS, read_traffic
from flytewheel.experiment.planning.plan import Plan, plan_design
from flytewheel.experiment.planning.remedies import find_remedies
from flytewheel.experiment.planning.traffic import Baseline, Traffic
from flytewheel.experiment.planning.words import describe_plan, describe_traffic
from flytewheel.recipe import AbTestingSpec


@dataclass(frozen=True, slots=True)
class Given:
    """What a person states; it goes before what the database says. `votes` is the part of the requests that get one,
    `baselines` are rates by metric.
    """

    users_per_day: float | None = None
    returning: float | None = None
    requests: float | None = None
    requests_spread: float | None = None
    votes: float | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)


def make_plan(
    ab_testing: AbTestingSpec,
    name: str,
    *,
    given: Given | None = None,
    database_url: str | None = None,
    days: int = DAYS,
    max_days: float | None = None,
    harms: Mapping[str, float] | None = None,
    remedies: bool = True,
) -> Plan:
    """Plans the canary of a recipe.

    Args:
        ab_testing: the design.
        name: of the model, whose traffic is read.
        given: stated figures.
        database_url: where past traffic is; None: only what is given counts.
        days: how much of the past.
        max_days: longest that the rollout may take; default the design's.
        harms: what to find, by metric.
        remedies: search for what would do where the design cannot decide.

    Raises:
        ExperimentError: too little is known, or a figure is out of its range; the message says what to give.
        DatabaseError: PostgreSQL is away.
    """
    declared = {metric.name: metric for metric in declare_metrics(ab_testing) if metric.role != "watch"}
    past = None if database_url is None else read_traffic(database_url, name, declared.values(), days=days)
    traffic = replace(settle_traffic(past, given or Given(), name), metrics={**METRICS, **declared})
    longest = ab_testing.max_duration_days if max_days is None else max_days
    plan = plan_design(ab_testing, traffic, max_days=longest, harms=harms)
    if plan.decides or not remedies:
        return plan
    return replace(plan, remedies=find_remedies(ab_testing, traffic, max_days=longest))


def settle_traffic(past: Traffic | None, given: Given, name: str) -> Traffic:
    """What is stated, before what is known of the past.

    Raises:
        ExperimentError: neither says how many users there are, or a rate is out of [0, 1].
    """
    if past is None and given.users_per_day is None:
        raise ExperimentError(
            f"no traffic of {name!r} is stored to plan by: give --users-per-day, and --baseline METRIC=RATE for each"
            " metric"
        )
    known = past or Traffic(given.users_per_day or 1.0)
    stated = {
        key: value
        for key in ("users_per_day", "returning", "requests", "requests_spread")
        if (value := getattr(given, key)) is not None
    }
    baselines = dict(known.baselines)
    baselines.setdefault("latency_p95", Baseline(0.05))  # a share beyond a quantile is known before anything is seen
    for metric, rate in given.baselines.items():
        if not 0 <= rate <= 1:
            raise ExperimentError(f"--baseline {metric}={rate:g}: expected a rate in [0, 1]")
        baselines[metric] = replace(baselines.get(metric, Baseline(rate)), rate=rate)
    if given.votes is not None:
        voted = [metric for metric in baselines if metric in METRICS and METRICS[metric].denominator == "votes"]
        baselines |= {metric: replace(baselines[metric], counted=given.votes) for metric in voted}
    source = known.source if past is not None else "given"
    if past is not None and (stated or given.baselines):
        source += ", with what was given"
    return replace(known, **stated, baselines=baselines, source=source)


def foretell(database_url: str, name: str, ab_testing: AbTestingSpec) -> list[str]:
    """The plan of a canary to come by the traffic that there was, in lines; why there is none where there is not.

    It informs and stops nothing: a canary that cannot decide yet may still find harm.
    """
    try:
        plan = make_plan(ab_testing, name, database_url=database_url, remedies=False)
    except (ExperimentError, DatabaseError) as error:
        return [f"not planned: {error}"]
    more = [] if plan.decides else ["`flytewheel experiments plan RECIPE` says what would decide"]
    return [describe_traffic(plan.traffic), *describe_plan(plan), *more]
