"""When the loop turns by itself: Sunday 02:00 UTC, and whenever the hourly look finds that a turn is due. A running
canary is looked at hourly too, at half past, when the other look is over.

The recipe is `recipes/laptop.yaml` unless `FLYTEWHEEL_RECIPE` names another at registration: a schedule's inputs are
fixed then. One turn at a time: a second one is skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

from flytekit import ConcurrencyPolicy, CronSchedule, Email, LaunchPlan, PagerDuty, Slack
from flytekit.core.notification import Notification
from flytekit.models.concurrency import ConcurrencyLimitBehavior
from flytekit.models.core.execution import WorkflowExecutionPhase

from flytewheel.recipe import Recipe, load_recipe
from workflows.rollout import rollout
from workflows.triggers import triggers
from workflows.weekly import weekly

FAILED = [WorkflowExecutionPhase.FAILED, WorkflowExecutionPhase.TIMED_OUT, WorkflowExecutionPhase.ABORTED]
ENDED = [WorkflowExecutionPhase.SUCCEEDED, *FAILED]
ONE_AT_A_TIME = ConcurrencyPolicy(max_concurrency=1, behavior=ConcurrencyLimitBehavior.SKIP)


def choose_notifications(recipe: Recipe) -> list[Notification]:
    """Every ending to Slack and e-mail, failures to PagerDuty, as the recipe names them."""
    notify = recipe.automation.notify
    found: list[Notification] = []
    if notify.slack:
        found.append(Slack(phases=ENDED, recipients_email=list(notify.slack)))
    if notify.email:
        found.append(Email(phases=ENDED, recipients_email=list(notify.email)))
    if notify.pagerduty:
        found.append(PagerDuty(phases=FAILED, recipients_email=list(notify.pagerduty)))
    return found


RECIPE = load_recipe(
    os.environ.get("FLYTEWHEEL_RECIPE") or Path(__file__).resolve().parent.parent / "recipes" / "laptop.yaml"
)

weekly_by_hand = LaunchPlan.get_or_create(weekly, name="weekly_by_hand", concurrency=ONE_AT_A_TIME)
weekly_on_sunday = LaunchPlan.get_or_create(
    weekly,
    name="weekly_on_sunday",
    fixed_inputs={"recipe": RECIPE},
    schedule=CronSchedule(schedule=RECIPE.automation.schedule),
    notifications=choose_notifications(RECIPE),
    concurrency=ONE_AT_A_TIME,
)
triggers_hourly = LaunchPlan.get_or_create(
    triggers,
    name="triggers_hourly",
    fixed_inputs={"recipe": RECIPE},
    schedule=CronSchedule(schedule="0 * * * *"),
    concurrency=ONE_AT_A_TIME,
)
rollout_hourly = LaunchPlan.get_or_create(
    rollout,
    name="rollout_hourly",
    fixed_inputs={"recipe": RECIPE},
    schedule=CronSchedule(schedule="30 * * * *"),
    concurrency=ONE_AT_A_TIME,
)
