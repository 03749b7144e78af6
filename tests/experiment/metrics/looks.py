"""Rows and looks of the tests of this room."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg

from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.metrics.look import Look, Terms, take_look
from flytewheel.experiment.metrics.statements import COLUMNS
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.store import INSERT_EVENT, INSERT_INTERACTION
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROWS = f"SELECT stratum, arm, user_id, {COLUMNS} FROM user_counts WHERE counting = %s ORDER BY 1, 2, 3"


def look(database_url: str, experiment: Experiment, terms: Terms | None = None) -> Look:
    with psycopg.connect(database_url) as opened:
        return take_look(opened, experiment.experiment_id, terms)


def freeze(connection: psycopg.Connection[Any]) -> None:
    """As if the burn-in were over: with the thresholds of now."""
    connection.execute("UPDATE metric_looks SET frozen_at = now(), thresholds = thresholds || '{\"frozen\": true}'")


def counted(connection: psycopg.Connection[Any], found: Look) -> list[tuple[Any, ...]]:
    return connection.execute(ROWS.encode(), (found.counting,)).fetchall()


def answer(experiment: Experiment, number: int, user: str, arm: str | None, **changes: Any) -> Interaction:
    given: dict[str, Any] = {"latency_ms": 100.0 + number, "metadata": {"completion_tokens": number}, "timestamp": NOW}
    served = {"experiment_id": experiment.experiment_id, "arm": arm, "propensity": 0.5} if arm else {}
    return Interaction(interaction_id=f"i{number}", user_id=user, query="q", response="a", **(given | served | changes))


def put(connection: psycopg.Connection[Any], row: Interaction | FeedbackEvent, source: str = "demo") -> None:
    body, digest = encode_body(row)
    values = {"user_id": row.user_id, "timestamp": row.timestamp, "body": body, "digest": digest, "source": source}
    if isinstance(row, Interaction):
        connection.execute(INSERT_INTERACTION, {**values, "id": row.interaction_id})
    else:
        more = {"id": row.event_id, "interaction_id": row.interaction_id, "feedback_type": row.feedback_type.value}
        connection.execute(INSERT_EVENT, {**values, **more})


def reaction(number: int, interaction: int, kind: str, **changes: Any) -> FeedbackEvent:
    given: dict[str, Any] = {"metadata": {}, "timestamp": NOW, "user_id": "x"}
    if kind in ("correction", "edit"):
        given["corrected_response"] = "better"
    return FeedbackEvent(
        event_id=f"e{number}", interaction_id=f"i{interaction}", feedback_type=FeedbackType(kind),
        **(given | changes),
    )  # fmt: skip
