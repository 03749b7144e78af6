"""Takes the step that is due for a running canary: one idempotent tick (what is due:
flytewheel/experiment/decision.py).

A tick analyses what was counted, then takes the row locks, compares the fencing token with the one it began with, and
stores decision and evidence in the same transaction: two ticks at once change the stage once, and whoever aborts by
hand never waits behind an analysis, and wins. Weight rises only together with the stored verdict that all guardrails
are cleared. Dwell is the database's time.

| decision | stored |
|---|---|
| `stop_for_srm` | experiment stopped, rollout paused |
| `roll_back`, `reject_at_max_duration` | experiment stopped, rollout rolled back |
| `hold` | a line in the log when the reasons change, and every six hours: whoever reads sees the figures move |
| `advance` | next stage and share, a new stratum |
| `promote` | the verdict; everything else by the router |

At a share of 1 there is no control left to compare with, so the step to it is the promotion. It goes through one door,
the router's `PUT /models/{name}/champion`, which loads the version, moves the alias and then stops the experiment as
promoted: until that has succeeded the experiment goes on at its share, and the next tick decides anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flytewheel.database import connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment import launch
from flytewheel.experiment.checks import wants_drill
from flytewheel.experiment.decision import WAITS, Decision, decide
from flytewheel.experiment.evidence import find_next_stage, gather_evidence
from flytewheel.experiment.experiments import (
    close_experiment,
    get_experiment,
    lock_experiment,
    log_rollout,
    move_share,
)
from flytewheel.experiment.ledger import (
    Rollout,
    find_rollout,
    is_approved,
    last_decision,
    lock_fence,
)
from flytewheel.experiment.promotion import check_promotion
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Rewards
from flytewheel.records import digest

LOOK_EVERY = timedelta(hours=6)
_CLOSES = {"roll_back": "rolled_back", "reject_at_max_duration": "rolled_back", "stop_for_srm": "paused"}


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

    @property
    def wants_drill(self) -> bool:
        """Whether the way back is to be exercised before this rollout can grow."""
        return self.decision == "hold" and wants_drill(self.evidence)

    def facts(self) -> dict[str, str]:
        """What a person would look at, a line each."""
        facts = {"decision": self.decision, "because": "; ".join(self.reasons)}
        if self.experiment_id:
            facts |= {
                "experiment": f"{self.experiment_id}: {self.treatment} at stage {self.stage}, {self.share:.0%}",
                "users": ", ".join(f"{arm} {count:,}" for arm, count in self.evidence.get("users", {}).items()),
            }
            if crossed := self.evidence.get("crossed_users"):
                facts["users"] += f"; {crossed:,} who met several arms count in none"
        return facts | {found["metric"]: describe_finding(found) for found in self.evidence.get("guardrails", ())}


def tick(
    database_url: str,
    ab_testing: AbTestingSpec,
    automation: AutomationSpec,
    *,
    actor: str,
    name: str | None = None,
    experiment_id: str | None = None,
    rewards: Rewards | None = None,
) -> Tick:
    """Looks at one rollout and takes the step that is due, if one is; ticking again changes nothing more.

    Args:
        database_url: PostgreSQL; its clock is the only one that counts.
        ab_testing: stages, dwell, guardrails and burn-in.
        automation: whether a cleared stage waits for approval, and harm for a person.
        actor: who ticks, for the log.
        name: the model whose rollout is meant, or
        experiment_id: the experiment.
        rewards: the recipe's, of each reaction; None: as at the last look.

    Returns:
        The decision; `none` where no rollout is active, or another change came first.

    Raises:
        ExperimentError: neither a model nor an existing rollout is named.
        DatabaseError: PostgreSQL is away; nothing was decided.
    """
    with connect(database_url) as connection:
        rollout = find_rollout(connection, name=name, experiment_id=experiment_id)
        if rollout is None:
            return Tick("none", (f"no rollout of {name or experiment_id}",), name=name or "")
        if not rollout.serving or rollout.state not in ("active", "paused"):
            return _close(rollout, "none", (f"the rollout is {rollout.state.replace('_', ' ')}",), {})
        evidence = gather_evidence(connection, rollout, ab_testing, automation, rewards)
        decision, reasons = decide(evidence)
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
        if decision == "promote":
            detail |= {"holdback": {"share": ab_testing.holdback_share, "days": ab_testing.holdback_days}}
        stage, share = rollout.stage, rollout.share
        if decision == "advance":
            stage, share = find_next_stage(rollout, ab_testing)
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
        elif decision in _CLOSES:
            close_experiment(
                connection,
                experiment,
                "; ".join(reasons),
                actor,
                action=decision,
                state=_CLOSES[decision],
                detail=detail,
                fence=rollout.fence,
            )
        else:
            last = last_decision(connection, rollout)
            changed = last is None or (last.action, last.detail.get("reasons")) != (decision, list(reasons))
            due = last is not None and rollout.now - last.at >= LOOK_EVERY
            if changed or due or evidence["look"]:  # later planned looks need what this one saw
                log_rollout(connection, rollout.rollout_id, rollout.fence, actor, decision, detail)
        fence = lock_fence(connection, rollout.rollout_id)
    return _close(rollout, decision, reasons, evidence, stage=stage, share=share, fence=fence)


def approve(database_url: str, rollout_id: str, actor: str, *, fence: int | None = None) -> None:
    """Lets a rollout that waits for it take its next step, at the next tick; said twice it counts once.

    Raises:
        ExperimentError: no such rollout, it does not wait for approval, or it is not at `fence` (where given) any more.
    """
    with connect(database_url) as connection:
        if lock_fence(connection, rollout_id) is None:
            raise ExperimentError(f"no rollout {rollout_id!r}; see `flytewheel rollout status NAME`")
        rollout = find_rollout(connection, rollout_id=rollout_id)
        assert rollout is not None
        if fence is not None and rollout.fence != fence:
            raise ExperimentError(
                f"rollout {rollout_id} was to be approved at fence {fence}, but is {rollout.state} at {rollout.fence}:"
                " look at what it is now"
            )
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
        promotion = check_promotion(database_url, experiment_id, fence)
        launch.promote(router_url, admin_key, experiment_id=experiment_id, fence=promotion.fence)
        return f"{promotion.experiment.treatment} is the champion of {promotion.experiment.name}"
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
