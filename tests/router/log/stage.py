"""A PostgreSQL that can be stopped and started, and what a log is given."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import psycopg

from flytewheel.database import migrate
from router.log import EventRow, Log, encode_event
from tests.services import StoppedPostgres


class Server(StoppedPostgres):
    """One PostgreSQL for a module's tests, a database for each of them."""

    def make_database(self) -> str:
        name = f"log_{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        migrate(fresh := self.name_database(name))
        return fresh


def record(name: str, **changes: Any) -> dict[str, Any]:
    """An interaction as the proxy hands it over."""
    fields = {"interaction_id": name, "user_id": "ada", "timestamp": datetime.now(UTC)}
    return fields | {"query": f"What is {name}?", "response": "So.", "metadata": {}} | changes


def event(
    name: str, about: str, *, proven: bool = True, source: str = "demo", dated: bool = True, **changes: Any
) -> EventRow:
    """A thumb; without a `source` it does not know the stream of its interaction, and is looked up."""
    fields: dict[str, Any] = {"event_id": name, "interaction_id": about, "user_id": "ada", "feedback_type": "thumbs_up"}
    return encode_event(
        fields | {"timestamp": datetime(2026, 11, 21, tzinfo=UTC)} | changes, proven=proven, source=source, dated=dated
    )


def ask(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode(), values).fetchall()


def list_ids(url: str) -> tuple[list[str], list[str]]:
    """Interactions and events that are stored, in the order in which they went in."""
    said = ask(url, "SELECT interaction_id FROM interactions ORDER BY stored_at, interaction_id")
    heard = ask(url, "SELECT event_id FROM feedback_events ORDER BY stored_at, event_id")
    return [row[0] for row in said], [row[0] for row in heard]


async def until(condition: Callable[[], Any], *, what: str, timeout_s: float = 20.0) -> None:
    """Asks until it is true."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"not within {timeout_s} s: {what}") from None


def put_all(log: Log, names: Iterable[str]) -> None:
    for name in names:
        assert log.put(record(name), "demo")
