"""Gathers everything that a decision about a rollout rests on (decision.py), as it is stored with the decision: figures
of all stages, the log of earlier steps, how the way back went, and the rules that hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flytewheel.database import Connection
from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.counts import count_experiment
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.records import Design, Finding, PastLook
from flytewheel.experiment.checks import choose_checks
from flytewheel.experiment.decision import list_rules, rederive
from flytewheel.experiment.drills import read_drill
from flytewheel.experiment.guardrails import make_design
from flytewheel.experiment.ledger import Entry, Rollout, count_routers, is_approved, read_log, read_newest
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Rewards
from flytewheel.records import digest, to_jsonable


def gather_evidence(
    connection: Connection,
    rollout: Rollout,
    ab_testing: AbTestingSpec,
    automation: AutomationSpec,
    rewards: Rewards | None,
) -> dict[str, Any]:
    """Everything that a decision rests on, as it is stored."""
    design = make_design(ab_testing)
    stages = count_experiment(
        connection,
        rollout.experiment_id,
        design.metrics,
        rewards=rewards,
        burn_in_users=ab_testing.burn_in_users,
    )
    log = read_log(connection, rollout.rollout_id)
    history = _read_history(log)
    next_stage = find_next_stage(rollout, ab_testing)[0]
    due = rollout.stage_hours >= ab_testing.stage_duration_hours
    planned = rollout.stage + 1
    look = planned if due and all(past.look != planned for past in history) else 0
    split = stages[-1].shares
    plain = set(split) == {"control", "treatment"} and None not in split.values()
    routers = count_routers(connection, rollout) if plain else {}
    analysis = analyse(design, stages, look=look, history=history, routers=routers)
    evidence = {
        "share": rollout.share,
        "since": rollout.since,
        "stage_hours": round(rollout.stage_hours, 6),
        "age_hours": round(rollout.age_hours, 6),
        "newest_hours": read_newest(connection, rollout),
        "users": analysis.users,
        "crossed_users": stages[-1].crossed,
        "look": analysis.look,
        "sample_ratios": analysis.sample_ratios,
        "guardrails": analysis.of("guardrail"),
        "primaries": analysis.of("primary"),
        "trends": _read_trends(design, analysis.of("primary")),
        "steps": _review_steps(log),
        "drill": read_drill(connection, rollout.experiment_id),
        "paused": rollout.state == "paused",
        "approved": is_approved(connection, rollout),
        "rules": list_rules(ab_testing, automation, next_share=find_next_stage(rollout, ab_testing)[1])
        | {
            "rollback_drill_s": ab_testing.rollback_drill_s,
            "checks": choose_checks(ab_testing.stage_checks, next_stage - 1, len(ab_testing.rollout_stages) - 1),
        },
        "recipe": digest(ab_testing),
    }
    jsonable: dict[str, Any] = to_jsonable(evidence)
    return jsonable


def _read_history(log: Sequence[Entry]) -> tuple[PastLook, ...]:
    """What the planned looks so far left in the log."""
    stored = [entry.detail["evidence"] for entry in log if entry.detail.get("evidence", {}).get("look")]
    return tuple(
        PastLook(evidence["look"], found["metric"], found["arm"], found["information"], found["z"])
        for evidence in reversed(stored)
        for found in evidence["primaries"]
        if found["information"] is not None and found["z"] is not None
    )


def _read_trends(design: Design, primaries: Sequence[Finding]) -> dict[str, float | None]:
    """The z of each primary with the good direction up."""
    good = {metric.name: 1.0 if metric.worse == "lower" else -1.0 for metric in design.metrics}
    return {one.metric: None if one.z is None else good[one.metric] * one.z for one in primaries}


def _review_steps(log: Sequence[Entry]) -> list[dict[str, Any]]:
    """The steps so far that rest on a verdict, the first one first, each derived from its evidence once more."""
    steps = [entry for entry in reversed(log) if entry.action == "advance"]
    return [{"stage": entry.detail["stage"], "sound": _is_sound(entry)} for entry in steps]


def _is_sound(entry: Entry) -> bool:
    try:
        return rederive(entry.detail).decision == entry.action
    except ExperimentError:
        return False


def find_next_stage(rollout: Rollout, ab_testing: AbTestingSpec) -> tuple[int, float]:
    """The first later stage with a larger share: one set by hand may have overtaken the next."""
    stages = ab_testing.rollout_stages
    later = range(rollout.stage + 1, len(stages))
    stage = next((index for index in later if stages[index] > rollout.share), len(stages) - 1)
    return stage, stages[stage]
