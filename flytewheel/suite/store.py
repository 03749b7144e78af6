"""The cases of every model in PostgreSQL: for ever, but for those that are retired, or whose words were erased.

A case names the interaction and the event that its words come from, and the database deletes it together with them
(`ON DELETE CASCADE`): nobody has to think of it. Which cases a run is judged on is decided by the moment it began
(`as_of`), so that a run which goes on later meets the same ones, and not those that it brought itself. A vote that
curation put into quarantine takes the case that it brought out, until a person releases it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from flytewheel.database import Connection, connect
from flytewheel.errors import SuiteError
from flytewheel.records import RegressionCase, to_jsonable
from flytewheel.suite.cases import load_case
from flytewheel.suite.checks import check_case

_INSERT = """
INSERT INTO suite_cases (name, case_id, body, origin, run_id, interaction_id, event_id)
SELECT %(name)s, %(id)s, %(body)s, %(origin)s, %(run_id)s, %(interaction)s, %(event)s
WHERE (%(interaction)s::text IS NULL OR EXISTS (SELECT FROM interactions WHERE interaction_id = %(interaction)s))
    AND (%(event)s::text IS NULL OR EXISTS (SELECT FROM feedback_events WHERE event_id = %(event)s))
ON CONFLICT (name, case_id) DO NOTHING
"""
_STANDING = """
NOT EXISTS (
    SELECT FROM held_votes h LEFT JOIN released_votes r USING (series, event_id)
    WHERE h.event_id = c.event_id AND r.event_id IS NULL AND h.held_at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
)
"""
_READ = f"""
SELECT c.body, c.added_at, c.run_id, c.retired_at, c.retired_by, c.retired_reason, {_STANDING}
FROM suite_cases c
WHERE c.name = %(name)s AND (%(as_of)s::timestamptz IS NULL OR c.added_at <= %(as_of)s)
ORDER BY c.case_id COLLATE "C"
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored case. `quarantined`: the vote that it comes from is held back."""

    case: RegressionCase
    added_at: datetime
    run_id: str
    retired_at: datetime | None
    retired_by: str | None
    retired_reason: str | None
    quarantined: bool

    @property
    def counts(self) -> bool:
        return self.retired_at is None and not self.quarantined


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case when it was asked last; `model` is a version, or the run whose candidate answered."""

    case_id: str
    model: str
    outcome: str
    passed: int
    samples: int
    origin: str
    check: str
    at: datetime


def add_cases(database_url: str, name: str, cases: Sequence[RegressionCase], *, run_id: str = "") -> list[str]:
    """Adds cases to the suite of model `name`: all of them or none.

    A case that is there, or was retired, stays as it is; one whose interaction or event is not in the store (it may
    have been erased a moment ago) does not come in.

    Returns:
        The ids of those that came in.

    Raises:
        SuiteError: a case is faulty.
        DatabaseError: PostgreSQL is away.
    """
    for case in cases:
        check_case(case)
    with connect(database_url) as connection:
        return put_cases(connection, name, cases, run_id=run_id)


def refuse_conflicts(database_url: str, name: str, cases: Iterable[RegressionCase]) -> None:
    """Makes sure that no id stands for another case already.

    Raises:
        SuiteError: one does, or is that of a retired case.
        DatabaseError: PostgreSQL is away.
    """
    kept = {one.case.id: one for one in list_kept(database_url, name)}
    for case in cases:
        known = kept.get(case.id)
        if known is not None and known.retired_at is not None:
            raise SuiteError(
                f"case {case.id!r} of {name} was retired by {known.retired_by}; give the new one another id"
            )
        if known is not None and known.case != case:
            raise SuiteError(
                f"case {case.id!r} of {name} is there and says something else; give the new one another id"
            )


def put_cases(connection: Connection, name: str, cases: Iterable[RegressionCase], *, run_id: str = "") -> list[str]:
    """As `add_cases`, of checked cases within a transaction."""
    added = []
    for case in cases:
        values = {
            "name": name,
            "id": case.id,
            "body": Jsonb(to_jsonable(case)),
            "origin": case.origin,
            "run_id": run_id,
            "interaction": next(iter(case.interactions), None),
            "event": next(iter(case.events), None),
        }
        if connection.execute(_INSERT, values).rowcount:
            added.append(case.id)
    return added


def list_kept(database_url: str, name: str, *, as_of: datetime | None = None) -> list[Kept]:
    """Every case of model `name` by id, also those that do not count; `as_of`: that were there at that time.

    Raises:
        DatabaseError: PostgreSQL is away.
        SuiteError: another version of flytewheel wrote a case.
    """
    with connect(database_url) as connection:
        rows = connection.execute(_READ, {"name": name, "as_of": as_of}).fetchall()
    kept = []
    for body, added_at, run_id, retired_at, by, reason, standing in rows:
        gone = retired_at is not None and (as_of is None or retired_at <= as_of)
        since, who, why = (retired_at, by, reason) if gone else (None, None, None)
        kept.append(Kept(load_case(body), added_at, run_id, since, who, why, not standing))
    return kept


def retire_case(database_url: str, name: str, case_id: str, *, by: str, reason: str) -> None:
    """Takes a case out of the suite; it stays known, so that nothing brings it back.

    Raises:
        SuiteError: there is no such case, or it is retired.
        DatabaseError: PostgreSQL is away.
    """
    if not reason.strip():
        raise SuiteError(f"retiring {case_id!r} needs a reason: say it with --reason")
    with connect(database_url) as connection:
        done = connection.execute(
            "UPDATE suite_cases SET retired_at = clock_timestamp(), retired_by = %s, retired_reason = %s"
            " WHERE name = %s AND case_id = %s AND retired_at IS NULL",
            (by, reason, name, case_id),
        )
        if done.rowcount:
            return
        found = connection.execute(
            "SELECT retired_by FROM suite_cases WHERE name = %s AND case_id = %s", (name, case_id)
        ).fetchone()
    if found is not None:
        raise SuiteError(f"case {case_id!r} of {name} is retired already, by {found[0]}")
    raise SuiteError(f"no case {case_id!r} in the suite of {name}; see `flytewheel suite list {name}`")


def note_outcomes(database_url: str, name: str, model: str, found: Iterable[Mapping[str, Any]]) -> None:
    """Keeps what came of cases: mappings with `id`, `outcome`, `passed`, `samples`, `origin`, `check`."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            'INSERT INTO suite_outcomes (name, case_id, model, outcome, passed, samples, origin, "check") VALUES'
            " (%(name)s, %(id)s, %(model)s, %(outcome)s, %(passed)s, %(samples)s, %(origin)s, %(check)s)"
            " ON CONFLICT (name, case_id) DO UPDATE SET model = excluded.model, outcome = excluded.outcome,"
            " passed = excluded.passed, samples = excluded.samples, origin = excluded.origin,"
            ' "check" = excluded."check", at = excluded.at',
            [{**one, "name": name, "model": model} for one in found],
        )


def read_outcomes(database_url: str, name: str) -> dict[str, Outcome]:
    """The last outcome of every case of model `name` that was ever asked, by id."""
    with connect(database_url) as connection:
        rows = connection.execute(
            'SELECT case_id, model, outcome, passed, samples, origin, "check", at FROM suite_outcomes WHERE name = %s',
            (name,),
        ).fetchall()
    return {row[0]: Outcome(*row) for row in rows}
