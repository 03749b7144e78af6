"""The stored feedback: interactions and events, each id once, each with the digest of its body.

Whoever writes is idempotent on the client's id: the same body again is a duplicate, another body a conflict, which is
refused (`flytewheel.feedback.imports` quarantines it). An event belongs to the stream of its interaction.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from flytewheel.database import Connection, connect
from flytewheel.errors import FeedbackError
from flytewheel.feedback.imports import ImportReport, LogCounts, Progress, import_files
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.stats import FeedbackStats, read_stats
from flytewheel.feedback.stored import read_bodies
from flytewheel.recipe import FeedbackSpec
from flytewheel.records import FeedbackEvent, Interaction

__all__ = ["FeedbackStats", "FeedbackStore", "ImportReport", "LogCounts", "Outcome"]

Outcome = Literal["stored", "duplicate"]

INSERT_INTERACTION = """
INSERT INTO interactions (interaction_id, source, user_id, "timestamp", body, digest)
VALUES (%(id)s, %(source)s, %(user_id)s, %(timestamp)s, %(body)s::jsonb, %(digest)s)
ON CONFLICT (interaction_id) DO NOTHING
"""
INSERT_EVENT = """
INSERT INTO feedback_events
    (event_id, interaction_id, source, user_id, feedback_type, "timestamp", body, digest, metadata)
SELECT %(id)s, interaction_id, source, %(user_id)s, %(feedback_type)s, %(timestamp)s, given.body, %(digest)s,
    given.body -> 'metadata'
FROM interactions, (SELECT %(body)s::jsonb AS body) AS given WHERE interaction_id = %(interaction_id)s
ON CONFLICT (event_id) DO NOTHING
"""
_STORED = """
SELECT body::text FROM {table} WHERE %(all)s OR source = ANY(%(sources)s) ORDER BY "timestamp", {key} COLLATE "C"
"""


class FeedbackStore:
    """The feedback in one database."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def import_files(
        self,
        interactions: Path,
        feedback: Path,
        *,
        source: str,
        quarantine_dir: Path,
        erasure_key: str = "",
        progress: Progress | None = None,
    ) -> ImportReport:
        """Imports two logs in one transaction; see `flytewheel.feedback.imports.import_files`.

        Raises:
            FeedbackError: a log cannot be read, or the source has no name; nothing is stored then.
            DatabaseError: PostgreSQL is away; nothing is stored then either.
        """
        return import_files(
            self._url,
            interactions,
            feedback,
            source=source,
            quarantine_dir=quarantine_dir,
            erasure_key=erasure_key,
            progress=progress,
        )

    def export(self, out_dir: Path, *, sources: Sequence[str] = ()) -> dict[str, int]:
        """Writes `interactions.jsonl.gz` and `feedback.jsonl.gz`, which import again to the same content.

        Rows are ordered by time and id; the same content gives the same bytes. Without `sources` all streams are
        written; the files do not tell them apart.

        Returns:
            How many `interactions` and `feedback` events were written.

        Raises:
            DatabaseError: PostgreSQL is away.
        """
        out_dir.mkdir(parents=True, exist_ok=True)
        with connect(self._url) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            chosen = {"all": not sources, "sources": list(sources)}
            return {
                name: _write_log(
                    out_dir / f"{name}.jsonl.gz", read_bodies(connection, _STORED.format(table=table, key=key), chosen)
                )
                for name, table, key in (
                    ("interactions", "interactions", "interaction_id"),
                    ("feedback", "feedback_events", "event_id"),
                )
            }

    def stats(self, sources: Sequence[str] = (), *, spec: FeedbackSpec | None = None) -> FeedbackStats:
        """Counts what is stored in `sources` (none: all); `spec` scores the rewards (default: the design's figures).

        Raises:
            DatabaseError: PostgreSQL is away.
        """
        return read_stats(self._url, sources, spec or FeedbackSpec())

    def record_interaction(self, interaction: Interaction, source: str) -> Outcome:
        """Stores one interaction, once.

        Raises:
            FeedbackError: another interaction has this id, or it holds what cannot be stored.
            DatabaseError: PostgreSQL is away.
        """
        body, seen = encode_body(interaction)
        values: dict[str, Any] = {"id": interaction.interaction_id, "source": source, "user_id": interaction.user_id}
        values |= {"timestamp": interaction.timestamp, "body": body, "digest": seen}
        with connect(self._url) as connection:
            if connection.execute(INSERT_INTERACTION, values).rowcount:
                return "stored"
            return _compare(connection, "interactions", "interaction_id", interaction.interaction_id, seen)

    def record_event(self, event: FeedbackEvent) -> Outcome:
        """Stores one event, once, in its interaction's stream.

        Raises:
            FeedbackError: the interaction is unknown, another event has this id, or it holds what cannot be stored.
            DatabaseError: PostgreSQL is away.
        """
        body, seen = encode_body(event)
        values: dict[str, Any] = {
            "id": event.event_id,
            "interaction_id": event.interaction_id,
            "user_id": event.user_id,
        }
        values |= {
            "feedback_type": event.feedback_type.value,
            "timestamp": event.timestamp,
            "body": body,
            "digest": seen,
        }
        with connect(self._url) as connection:
            if connection.execute(INSERT_EVENT, values).rowcount:
                connection.execute("DELETE FROM quarantine WHERE digest = %s", (f"feedback:{seen}",))
                return "stored"
            known = connection.execute("SELECT 1 FROM interactions WHERE interaction_id = %s", (event.interaction_id,))
            if known.fetchone() is None:
                raise FeedbackError(
                    f"unknown interaction {event.interaction_id!r}: an event needs a stored interaction"
                )
            return _compare(connection, "feedback_events", "event_id", event.event_id, seen)


def _compare(connection: Connection, table: str, key: str, name: str, seen: str) -> Outcome:
    row = connection.execute(f"SELECT digest FROM {table} WHERE {key} = %s", (name,)).fetchone()
    if row is not None and row[0] == seen:
        return "duplicate"
    raise FeedbackError(f"conflict: {key} {name!r} is stored with another body; send this one under its own id")


def _write_log(path: Path, bodies: Iterator[bytes]) -> int:
    part = path.with_suffix(".part")
    count = 0
    with part.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
        for body in bodies:
            stream.write(body + b"\n")
            count += 1
    part.replace(path)
    return count
