from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from flytewheel.errors import DatabaseError, ExperimentError
from flytewheel.experiment.experiments import (
    Opened,
    find_launch,
    get_experiment,
    list_experiments,
    open_experiment,
    set_share,
    stop_experiment,
)


def launch(database_url: str, **changes: Any) -> Opened:
    given: dict[str, Any] = {
        "name": "demo",
        "control": "v1.202647.0",
        "treatment": "v1.202647.1",
        "share": 0.1,
        "launch_key": "run-1",
        "body": {"rollout_stages": [0.1, 1.0]},
    }
    return open_experiment(database_url, **(given | changes))


def rows(database_url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_opening_twice_opens_once_with_a_rollout_at_stage_0(database_url: str) -> None:
    first, again = launch(database_url), launch(database_url, share=0.5)
    assert (first.created, again.created) == (True, False)
    assert again.experiment == first.experiment
    assert first.experiment.body == {"rollout_stages": [0.1, 1.0]}
    assert rows(database_url, "SELECT name, state, stage, fence FROM rollouts") == [("demo", "active", 0, 0)]
    assert rows(database_url, "SELECT actor, action, detail ->> 'share' FROM rollout_log") == [
        ("launch", "opened", "0.1")
    ]


def test_another_launch_supersedes(database_url: str) -> None:
    first = launch(database_url).experiment
    second = launch(database_url, launch_key="run-2", treatment="v1.202647.2")
    assert second.superseded == first.experiment_id
    stopped = get_experiment(database_url, first.experiment_id)
    assert (stopped.state, stopped.reason) == ("stopped", "superseded by v1.202647.2")
    assert stopped.stopped_at is not None
    assert [found.experiment_id for found in list_experiments(database_url, name="demo", running=True)] == [
        second.experiment.experiment_id
    ]
    assert rows(database_url, "SELECT state, fence FROM rollouts ORDER BY created_at") == [
        ("rolled_back", 1),
        ("active", 0),
    ]
    # The launch that lost its place does not come back under its old key.
    assert launch(database_url).experiment.state == "stopped"


def test_another_model_is_left_alone(database_url: str) -> None:
    launch(database_url)
    assert launch(database_url, name="other", launch_key="run-2").superseded is None
    assert len(list_experiments(database_url, running=True)) == 2


def test_racing_launches_leave_one_running(database_url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = [f"run-{number % 4}" for number in range(16)]
        opened = list(threads.map(lambda key: launch(database_url, launch_key=key), keys))
    assert len({found.experiment.experiment_id for found in opened if found.created}) == 4
    assert sum(found.created for found in opened) == 4
    assert len(list_experiments(database_url, running=True)) == 1
    assert rows(database_url, "SELECT count(*) FROM rollouts WHERE state = 'active'") == [(1,)]


def test_a_share_moves_and_is_logged(database_url: str) -> None:
    experiment_id = launch(database_url).experiment.experiment_id
    assert set_share(database_url, experiment_id, 0.25, actor="ada").share == 0.25
    set_share(database_url, experiment_id, 0.25, actor="ada")  # no change, no entry
    entries = rows(database_url, "SELECT fence, actor, action, detail FROM rollout_log ORDER BY entry")
    assert entries[1:] == [(1, "ada", "set_share", {"from": 0.1, "to": 0.25})]


@pytest.mark.parametrize(("promoted", "state"), [(True, "promoted"), (False, "rolled_back")])
def test_stopping_twice_stops_once(database_url: str, promoted: bool, state: str) -> None:
    experiment_id = launch(database_url).experiment.experiment_id
    first = stop_experiment(database_url, experiment_id, reason="harm", actor="ada", promoted=promoted)
    again = stop_experiment(database_url, experiment_id, reason="other", actor="bob")
    assert again == first
    assert first.reason == "harm"
    assert rows(database_url, "SELECT state, fence FROM rollouts") == [(state, 1)]
    with pytest.raises(ExperimentError, match="has stopped"):
        set_share(database_url, experiment_id, 0.5, actor="ada")


@pytest.mark.parametrize(
    "changes",
    [
        {"share": 0.0},
        {"share": 1.1},
        {"share": float("nan")},
        {"treatment": "v1.202647.0"},
        {"launch_key": ""},
        {"name": ""},
    ],
)
def test_a_wrong_launch_opens_nothing(database_url: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError) as caught:
        launch(database_url, **changes)
    assert "\n" not in str(caught.value)
    assert list_experiments(database_url) == []


def test_a_key_stands_for_one_launch(database_url: str) -> None:
    given = {"name": "demo", "control": "v1.202647.0", "launch_key": "run-1"}
    assert find_launch(database_url, treatment="v1.202647.1", **given) is None
    launch(database_url)
    assert find_launch(database_url, treatment="v1.202647.1", **given) is not None
    with pytest.raises(ExperimentError, match="take another key"):
        launch(database_url, treatment="v1.202647.2")


def test_an_unknown_experiment_is_said(database_url: str) -> None:
    for ask in (
        lambda: get_experiment(database_url, "exp-none"),
        lambda: stop_experiment(database_url, "exp-none", reason="x", actor="ada"),
        lambda: set_share(database_url, "exp-none", 0.5, actor="ada"),
    ):
        with pytest.raises(ExperimentError, match="exp-none"):
            ask()


def test_a_database_that_is_away_is_said() -> None:
    with pytest.raises(DatabaseError):
        launch("postgresql://nobody@127.0.0.1:9/none")
