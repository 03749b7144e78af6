"""Triggers: each reason alone, none without enough interactions, and every look says what did not fire and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from flytewheel.database import connect
from flytewheel.drift.samples import SAMPLES
from flytewheel.drift.triggers import check_triggers
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
            "drift": {"min_users": 10},
        }
    )
)


def add_interactions(
    database_url: str, count: int, *, start: int = 0, length: int = 10, hours_ago: float = 12, **body: Any
) -> None:
    """So many, each of another user; the next ones begin with the same users."""
    with connect(database_url) as connection:
        for number in range(start, start + count):
            written = {"query": "x" * (length + number % 5)}
            connection.execute(
                "INSERT INTO interactions (interaction_id, source, user_id, timestamp, body, digest) "
                "VALUES (%s, 'demo', %s, %s, %s, 'd')",
                (
                    f"i{number}",
                    f"u{number - start}",
                    NOW - timedelta(hours=hours_ago),
                    Jsonb(written | {key: make(number) for key, make in body.items()}),
                ),
            )


def add_votes(database_url: str, numbers: range, kind: str, *, hours_ago: float = 11) -> None:
    """A thumb of each interaction's user."""
    with connect(database_url) as connection:
        for number in numbers:
            connection.execute(
                "INSERT INTO feedback_events (event_id, interaction_id, source, user_id, feedback_type, timestamp,"
                " body, digest) VALUES (%s, %s, 'demo', 'u', %s, %s, '{}', 'd')",
                (f"e{number}", f"i{number}", kind, NOW - timedelta(hours=hours_ago)),
            )


def add_run(database_url: str, *, hours_ago: float, mode: str | None = None) -> None:
    """A run that ended; without a mode it is one of before there were small turns."""
    with connect(database_url) as connection:
        connection.execute(
            'INSERT INTO runs (run_id, name, recipe_digest, recipe, "window", status, started_at, ended_at) '
            "VALUES (%s, 'demo', 'd', %s, "
            "jsonb_build_object('high_xid', pg_current_xact_id()::text), 'succeeded', %s, %s)",
            (
                f"r{hours_ago}",
                Jsonb({"mode": mode} if mode else {}),
                NOW - timedelta(hours=hours_ago + 1),
                NOW - timedelta(hours=hours_ago),
            ),
        )


def with_small_turns(after: int, *, mode: Mode = "full") -> Recipe:
    small = IncrementalSpec(enable=True, after_interactions=after, after_hours=None)
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


def test_a_small_turn_is_due_after_a_time_with_fewer_interactions(database_url: str) -> None:
    recipe = with_small_turns(10)
    small = IncrementalSpec(enable=True, after_interactions=10, after_hours=24, min_interactions=4)
    automation = recipe.automation.model_copy(update={"incremental": small})
    recipe = recipe.model_copy(update={"automation": automation})
    add_interactions(database_url, 20)
    add_run(database_url, hours_ago=25)
    add_interactions(database_url, 3, start=100)
    report = check_triggers(database_url, recipe, now=NOW)
    assert not report.due
    assert report.quiet[-1] == (
        "small turn: 3 interactions since the last turn 25 h ago, due from 10, or after 24 h from 4"
    )
    add_interactions(database_url, 1, start=200)
    report = check_triggers(database_url, recipe, now=NOW)
    assert report.reasons == ("small turn: 4 interactions since the last turn 25 h ago, due after 24 h from 4",)
    add_run(database_url, hours_ago=23, mode="incremental")
    add_interactions(database_url, 9, start=300)
    assert not check_triggers(database_url, recipe, now=NOW).due
    # And the turn that is launched takes what made it due.
    assert recipe.in_mode("incremental").settle().curation.min_interactions == 4


