"""A month of a crowd in the tables: users with a taste of their own, so that one user's reactions are alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg

from flytewheel.recipe import Recipe

NOW = datetime(2026, 11, 22, 5, 30, tzinfo=UTC)
HOURS = 29 * 24


@dataclass(frozen=True)
class Crowd:
    """`a_day` interactions of `users`; `answered` of them have a thumb, `liked` is the mean taste; `last_*` is the
    last day's, where it differs.
    """

    users: int = 300
    a_day: int = 400
    answered: float = 0.3
    liked: float = 0.7
    last_answered: float | None = None
    last_liked: float | None = None
    last_a_day: int | None = None


def recipe(**automation: object) -> Recipe:
    return Recipe.model_validate({"name": "demo", "base": {"model": "pocket"}, "automation": automation})


def fill(database_url: str, crowd: Crowd, *, seed: int) -> None:
    """Writes it as it would have come in until NOW."""
    draws = np.random.default_rng(seed)
    taste = draws.beta(crowd.liked * 4, (1 - crowd.liked) * 4, crowd.users)
    said, heard = [], []
    for day in range(HOURS // 24):
        last = day == HOURS // 24 - 1
        number = crowd.last_a_day if last and crowd.last_a_day is not None else crowd.a_day
        answered = crowd.last_answered if last and crowd.last_answered is not None else crowd.answered
        own = taste
        if last and crowd.last_liked is not None:
            own = draws.beta(crowd.last_liked * 4, (1 - crowd.last_liked) * 4, crowd.users)
        for place in range(number):
            user = int(draws.integers(crowd.users))
            at = NOW - timedelta(hours=HOURS - 24 * day - 23.9 * float(draws.random()))
            name = f"i{day}-{place}"
            said.append((name, "demo", f"u{user}", at, "{}", name, at))
            if draws.random() < answered:
                kind = "thumbs_up" if draws.random() < own[user] else "thumbs_down"
                event = {
                    "event_id": f"e{name}", "interaction_id": name, "user_id": f"u{user}", "feedback_type": kind,
                    "timestamp": at.isoformat(),
                }  # fmt: skip
                heard.append((f"e{name}", name, "demo", f"u{user}", kind, at, json.dumps(event), name, at))
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        with cursor.copy(
            'COPY interactions (interaction_id, source, user_id, "timestamp", body, digest, stored_at) FROM STDIN'
        ) as copy:
            for row in said:
                copy.write_row(row)
        with cursor.copy(
            'COPY feedback_events (event_id, interaction_id, source, user_id, feedback_type, "timestamp", body, digest,'
            " stored_at) FROM STDIN"
        ) as copy:
            for row in heard:
                copy.write_row(row)


def note_import(database_url: str, lines: int, quarantined: dict[str, int]) -> None:
    """An import within the last day."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO imports (kind, source, lines_read, stored, duplicates, quarantined, imported_at)"
            " VALUES ('feedback', 'demo', %s, %s, 0, %s, %s)",
            (lines, lines - sum(quarantined.values()), json.dumps(quarantined), NOW - timedelta(hours=3)),
        )
