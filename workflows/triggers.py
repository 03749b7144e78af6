"""Hourly: is a turn due? It explains itself, and launches `weekly` when one is."""

from __future__ import annotations

from flytekit import workflow

from flytewheel.recipe import Recipe
from tasks.check_triggers import check_triggers


@workflow
def triggers(recipe: Recipe) -> str:
    """check_triggers."""
    return check_triggers(recipe=recipe)