def test_the_champion_is_held_against_its_own_votes(database_url: str) -> None:
    def version(number: int) -> str:
        return "v7"

    add_interactions(database_url, 60, model_version=version, hours_ago=184)
    add_votes(database_url, range(60), "thumbs_up", hours_ago=183)
    add_run(database_url, hours_ago=36)
    add_interactions(database_url, 29, start=100, model_version=version, hours_ago=16)
    add_votes(database_url, range(100, 129), "thumbs_down")
    report = check_triggers(database_url, RECIPE, now=NOW)
    assert [reason.partition(" (")[0] for reason in report.reasons] == [
        "quality: thumbs-up rate of v7 fell from 100.0% to 0.0%"
    ]
    # The same votes about a canary's answers say nothing of the champion.
    with connect(database_url) as connection:
        connection.execute(
            'UPDATE interactions SET body = body || \'{"arm": "treatment", "model_version": "v8"}\''
            " WHERE interaction_id >= 'i105' AND interaction_id < 'i129'"
        )
    assert not check_triggers(database_url, RECIPE, now=NOW).due


def test_nobody_reacts_any_more(database_url: str) -> None:
    add_interactions(database_url, 60, hours_ago=204)
    add_votes(database_url, range(60), "thumbs_up", hours_ago=203)
    add_run(database_url, hours_ago=55)
    add_interactions(database_url, 29, start=100, hours_ago=36)
    report = check_triggers(database_url, RECIPE, now=NOW)
    assert [reason.partition(" (")[0] for reason in report.reasons] == [
        "feedback: share of answers reacted to fell from 100.0% to 0.0%"
    ]
    # Who was asked an hour ago may still react.
    with connect(database_url) as connection:
        connection.execute("UPDATE interactions SET timestamp = %s WHERE interaction_id > 'i1'", (NOW,))
    assert not check_triggers(database_url, RECIPE, now=NOW + timedelta(hours=7)).due


def test_a_look_says_of_every_trigger_why_it_is_quiet(database_url: str) -> None:
    add_interactions(database_url, 40)
    add_run(database_url, hours_ago=1)
    add_interactions(database_url, 29, start=100, topic=lambda number: f"t{number % 2}")
    report = check_triggers(database_url, RECIPE, now=NOW)
    assert report.reasons == ()
    assert [line.split(":")[0] for line in report.quiet] == ["volume", "age", *["drift"] * 4, "quality", "feedback"]
    assert [figure.name for figure in report.figures if figure.value is not None] == [
        "prompt_length",
        "languages",
        "wording",
    ]
    assert report.sampled == (40, 29)


def test_what_was_spent_of_the_level_is_that_of_the_time(database_url: str) -> None:
    """5 % a year: a week has 0.05·168/8766; after a turn that followed another by 12 h the window has 12 h of it."""
    add_interactions(database_url, 40)
    assert check_triggers(database_url, RECIPE, now=NOW).alpha == pytest.approx(0.05 * 168 / 8766)
    add_run(database_url, hours_ago=20)
    assert check_triggers(database_url, RECIPE, now=NOW).alpha == pytest.approx(0.05 * 168 / 8766)
    add_run(database_url, hours_ago=8)
    assert check_triggers(database_url, RECIPE, now=NOW).alpha == pytest.approx(0.05 * 12 / 8766)


def test_large_windows_are_sampled_by_the_partial_index(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flytewheel.drift.samples.MOST_ROWS", 100)
    add_interactions(database_url, 700)
    add_run(database_url, hours_ago=1)
    add_interactions(database_url, 29, start=1000)
    report = check_triggers(database_url, RECIPE, now=NOW)
    with connect(database_url) as connection:
        counts = connection.execute(
            "SELECT count(*) FILTER (WHERE left(interaction_id, 2) < 'i1' OR length(interaction_id) < 5), count(*)"
            " FROM interactions WHERE hashtextextended(interaction_id, 0) & 7 = 0"
        ).fetchone()
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT FROM interactions WHERE source = 'demo' AND xid >= '5'::xid8"
            " AND hashtextextended(interaction_id, 0) & 7 = 0"
        ).fetchall()
    assert counts is not None
    assert report.sampled == (counts[0], counts[1] - counts[0])  # the same part of both, though the newer one is small
    assert 700 / SAMPLES[1] * 0.6 < counts[0] < 700 / SAMPLES[1] * 1.5
    assert "interactions_in_8" in str(plan)
