"""What is stored, in figures: who said what, when, how much of the traffic is rated, and what was refused.

The capture rate is the share of interactions with at least one explicit event. Rewards are those of whole
interactions (`flytewheel.feedback.rewards.score`), counted into the reference design's buckets: each holds the
rewards above the bucket before it up to its own name. The quarantine is counted from its tables: the same bad line
stands there once, and so does a vote that curation holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.feedback.rewards import score
from flytewheel.recipe import FeedbackSpec
from flytewheel.records import EXPLICIT_TYPES, FeedbackEvent, FeedbackType

BUCKETS = (-1.0, -0.5, 0.0, 0.5, 1.0)

_CHOSEN = "(%(all)s OR source = ANY(%(sources)s))"
_TOTALS = f"""
SELECT count(*), count(DISTINCT user_id), min("timestamp"), max("timestamp"),
    count(*) FILTER (WHERE EXISTS (
        SELECT FROM feedback_events e
        WHERE e.interaction_id = interactions.interaction_id AND e.feedback_type = ANY(%(explicit)s)))
FROM interactions WHERE {_CHOSEN}
"""
_EVENT_TOTALS = f'SELECT count(*), min("timestamp"), max("timestamp") FROM feedback_events WHERE {_CHOSEN}'
_BY_TYPE = f"SELECT feedback_type, count(*) FROM feedback_events WHERE {_CHOSEN} GROUP BY 1"
_BY_SOURCE = f"SELECT source, count(*) FROM interactions WHERE {_CHOSEN} GROUP BY 1 ORDER BY 1"
_BY_DAY = f"""
SELECT ("timestamp" AT TIME ZONE 'UTC')::date::text, count(*) FROM feedback_events WHERE {_CHOSEN} GROUP BY 1 ORDER BY 1
"""
_QUARANTINE = f"""
SELECT kind || ': ' || reason, count(*) FROM (
    SELECT kind, reason, source FROM quarantine
    UNION ALL
    SELECT DISTINCT ON (event_id) 'vote', h.reason, e.source FROM held_votes h JOIN feedback_events e USING (event_id)
    WHERE NOT EXISTS (SELECT FROM released_votes r WHERE r.series = h.series AND r.event_id = h.event_id)
) AS held WHERE {_CHOSEN} GROUP BY 1 ORDER BY 2 DESC, 1
"""
_EVENTS = f"SELECT body FROM feedback_events WHERE {_CHOSEN} ORDER BY interaction_id"


@dataclass(frozen=True, slots=True)
class FeedbackStats:
    """Figures of the stored feedback.

    `by_type` and `by_day` (UTC, by the client's clock) count events, `by_source` interactions. `capture_rate` is in
    [0, 1], `None` without interactions. `rewards` counts interactions by bucket: `-1.0`, `-0.5`, `0.0`, `0.5`, `1.0`.
    """

    interactions: int
    events: int
    users: int
    captured: int
    capture_rate: float | None
    by_type: Mapping[str, int]
    by_source: Mapping[str, int]
    by_day: Mapping[str, int]
    rewards: Mapping[str, int]
    quarantined: Mapping[str, int]
    first: datetime | None
    last: datetime | None

    def describe(self) -> str:
        """Says it in a few lines."""
        rate = "no interactions" if self.capture_rate is None else f"{self.capture_rate:.1%} with explicit feedback"
        lines = [f"{self.interactions:,} interactions of {self.users:,} users, {self.events:,} events; {rate}"]
        if self.first and self.last:
            lines.append(f"from {self.first:%Y-%m-%d %H:%M} to {self.last:%Y-%m-%d %H:%M} UTC")
        for name, counts in (
            ("sources", self.by_source),
            ("events by type", self.by_type),
            ("events by day", self.by_day),
            ("interactions by reward up to", self.rewards),
            ("quarantine", self.quarantined),
        ):
            if any(counts.values()):
                lines.append(f"{name}: {', '.join(f'{key} {count:,}' for key, count in counts.items())}")
        return "\n".join(lines)


def read_stats(database_url: str, sources: Sequence[str], spec: FeedbackSpec) -> FeedbackStats:
    """Counts what is stored in `sources` (none: all), on one snapshot; rewards as `spec` scores them.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    values = {"all": not sources, "sources": list(sources), "explicit": sorted(EXPLICIT_TYPES)}
    with connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL TIME ZONE 'UTC'")
        interactions, users, first, last, captured = connection.execute(_TOTALS, values).fetchall()[0]
        events, first_event, last_event = connection.execute(_EVENT_TOTALS, values).fetchall()[0]
        by_type = dict(_count(connection, _BY_TYPE, values))
        return FeedbackStats(
            interactions=interactions,
            events=events,
            users=users,
            captured=captured,
            capture_rate=captured / interactions if interactions else None,
            by_type={kind.value: by_type[kind.value] for kind in FeedbackType if kind.value in by_type},
            by_source=dict(_count(connection, _BY_SOURCE, values)),
            by_day=dict(_count(connection, _BY_DAY, values)),
            rewards=_count_rewards(connection, values, spec),
            quarantined=dict(_count(connection, _QUARANTINE, values)),
            first=min((time for time in (first, first_event) if time), default=None),
            last=max((time for time in (last, last_event) if time), default=None),
        )


def find_bucket(reward: float) -> float:
    """Gives the bucket of a reward in [-1, 1]: the least one that is not below it."""
    return next(bucket for bucket in BUCKETS if reward <= bucket)


def _count(connection: Connection, query: str, values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, count in connection.execute(query, values):
        yield str(name), int(count)


def _count_rewards(connection: Connection, values: Mapping[str, Any], spec: FeedbackSpec) -> dict[str, int]:
    counts = dict.fromkeys(BUCKETS, 0)
    with connection.cursor(name="events") as cursor:
        cursor.itersize = 2000
        rows = (FeedbackEvent.model_validate(body) for (body,) in cursor.execute(_EVENTS, values))
        for _, events in groupby(rows, key=lambda event: event.interaction_id):
            total = score(tuple(events), spec).total
            if total is not None:
                counts[find_bucket(total)] += 1
    return {str(bucket): count for bucket, count in counts.items()}
