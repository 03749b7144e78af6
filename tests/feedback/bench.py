"""A feedback store with a folder for its logs: what the store's tests share."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from flytewheel.feedback.store import FeedbackStore, ImportReport

NOON = datetime(2026, 11, 9, 12, tzinfo=UTC)


def said(name: str, *, user: str = "u1", response: str = "Scale it.", minute: int = 0, **more: Any) -> dict[str, Any]:
    when = (NOON + timedelta(minutes=minute)).isoformat()
    return {"interaction_id": name, "user_id": user, "timestamp": when, "query": "Why?", "response": response, **more}


def reaction(
    name: str, of: str, kind: str = "thumbs_up", *, user: str = "u1", minute: int = 1, **more: Any
) -> dict[str, Any]:
    when = (NOON + timedelta(minutes=minute)).isoformat()
    return {"event_id": name, "interaction_id": of, "user_id": user, "feedback_type": kind, "timestamp": when, **more}


def write(path: Path, rows: Sequence[dict[str, Any] | str]) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())
    return path


class Bench:
    """A store, a folder for its logs, and the questions that tests ask of the tables."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.store = url, folder, FeedbackStore(url)

    def load(
        self, interactions: Sequence[Any] = (), events: Sequence[Any] = (), *, source: str = "web"
    ) -> ImportReport:
        first = write(self.folder / "interactions.jsonl", interactions)
        second = write(self.folder / "feedback.jsonl.gz", events)
        return self.store.import_files(first, second, source=source, quarantine_dir=self.folder / "quarantine")

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def content(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        return (
            self.ask('SELECT interaction_id, source, user_id, "timestamp", body, digest FROM interactions ORDER BY 1'),
            self.ask(
                'SELECT event_id, interaction_id, source, user_id, feedback_type, "timestamp", body, digest, metadata'
                " FROM feedback_events ORDER BY 1"
            ),
        )

    def held(self) -> list[tuple[Any, ...]]:
        return self.ask("SELECT kind, reason, line FROM quarantine ORDER BY kind, reason, line")
