"""What is kept of an erasure: that there was one, when, by whom it was done, and how much went from where. Not of whom.

The record is opened before the first deletion, under a keyed hash of the user id (`flytewheel.forgotten`), so that a
second call for the same person finds it and goes on; steps that are done are noted as they end.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from flytewheel.database import Connection, connect
from flytewheel.forgotten import check_key, check_of, name_subject
from flytewheel.records import to_jsonable

_COLUMNS = "erasure_id, by, started_at, until, ended_at, steps, report"


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure. `until`: what the person said up to then never comes back; `report` counts what went by place."""

    erasure_id: str
    by: str
    started_at: datetime
    until: datetime
    ended_at: datetime | None
    steps: tuple[str, ...]
    report: Mapping[str, Any]


def find_open(database_url: str, key: str, user: str) -> Erasure | None:
    """The erasure of a person that was begun and has not ended.

    Raises:
        FeedbackError: people were erased with another key.
    """
    return next((one for one in find_erasures(database_url, key, user) if one.ended_at is None), None)


def find_erasures(database_url: str, key: str, user: str) -> list[Erasure]:
    """Every erasure of a person, the newest first; errors as `find_open`."""
    with connect(database_url) as connection:
        check_key(key, {str(row[0]) for row in connection.execute("SELECT key_check FROM erasures").fetchall()})
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM erasures WHERE subject = %s ORDER BY started_at DESC", (name_subject(key, user),)
        ).fetchall()
    return [_read(row) for row in rows]


def list_erasures(database_url: str) -> list[Erasure]:
    """Every erasure of this database, the newest first."""
    with connect(database_url) as connection:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM erasures ORDER BY started_at DESC").fetchall()
    return [_read(row) for row in rows]


def open_erasure(database_url: str, key: str, user: str, *, by: str, until: datetime) -> Erasure:
    """Opens an erasure, or gives the one of this person that has not ended; errors as `find_open`."""
    if (known := find_open(database_url, key, user)) is not None:
        return known
    name = f"erasure-{until:%Y%m%d}-{secrets.token_hex(4)}"
    with connect(database_url) as connection:
        row = connection.execute(
            "INSERT INTO erasures (erasure_id, subject, key_check, by, until) VALUES (%s, %s, %s, %s, %s)"
            f" RETURNING {_COLUMNS}",
            (name, name_subject(key, user), check_of(key), by, until),
        ).fetchone()
    assert row is not None  # an INSERT returns its row
    return _read(row)


def note_step(connection: Connection, erasure_id: str, step: str, report: Mapping[str, Any]) -> None:
    """Notes that a step is done, and adds to the report what it came to."""
    connection.execute(
        "UPDATE erasures SET steps = CASE WHEN %(step)s = ANY(steps) THEN steps ELSE steps || %(step)s::text END,"
        " report = report || %(report)s WHERE erasure_id = %(id)s",
        {"step": step, "report": Jsonb(to_jsonable(dict(report))), "id": erasure_id},
    )


def close_erasure(database_url: str, erasure_id: str) -> Erasure:
    """Notes that everything is done."""
    with connect(database_url) as connection:
        row = connection.execute(
            "UPDATE erasures SET ended_at = coalesce(ended_at, clock_timestamp()) WHERE erasure_id = %s"
            f" RETURNING {_COLUMNS}",
            (erasure_id,),
        ).fetchone()
    assert row is not None  # it was opened by `open_erasure`
    return _read(row)


def _read(row: tuple[Any, ...]) -> Erasure:
    name, by, started_at, until, ended_at, steps, report = row
    return Erasure(name, by, started_at, until, ended_at, tuple(steps), report)
