"""Hourly: is a turn due? It explains itself, and launches `weekly` when one is."""

from __future__ import annotations

from flytekit import workflow

from flytewheel.recipe import Recipe
from tasks.check_triggers import check_triggers
from tasks.report import record_failure


@workflow(on_failure=record_failure)
def triggers(recipe: Recipe) -> str:
    """check_triggers: it explains itself, and launches a turn when one is due.

    Args:
        recipe: what makes a turn due, and what is launched.
    """
    return check_triggers(recipe=recipe)
