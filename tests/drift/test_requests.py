"""Requests for a turn: each starts one, once, also where the look that takes it is cut off."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from psycopg.types.json import Jsonb

from flytewheel.database import connect
from flytewheel.drift.looks import look
from flytewheel.drift.requests import answer_requests, ask_turn, list_requests
from flytewheel.drift.standing import find_trend, read_learning, read_retraining
from flytewheel.errors import DatabaseError, RequestError
from flytewheel.recipe import Mode, Recipe
from tests.drift.test_triggers import NOW, RECIPE, add_interactions, add_run, with_small_turns


class Cluster:
    """Flyte as far as launching goes: a name is taken once, and asking again returns what has it."""

    def __init__(self) -> None:
        self.started: dict[str, Recipe] = {}

    def launch(self, recipe: Recipe, execution: str | None) -> str:
        name = execution or f"f{len(self.started)}"
        self.started.setdefault(name, recipe)
        return name


def ask(
    database_url: str, request_id: str = "r1", *, mode: Mode = "full", force: bool = True, name: str = "demo"
) -> None:
    asked = {"name": name, "reason": "new runbook", "asked_by": "ada"}
    ask_turn(database_url, request_id=request_id, mode=mode, force=force, **asked)


def test_a_request_waits_until_a_look_takes_it_and_starts_one_turn(database_url: str) -> None:
    cluster = Cluster()
    ask(database_url)
    ask(database_url)
    (request,) = list_requests(database_url)
    assert (request.state, request.outcome) == ("requested", None)
    found = look(database_url, RECIPE, now=NOW, launch=cluster.launch)
    assert "asked for by ada: new runbook" in found.said
    for _ in range(2):
        assert look(database_url, RECIPE, now=NOW, launch=cluster.launch).execution is None
    assert list(cluster.started) == [request.execution]
    (settled,) = list_requests(database_url)
    assert (settled.state, settled.outcome) == ("launched", request.execution)
    assert read_retraining(database_url, "demo").totals == {"by hand": 1}


def test_a_look_that_dies_after_launching_meets_the_same_execution(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    ask(database_url)
    with monkeypatch.context() as patch:

        def away(*_: object) -> None:
            raise DatabaseError("away")

        patch.setattr("flytewheel.drift.requests.settle_request", away)
        with pytest.raises(DatabaseError):
            look(database_url, RECIPE, now=NOW, launch=cluster.launch)
    assert look(database_url, RECIPE, now=NOW, launch=cluster.launch).execution is not None
    assert len(cluster.started) == 1
    assert read_retraining(database_url, "demo").totals == {"by hand": 1}


def test_looks_at_once_start_one_turn(database_url: str) -> None:
    cluster = Cluster()
    ask(database_url)
    threads = [
        threading.Thread(target=look, args=(database_url, RECIPE), kwargs={"now": NOW, "launch": cluster.launch})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cluster.started) == 1


def test_without_force_a_turn_that_is_not_due_is_refused_with_the_reason(database_url: str) -> None:
    cluster = Cluster()
    ask(database_url, force=False)
    look(database_url, RECIPE, now=NOW, launch=cluster.launch)
    (request,) = list_requests(database_url)
    assert (request.state, request.outcome) == ("refused", "not due: 0 new interactions")
    assert not cluster.started


def test_a_request_waits_while_a_turn_is_under_way_and_that_turn_answers_only_what_was_asked_before(
    database_url: str,
) -> None:
    cluster = Cluster()
    ask(database_url)
    with connect(database_url) as connection:
        connection.execute(
            'INSERT INTO runs (run_id, name, recipe_digest, recipe, "window", status)'
            " VALUES ('busy', 'demo', 'd', '{}', '{}', 'running')"
        )
    assert look(database_url, RECIPE, now=NOW, launch=cluster.launch).execution is None
    assert list_requests(database_url)[0].outcome == "waits for busy"
    assert answer_requests(database_url, name="demo", mode="full", run_id="busy") == 1
    ask(database_url, "r2")
    states = {request.request_id: (request.state, request.run_id) for request in list_requests(database_url)}
    assert states == {"r1": ("launched", "busy"), "r2": ("requested", None)}


def test_a_small_turn_answers_no_request_for_a_full_one(database_url: str) -> None:
    ask(database_url, "full")
    ask(database_url, "small", mode="incremental")
    assert answer_requests(database_url, name="demo", mode="incremental", run_id="turn") == 1
    assert {request.request_id for request in list_requests(database_url, open_only=True)} == {"full"}


def test_a_small_turn_that_was_asked_for_is_launched_as_one(database_url: str) -> None:
    cluster = Cluster()
    ask(database_url, mode="incremental")
    look(database_url, RECIPE, now=NOW, launch=cluster.launch)
    assert [recipe.mode for recipe in cluster.started.values()] == ["incremental"]


def test_an_id_that_asked_for_something_else_is_refused(database_url: str) -> None:
    ask(database_url)
    with pytest.raises(RequestError, match="asked for a turn of demo"):
        ask(database_url, name="other")


def test_what_is_due_is_launched_as_before_and_counted_by_cause(database_url: str) -> None:
    cluster = Cluster()
    add_interactions(database_url, 40)
    look(database_url, RECIPE, now=NOW, launch=cluster.launch)
    (name,) = cluster.started
    assert name.startswith("due")
    standing = read_retraining(database_url, "demo")
    assert standing.totals == {"first run": 1, "volume": 1}
    assert (standing.new_interactions, standing.in_progress, standing.last_at) == (40, False, None)


def test_the_standing_of_learning_is_that_of_its_small_turns(database_url: str) -> None:
    add_interactions(database_url, 10)
    add_run(database_url, hours_ago=5)
    recipe = with_small_turns(8, mode="incremental")
    with connect(database_url) as connection:
        for number, loss in enumerate((1.0, 0.8, 0.6)):
            connection.execute(
                'INSERT INTO runs (run_id, name, recipe_digest, recipe, "window", status, started_at, ended_at)'
                " VALUES (%s, 'demo', 'd', %s, jsonb_build_object('high_xid', pg_current_xact_id()::text),"
                " 'succeeded', %s, %s)",
                (f"small{number}", Jsonb(recipe.model_dump(mode="json")), NOW, NOW + timedelta(minutes=number)),
            )
            connection.execute(
                "INSERT INTO run_stations (run_id, station, status, report, started_at, ended_at)"
                " VALUES (%s, 'train_sft', 'succeeded', %s, %s, %s)",
                (f"small{number}", Jsonb({"eval_loss": loss}), NOW, NOW + timedelta(seconds=4)),
            )
    add_interactions(database_url, 6, start=100)
    shown = read_learning(database_url, "demo").to_json()
    assert shown["total_updates"] == 3
    assert (shown["buffer_size"], shown["buffer_interactions"], shown["buffer_use"]) == (8, 6, 0.75)
    assert shown["last_update_seconds"] == 4.0
    assert shown["error_trend"] == {"direction": "falling", "validation_losses": [1.0, 0.8, 0.6]}


def test_a_trend_needs_two_figures_and_a_move() -> None:
    assert [find_trend(errors) for errors in ([], [1.0], [1.0, 1.001], [1.0, 2.0], [3.0, 2.0, 1.0])] == [
        "unknown",
        "unknown",
        "flat",
        "rising",
        "falling",
    ]
