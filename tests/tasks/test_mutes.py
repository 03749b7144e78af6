"""Mutes as an input of the evaluation: read anew each time, over a real PostgreSQL, through Flyte's own types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from flytekit import task, workflow
from flytekit.types.directory import FlyteDirectory

from flytewheel.records import Message, RegressionCase
from flytewheel.suite.mutes import mute_case
from flytewheel.suite.store import add_cases
from tasks import judge


@task
def pass_on(mutes: dict[str, str]) -> dict[str, str]:
    return mutes


@workflow
def read_and_pass_on(candidate: FlyteDirectory) -> dict[str, str]:
    return pass_on(mutes=judge.read_mutes(name="demo", candidate=candidate))


def test_what_is_muted_now_reaches_the_evaluation(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "connect", lambda: SimpleNamespace(database_url=database_url))
    (tmp_path / "candidate").mkdir()
    candidate = FlyteDirectory(str(tmp_path / "candidate"))
    assert read_and_pass_on(candidate=candidate) == {}
    asked = (Message(role="user", content="?"),)
    add_cases(database_url, "demo", [RegressionCase("a", "suite", "ops", asked, "contains", "x")])
    now = datetime.now(UTC)
    mute_case(database_url, "demo", "a", reason="flaky", by="ada", until=now + timedelta(days=1), now=now)
    assert read_and_pass_on(candidate=candidate)["a"].startswith("flaky (until ")
