"""Looks: what is counted after any history of rows is what counting from nothing gives, and what the rows say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.metrics.look import take_look
from flytewheel.experiment.metrics.statements import RATING_UNIT, UNIT
from flytewheel.feedback.rewards import score
from flytewheel.recipe import FeedbackSpec
from flytewheel.records import FeedbackEvent, FeedbackType
from tests.experiment.metrics.looks import NOW, answer, counted, freeze, look, put, reaction

KINDS = [kind.value for kind in FeedbackType]
USERS = ["ada", "bob", "cyd", "dän"]
NO_ROWS = "TRUNCATE interactions, feedback_events, groundedness, user_counts, recounts CASCADE"


def anew(database_url: str, connection: psycopg.Connection[Any], experiment: Experiment) -> list[tuple[Any, ...]]:
    """What counting from nothing gives; the counters are left as they were found."""
    with psycopg.connect(database_url) as opened:
        opened.execute("UPDATE metric_looks SET seen = NULL")
        found = take_look(opened, experiment.experiment_id)
        assert found.anew
        rows = counted(opened, found)
        opened.rollback()
    return rows


@dataclass
class History:
    """Steps of a store that grows, changes and shrinks; each takes the connection and acts."""

    experiment: Experiment
    answers: int = 0
    events: int = 0


AMOUNTS = st.sampled_from([0, 1, 2.5, 3, 12, 1e300])
REACT = st.tuples(
        st.just("react"), st.sampled_from(KINDS), st.sampled_from([1.0, 2.0, 3.0, 3.5, 4.0, 5.0]),
        st.integers(-2, 2), st.sampled_from(["seconds", "count", "read_s"]), AMOUNTS,
    )  # fmt: skip
STEP = st.one_of(
    st.tuples(
        st.just("answer"), st.sampled_from(USERS), st.sampled_from(["control", "treatment", None, "other"]),
        st.booleans(), st.sampled_from([None, 0.0, 3.5, 10**30, "x"]),
    ),
    REACT,
    st.tuples(st.just("check"), st.integers(0, 3)),
    st.tuples(st.just("unsay"), st.integers(0, 5)),
    st.tuples(st.just("expire"), st.integers(0, 5)),
    st.tuples(st.just("erase"), st.sampled_from(USERS)),
    st.tuples(st.just("mend"), st.integers(0, 5)),
    st.tuples(st.just("look")),
)  # fmt: skip


def act(connection: psycopg.Connection[Any], history: History, step: tuple[Any, ...]) -> None:
    kind = step[0]
    if kind == "answer":
        history.answers += 1
        _, user, arm, failed, first_ms = step
        more: dict[str, Any] = {"completion_tokens": history.answers, "first_token_ms": first_ms}
        if failed:
            more["fallback"] = "it broke"
        experiment = history.experiment
        put(connection, answer(experiment, history.answers, user, arm, metadata=more, completed=not failed))
    elif kind == "react" and history.answers:
        history.events += 1
        _, said, rating, minutes, name, amount = step
        changes: dict[str, Any] = {"metadata": {name: amount, "expected_s": 4}, "rating": None}
        changes["timestamp"] = NOW + timedelta(minutes=minutes)
        if said == "rating":
            changes["rating"] = rating
        if said == "duel":
            changes |= {"other_response": "b", "preferred": "this" if rating > 3 else "other"}
        changes["comment"] = "well" if rating > 4 else None
        put(connection, reaction(history.events, 1 + history.events % history.answers, said, **changes))
    elif kind == "check" and history.answers:
        connection.execute(
            "INSERT INTO groundedness (interaction_id, spans, unsupported, kinds) SELECT interaction_id, 3, %s, '{}'"
            " FROM interactions ORDER BY interaction_id LIMIT 1 ON CONFLICT DO NOTHING",
            (step[1],),
        )
    elif kind == "unsay":
        connection.execute("DELETE FROM feedback_events WHERE event_id = %s", (f"e{step[1]}",))
    elif kind == "expire":
        connection.execute("DELETE FROM interactions WHERE interaction_id = %s", (f"i{step[1]}",))
    elif kind == "erase":
        connection.execute("DELETE FROM interactions WHERE user_id = %s", (step[1],))
    elif kind == "mend":
        connection.execute(
            "UPDATE interactions SET user_id = 'eve', body = body || '{\"arm\": \"control\"}'"
            " WHERE interaction_id = %s",
            (f"i{step[1]}",),
        )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=1, max_size=25))
def test_after_any_history_a_look_equals_counting_from_nothing(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any], steps: list[tuple[Any, ...]]
) -> None:
    connection.execute(NO_ROWS)
    connection.execute("UPDATE metric_looks SET seen = NULL, frozen_at = NULL")
    look(database_url, experiment)
    freeze(connection)
    history = History(experiment)
    for step in [*steps, ("look",)]:
        if step[0] != "look":
            act(connection, history, step)
            continue
        found = look(database_url, experiment)
        assert not found.anew
        assert counted(connection, found) == anew(database_url, connection, experiment)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(REACT, min_size=1, max_size=8))
def test_rewards_are_those_of_the_feedback_room(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any], steps: list[tuple[Any, ...]]
) -> None:
    connection.execute(NO_ROWS)
    put(connection, answer(experiment, 1, "ada", "control"))
    history = History(experiment, answers=1)
    for step in steps:
        act(connection, history, step)
    events = [
        FeedbackEvent.model_validate_json(body)
        for (body,) in connection.execute("SELECT body::text FROM feedback_events").fetchall()
    ]
    reward = score(events, FeedbackSpec()).total
    found = look(database_url, experiment)
    rows = connection.execute("SELECT rewarded, reward_sum, rating_sum, ratings FROM user_counts").fetchall()
    assert found.anew
    (rewarded, reward_sum, rating_sum, ratings) = rows[0]
    assert rewarded == (reward is not None)
    assert reward_sum / UNIT == pytest.approx(reward or 0.0, abs=1e-8)
    rated = sorted((event.timestamp, event.event_id, event.rating) for event in events if event.rating is not None)
    assert (ratings, rating_sum) == ((1, round(RATING_UNIT * rated[-1][2])) if rated else (0, 0))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400", "0", '"x"', "null", "true"])
def test_no_number_stops_a_look(
    database_url: str, experiment: Experiment, connection: psycopg.Connection[Any], number: str
) -> None:
    """What an earlier version, or another program, may have stored: JSON knows numbers that a double does not."""
    put(connection, answer(experiment, 1, "ada", "control"))
    for place, kind in enumerate(("citation_click", "accepted", "read_time")):
        put(connection, reaction(place, 1, kind))
    wild = f'{{"seconds": {number}, "count": {number}, "read_s": {number}, "expected_s": {number}}}'
    connection.execute("UPDATE feedback_events SET metadata = %s::jsonb", (wild,))
    wild = f'{{"metadata": {{"first_token_ms": {number}, "completion_tokens": {number}}}}}'
    connection.execute("UPDATE interactions SET body = body || %s::jsonb", (wild,))
    assert [row[3] for row in counted(connection, look(database_url, experiment))] == [1]
