"""Decides of a running canary: advance, promote, roll back, stop for a broken split, or hold. One idempotent tick.

A tick analyses the stage, then takes the row locks, compares the fencing token with the one it began with, and stores
decision and evidence in the same transaction: two ticks at once change the stage once, and whoever aborts by hand
never waits behind an analysis, and wins. Weight rises only together with the stored verdict that all guardrails are
cleared. Dwell is the database's time.

| found | decision | stored |
|---|---|---|
| users an arm contradict the share | `stop_for_srm` | experiment stopped, rollout paused |
| harm in any guardrail | `roll_back` | experiment stopped, rollout rolled back |
| something not cleared, dwell not over, approval missing | `hold` | a line in the log when the reasons change |
| all cleared, dwell over | `advance` | next stage and share, a new stratum |
| the same, and the next stage is everyone | `promote` | the verdict; everything else by the router |

At a share of 1 there is no control left to compare with, so the step to it is the promotion. It goes through one door,
the router's `PUT /models/{name}/champion`, which loads the version, moves the alias and then stops the experiment as
promoted: until that has succeeded the experiment goes on at its share, and the next tick decides anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment import launch
from flytewheel.experiment.analysis.look import analyse
from flytewheel.experiment.analysis.records import Design, Finding
from flytewheel.experiment.experiments import (
    close_experiment,
    get_experiment,
    lock_experiment,
    log_rollout,
    move_share,
)
from flytewheel.experiment.guardrails import declare_guardrail
from flytewheel.experiment.ledger import Rollout, find_rollout, is_approved, last_decision, lock_fence
from flytewheel.experiment.metrics import count_stage, find_metric
from flytewheel.recipe import AbTestingSpec, AutomationSpec
from flytewheel.records import digest, to_jsonable

Decision = Literal["advance", "promote", "roll_back", "stop_for_srm", "hold", "none"]

WAITS = "cleared; waits for approval"
DECISIONS = ("advance", "promote", "roll_back", "stop_for_srm", "hold")


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick decided. `stage`, `share` and `fence` are those after it; `evidence` is what it rests on."""

    decision: Decision
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    experiment_id: str = ""
    rollout_id: str = ""
    treatment: str = ""
    stage: int = 0
    share: float = 0.0
    fence: int = 0

    def facts(self) -> dict[str, str]:
        """What a person would look at, a line each."""
        facts = {"decision": self.decision, "because": "; ".join(self.reasons)}
        if self.experiment_id:
            facts |= {
                "experiment": f"{self.experiment_id}: {self.treatment} at stage {self.stage}, {self.share:.0%}",
                "users": ", ".join(f"{arm} {count:,}" for arm, count in self.evidence.get("users", {}).items()),
            }
        return facts | {found["metric"]: describe_finding(found) for found in self.evidence.get("guardrails", ())}


