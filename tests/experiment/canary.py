"""A canary with traffic, as the router would have stored it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg

from flytewheel.experiment.drills import store_drill
from flytewheel.experiment.experiments import Experiment, open_experiment
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.store import INSERT_EVENT, INSERT_INTERACTION
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Served:
    """One answered request and what was said of it: (type, rating) in the order of time."""

    user: str
    arm: str
    latency_ms: float = 100.0
    failed: bool = False
    fallback: bool = False
    router: str | None = None
    said: Sequence[tuple[str, float | None]] = field(default_factory=tuple)


def open_canary(database_url: str, *, share: float = 0.5, key: str = "run-1", **changes: Any) -> Experiment:
    given = {"name": "demo", "control": "v1", "treatment": "v2", "launch_key": key, "body": {}} | changes
    opened = open_experiment(database_url, share=share, **given).experiment
    store_drill(database_url, opened.experiment_id, {"seconds": 0.1, "faults": [], "workers": 1})  # as a router would
    return opened


def store(
    database_url: str, experiment: Experiment, rows: Iterable[Served], *, start: int = 0, share: float | None = None
) -> None:
    """Stores requests, with the propensity of `share` (default: the experiment's)."""
    share = experiment.share if share is None else share
    interactions: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number, row in enumerate(rows, start):
        interaction = Interaction(
            interaction_id=f"{experiment.experiment_id}-{number}",
            user_id=row.user,
            timestamp=NOW,
            query="q",
            response="a",
            completed=not row.failed,
            latency_ms=row.latency_ms,
            experiment_id=experiment.experiment_id,
            arm=row.arm,
            propensity=share if row.arm == "treatment" else 1 - share,
            metadata=({"fallback": "it broke"} if row.fallback else {})
            | ({"router": row.router} if row.router else {}),
        )
        body, digest = encode_body(interaction)
        interactions.append(
            {"id": interaction.interaction_id, "source": experiment.name, "user_id": row.user, "timestamp": NOW}
            | {"body": body, "digest": digest}
        )
        for place, (kind, rating) in enumerate(row.said):
            event = FeedbackEvent(
                event_id=f"{interaction.interaction_id}-{place}",
                interaction_id=interaction.interaction_id,
                user_id=row.user,
                feedback_type=FeedbackType(kind),
                timestamp=NOW.replace(minute=place),
                rating=rating,
                corrected_response="better" if kind == "correction" else None,
            )
            body, digest = encode_body(event)
            events.append(
                {"id": event.event_id, "interaction_id": event.interaction_id, "user_id": row.user}
                | {"feedback_type": kind, "timestamp": event.timestamp, "body": body, "digest": digest}
            )
    with psycopg.connect(database_url) as connection:
        connection.cursor().executemany(INSERT_INTERACTION, interactions)
        connection.cursor().executemany(INSERT_EVENT, events)


def crowd(arm: str, users: int, *, up: float, requests: int = 4, slow: float = 0.05, errors: int = 0) -> list[Served]:
    """`users` of an arm with the same number of requests each, spread so that every share holds by construction.

    `up` is the share of thumbs up, `slow` that of requests above everyone's usual latency, `errors` how many failed.
    """
    rows = []
    total = users * requests
    for number in range(total):
        # A stride that is coprime to the total spreads each share over the users without any chance.
        place = (number * 7919 % total) / total
        rows.append(
            Served(
                user=f"{arm}-{number % users}",
                arm=arm,
                latency_ms=900.0 if place >= 1 - slow else 100.0 + number % 50,
                failed=number < errors,
                said=(("thumbs_up" if place < up else "thumbs_down", None),),
            )
        )
    return rows


def age_stage(database_url: str, hours: float) -> None:
    """Lets the rollouts' stages have begun earlier: what the database's clock would do by itself."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE rollouts SET stage_since = stage_since - %s * interval '1 hour'", (hours,))


def read(database_url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()
