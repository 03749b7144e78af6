"""Launches another launch plan on the Flyte cluster that this task runs on, and asks it what runs already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flytekit.exceptions.system import FlyteSystemException

from flytewheel.errors import FlytewheelError
from flytewheel.recipe import Recipe

WEEKLY = "weekly_finetuning"
ROLLOUT = "rollout_on_register"
WORKFLOW = "workflows.weekly.weekly"
UNFINISHED = ("UNDEFINED", "QUEUED", "RUNNING", "SUCCEEDING", "FAILING", "ABORTING")
PAGE = 100


class BusyError(FlytewheelError):
    """A launch plan has as many executions as it may have."""


def launch_weekly(recipe: Recipe, execution: str | None = None, *, connect: Callable[[], Any] | None = None) -> str:
    """Starts a turn without waiting for it; returns the execution's name. With `execution` as its name it starts
    once: Flyte takes a name once, and flytekit returns the execution that has it. `connect` gives the remote (tests
    bring their own).

    The launch plan is the schedule's own, with another recipe in the place of its default: so that the limit of one
    execution at a time, which Flyte keeps for each launch plan, is one for turns of either kind together.
    """
    return _launch(WEEKLY, recipe, execution, connect)


def launch_rollout(recipe: Recipe, execution: str, *, connect: Callable[[], Any] | None = None) -> str:
    """Starts the release of a version that was just registered, once for an execution's name."""
    return _launch(ROLLOUT, recipe, execution, connect)


def _launch(plan: str, recipe: Recipe, execution: str | None, connect: Callable[[], Any] | None) -> str:
    remote = (connect or _connect)()
    fetched = remote.fetch_launch_plan(name=plan)
    try:
        started = remote.execute(fetched, inputs={"recipe": recipe}, execution_name=execution, wait=False)
    except FlyteSystemException as error:
        if getattr(getattr(error.__cause__, "code", lambda: None)(), "name", "") != "RESOURCE_EXHAUSTED":
            raise
        raise BusyError(
            f"{plan} runs already, and Flyte runs one at a time: it is due again at the next look"
        ) from None
    return str(started.id.name)


def list_running(*, connect: Callable[[], Any] | None = None) -> list[str]:
    """Names of the executions of turns that have not come to their end, of whichever launch plan and model: by
    schedule, by hand or by a trigger.
    """
    from flyteidl.admin.common_pb2 import NamedEntityIdentifier, ResourceListRequest
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
