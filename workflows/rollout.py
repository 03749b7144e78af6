"""One look at the running canary: it advances, is taken back, or stays as it is.

    pyflyte run workflows/rollout.py rollout --recipe recipes/demo.yaml

A tick, not a graph that waits: a *hold* may last for days, and the next look starts from what is stored.
"""

from __future__ import annotations

from flytekit import conditional, workflow

from flytewheel.recipe import Recipe
from tasks.report import record_failure
from tasks.rollout import advance, keep_stage, roll_back, tick_rollout


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
