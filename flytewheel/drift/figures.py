"""Figures that runs, experiments and feedback left in PostgreSQL, for the router's metrics: few, by bounded queries."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from flytewheel.database import Connection, connect
from flytewheel.drift.standing import list_names, read_learning

HOURS = (1, 2, 4, 6, 12)  # upper bounds of the durations' buckets
TIMEOUT_MS = 5000

_JOBS = """
SELECT CASE WHEN r.status = 'failed' THEN 'failed' WHEN s.status = 'skipped' THEN 'skipped' ELSE 'success' END, count(*)
FROM runs r LEFT JOIN run_stations s ON s.run_id = r.run_id AND s.station = 'train_sft'
WHERE r.status IN ('succeeded', 'failed') GROUP BY 1
"""
_DURATIONS = """
SELECT extract(epoch FROM ended_at - started_at)::float8 FROM runs WHERE status = 'succeeded' AND ended_at IS NOT NULL
"""
# Of each model's newest ten versions.
_QUALITY = """
SELECT version, metric.key, (metric.value #>> '{candidate,estimate}')::float8 FROM (
    SELECT g.report ->> 'version' AS version, e.report -> 'metrics' AS metrics,
        row_number() OVER (PARTITION BY r.name ORDER BY r.started_at DESC) AS place
    FROM runs r JOIN run_stations g ON g.run_id = r.run_id AND g.station = 'register'
        JOIN run_stations e ON e.run_id = r.run_id AND e.station = 'evaluate'
    WHERE g.report ->> 'version' IS NOT NULL AND jsonb_typeof(e.report -> 'metrics') = 'object'
) AS judged, jsonb_each(judged.metrics) AS metric
WHERE place <= 10 AND jsonb_typeof(metric.value #> '{candidate,estimate}') = 'number'
"""
_UPDATES = """
SELECT 'treatment', count(*) FROM experiments WHERE state <> 'draft'
UNION ALL SELECT 'champion', count(*) FROM rollouts WHERE state = 'promoted'
"""
_EXPLORATION = "SELECT experiment_id, share FROM experiments WHERE state = 'running'"
_CAPTURED = """
SELECT source, avg((EXISTS (SELECT FROM feedback_events e WHERE e.interaction_id = newest.interaction_id))::int)::float8
FROM (SELECT DISTINCT name FROM experiments UNION SELECT name FROM runs) AS models,
    LATERAL (SELECT interaction_id, source FROM interactions WHERE source = models.name
             ORDER BY xid DESC LIMIT 10000) AS newest
GROUP BY source
"""


@dataclass(frozen=True, slots=True)
class StoredFigures:
    """Label values to figures. `durations` are counts of turns by bucket of HOURS, and one for what took longer."""

    jobs: Mapping[str, int] = field(default_factory=dict)
    durations: tuple[int, ...] = (0,) * (len(HOURS) + 1)
    duration_sum_s: float = 0.0
    quality: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    updates: Mapping[str, int] = field(default_factory=dict)
    exploration: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    captured: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    buffers: Mapping[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)


def read_figures(database_url: str) -> StoredFigures:
    """Reads all of them.

    Raises:
        DatabaseError: PostgreSQL is away, or takes longer than a few seconds.
    """
    with connect(database_url, timeout_s=2) as connection:
        connection.execute(f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {TIMEOUT_MS}".encode())
        durations = [row[0] for row in connection.execute(_DURATIONS)]
        exploration: dict[tuple[str, ...], float] = {}
        for experiment_id, share in connection.execute(_EXPLORATION).fetchall():
            exploration[experiment_id, "treatment"], exploration[experiment_id, "control"] = share, 1 - share
        found = StoredFigures(
            jobs=dict(connection.execute(_JOBS).fetchall()),
            durations=_sort_into(durations),
            duration_sum_s=sum(durations),
            quality={(version, metric): value for version, metric, value in connection.execute(_QUALITY)},
            updates=dict(connection.execute(_UPDATES).fetchall()),
            exploration=exploration,
            captured=_read_pairs(connection, _CAPTURED),
        )
    buffers = {
        (name,): (standing.buffer.interactions, standing.buffer.size)
        for name in list_names(database_url)[:50]
        for standing in [read_learning(database_url, name)]
    }
    return StoredFigures(**{key: getattr(found, key) for key in StoredFigures.__slots__} | {"buffers": buffers})


def _sort_into(durations_s: list[float]) -> tuple[int, ...]:
    counts = [0] * (len(HOURS) + 1)
    for seconds in durations_s:
        counts[bisect_left(HOURS, seconds / 3600)] += 1
    return tuple(counts)


def _read_pairs(connection: Connection, query: str) -> dict[tuple[str, ...], float]:
    return {(key,): value for key, value in connection.execute(query.encode())}
