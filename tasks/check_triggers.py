"""Watch: hourly, launches a turn when one is due or was asked for, a full or a small one."""

from __future__ import annotations

from datetime import UTC, datetime

from flytekit import Deck, task

from flytewheel.drift.looks import look
from flytewheel.drift.page import describe_look
from flytewheel.recipe import Recipe
from flytewheel.records import to_jsonable
from images import core
from tasks import DECK, SECRETS, SHORT, SMALL
from tasks.remote import launch_weekly, list_running
from tasks.services import connect


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS, **DECK)
def check_triggers(recipe: Recipe) -> str:
    """Looks whether a turn is due or was asked for, and launches it.

    Args:
        recipe: everything that decides this turn.

    Returns:
        What was found, in one line.
    """
    url = connect().database_url
    found = look(url, recipe, now=datetime.now(UTC), launch=launch_weekly, list_running=list_running)
    Deck("triggers", describe_look(to_jsonable(found.report) | {"said": found.said}))
    return found.said
