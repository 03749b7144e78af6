"""What a promotion has brought: the holdback's comparison, beside what the experiment saw and that without its luck.

A canary is promoted because of its figures, so they flatter it (winner's curse). Those who were held back (holdback.py)
were chosen by nobody: old champion against new one since the promotion is unbiased by itself. Three figures a metric:
- *seen*: the difference at the look that decided; *corrected*: what it is likely to be worth, given that it had to
  cross a boundary (analysis/selection.py): a primary's planned one, or for a cleared guardrail the z from its margin at
  which its e-value clears;
- *held back*: the difference over the strata since the promotion, by `analyse`, with the interval that holds at every
  look. Where there is none yet (burn-in) it is None;
- *together*: the most likely effect by both.

A driver's look stores them as a line of the rollout's log; pages and commands read that line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from scipy.optimize import brentq

from flytewheel.database import Connection, connect
from flytewheel.experiment.allocation.counts import count_experiment
from flytewheel.experiment.analysis.e_values import choose_tau, log_e_value, size_margin
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.records import Design, Finding
from flytewheel.experiment.analysis.selection import Corrected, correct_winner
from flytewheel.experiment.changes import log_rollout
from flytewheel.experiment.experiments import Experiment, select_experiments
from flytewheel.experiment.guardrails import make_design
from flytewheel.experiment.ledger import Entry, find_rollout, read_log
from flytewheel.experiment.metrics import Metric
from flytewheel.experiment.rollout import LOOK_EVERY
from flytewheel.recipe import AbTestingSpec, Rewards
from flytewheel.records import to_jsonable

ACTION = "holdback_look"


@dataclass(frozen=True, slots=True)
class Gain:
    """A metric since the promotion; differences are new champion − old, in the metric's units, None where not to be
    had. `low` and `high` hold `held_back`'s truth at every look; `users` are those held back and those who were not;
    they, `before` and `after` are of the present stratum (a canary beside a holdback begins another).
    """

    metric: str
    worse: str
    seen: float | None = None
    corrected: float | None = None
    before: float | None = None
    after: float | None = None
    held_back: float | None = None
    low: float | None = None
    high: float | None = None
    together: float | None = None
    users: tuple[int, int] = (0, 0)
    reason: str = ""


def look_at_holdback(
    database_url: str, ab_testing: AbTestingSpec, *, name: str, actor: str, rewards: Rewards | None = None
) -> bool:
    """Stores what the promotion of a model has brought so far, every six hours and when its time is over.

    Args:
        database_url: PostgreSQL.
        ab_testing: metrics, level and burn-in.
        name: the model.
        actor: for the log.
        rewards: the recipe's, of each reaction.

    Returns:
        Whether a look was due.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        found = select_experiments(connection, "name = %s AND state = 'holdback'", (name,))
        rollout = find_rollout(connection, experiment_id=found[0].experiment_id) if found else None
        if rollout is None:
            return False
        log = read_log(connection, rollout.rollout_id)
        last = next((entry.at for entry in log if entry.action == ACTION), None)
        over = found[0].holdback_until is not None and found[0].holdback_until <= rollout.now
        if last is not None and not over and rollout.now - last < LOOK_EVERY:
            return False
        gains = measure_gains(connection, found[0], log, ab_testing, rewards)
        detail = {"gains": to_jsonable(gains), "stage": rollout.stage}
        log_rollout(connection, rollout.rollout_id, rollout.fence, actor, ACTION, detail)
    return True


def measure_gains(
    connection: Connection,
    experiment: Experiment,
    log: Sequence[Entry],
    ab_testing: AbTestingSpec,
    rewards: Rewards | None = None,
) -> tuple[Gain, ...]:
    """What each primary and guardrail shows in the holdback, from stored counts.

    Args:
        connection: a transaction at READ COMMITTED.
        experiment: in its holdback, or past it.
        log: of its rollout, the newest line first.
        ab_testing: metrics, level and burn-in.
        rewards: the recipe's, of each reaction.
    """
    design = make_design(ab_testing)
    metrics = {metric.name: metric for metric in reversed(design.metrics) if metric.role != "watch"}
    stages = count_experiment(
        connection,
        experiment.experiment_id,
        design.metrics,
        rewards=rewards,
        burn_in_users=design.burn_in_users,
    )
    since = experiment.holdback_since
    kept = [stage for stage in stages if since is not None and stage.since is not None and stage.since >= since]
    evidence = _find_evidence(log)
    if not kept:
        return tuple(_gather(metric, None, evidence, design) for metric in metrics.values())
    asked = replace(design, metrics=tuple(replace(metric, role="primary") for metric in metrics.values()), looks=1)
    found = {one.metric: one for one in analyse(asked, kept, look=0).findings if one.arm == "treatment"}
    return tuple(_gather(metric, found.get(name), evidence, design) for name, metric in metrics.items())


