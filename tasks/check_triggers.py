"""Watch: hourly, launches a turn when one is due, a full or a small one."""

from __future__ import annotations

from datetime import UTC, datetime

from flytekit import Deck, task

from flytewheel import decks
from flytewheel.drift import triggers
from flytewheel.recipe import Recipe
from flytewheel.records import to_jsonable
from images import core
from tasks import DECK, SECRETS, SHORT, SMALL
from tasks.remote import launch_weekly
from tasks.services import connect


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS, **DECK)
def check_triggers(recipe: Recipe) -> str:
    report = triggers.check_triggers(connect().database_url, recipe, now=datetime.now(UTC))
    Deck("triggers", decks.describe("triggers", to_jsonable(report)))
    if not report.due:
        return f"not due: {report.new_interactions:,} new interactions"
    asked = recipe.in_mode(report.mode)
    execution = launch_weekly(asked) if recipe.automation.auto_finetune else "automation.auto_finetune is off"
    return f"due ({'; '.join(report.reasons)}): {execution}"
