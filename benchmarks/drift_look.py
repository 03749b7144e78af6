"""What one whole look costs on a real PostgreSQL with a million interactions a week, for benchmarks.drift."""

from __future__ import annotations

import resource
import time
from datetime import UTC, datetime

from benchmarks import Goal
from benchmarks.drift_texts import Corpus
from benchmarks.windows import start_database
from flytewheel.database import connect, migrate
from flytewheel.drift.samples import MOST_ROWS
from flytewheel.drift.triggers import check_triggers
from flytewheel.recipe import Recipe

CPU_S, MEMORY_MIB = 30.0, 600.0

# Two weeks: rows in random order of people, times spread over each week.
_FILL = """
INSERT INTO interactions (interaction_id, source, user_id, "timestamp", body, digest)
SELECT %(week)s || '-' || n, 'drifting', u, at, jsonb_build_object(
    'query', text.text, 'topic', 't' || n %% 8, 'model_version', 'v1', 'response', 'yes'), 'd'
FROM generate_series(1, %(count)s) AS n,
    LATERAL (SELECT 'u' || floor(200000 * power(random(), 2)) + n * 0 AS u,
        %(begun)s::timestamptz + random() * interval '7 days' AS at,
        1 + floor(random() * %(texts)s)::int + n * 0 AS at_text) AS drawn
    JOIN texts AS text ON text.place = drawn.at_text
"""


def measure_look(corpus: Corpus, count: int) -> list[Goal]:
    """CPU and memory of `check_triggers` with `count` interactions before and after."""
    recipe = Recipe.model_validate({"name": "drifting", "base": {"model": "pocket"}})
    goals: list[Goal] = []
    for url in start_database():
        migrate(url)
        fill(url, corpus, count)
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begun, wall = time.process_time(), time.monotonic()
        found = check_triggers(url, recipe, now=datetime(2026, 11, 16, 1, tzinfo=UTC))
        spent, wall = time.process_time() - begun, time.monotonic() - wall
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - resident
        print(f"look at {count:,} + {found.new_interactions:,} rows, {found.sampled} read: {spent:.1f} s of CPU,")
        fired = [each.said for each in found.figures if each.fired]
        print(f"  {wall:.1f} s by the clock, {grown:.0f} MiB more; fired: {fired}")
        assert max(found.sampled) <= MOST_ROWS
        goals += [
            Goal(f"look at {count:,} interactions, CPU s", spent, CPU_S),
            Goal(f"look at {count:,} interactions, MiB more", grown, MEMORY_MIB),
        ]
    return goals


def fill(url: str, corpus: Corpus, count: int) -> None:
    """Stores both weeks, and the turn between them."""
    with connect(url) as connection:
        connection.execute("CREATE TEMP TABLE texts (place int PRIMARY KEY, text text)")
        with connection.cursor().copy("COPY texts FROM STDIN") as copy:
            for place, text in enumerate(corpus.texts, 1):
                copy.write_row((place, text))
        connection.execute("ANALYZE texts")
        for week, begun in (("a", "2026-11-02"), ("b", "2026-11-09")):
            given = {"week": week, "begun": begun, "count": count, "texts": len(corpus.texts)}
            if week == "b":
                connection.commit()
                connection.execute(
                    'INSERT INTO runs (run_id, name, recipe_digest, recipe, "window", status, ended_at) VALUES'
                    " ('r', 'drifting', 'd', '{}', jsonb_build_object('high_xid', pg_current_xact_id()::text,"
                    " 'low_xid', '0'), 'succeeded', '2026-11-09')"
                )
            connection.execute(_FILL, given)
    with connect(url) as connection:
        connection.execute("ANALYZE interactions")
