"""Turns that somebody asked for: kept until a look at the triggers takes them, and never started twice.

Who asks (the router's `/api/retraining/trigger`, `/api/learning/trigger`) cannot train: a request is a row. A look
launches the oldest one under an execution's name made of the request's id, which Flyte takes once; only then the row
says so. A look that dies between the two comes again and meets the same execution. Any turn of the model that opens
afterwards answers the request too: with `flytewheel run` there need be no schedule at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from flytewheel.database import connect
from flytewheel.drift.triggers import TriggerReport
from flytewheel.errors import RequestError
from flytewheel.recipe import Mode
from flytewheel.records import to_jsonable

BY_HAND = "by hand"
State = Literal["requested", "launched", "refused"]

_COLUMNS = "request_id, name, mode, force, reason, asked_by, asked_at, state, outcome, settled_at, run_id"


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A turn that somebody asked for. `run_id` is the turn that it became, where one opened."""

    request_id: str
    name: str
    mode: Mode
    force: bool
    reason: str
    asked_by: str
    asked_at: datetime
    state: State
    outcome: str | None = None
    settled_at: datetime | None = None
    run_id: str | None = None

    @property
    def execution(self) -> str:
        """The name of its execution: letters and digits, as Flyte wants it, the same at every try."""
        return "ask" + hashlib.sha256(f"{self.name}\0{self.request_id}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class KeptLook:
    """A look as it was kept: `report` is the JSON of a `TriggerReport` with `said`."""

    name: str
    at: datetime
    report: dict[str, Any]
    causes: tuple[str, ...]
    execution: str | None


def ask_turn(
    database_url: str, *, request_id: str, name: str, mode: Mode, force: bool, reason: str, asked_by: str
) -> tuple[TurnRequest, bool]:
    """Keeps a request; returns it, and whether it is new.

    Raises:
        RequestError: this id asked for something else before.
        DatabaseError: PostgreSQL is away; nothing is kept.
    """
    with connect(database_url) as connection:
        created = connection.execute(
            "INSERT INTO turn_requests (request_id, name, mode, force, reason, asked_by)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (request_id) DO NOTHING",
            (request_id, name, mode, force, reason, asked_by),
        ).rowcount
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM turn_requests WHERE request_id = %s", (request_id,)
        ).fetchone()
    assert row is not None
    found = TurnRequest(*row)
    if (found.name, found.mode, found.force, found.reason) != (name, mode, force, reason):
        raise RequestError(
            f"request {request_id!r} asked for a turn of {found.name} ({found.mode}) before; take another id"
        )
    return found, bool(created)


def list_requests(database_url: str, *, name: str | None = None, open_only: bool = False) -> list[TurnRequest]:
    """Requests, the newest first, a hundred at most."""
    with connect(database_url) as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM turn_requests WHERE (%s::text IS NULL OR name = %s)"
            " AND (NOT %s OR state = 'requested') ORDER BY asked_at DESC, request_id LIMIT 100",
            (name, name, open_only),
        ).fetchall()
    return [TurnRequest(*row) for row in rows]


def find_next(database_url: str, name: str) -> TurnRequest | None:
    """The oldest request of a model that waits."""
    with connect(database_url) as connection:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM turn_requests WHERE name = %s AND state = 'requested' AND run_id IS NULL"
            " ORDER BY asked_at, request_id LIMIT 1",
            (name,),
        ).fetchone()
    return None if row is None else TurnRequest(*row)


def note_wait(database_url: str, request_id: str, outcome: str) -> None:
    """Says on a request what it waits for."""
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE turn_requests SET outcome = %s WHERE request_id = %s AND state = 'requested'", (outcome, request_id)
        )


def settle_request(database_url: str, request_id: str, state: State, outcome: str) -> None:
    """Notes what became of a request; one that is settled stays as it is."""
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE turn_requests SET state = %s, outcome = %s, settled_at = clock_timestamp()"
            " WHERE request_id = %s AND state = 'requested'",
            (state, outcome, request_id),
        )


def answer_requests(database_url: str, *, name: str, mode: Mode, run_id: str) -> int:
    """Notes that a turn opened which answers what was asked for before; a full turn answers every request, a small
    one those for a small one. Returns how many.
    """
    with connect(database_url) as connection:
        return connection.execute(
            "UPDATE turn_requests SET run_id = %s, state = 'launched',"
            " settled_at = coalesce(settled_at, clock_timestamp()), outcome = CASE state WHEN 'launched' THEN outcome"
            " ELSE 'answered by the turn' END"
            " WHERE name = %s AND run_id IS NULL AND state <> 'refused' AND (mode = %s OR %s = 'full')",
            (run_id, name, mode, mode),
        ).rowcount


def keep_look(
    database_url: str, name: str, report: TriggerReport, causes: Sequence[str], execution: str | None, said: str
) -> None:
    """Adds what a look found, the sentence that it said, and what it launched, if anything. An execution is noted
    once.
    """
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO trigger_looks (name, report, causes, execution) SELECT %s, %s, %s, %s"
            " WHERE %s::text IS NULL OR NOT EXISTS (SELECT FROM trigger_looks WHERE name = %s AND execution = %s)",
            (name, Jsonb(to_jsonable(report) | {"said": said}), list(causes), execution, execution, name, execution),
        )


def list_looks(database_url: str, name: str, *, limit: int = 24) -> list[KeptLook]:
    """The newest looks first; those of earlier versions have no figures."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT name, at, report, causes, execution FROM trigger_looks WHERE name = %s"
            " ORDER BY entry DESC LIMIT %s",
            (name, limit),
        ).fetchall()
    return [KeptLook(row[0], row[1], row[2], tuple(row[3]), row[4]) for row in rows]


def name_causes(report: TriggerReport) -> tuple[str, ...]:
    """The causes of a report's reasons, without their figures."""
    return tuple(dict.fromkeys(reason.partition(":")[0] for reason in report.reasons))


def describe_state(request: TurnRequest) -> dict[str, Any]:
    """A request as the API shows it."""
    shown: dict[str, Any] = to_jsonable(request)
    return shown | {"execution": request.execution if request.state == "launched" else None}