def tick(
    database_url: str,
    ab_testing: AbTestingSpec,
    automation: AutomationSpec,
    *,
    actor: str,
    name: str | None = None,
    experiment_id: str | None = None,
) -> Tick:
    """Looks at one rollout and takes the step that is due, if one is; ticking again changes nothing more.

    Args:
        database_url: PostgreSQL; its clock is the only one that counts.
        ab_testing: stages, dwell, guardrails and burn-in.
        automation: whether a cleared stage waits for approval, and harm for a person.
        actor: who ticks, for the log.
        name: the model whose rollout is meant, or
        experiment_id: the experiment.

    Returns:
        The decision; `none` where no rollout is active, or another change came first.

    Raises:
        ExperimentError: a guardrail names an unknown metric, or neither or no existing rollout is named.
        DatabaseError: PostgreSQL is away; nothing was decided.
    """
    for guardrail in ab_testing.guardrails:
        find_metric(guardrail.metric)
    with connect(database_url) as connection:
        rollout = find_rollout(connection, name=name, experiment_id=experiment_id)
        if rollout is None:
            return Tick("none", (f"no rollout of {name or experiment_id}",), name=name or "")
        if rollout.state != "active":
            return _close(rollout, "none", (f"the rollout is {rollout.state.replace('_', ' ')}",), {})
        evidence, findings = _analyse(connection, rollout, ab_testing)
        approved = is_approved(connection, rollout)
        decision, reasons = decide(rollout, evidence["srm"], findings, ab_testing, automation, approved=approved)
        experiment = lock_experiment(connection, rollout.experiment_id)
        if lock_fence(connection, rollout.rollout_id) != rollout.fence:
            return _close(rollout, "none", ("another change came first; the next tick looks again",), {})
        detail = {
            "decision": decision,
            "reasons": list(reasons),
            "stage": rollout.stage,
            "evidence": evidence,
            "digest": digest(evidence),
        }
        stage, share = rollout.stage, rollout.share
        if decision == "advance":
            stage, share = _next_stage(rollout, ab_testing)
            detail |= {"to_stage": stage}
            move_share(
                connection,
                experiment,
                share,
                actor,
                action=decision,
                stage=stage,
                detail=detail,
                fence=rollout.fence,
            )
        elif decision in ("roll_back", "stop_for_srm"):
            state = "rolled_back" if decision == "roll_back" else "paused"
            close_experiment(
                connection,
                experiment,
                "; ".join(reasons),
                actor,
                action=decision,
                state=state,
                detail=detail,
                fence=rollout.fence,
            )
        else:
            last = last_decision(connection, rollout)
            if last is None or (last.action, last.detail.get("reasons")) != (decision, list(reasons)):
                log_rollout(connection, rollout.rollout_id, rollout.fence, actor, decision, detail)
        fence = lock_fence(connection, rollout.rollout_id)
    return _close(rollout, decision, reasons, evidence, stage=stage, share=share, fence=fence)


def decide(
    rollout: Rollout,
    srm: Mapping[str, Any],
    findings: Sequence[Finding],
    ab_testing: AbTestingSpec,
    automation: AutomationSpec,
    *,
    approved: bool,
) -> tuple[Decision, tuple[str, ...]]:
    """The decision with every reason; reasons hold no figures, so that an unchanged hold reads the same."""
    if srm["mismatch"]:
        return "stop_for_srm", ("sample ratio mismatch: users an arm contradict the share",)
    harmed = tuple(f"{found.metric}: harm: {found.reason}" for found in findings if found.outcome == "harm")
    if harmed and automation.rollback_on_regression:
        return "roll_back", harmed
    if harmed:
        return "hold", (*harmed, "automation.rollback_on_regression is off: stop the experiment by hand")
    if not findings:
        return "hold", ("no guardrail is set: nothing can clear the stage",)
    untold = tuple(f"{found.metric}: {found.reason}" for found in findings if found.outcome != "cleared")
    if untold:
        return "hold", untold
    if rollout.stage_hours < ab_testing.stage_duration_hours:
        return "hold", (f"cleared; the stage lasts {ab_testing.stage_duration_hours:g} hours",)
    if not automation.auto_rollout and not approved:
        return "hold", (WAITS,)
    _, share = _next_stage(rollout, ab_testing)
    return "promote" if share >= 1 else "advance", ("all guardrails cleared, the stage's time is over",)


def approve(database_url: str, rollout_id: str, actor: str) -> None:
    """Lets a rollout that waits for it take its next step, at the next tick; said twice it counts once.

    Raises:
        ExperimentError: no such rollout, or it does not wait for approval.
    """
    with connect(database_url) as connection:
        if lock_fence(connection, rollout_id) is None:
            raise ExperimentError(f"no rollout {rollout_id!r}; see `flytewheel rollout status NAME`")
        rollout = find_rollout(connection, rollout_id=rollout_id)
        assert rollout is not None
        last = last_decision(connection, rollout)
        if rollout.state != "active" or last is None or WAITS not in last.detail["reasons"]:
            found = "; ".join(last.detail["reasons"]) if last else "not looked at in this stage"
            raise ExperimentError(
                f"rollout {rollout_id} ({rollout.state}) does not wait for approval: {found}; tick it first"
            )
        if not is_approved(connection, rollout):
            detail = {"stage": rollout.stage, "digest": last.detail["digest"]}
            log_rollout(connection, rollout_id, rollout.fence, actor, "approved", detail)


