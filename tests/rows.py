"""Rows for every table of a schema, whatever tables it has, filled in by type: what migrations and backups must carry.

Texts hold what formats trip over (tabs, newlines, backslashes, quotes, `\\N`, other scripts), the second row of a table
has NULL wherever it may, references point at rows that are there, and CHECKs of the schema's forms are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from psycopg import sql

from flytewheel.database import Connection

ODD = "a\tb\\N \\. 'q' \"d\" ,;\r\n— ünï 漢字 🙂 %s"
TIMES = "2026-03-29T00:30:00.123456+00:00"

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL), a.attnotnull, a.attidentity <> ''
FROM pg_attribute a WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""
_CHECKS = """
SELECT a.attname, pg_get_constraintdef(c.oid) FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
WHERE c.conrelid = %s::regclass AND c.contype = 'c'
"""
_REFERENCES = """
SELECT confrelid::regclass::text,
       ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY k (n, i)
             JOIN pg_attribute ON attrelid = conrelid AND attnum = n ORDER BY i),
       ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY k (n, i)
             JOIN pg_attribute ON attrelid = confrelid AND attnum = n ORDER BY i)
FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f' AND confrelid <> conrelid
"""
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"


def list_tables(connection: Connection, leave_out: Sequence[str] = ("migrations",)) -> list[str]:
    """The tables, those that others refer to first."""
    left = [name for (name,) in connection.execute(_TABLES).fetchall() if name not in leave_out]
    needs = {name: {row[0] for row in connection.execute(_REFERENCES, (name,)).fetchall()} for name in left}
    needs.setdefault("feedback_events", set()).add("interactions")  # kept by triggers
    ordered: list[str] = []
    while left:
        ready = [name for name in left if needs[name] <= set(ordered)]
        assert ready, f"tables refer to each other in a ring: {left}"
        ordered += ready
        left = [name for name in left if name not in ready]
    return ordered


def fill(connection: Connection, rows: int = 2) -> list[str]:
    """Puts `rows` rows into each table, one into those that hold no more.

    Returns:
        The tables.
    """
    tables = list_tables(connection)
    for table in tables:
        for number in range(rows):
            _insert(connection, table, number)
    return tables


def read_rows(connection: Connection, table: str, columns: Sequence[str] | None = None) -> list[str]:
    """The rows of a table as text, sorted; of `columns` where a later version has more."""
    chosen = sql.SQL(", ").join(map(sql.Identifier, columns)) if columns else sql.SQL("*")
    query = sql.SQL("SELECT row_to_json(t)::text FROM (SELECT {} FROM {}) t").format(chosen, sql.Identifier(table))
    return sorted(row[0] for row in connection.execute(query).fetchall())


def list_columns(connection: Connection, table: str) -> list[str]:
    """The columns of a table, in their order."""
    return [row[0] for row in connection.execute(_COLUMNS, (table,)).fetchall()]


def _insert(connection: Connection, table: str, number: int) -> None:
    checks: dict[str, str] = dict(connection.execute(_CHECKS, (table,)).fetchall())
    given: dict[str, Any] = {}
    if table == "feedback_events":
        given["interaction_id"] = _pick(connection, "interactions", ["interaction_id"], number)[0]
    for other, ours, theirs in connection.execute(_REFERENCES, (table,)).fetchall():
        given |= dict(zip(ours, _pick(connection, other, theirs, number), strict=True))
    for place, (name, kind, needed, identity) in enumerate(connection.execute(_COLUMNS, (table,)).fetchall()):
        if identity or name in given:
            continue
        given[name] = _make(kind, checks.get(name, ""), number, place) if needed or not number else None
    names = sql.SQL(", ").join(map(sql.Identifier, given))
    places = sql.SQL(", ").join([sql.Placeholder()] * len(given))
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
        sql.Identifier(table), names, places
    )
    connection.execute(query, list(given.values()))


def _pick(connection: Connection, table: str, columns: list[str], number: int) -> tuple[Any, ...]:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("SELECT {} FROM {} ORDER BY ctid OFFSET %s LIMIT 1").format(names, sql.Identifier(table))
    row = connection.execute(query, (number,)).fetchone()
    assert row is not None
    return tuple(row)


def _make(kind: str, check: str, number: int, place: int) -> Any:
    """A value of a type for the row `number` and the column at `place`."""
    allowed = re.findall(r"'([^']+)'::text", check)
    if kind.endswith("[]"):
        return [_make(kind[:-2], "", number, place)] * 2
    match kind:
        case "text":
            return allowed[number % len(allowed)] if allowed else f"{number} {ODD}"
        case "jsonb":
            return '{"a": [1.50, null, "\\u00e9\\\\n' + str(number) + '"], "b": {"": true}}'
        case "boolean":
            return True
        case "integer" | "bigint" | "smallint":
            return number + 1
        case "double precision" | "real":
            return [0.1, 1 / 3][number % 2]
        case "bytea":
            return bytes([number, 0, 92, 255])
        case "timestamp with time zone":
            return TIMES.replace("03-29", f"{number + 1:02d}-{place + 1:02d}")
        case "xid8":
            return str(10 + number * 100 + place)
        case "pg_snapshot":
            return "10:20:10,14"
    raise AssertionError(f"no rows for a column of type {kind} yet: add a line here")
