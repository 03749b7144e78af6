"""The hourly look as Flyte runs it: a request becomes one execution, under a name that Flyte takes once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flytewheel.drift.requests import ask_turn, list_requests
from tasks import check_triggers as shell
from tasks.remote import LAUNCH_PLAN, launch_weekly
from tests.drift.test_triggers import RECIPE


class Remote:
    """A Flyte as far as launching goes; a name that is taken gives what has it, as flytekit's remote does."""

    def __init__(self) -> None:
        self.started: dict[str, dict[str, Any]] = {}

    def fetch_launch_plan(self, *, name: str) -> str:
        return name

    def execute(self, plan: str, *, inputs: dict[str, Any], execution_name: str | None, wait: bool) -> Any:
        assert plan == LAUNCH_PLAN
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
