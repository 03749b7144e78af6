"""The hourly look as Flyte runs it: a request becomes one execution, under a name that Flyte takes once."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from flytekit.exceptions.system import FlyteSystemException

from flytewheel.drift.requests import ask_turn, list_requests
from tasks import check_triggers as shell
from tasks.remote import WEEKLY, BusyError, launch_rollout, launch_weekly
from tests.drift.test_triggers import RECIPE


class Remote:
    """A Flyte as far as launching goes; a name that is taken gives what has it, as flytekit's remote does."""

    def __init__(self) -> None:
        self.started: dict[str, dict[str, Any]] = {}

    def fetch_launch_plan(self, *, name: str) -> str:
        return name

    def execute(self, plan: str, *, inputs: dict[str, Any], execution_name: str | None, wait: bool) -> Any:
        assert plan == WEEKLY
        assert not wait
        name = execution_name or f"f{len(self.started)}"
        self.started.setdefault(name, inputs)
        return SimpleNamespace(id=SimpleNamespace(name=name))


def test_a_name_is_handed_on_so_that_a_turn_starts_once() -> None:
    remote = Remote()
    names = [launch_weekly(RECIPE, "ask0123", connect=lambda: remote) for _ in range(2)]
    assert names == ["ask0123", "ask0123"]
    assert list(remote.started) == ["ask0123"]
    assert launch_weekly(RECIPE, connect=lambda: remote) == "f1"


class Refusing(Remote):
    """A Flyte that answers every launch with a code of gRPC's, wrapped as flytekit wraps it."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code

    def fetch_launch_plan(self, *, name: str) -> str:
        assert name == "rollout_on_register"
        return name

    def execute(self, plan: str, **_: Any) -> Any:
        class RefusalError(Exception):
            code = staticmethod(lambda: SimpleNamespace(name=self.code))

        raise FlyteSystemException("refused") from RefusalError()


def test_a_full_launch_plan_is_said_and_any_other_refusal_stays_what_it_is() -> None:
    with pytest.raises(BusyError, match="rollout_on_register runs already, and Flyte runs one at a time"):
        launch_rollout(RECIPE, "r0", connect=lambda: Refusing("RESOURCE_EXHAUSTED"))
    with pytest.raises(FlyteSystemException):
        launch_rollout(RECIPE, "r0", connect=lambda: Refusing("INTERNAL"))


def test_a_release_is_launched_on_a_cluster_once_and_never_fails_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import launch_canary

    launched: list[str] = []
    monkeypatch.setattr(launch_canary, "launch_rollout", lambda recipe, execution: launched.append(execution) or "f1")
    assert launch_canary.start_rollout(recipe=RECIPE, experiment_id="x1") == "x1"
    assert launched == []  # no cluster
    monkeypatch.setattr(launch_canary, "is_on_cluster", lambda: True)
    for _ in range(2):
        assert launch_canary.start_rollout(recipe=RECIPE, experiment_id="x1") == "x1"
    assert launch_canary.start_rollout(recipe=RECIPE, experiment_id="") == ""
    assert len(launched) == 2
    assert len(set(launched)) == 1  # a name that Flyte takes once
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,18}", launched[0])

    def busy(recipe: Any, execution: str) -> str:
        raise BusyError("it runs already")

    monkeypatch.setattr(launch_canary, "launch_rollout", busy)
    assert launch_canary.start_rollout(recipe=RECIPE, experiment_id="x1") == "x1"


def test_the_task_starts_what_was_asked_for_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote()
    monkeypatch.setattr("tasks.remote._connect", lambda: remote)
    monkeypatch.setattr(shell, "connect", lambda: SimpleNamespace(database_url=database_url))
    asked = {"name": "demo", "reason": "new runbooks", "asked_by": "ada"}
    ask_turn(database_url, request_id="r1", mode="full", force=True, **asked)  # type: ignore[arg-type]
    said = [shell.check_triggers(recipe=RECIPE) for _ in range(2)]
    (request,) = list_requests(database_url)
    assert said == [f"asked for by ada: new runbooks: {request.execution}", "not due: 0 new interactions"]
    assert list(remote.started) == [request.execution]
    assert request.state == "launched"
