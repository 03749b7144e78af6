"""The release of a canary, in two forms over one state machine (flytewheel/experiment/rollout.py):

    pyflyte run workflows/rollout.py rollout --recipe recipes/demo.yaml            one look
    pyflyte run workflows/rollout.py staged_rollout --recipe recipes/demo.yaml     look after look, to the end

`rollout` is for the schedule. `staged_rollout` waits in Flyte itself: a `sleep` node for what is left of a stage, an
`approve` node where `automation.auto_rollout` is off. Both may run at once, be run again, or die anywhere: a step is
taken once, and whoever looks next goes on from what is stored. A *hold* may last for days, so `staged_rollout` looks a
bounded number of times; then the schedule is what goes on.
"""

from __future__ import annotations

from datetime import timedelta

from flytekit import approve, conditional, dynamic, sleep, workflow

from flytewheel.experiment import driving
from flytewheel.recipe import Recipe
from images import core
from tasks import DECK, SHORT, SMALL, TELLING_SECRETS
from tasks.report import record_failure
from tasks.rollout import advance, keep_stage, roll_back, take_approval, tick_rollout
from tasks.services import connect, name_execution, tell_decision

LOOKS = 24
APPROVAL_WAITS = timedelta(days=7)


@workflow(on_failure=record_failure)
def rollout(recipe: Recipe) -> str:
    """tick_rollout → advance | roll_back.

    Args:
        recipe: stages, metrics and margins of the release.
    """
    ticked = tick_rollout(recipe=recipe)
    return (
        conditional("decision")
        .if_((ticked.decision == "advance") | (ticked.decision == "promote"))
        .then(
            advance(
                decision=ticked.decision,
                experiment_id=ticked.experiment_id,
                fence=ticked.fence,
                message=ticked.message,
            )
        )
        .elif_(
            (ticked.decision == "roll_back")
            | (ticked.decision == "reject_at_max_duration")
            | (ticked.decision == "stop_for_srm")
        )
        .then(
            roll_back(
                decision=ticked.decision,
                experiment_id=ticked.experiment_id,
                fence=ticked.fence,
                message=ticked.message,
            )
        )
        .else_()
        .then(keep_stage(message=ticked.message))
    )


@dynamic(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=TELLING_SECRETS, **DECK)
def follow_stages(recipe: Recipe, looks: int, after: str) -> str:
    """One look with all that follows from it, then the nodes to the next one; `after` only says what comes before.

    The look happens in this body, because what the graph is depends on it; it is a step that may be taken twice.

    Args:
        recipe: stages, metrics and margins of the release.
        looks: that are left, this one among them.
        after: what was said before.
    """
    services = connect()
    found = driving.step(
        services.database_url,
        recipe.ab_testing,
        recipe.automation,
        router_url=services.router_url,
        admin_key=services.admin_key,
        name=recipe.name,
        actor=f"execution {name_execution()}",
        rewards=recipe.feedback.rewards,
    )
    tell_decision(recipe, found.tick)
    print(found.message, flush=True)
    if found.ended or looks <= 1:
        return keep_stage(message=found.message)
    if found.waits:
        asked = approve(keep_stage(message=found.message), "approve-next-stage", timeout=APPROVAL_WAITS)
        said = take_approval(rollout_id=found.tick.rollout_id, fence=found.tick.fence, message=asked)
        return follow_stages(recipe=recipe, looks=looks - 1, after=said)
    said = keep_stage(message=found.message)
    dwell = sleep(timedelta(hours=found.hours_to_next(recipe.ab_testing)))
    later = follow_stages(recipe=recipe, looks=looks - 1, after=said)
    said >> dwell
    dwell >> later
    return later


@workflow(on_failure=record_failure)
def staged_rollout(recipe: Recipe) -> str:
    """(look → sleep | approve)* → the end of the rollout, or of the looks.

    Args:
        recipe: stages, metrics and margins of the release.
    """
    return follow_stages(recipe=recipe, looks=LOOKS, after="")
