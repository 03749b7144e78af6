"""PostgreSQL without a person, in one transaction: all of it or nothing, whatever is killed.

Rows that are the person's go; what only quotes them (reports of stations, bodies of experiments, errors) is mended. The
accounts stay true: lines that an import stored become lines of an erased person, and windows that held before hold
again, over the rows that are left. So the audit does not cry wolf for ever after, and the last window can be learned
from again, which is what a retrain without the person does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from flytewheel.database import Connection
from flytewheel.erase.needles import ERASED, GONE, Needles
from flytewheel.erase.person import Person
from flytewheel.erase.pseudonyms import count_pseudonyms, delete_pseudonyms
from flytewheel.erase.shelves import drop_examples
from flytewheel.experiment.metrics.look import forget_moments, keep_looks_out
from flytewheel.feedback.books import keep_imports_out, list_true, note_gone, recount
from flytewheel.feedback.imports import ERASED as REFUSED
from flytewheel.feedback.window import list_windows
from flytewheel.forgotten import name_row

_DELETE = {
    "review_labels": "reviewer = ANY(%(names)s)",
    "review_deals": "reviewer = ANY(%(names)s)",
    "review_duels": "user_id = ANY(%(names)s)",
    "held_votes": "event_id = ANY(%(heard)s)",
    "feedback_events": "event_id = ANY(%(heard)s) OR interaction_id = ANY(%(said)s)",
    "interactions": "interaction_id = ANY(%(said)s)",
    "user_counts": "user_id = ANY(%(names)s)",
    "recounts": "user_id = ANY(%(names)s)",  # after the rows whose going it marks
    "dataset_rows": "user_id = ANY(%(names)s) OR interactions && %(said)s OR events && %(heard)s",
}
_CASES = """
SELECT name, case_id FROM suite_cases WHERE interaction_id = ANY(%(said)s) OR event_id = ANY(%(heard)s)
    OR body ->> 'user' = ANY(%(names)s)
"""
# What may quote a person: table, its key, and the column. JSON is mended, a text is cleaned.
_QUOTES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("run_stations", ("run_id", "station"), "report"),
    ("runs", ("run_id",), "error"),
    ("experiments", ("experiment_id",), "body"),
    ("experiments", ("experiment_id",), "reason"),
    ("rollout_log", ("entry",), "detail"),
    ("outbox", ("entry",), "body"),
    ("reviews", ("review_id",), "stored"),
    ("suite_rollbacks", ("experiment_id",), "report"),
    ("suite_mutes", ("entry",), "reason"),
    ("turn_requests", ("request_id",), "reason"),
)


def count_person(connection: Connection, needles: Needles, assignment_key: str = "") -> Counter[str]:
    """Rows that would go or be mended, by table; without the key those that only it finds are not among them."""
    values = _values(needles.person)
    counts: Counter[str] = Counter()
    for table, where in _DELETE.items():
        row = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", values).fetchone()
        counts[table] = int(row[0]) if row else 0
    counts["suite_cases"] = len(connection.execute(_CASES, values).fetchall())
    counts["quarantine"] = sum(1 for _ in _list_quarantined(connection, needles))
    for table, key, column in _QUOTES:
        counts[f"{table}.{column}"] = sum(1 for _ in _list_mended(connection, needles, table, key, column, {}, ()))
    return +counts + count_pseudonyms(connection, needles.person, assignment_key)


def delete_person(
    connection: Connection,
    needles: Needles,
    *,
    erasure: str,
    key: str,
    successors: Mapping[str, str],
    cleaned: Sequence[str],
    assignment_key: str = "",
) -> Counter[str]:
    """Takes the person out of every table; the caller's transaction commits it.

    Args:
        connection: of a transaction.
        needles: the person.
        erasure: id of the erasure, which keeps the keyed hashes of what goes.
        key: of these hashes.
        successors: data sets that were written anew: old digest to new.
        cleaned: data sets whose examples were taken out; reports quote them too.
        assignment_key: of the sticky assignment, which finds the arms that the person was given.

    Returns:
        Rows that went or were mended, by table.
    """
    person, values = needles.person, _values(needles.person)
    keep_looks_out(connection)
    keep_imports_out(connection)
    holding = list_true(connection, list_windows(connection))
    _remember(connection, person, erasure, key)
    note_gone(connection, values["said"], values["heard"], REFUSED)
    counts: Counter[str] = Counter()
    for table, row_key, column in _QUOTES:
        mended = list(_list_mended(connection, needles, table, row_key, column, successors, cleaned))
        where = " AND ".join(f"{name} = %s" for name in row_key)
        for names, value in mended:
            stored = Jsonb(value) if not isinstance(value, str) else value
            connection.execute(f"UPDATE {table} SET {column} = %s WHERE {where}", (stored, *names))
        counts[f"{table}.{column}"] = len(mended)
    for digest in list(_list_quarantined(connection, needles)):
        counts["quarantine"] += connection.execute("DELETE FROM quarantine WHERE digest = %s", (digest,)).rowcount
    for name, case in connection.execute(_CASES, values).fetchall():
        for table in ("suite_outcomes", "suite_mutes", "suite_cases"):
            done = connection.execute(f"DELETE FROM {table} WHERE name = %s AND case_id = %s", (name, case))
            counts[table] += done.rowcount
    forget_moments(connection, values["names"])
    for table, where in _DELETE.items():
        counts[table] += connection.execute(f"DELETE FROM {table} WHERE {where}", values).rowcount
    counts["windows"] += recount(connection, holding)
    return +counts + delete_pseudonyms(connection, person, assignment_key)


def _values(person: Person) -> dict[str, list[str]]:
    return {"names": sorted(person.names), "said": sorted(person.interactions), "heard": sorted(person.events)}


def _remember(connection: Connection, person: Person, erasure: str, key: str) -> None:
    names = {name_row(key, "interaction", name) for name in person.interactions}
    names |= {name_row(key, "feedback", name) for name in person.events}
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO erased_ids (keyed, erasure_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [(name, erasure) for name in sorted(names)],
        )


def _list_quarantined(connection: Connection, needles: Needles) -> Iterator[str]:
    from flytewheel.erase.contents import finds

    with connection.cursor(name="quarantined") as cursor:
        for digest, line in cursor.execute("SELECT digest, line FROM quarantine"):
            if finds(needles, line.encode("utf-8", "surrogatepass")):
                yield digest


def _list_mended(
    connection: Connection,
    needles: Needles,
    table: str,
    key: tuple[str, ...],
    column: str,
    successors: Mapping[str, str],
    cleaned: Sequence[str],
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Rows whose column quotes the person, by their key, with what the column becomes."""
    with connection.cursor(name=f"quotes_{table}_{column}") as cursor:
        query = f"SELECT {', '.join(key)}, {column} FROM {table} WHERE {column} IS NOT NULL"
        for *names, value in cursor.execute(query.encode()):
            clean = needles.scrub(value)
            if isinstance(value, dict) and value.get("digest") in cleaned and "steps" in value:
                clean = drop_examples(clean if isinstance(clean, dict) else value, needles)
            clean = _rename({} if clean is GONE and not isinstance(value, str) else clean, successors)
            clean = ERASED if clean is GONE else clean
            if clean != value:
                yield tuple(names), clean


def _rename(value: Any, successors: Mapping[str, str]) -> Any:
    """The value with the digests of erased data sets replaced."""
    if not successors:
        return value
    if isinstance(value, str):
        return successors.get(value, value)
    if isinstance(value, dict):
        return {key: _rename(item, successors) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename(item, successors) for item in value]
    return value
