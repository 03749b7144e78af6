"""The release of a version that got a canary is launched beside the turn, once, and never fails it."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from flytekit.exceptions.system import FlyteSystemException

from tasks.remote import BusyError, launch_rollout
from tests.drift.test_triggers import RECIPE


class Refusing:
    """A Flyte that answers every launch with a code of gRPC's, wrapped as flytekit wraps it."""

    def __init__(self, code: str) -> None:
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
