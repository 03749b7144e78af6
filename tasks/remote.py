"""Launches another launch plan on the Flyte cluster that this task runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flytewheel.recipe import Recipe

LAUNCH_PLAN = "weekly_by_hand"


def launch_weekly(recipe: Recipe, execution: str | None = None, *, connect: Callable[[], Any] | None = None) -> str:
    """Starts a turn without waiting for it; returns the execution's name. With `execution` as its name it starts
    once: Flyte takes a name once, and flytekit returns the execution that has it. `connect` gives the remote (tests
    bring their own).
    """
    remote = (connect or _connect)()
    plan = remote.fetch_launch_plan(name=LAUNCH_PLAN)
    started = remote.execute(plan, inputs={"recipe": recipe}, execution_name=execution, wait=False)
    return str(started.id.name)


def _connect() -> Any:
    from flytekit.configuration import Config
    from flytekit.remote import FlyteRemote

    return FlyteRemote(Config.auto())
