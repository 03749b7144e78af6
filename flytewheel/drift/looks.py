"""One look at the triggers: what is due, what somebody asked for, and the one turn that is launched for both.

| asked for | due | launched |
|---|---|---|
| no | yes | the turn that is due, where `automation.auto_finetune` allows it |
| with `force` | – | the turn that was asked for; a person asked, whatever `auto_finetune` says |
| without | yes | the same |
| without | no | nothing; the request is refused with what is lacking |

Where a full turn is due and a small one was asked for, or the other way round, the full one answers both. Nothing is
launched beside another turn or too soon after it (`launching`). Whatever comes of it, the look is kept with every
figure, its threshold, and one sentence that says what was launched and why, or why not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from flytewheel.drift import launching, requests
from flytewheel.drift.launching import ListRunning
from flytewheel.drift.requests import BY_HAND, TurnRequest
from flytewheel.drift.triggers import TriggerReport, check_triggers
from flytewheel.errors import RecipeError
from flytewheel.recipe import Recipe

# A recipe, and the name of the execution, so that the same one does not begin twice; returns the name it got.
Launch = Callable[[Recipe, str | None], str]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found and did; `said` is the sentence."""

    report: TriggerReport
    said: str
    request: TurnRequest | None = None
    execution: str | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A turn to launch, and why; without a recipe the sentence says why none is."""

    said: str
    recipe: Recipe | None = None
    request: TurnRequest | None = None
    refused: str | None = None


def look(
    database_url: str, recipe: Recipe, *, now: datetime, launch: Launch, list_running: ListRunning | None = None
) -> Look:
    """Looks once, and launches at most one turn.

    Args:
        database_url: PostgreSQL.
        recipe: of the model.
        now: current time.
        launch: starts a turn.
        list_running: names of executions of turns that Flyte runs; `None`: there is no Flyte to ask.

    Raises:
        DatabaseError: PostgreSQL is away; what was launched already meets the same execution next time.
    """
    with launching.take_turns(database_url, recipe.name):
        report = check_triggers(database_url, recipe, now=now)
        plan = _decide(recipe, report, requests.find_next(database_url, recipe.name))
        if plan.recipe is None:
            return _keep(database_url, recipe, report, plan, None)
        by_hand = plan.request is not None
        if plan.request is not None:
            name = plan.request.execution
        else:
            name = launching.name_execution(database_url, recipe.name, plan.recipe.mode, report.mark)
        wait = launching.find_hindrance(database_url, plan.recipe, name, by_hand=by_hand, list_running=list_running)
        if wait is not None:
            if plan.request is not None:
                requests.note_wait(database_url, plan.request.request_id, wait)
            return _keep(database_url, recipe, report, replace(plan, said=f"{plan.said}: {wait}"), None)
        execution = launch(plan.recipe, name)
        report = replace(report, mode=plan.recipe.mode)
        return _keep(database_url, recipe, report, replace(plan, said=f"{plan.said}: {execution}"), execution)


def _decide(recipe: Recipe, report: TriggerReport, request: TurnRequest | None) -> _Plan:
    because = "; ".join(report.reasons)
    if request is None:
        if not report.due:
            return _Plan(f"not due: {report.new_interactions:,} new interactions")
        if not recipe.automation.auto_finetune:
            return _Plan(f"due ({because}): automation.auto_finetune is off")
        return _Plan(f"a {_word(report.mode)} turn because of {because}", recipe.in_mode(report.mode))
    asked = f"asked for by {request.asked_by}: {request.reason}"
    if not (request.force or report.due):
        return _refuse(request, f"not due: {report.new_interactions:,} new interactions")
    full = request.mode == "full" or (report.due and report.mode == "full")
    try:
        wanted = recipe.in_mode("full" if full else "incremental")
    except RecipeError as error:
        return _refuse(request, str(error))
    return _Plan(
        f"a {_word(wanted.mode)} turn because of what was {'; '.join((asked, *report.reasons))}", wanted, request
    )


def _refuse(request: TurnRequest, why: str) -> _Plan:
    return _Plan(f"refused what {request.asked_by} asked for: {why}", None, request, why)


def _word(mode: str) -> str:
    return "full" if mode == "full" else "small"


def _keep(database_url: str, recipe: Recipe, report: TriggerReport, plan: _Plan, execution: str | None) -> Look:
    """Keeps the look, then settles its request: one that dies between the two meets the same execution."""
    causes = requests.name_causes(report)
    if plan.request is not None:
        causes = () if plan.refused is not None else (BY_HAND, *causes)
    requests.keep_look(database_url, recipe.name, report, causes, execution, plan.said)
    if plan.request is not None and plan.refused is not None:
        requests.settle_request(database_url, plan.request.request_id, "refused", plan.refused)
    elif plan.request is not None and execution is not None:
        requests.settle_request(database_url, plan.request.request_id, "launched", execution)
    return Look(report, plan.said, plan.request, execution)
