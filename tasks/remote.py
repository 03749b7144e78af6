"""Launches another launch plan on the Flyte cluster that this task runs on, and asks it what runs already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flytewheel.recipe import Recipe

LAUNCH_PLAN = "weekly_by_hand"
WORKFLOW = "workflows.weekly.weekly"
UNFINISHED = ("UNDEFINED", "QUEUED", "RUNNING", "SUCCEEDING", "FAILING", "ABORTING")
PAGE = 100


def launch_weekly(recipe: Recipe, execution: str | None = None, *, connect: Callable[[], Any] | None = None) -> str:
    """Starts a turn without waiting for it; returns the execution's name. With `execution` as its name it starts
    once: Flyte takes a name once, and flytekit returns the execution that has it. `connect` gives the remote (tests
    bring their own).
    """
    remote = (connect or _connect)()
    plan = remote.fetch_launch_plan(name=LAUNCH_PLAN)
    started = remote.execute(plan, inputs={"recipe": recipe}, execution_name=execution, wait=False)
    return str(started.id.name)


def list_running(*, connect: Callable[[], Any] | None = None) -> list[str]:
    """Names of the executions of turns that have not come to their end, of whichever launch plan and model: by
    schedule, by hand or by a trigger.
    """
    from flyteidl.admin.common_pb2 import NamedEntityIdentifier, ResourceListRequest  # type: ignore[import-untyped]
    from flytekit.clients.raw import RawSynchronousFlyteClient

    remote = (connect or _connect)()
    own = NamedEntityIdentifier(project=remote.default_project, domain=remote.default_domain)
    filters = f"value_in(phase,{';'.join(UNFINISHED)})"
    found: list[str] = []
    token = ""
    while True:  # flytekit's own model of an execution leaves out whose workflow it is
        asked = ResourceListRequest(id=own, limit=PAGE, token=token, filters=filters)
        page = RawSynchronousFlyteClient.list_executions_paginated(remote.client, asked)
        found += [str(each.id.name) for each in page.executions if each.closure.workflow_id.name == WORKFLOW]
        token = page.token
        if not token:
            return found


def _connect() -> Any:
    """The Flyte of this task, and the project and domain that it runs in: a remote has none of its own."""
    from flytekit import current_context
    from flytekit.configuration import Config
    from flytekit.remote import FlyteRemote

    own = current_context().execution_id
    return FlyteRemote(Config.auto(), default_project=own.project, default_domain=own.domain)
