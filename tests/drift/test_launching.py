"""Never two turns at once, none too soon, and each launch has a name that starts it once."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from flytewheel.database import connect
from flytewheel.drift.looks import look
from flytewheel.drift.requests import list_looks
from flytewheel.errors import DatabaseError
from flytewheel.recipe import Recipe
from tests.drift.test_requests import Cluster, ask
from tests.drift.test_triggers import NOW, RECIPE, add_interactions, add_run, with_small_turns


def age_looks(database_url: str, hours: float) -> None:
    with connect(database_url) as connection:
        connection.execute("UPDATE trigger_looks SET at = at - make_interval(secs => %s)", (3600 * hours,))


def add_running(database_url: str, execution: str | None = None) -> None:
    with connect(database_url) as connection:
        connection.execute(
            'INSERT INTO runs (run_id, name, recipe_digest, recipe, "window", status, execution)'
            " VALUES ('busy', 'demo', 'd', '{}', '{}', 'running', %s)",
            (execution,),
        )


def say(database_url: str, cluster: Cluster, recipe: Recipe = RECIPE, **given: Any) -> str:
    return look(database_url, recipe, now=NOW, launch=cluster.launch, **given).said


def test_what_is_due_waits_for_the_turn_that_runs(database_url: str) -> None:
    cluster = Cluster()
    add_interactions(database_url, 40)
    add_running(database_url)
    assert say(database_url, cluster).endswith("and no run yet: waits for busy")
    with connect(database_url) as connection:
        connection.execute("UPDATE runs SET started_at = now() - interval '30 hours'")  # it died without a word
    age_looks(database_url, 30)
    assert "a full turn because of volume: 40 new interactions" in say(database_url, cluster)
    assert len(cluster.started) == 1


def test_a_second_launch_waits_until_the_first_has_opened_its_run_and_for_the_least_time(database_url: str) -> None:
    cluster = Cluster()
    add_interactions(database_url, 40)
    first = look(database_url, RECIPE, now=NOW, launch=cluster.launch)
    assert say(database_url, cluster).endswith(
        f"waits for {first.execution}, which was launched and has not opened its run"
    )
    age_looks(database_url, 2)  # it failed before it opened one
    assert say(database_url, cluster).endswith(
        "waits: the last turn was launched 2.0 h ago, at least 24 h lie between two"
    )
    assert len(cluster.started) == 1
    ask(database_url)  # a person need not wait
    assert say(database_url, cluster).startswith("a full turn because of what was asked for by ada")
    age_looks(database_url, 25)
    again = look(database_url, RECIPE, now=NOW, launch=cluster.launch)
    assert again.execution is not None
    assert again.execution != first.execution  # or Flyte would give the one that failed
    assert len(cluster.started) == 3


def test_what_flyte_runs_is_waited_for_and_ones_own_launch_is_not(database_url: str) -> None:
    cluster = Cluster()
    add_interactions(database_url, 40)
    running = ["sunday"]
    assert say(database_url, cluster, list_running=lambda: running).endswith("waits for sunday, which runs on Flyte")
    running.clear()

    def die(*_: object) -> None:
        raise DatabaseError("away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flytewheel.drift.requests.keep_look", die)
        with pytest.raises(DatabaseError):
            say(database_url, cluster)
    (name,) = cluster.started
    add_running(database_url, name)  # and it has begun meanwhile
    found = look(database_url, RECIPE, now=NOW, launch=cluster.launch, list_running=lambda: [name])
    assert found.execution == name
    assert list(cluster.started) == [name]


def test_looks_at_once_launch_what_is_due_once(database_url: str) -> None:
    cluster = Cluster()
    add_interactions(database_url, 40)
    threads = [threading.Thread(target=say, args=(database_url, cluster)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cluster.started) == 1
    kept = list_looks(database_url, "demo")
    assert len(kept) == 4
    assert [each.execution for each in kept].count(None) == 3


def test_small_turns_have_a_least_time_of_their_own(database_url: str) -> None:
    cluster, recipe = Cluster(), with_small_turns(10)
    add_interactions(database_url, 40)
    add_run(database_url, hours_ago=20, mode="full")
    add_interactions(database_url, 10, start=100)
    assert say(database_url, cluster, recipe).startswith("a small turn because of small turn: 10 interactions")
    assert [started.mode for started in cluster.started.values()] == ["incremental"]
    age_looks(database_url, 1.5)
    assert say(database_url, cluster, recipe).startswith("a small turn because of")
    assert len(cluster.started) == 2


def test_a_look_is_kept_with_every_figure_and_its_sentence(database_url: str) -> None:
    add_interactions(database_url, 40)
    add_run(database_url, hours_ago=1)
    add_interactions(database_url, 29, start=100, length=60)
    said = say(database_url, Cluster())
    (kept,) = list_looks(database_url, "demo")
    assert kept.report["said"] == said
    assert kept.causes == ("drift",)
    assert kept.execution is not None
    length = kept.report["figures"][0]
    assert (length["name"], length["value"], length["threshold"], length["fired"]) == ("prompt_length", 1.0, 0.1, True)
    assert len(kept.report["figures"]) == 6
    assert any(line.startswith("age: last run 1 h ago") for line in kept.report["quiet"])


def test_looks_of_earlier_versions_are_listed_too(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO trigger_looks (name, report, causes) VALUES ('demo', %s, '{}')",
            (Jsonb({"due": False, "reasons": [], "new_interactions": 3, "drift": None}),),
        )
    (kept,) = list_looks(database_url, "demo")
    assert kept.at - timedelta(hours=1) < kept.at
    assert kept.report.get("figures") is None


def test_the_lock_is_let_go_when_a_look_fails(database_url: str) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("Flyte is away")

    add_interactions(database_url, 40)
    with pytest.raises(RuntimeError, match="Flyte is away"):
        look(database_url, RECIPE, now=NOW, launch=fail)
    cluster = Cluster()
    say(database_url, cluster)
    assert len(cluster.started) == 1
