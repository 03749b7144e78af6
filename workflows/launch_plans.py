"""When what runs by itself. All times are UTC; the domain decides whether schedules run, and by which recipe.

| launch plan | when | what |
|---|---|---|
| `weekly_finetuning` | Sunday 02:00 (`automation.schedule`), and by a trigger or a person | a turn of the loop |
| `triggers_hourly` | every hour | is a turn due before Sunday? |
| `rollout_on_register` | at the end of a turn that released a version | its release, waiting in Flyte between stages |
| `rollout_hourly` | every hour at half past | one look at the release: what harms does not wait for a stage's end |
| `nightly_calibration` | 01:15 | the statistics' self-check |
| `daily_data_quality` | 05:30 | what came in, against the weeks before |
| `weekly_retention` | Saturday 03:30, before the turn | age limits |
| `daily_summary`, `weekly_summary` | 06:00, Monday 06:15 | mail |

- Each runs once at a time. Flyte counts executions by launch plan, so whoever launches a turn launches
  `weekly_finetuning` with a recipe of their own: its recipe is a default, not fixed. What a full house turns away is
  skipped, not queued, and the next look finds it due again.
- A released version starts its rollout by the end of the turn (tasks/launch_canary.py), not by an artifact's trigger:
  open-source Flyte has no service that answers one (flytekit's `OnArtifact` is for Union's), and the turn knows the
  recipe, which no artifact does. The hour's look is a launch plan of its own, so that it is not skipped while the other
  waits: it takes back what harms, takes up what fell over, and hears an approval that was given elsewhere.
- Flyte sends its messages as mail, also to Slack and PagerDuty (their addresses for mail). Ours go to webhooks, by the
  tasks themselves (flytewheel/notify), and say which station failed and why.

The recipe is the domain's unless `FLYTEWHEEL_RECIPE` names another at registration: a schedule's inputs are fixed then.
"""

from __future__ import annotations

import os
from typing import Any

from flytekit import ConcurrencyPolicy, CronSchedule, Email, LaunchPlan, PagerDuty, Slack
from flytekit.core.notification import Notification
from flytekit.models.concurrency import ConcurrencyLimitBehavior
from flytekit.models.core.execution import WorkflowExecutionPhase

from flytewheel.recipe import Recipe, load_recipe
from images import DOMAIN, ROOT
from workflows.rollout import rollout, staged_rollout
from workflows.triggers import triggers
from workflows.upkeep import daily_data_quality, daily_summary, nightly_calibration, weekly_retention, weekly_summary
from workflows.weekly import weekly

FAILED = [WorkflowExecutionPhase.FAILED, WorkflowExecutionPhase.TIMED_OUT, WorkflowExecutionPhase.ABORTED]
ENDED = [WorkflowExecutionPhase.SUCCEEDED, *FAILED]
ONE_AT_A_TIME = ConcurrencyPolicy(max_concurrency=1, behavior=ConcurrencyLimitBehavior.SKIP)


def choose_notifications(recipe: Recipe, *, endings: bool) -> list[Notification]:
    """Failures to Slack, PagerDuty and e-mail, as the recipe names them; with `endings` also success, but for
    PagerDuty: nobody is woken by it.
    """
    notify = recipe.automation.notify
    phases = ENDED if endings else FAILED
    found: list[Notification] = []
    if notify.slack:
        found.append(Slack(phases=phases, recipients_email=list(notify.slack)))
    if notify.email:
        found.append(Email(phases=phases, recipients_email=list(notify.email)))
    if notify.pagerduty:
        found.append(PagerDuty(phases=FAILED, recipients_email=list(notify.pagerduty)))
    return found


RECIPE = load_recipe(os.environ.get("FLYTEWHEEL_RECIPE") or ROOT / DOMAIN.recipe)


def plan(workflow: Any, name: str, cron: str | None, *, endings: bool = False) -> LaunchPlan:
    """A launch plan with the recipe as its default, one execution at a time.

    Args:
        workflow: what it launches; `recipe` is its one input.
        name: of the launch plan.
        cron: when, UTC; it counts where the domain's schedules run. None: somebody launches it.
        endings: whether people hear of success as well.
    """
    return LaunchPlan.get_or_create(
        workflow,
        name=name,
        default_inputs={"recipe": RECIPE},
        schedule=CronSchedule(schedule=cron) if cron and DOMAIN.schedules else None,
        notifications=choose_notifications(RECIPE, endings=endings),
        concurrency=ONE_AT_A_TIME,
    )


weekly_finetuning = plan(weekly, "weekly_finetuning", RECIPE.automation.schedule, endings=True)
triggers_hourly = plan(triggers, "triggers_hourly", "0 * * * *")
rollout_on_register = plan(staged_rollout, "rollout_on_register", None)
rollout_hourly = plan(rollout, "rollout_hourly", "30 * * * *")
nightly_calibration_plan = plan(nightly_calibration, "nightly_calibration", "15 1 * * *")
daily_data_quality_plan = plan(daily_data_quality, "daily_data_quality", "30 5 * * *")
weekly_retention_plan = plan(weekly_retention, "weekly_retention", "30 3 * * 6", endings=True)
daily_summary_plan = plan(daily_summary, "daily_summary", "0 6 * * *")
weekly_summary_plan = plan(weekly_summary, "weekly_summary", "15 6 * * 1")
