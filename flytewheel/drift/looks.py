"""One look at the triggers: what is due, what somebody asked for, and the one turn that is launched for both.

| asked for | due | launched |
|---|---|---|
| no | yes | the turn that is due, where `automation.auto_finetune` allows it |
| with `force` | – | the turn that was asked for; a person asked, whatever `auto_finetune` says |
| without | yes | the same |
| without | no | nothing; the request is refused with what is lacking |

Where a full turn is due and a small one was asked for, or the other way round, the full one answers both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flytewheel.drift import requests
from flytewheel.drift.requests import BY_HAND, TurnRequest
from flytewheel.drift.triggers import TriggerReport, check_triggers
from flytewheel.errors import RecipeError
from flytewheel.recipe import Recipe

# A recipe, and the name of the execution where the same one must not begin twice; returns the name it got.
Launch = Callable[[Recipe, str | None], str]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found and did, in one line."""

    report: TriggerReport
    said: str
    request: TurnRequest | None = None
    execution: str | None = None


def look(database_url: str, recipe: Recipe, *, now: datetime, launch: Launch) -> Look:
    """Looks once, and launches at most one turn.

    Raises:
        DatabaseError: PostgreSQL is away; a request that was launched already meets the same execution next time.
    """
    report = check_triggers(database_url, recipe, now=now)
    request = requests.find_next(database_url, recipe.name)
    if request is not None:
        return _answer(database_url, recipe, report, request, launch)
    causes = requests.name_causes(report)
    if not report.due:
        requests.keep_look(database_url, recipe.name, report, causes, None)
        return Look(report, f"not due: {report.new_interactions:,} new interactions")
    if not recipe.automation.auto_finetune:
        requests.keep_look(database_url, recipe.name, report, causes, None)
        return Look(report, f"due ({'; '.join(report.reasons)}): automation.auto_finetune is off")
    execution = launch(recipe.in_mode(report.mode), None)
    requests.keep_look(database_url, recipe.name, report, causes, execution)
    return Look(report, f"due ({'; '.join(report.reasons)}): {execution}", execution=execution)


def _answer(database_url: str, recipe: Recipe, report: TriggerReport, request: TurnRequest, launch: Launch) -> Look:
    causes = requests.name_causes(report)
    asked = f"asked for by {request.asked_by}: {request.reason}"
    if not (request.force or report.due):
        return _refuse(database_url, report, request, f"not due: {report.new_interactions:,} new interactions")
    full = request.mode == "full" or (report.due and report.mode == "full")
    try:
        wanted = recipe.in_mode("full" if full else "incremental")
    except RecipeError as error:
        return _refuse(database_url, report, request, str(error))
    execution = launch(wanted, request.execution)
    requests.keep_look(database_url, recipe.name, report, (BY_HAND, *causes), execution)
    requests.settle_request(database_url, request.request_id, "launched", execution)
    return Look(report, f"{'; '.join((asked, *report.reasons))}: {execution}", request, execution)


def _refuse(database_url: str, report: TriggerReport, request: TurnRequest, why: str) -> Look:
    requests.settle_request(database_url, request.request_id, "refused", why)
    requests.keep_look(database_url, request.name, report, (), None)
    return Look(report, f"refused what {request.asked_by} asked for: {why}", request)
