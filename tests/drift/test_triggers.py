"""Triggers: each reason alone, none without enough interactions, and drift that size alone does not fire."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from psycopg.types.json import Jsonb

from flytewheel.database import connect
from flytewheel.drift.triggers import check_triggers, ks_critical_value, ks_statistic
from flytewheel.recipe import CurationSpec, IncrementalSpec, Mode, Recipe
from flytewheel.records import NO_TEXT, TEXT_NOT_KEPT

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECIPE = Recipe.model_validate_json(
    json.dumps(
        {
            "name": "demo",
            "base": {"model": "pocket"},
            "curation": {"min_interactions": 5},
            "automation": {"retrain_after_interactions": 30},
        }
    )
)


def add_interactions(database_url: str, count: int, *, start: int = 0, length: int = 10, **body: Any) -> None:
    with connect(database_url) as connection:
        for number in range(start, start + count):
            written = {"query": "x" * (length + number % 5)}
            connection.execute(
                "INSERT INTO interactions (interaction_id, source, user_id, timestamp, body, digest) "
                "VALUES (%s, 'demo', 'u', %s, %s, 'd')",
                (f"i{number}", NOW, Jsonb(written | {key: make(number) for key, make in body.items()})),
            )


def add_run(database_url: str, *, hours_ago: float, mode: str | None = None) -> None:
    """A run that ended; without a mode it is one of before there were small turns."""
    with connect(database_url) as connection:
        connection.execute(
            'INSERT INTO runs (run_id, name, recipe_digest, recipe, "window", status, ended_at) '
            "VALUES (%s, 'demo', 'd', %s, "
            "jsonb_build_object('high_xid', pg_current_xact_id()::text), 'succeeded', %s)",
            (f"r{hours_ago}", Jsonb({"mode": mode} if mode else {}), NOW - timedelta(hours=hours_ago)),
        )


def with_small_turns(after: int, *, mode: Mode = "full") -> Recipe:
    small = IncrementalSpec(enable=True, after_interactions=after)
    automation = RECIPE.automation.model_copy(update={"incremental": small})
    return RECIPE.model_copy(update={"automation": automation, "mode": mode})


def test_too_few_interactions_are_never_due(database_url: str) -> None:
    add_interactions(database_url, 4)
    assert not check_triggers(database_url, RECIPE, now=NOW).due


def test_the_first_run_is_due_with_enough(database_url: str) -> None:
    add_interactions(database_url, 5)
    assert check_triggers(database_url, RECIPE, now=NOW).reasons == ("first run: 5 interactions and no run yet",)


def test_what_the_last_window_held_is_not_new(database_url: str) -> None:
    add_interactions(database_url, 40)
    add_run(database_url, hours_ago=1)
    report = check_triggers(database_url, RECIPE, now=NOW)
    assert (report.due, report.new_interactions) == (False, 0)


@pytest.mark.parametrize(
    ("count", "hours_ago", "length", "reason"),
    [(30, 1, 10, "volume"), (6, 169, 10, "age"), (29, 1, 60, "drift")],
)
def test_each_reason_alone(database_url: str, count: int, hours_ago: float, length: int, reason: str) -> None:
    add_interactions(database_url, 40)
    add_run(database_url, hours_ago=hours_ago)
    add_interactions(database_url, count, start=100, length=length)
    report = check_triggers(database_url, RECIPE, now=NOW)
    assert [line.split(":")[0] for line in report.reasons] == [reason]


@pytest.mark.parametrize(
    ("query", "metadata"),
    [
        (TEXT_NOT_KEPT, lambda number: {"text": "none", "query_chars": 10 + number % 5}),
        (NO_TEXT, lambda number: {"no_text": True}),
        (TEXT_NOT_KEPT, lambda number: {"text": "none", "query_chars": 9, "no_text": True}),
    ],
    ids=["not kept", "none", "neither"],
)
def test_what_stands_for_a_text_is_no_drift(
    database_url: str, query: str, metadata: Callable[[int], dict[str, Any]]
) -> None:
    add_interactions(database_url, 40)
    add_run(database_url, hours_ago=1)
    add_interactions(database_url, 29, start=100, query=lambda number: query, metadata=metadata)
    report = check_triggers(database_url, RECIPE, now=NOW)
    assert (report.reasons, report.new_interactions) == ((), 29)


def test_a_small_turn_is_due_between_two_full_ones(database_url: str) -> None:
    add_interactions(database_url, 40)
    recipe = with_small_turns(10)
    add_run(database_url, hours_ago=20, mode="full")
    add_interactions(database_url, 9, start=100)
    assert not check_triggers(database_url, recipe, now=NOW).due
    add_interactions(database_url, 1, start=200)
    report = check_triggers(database_url, recipe, now=NOW)
    assert (report.due, report.mode) == (True, "incremental")
    assert report.reasons == ("small turn: 10 interactions since the last turn, due from 10",)
    assert not check_triggers(database_url, RECIPE, now=NOW).due  # nobody asked for small turns

    # Tried once, whatever came of it, it waits for as many again; for the full turn those rows are still new.
    add_run(database_url, hours_ago=10, mode="incremental")
    report = check_triggers(database_url, recipe, now=NOW)
    assert (report.due, report.new_interactions, report.hours_since_last_run) == (False, 10, 20)
    add_interactions(database_url, 20, start=300)
    report = check_triggers(database_url, recipe, now=NOW)
    assert (report.due, report.mode, report.new_interactions) == (True, "full", 30)  # volume goes first
    assert check_triggers(database_url, with_small_turns(10, mode="incremental"), now=NOW).mode == "incremental"


def test_no_small_turn_before_the_first_full_one_or_beside_a_canary(database_url: str) -> None:
    recipe = with_small_turns(3).model_copy(update={"curation": CurationSpec(min_interactions=100)})
    add_interactions(database_url, 20)
    assert not check_triggers(database_url, recipe, now=NOW).due
    add_run(database_url, hours_ago=2)
    add_interactions(database_url, 5, start=100)
    assert check_triggers(database_url, recipe, now=NOW).due
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, state, control, treatment, share, body, launch_key) "
            "VALUES ('x', 'demo', 'running', 'v1', 'v2', 0.1, '{}', 'k')"
        )
    assert not check_triggers(database_url, recipe, now=NOW).due
    with connect(database_url) as connection:
        connection.execute("UPDATE experiments SET state = 'stopped'")
    assert check_triggers(database_url, recipe, now=NOW).due


def test_ks_statistic_by_hand() -> None:
    # F1 steps to 1/2 at 1 and 1 at 2; F2 is 0 until 2, then 1/2, and 1 at 3: the gap is 1/2 at 1 and again at 2.
    assert ks_statistic([1, 2], [2, 3]) == 0.5
    assert ks_statistic([1, 2], [5, 6]) == 1.0
    assert ks_statistic([], [1]) is None


def test_critical_value_holds_its_error_rate() -> None:
    """2,000 pairs from one distribution exceed the 5 % value in 5 % of cases; tolerance 3 standard errors (1.5
    points).
    """
    generator = np.random.default_rng(3)
    bound = ks_critical_value(200, 300, 0.05)
    exceeded = [
        (ks_statistic(list(generator.normal(size=200)), list(generator.normal(size=300))) or 0) > bound
        for _ in range(2000)
    ]
    assert np.mean(exceeded) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 2000))
