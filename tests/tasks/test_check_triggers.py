"""The hourly look as Flyte runs it: a real remote against an admin service, a turn launched once and never beside
another.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from flytekit import LaunchPlan, task, workflow
from flytekit.remote import FlyteRemote

from flytewheel.drift.requests import ask_turn, list_requests
from flytewheel.recipe import Recipe
from tasks import check_triggers as shell
from tasks import remote as launcher
from tasks.remote import WEEKLY, WORKFLOW, launch_weekly, list_running
from tests.drift.test_triggers import RECIPE, add_interactions
from tests.tasks.flyte_admin import DOMAIN, PROJECT, Admin, run_admin


@task
def take(recipe: Recipe) -> str:
    return recipe.name


@workflow
def turn(recipe: Recipe) -> str:
    """What `weekly` takes, without its images."""
    return take(recipe=recipe)


@pytest.fixture
def flyte(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Admin, FlyteRemote]]:
    monkeypatch.setattr(LaunchPlan, "CACHE", {})  # where another test has loaded the real ones, whose names are taken
    with run_admin(LaunchPlan.get_or_create(turn, name=WEEKLY)) as running:
        yield running


def test_the_workflow_that_is_looked_for_is_the_weekly_one() -> None:
    from workflows.weekly import weekly

    assert weekly.name == WORKFLOW
    assert weekly.python_interface.inputs == turn.python_interface.inputs


def test_a_name_starts_one_execution_with_the_whole_recipe(flyte: tuple[Admin, FlyteRemote]) -> None:
    admin, remote = flyte
    names = [launch_weekly(RECIPE, "ask0123", connect=lambda: remote) for _ in range(2)]
    assert names == ["ask0123", "ask0123"]
    assert list(admin.executions) == ["ask0123"]
    assert admin.asked >= 2  # flytekit tries a refused name again before it takes it for its own
    spec = admin.executions["ask0123"].spec
    assert (spec.launch_plan.name, spec.launch_plan.project) == (WEEKLY, PROJECT)
    literal = spec.inputs.literals["recipe"].scalar
    sent = literal.binary.value if literal.HasField("binary") else None
    import msgpack

    assert sent is not None
    assert Recipe.model_validate(msgpack.loads(sent)) == RECIPE


def test_what_runs_is_found_on_every_page_and_nothing_else(flyte: tuple[Admin, FlyteRemote]) -> None:
    admin, remote = flyte
    for name, phase, whose in (
        ("done", "SUCCEEDED", WORKFLOW),
        ("other1", "RUNNING", "workflows.rollout.rollout"),
        ("other2", "RUNNING", "workflows.triggers.triggers"),
        ("sunday", "RUNNING", WORKFLOW),
        ("broken", "FAILED", WORKFLOW),
        ("queued", "QUEUED", WORKFLOW),
        ("aborting", "ABORTING", WORKFLOW),
    ):
        admin.add(name, phase, whose)
    assert list_running(connect=lambda: remote) == ["sunday", "queued", "aborting"]


def test_the_remote_belongs_to_the_project_that_the_task_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SimpleNamespace(execution_id=SimpleNamespace(project=PROJECT, domain=DOMAIN))
    monkeypatch.setattr("flytekit.current_context", lambda: own)
    found = launcher._connect()
    assert (found.default_project, found.default_domain) == (PROJECT, DOMAIN)


def test_the_task_starts_what_was_asked_for_once(
    database_url: str, flyte: tuple[Admin, FlyteRemote], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, remote = flyte
    monkeypatch.setattr("tasks.remote._connect", lambda: remote)
    monkeypatch.setattr(shell, "connect", lambda: SimpleNamespace(database_url=database_url))
    asked = {"name": "demo", "reason": "new runbooks", "asked_by": "ada"}
    ask_turn(database_url, request_id="r1", mode="full", force=True, **asked)  # type: ignore[arg-type]
    said = [shell.check_triggers(recipe=RECIPE) for _ in range(2)]
    (request,) = list_requests(database_url)
    assert said == [
        f"a full turn because of what was asked for by ada: new runbooks: {request.execution}",
        "not due: 0 new interactions",
    ]
    assert list(admin.executions) == [request.execution]
    assert request.state == "launched"


def test_the_task_waits_while_flyte_runs_a_turn_that_the_database_does_not_know(
    database_url: str, flyte: tuple[Admin, FlyteRemote], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, remote = flyte
    monkeypatch.setattr("tasks.remote._connect", lambda: remote)
    monkeypatch.setattr(shell, "connect", lambda: SimpleNamespace(database_url=database_url))
    add_interactions(database_url, 5)
    admin.add("sunday", "RUNNING")
    assert shell.check_triggers(recipe=RECIPE).endswith(": waits for sunday, which runs on Flyte")
    assert list(admin.executions) == ["sunday"]
    admin.add("sunday", "SUCCEEDED")
    assert "a full turn because of first run: 5 interactions and no run yet: due" in shell.check_triggers(recipe=RECIPE)
    assert len(admin.executions) == 2