def carry_out(
    database_url: str, *, router_url: str, admin_key: str, experiment_id: str, decision: str, fence: int
) -> str:
    """Makes the running router follow a tick's decision at once; safe to repeat. Returns what it serves now.

    Raises:
        ExperimentError: the promotion was decided at another fence: something changed since, tick again.
        RouterError: the router is away or refuses. A changed share or a stop is stored and reaches it later all the
            same; a promotion is not, and the next tick decides it anew.
    """
    if decision == "promote":
        with connect(database_url) as connection:
            rollout = find_rollout(connection, experiment_id=experiment_id)
        assert rollout is not None
        if rollout.state != "promoted":
            if (rollout.state, rollout.fence) != ("active", fence):
                raise ExperimentError(
                    f"{experiment_id} was to be promoted at fence {fence}, but is {rollout.state} at {rollout.fence}"
                )
            launch.set_champion(router_url, admin_key, name=rollout.name, version=rollout.treatment)
        return f"{rollout.treatment} is the champion of {rollout.name}"
    experiment = get_experiment(database_url, experiment_id)
    launch.follow_experiment(router_url, admin_key, experiment)
    if experiment.running:
        return f"{experiment.treatment} gets {experiment.share:.0%} of {experiment.name}"
    return f"everyone on {experiment.name} meets {experiment.control} again: {experiment.reason}"


def describe_finding(found: Mapping[str, Any]) -> str:
    """A stored finding as one line."""
    told = f"{found['outcome']}: {found['reason']}"
    if found["difference"] is None:
        return told
    error = "" if found["standard_error"] is None else f" ± {found['standard_error']:.2g}"
    return (
        f"{told} ({found['control']:.4g} → {found['treatment']:.4g}, difference {found['difference']:+.2g}{error},"
        f" margin {found['margin']:+.2g})"
    )


# ------------------------------------------------------------------------------------------------------------ parts


def _analyse(
    connection: Connection, rollout: Rollout, ab_testing: AbTestingSpec
) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    counts = count_stage(
        connection,
        name=rollout.name,
        experiment_id=rollout.experiment_id,
        since=rollout.since,
        share=rollout.share,
        guardrails=ab_testing.guardrails,
    )
    design = Design(
        tuple(declare_guardrail(guardrail) for guardrail in ab_testing.guardrails),
        confidence_level=ab_testing.confidence_level,
        burn_in_users=ab_testing.burn_in_users,
    )
    shares = {"control": 1 - rollout.share, "treatment": rollout.share}
    analysis = analyse(design, [counts], look=0, shares=[shares])
    findings = analysis.of("guardrail")
    evidence = {
        "share": rollout.share,
        "since": rollout.since,
        "stage_hours": round(rollout.stage_hours, 3),
        "users": counts.users,
        "srm": {"mismatch": analysis.mismatch, "log_e": analysis.sample_ratios[0].log_e},
        "guardrails": findings,
        "rules": digest(ab_testing),
    }
    jsonable: dict[str, Any] = to_jsonable(evidence)
    return jsonable, findings


def _next_stage(rollout: Rollout, ab_testing: AbTestingSpec) -> tuple[int, float]:
    """The first later stage with a larger share: one set by hand may have overtaken the next."""
    stages = ab_testing.rollout_stages
    later = range(rollout.stage + 1, len(stages))
    stage = next((index for index in later if stages[index] > rollout.share), len(stages) - 1)
    return stage, stages[stage]


def _close(
    rollout: Rollout,
    decision: Decision,
    reasons: tuple[str, ...],
    evidence: Mapping[str, Any],
    *,
    stage: int | None = None,
    share: float | None = None,
    fence: int | None = None,
) -> Tick:
    return Tick(
        decision,
        reasons,
        evidence,
        rollout.name,
        rollout.experiment_id,
        rollout.rollout_id,
        rollout.treatment,
        rollout.stage if stage is None else stage,
        rollout.share if share is None else share,
        rollout.fence if fence is None else fence,
    )
