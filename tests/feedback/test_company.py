"""An event is about a stored interaction and goes with it, whoever writes at the same time (flytewheel/migrations)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from flytewheel.database import migrate

INTERACTIONS = """
INSERT INTO interactions (interaction_id, source, user_id, timestamp, body, digest)
SELECT 'i' || n, 's', 'ada', now(), '{}', 'd' FROM generate_series(1, 5) AS n
"""
EVENT = """
INSERT INTO feedback_events (event_id, interaction_id, source, user_id, feedback_type, timestamp, body, digest)
VALUES (%s, %s, 's', 'ada', 'thumbs_up', now(), '{}', 'd')
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
Connection = psycopg.Connection[Any]


@pytest.fixture
def connect(database_url: str) -> Iterator[Callable[[], Connection]]:
    """Connections to a database with five interactions, closed afterwards."""
    migrate(database_url)
    made: list[Connection] = []

    def connect() -> Connection:
        made.append(psycopg.connect(database_url, autocommit=True))
        return made[-1]

    connect().execute(INTERACTIONS)
    yield connect
    for connection in made:
        connection.close()


def list_events(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT event_id FROM feedback_events ORDER BY 1").fetchall()]


def until_one_waits(connection: Connection) -> None:
    deadline = time.monotonic() + 20
    while connection.execute(WAITING).fetchone() != (1,):
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "change",
    [
        EVENT.replace("%s, %s", "'e9', 'nobody'"),
        "UPDATE feedback_events SET interaction_id = 'nobody'",
        "UPDATE interactions SET interaction_id = 'other' WHERE interaction_id = 'i1'",
        "TRUNCATE interactions CASCADE",
    ],
    ids=["insert", "move", "rename", "truncate"],
)
def test_no_event_is_about_nothing(connect: Callable[[], Connection], change: str) -> None:
    connection = connect()
    connection.execute(EVENT, ("e1", "i1"))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(change)
    assert list_events(connection) == ["e1"]


def test_it_goes_with_its_interaction_and_with_no_other(connect: Callable[[], Connection]) -> None:
    connection = connect()
    for number in (1, 2, 3):
        connection.execute(EVENT, (f"e{number}", f"i{number}"))
    connection.execute("DELETE FROM interactions WHERE interaction_id IN ('i1', 'i3', 'i5')")
    assert list_events(connection) == ["e2"]
    connection.execute("UPDATE interactions SET interaction_id = 'i44' WHERE interaction_id = 'i4'")
    connection.execute("TRUNCATE interactions, feedback_events CASCADE")


def test_a_deletion_takes_along_what_was_under_way(connect: Callable[[], Connection]) -> None:
    writer, eraser = connect(), connect()
    with ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            writer.execute(EVENT, ("e1", "i1"))
            deletion = pool.submit(eraser.execute, "DELETE FROM interactions WHERE interaction_id = 'i1'")
            until_one_waits(writer)
        deletion.result(20)
    assert list_events(eraser) == []


def test_an_event_that_comes_during_a_deletion_is_refused(connect: Callable[[], Connection]) -> None:
    writer, eraser = connect(), connect()
    with ThreadPoolExecutor(1) as pool:
        with eraser.transaction():
            eraser.execute("DELETE FROM interactions WHERE interaction_id = 'i1'")
            storing = pool.submit(writer.execute, EVENT, ("e1", "i1"))
            until_one_waits(eraser)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            storing.result(20)
    assert list_events(eraser) == []


def test_a_snapshot_of_before_may_not_decide(connect: Callable[[], Connection]) -> None:
    connection = connect()
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    for change in (EVENT.replace("%s, %s", "'e1', 'i1'"), "DELETE FROM interactions"):
        with pytest.raises(psycopg.errors.RaiseException, match="read committed"), connection.transaction():
            connection.execute(change)


def test_a_database_of_before_loses_its_foreign_key(connect: Callable[[], Connection], database_url: str) -> None:
    """That one locked a row of interactions for each event, which cost as much as all the rest."""
    connection = connect()
    for name, table in (
        ("feedback_events_added", "feedback_events"),
        ("feedback_events_changed", "feedback_events"),
        ("interactions_take_events", "interactions"),
        ("interactions_renamed", "interactions"),
        ("interactions_truncated", "interactions"),
    ):
        connection.execute(f"DROP TRIGGER {name} ON {table}".encode())
    connection.execute(
        "ALTER TABLE feedback_events ADD FOREIGN KEY (interaction_id) REFERENCES interactions ON DELETE CASCADE"
    )
    migrate(database_url)
    migrate(database_url)
    keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'feedback_events'::regclass"
    assert connection.execute(keys).fetchone() == (0,)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(EVENT, ("e1", "nobody"))