def read_gains(log: Sequence[Entry]) -> tuple[Gain, ...]:
    """What the newest look at a holdback stored; nothing where there was none. `log` in any order."""
    looks = [entry for entry in log if entry.action == ACTION]
    if not looks:
        return ()
    known = {each.name for each in fields(Gain)}
    stored = max(looks, key=lambda entry: entry.at).detail.get("gains") or ()
    return tuple(_read_gain({name: value for name, value in one.items() if name in known}) for one in stored)


def _read_gain(stored: Mapping[str, Any]) -> Gain:
    return Gain(**(dict(stored) | ({"users": tuple(stored["users"])} if "users" in stored else {})))


# ------------------------------------------------------------------------------------------------------------ parts


def _find_evidence(log: Sequence[Entry]) -> Mapping[str, Any]:
    """That of the look by which the treatment was promoted: the newest one."""
    return next((entry.detail["evidence"] for entry in log if entry.detail.get("evidence")), {})


def _gather(metric: Metric, held: Finding | None, evidence: Mapping[str, Any], design: Design) -> Gain:
    told = held is not None and held.difference is not None and held.standard_error is not None
    holdback = (float(held.difference or 0.0), float(held.standard_error or 0.0)) if held and told else None
    seen, corrected = _correct(metric, evidence, design, holdback)
    gain = Gain(metric.name, metric.worse, seen, corrected.conditional if corrected else None)
    if corrected is not None:
        gain = replace(gain, together=corrected.estimate)
    if held is None:
        return replace(gain, reason="nobody was counted since the promotion")
    interval = held.interval or (None, None)
    return replace(
        gain,
        before=held.control,
        after=held.treatment,
        held_back=held.difference if told else None,
        low=interval[0],
        high=interval[1],
        together=gain.together if corrected is not None or not told else held.difference,
        users=(held.control_users, held.treatment_users),
        reason="" if told else held.reason,
    )


def _correct(
    metric: Metric, evidence: Mapping[str, Any], design: Design, holdback: tuple[float, float] | None
) -> tuple[float | None, Corrected | None]:
    """What was seen at the deciding look, and that corrected; a primary goes before a guardrail of the same name."""
    asked = (*(evidence.get("primaries") or ()), *(evidence.get("guardrails") or ()))
    found = [one for one in asked if one["metric"] == metric.name and one.get("arm", "treatment") == "treatment"]
    better = next((one for one in found if one["outcome"] == "better" and one["boundary"] is not None), None)
    if better is not None and better["standard_error"]:
        told = correct_winner(better["difference"], better["standard_error"], better["boundary"], holdback=holdback)
        return told.naive, told
    cleared = next((one for one in found if one["outcome"] == "cleared" and one["standard_error"]), None)
    if cleared is None:
        return next((one["difference"] for one in found if one["difference"] is not None), None), None
    margin, error = cleared["margin"], cleared["standard_error"]
    moved = None if holdback is None else (holdback[0] - margin, holdback[1])
    boundary = _find_boundary(metric, cleared["control"], error, design.confidence_level)
    told = correct_winner(cleared["difference"] - margin, error, boundary, holdback=moved)
    return cleared["difference"], Corrected(
        told.naive + margin,
        told.conditional + margin,
        None if told.holdback is None else told.holdback + margin,
        told.estimate + margin,
    )


def _find_boundary(metric: Metric, control: float, error: float, level: float) -> float:
    """The standard errors inside the margin at which a guardrail's e-value clears."""
    tau = float(choose_tau(float(size_margin(metric, control)[1]), 1 - level))
    limit = -math.log(1 - level)
    return float(brentq(lambda z: float(log_e_value(z, 1 / error**2, tau)) - limit, 0.0, 1e3, xtol=1e-9))
