"""Rows out of a snapshot and into an empty schema, by COPY.

Not by pg_dump: it refuses servers newer than itself, and what it writes brings a schema of its own along, where the
rows here go into the one that the numbered migrations make and come up to date as any other database does.

Transaction numbers stay what they are: windows of feedback are bounded by them, also in manifests and data sets. So the
new server has to be past them before anything is written by it (`pass_transactions`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from flytewheel.backup.manifest import CHUNK, Backup, Table
from flytewheel.database import Connection, Migration
from flytewheel.errors import BackupError
from flytewheel.progress import ProgressCallback

ABOUT_THIS_SERVER = ("migrations", "restores", "router_replicas")  # not about what is stored
_LISTING = "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
_REFERENCES = """
SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conrelid <> confrelid
"""
_COLUMNS = """
SELECT attname::text FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
_SEQUENCES = """
SELECT relname || '.' || attname, pg_get_serial_sequence(quote_ident(relname), attname)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND (attidentity <> '' OR atthasdef) AND NOT attisdropped
AND pg_get_serial_sequence(quote_ident(relname), attname) IS NOT NULL ORDER BY 1
"""
_FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
"""
_SPELLING = """
SET LOCAL datestyle = 'ISO'; SET LOCAL timezone = 'UTC'; SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1; SET LOCAL intervalstyle = 'postgres'
"""
_BURN = "DO $$ BEGIN FOR i IN 1..{} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
_BURN_AT_ONCE, _BURN_MOST = 50_000, 20_000_000  # 77,000 a second on two busy cores: at most minutes


def list_tables(connection: Connection) -> list[str]:
    """The tables that a backup holds, those that others refer to first.

    Raises:
        BackupError: tables refer to each other in a ring.
    """
    left = sorted(row[0] for row in connection.execute(_LISTING).fetchall() if row[0] not in ABOUT_THIS_SERVER)
    needs: dict[str, set[str]] = {name: set() for name in left}
    for name, other in connection.execute(_REFERENCES).fetchall():
        needs.setdefault(name, set()).add(other)
    ordered: list[str] = []
    while left:
        ready = [name for name in left if needs[name] <= set(ordered)]
        if not ready:
            raise BackupError(f"tables refer to each other in a ring ({', '.join(left)}): no order to restore them in")
        ordered += ready
        left = [name for name in left if name not in ready]
    return ordered


def copy_out(connection: Connection, table: str, path: Path, progress: ProgressCallback) -> Table:
    """Writes the rows that the transaction sees."""
    connection.execute(_SPELLING)
    columns = tuple(row[0] for row in connection.execute(_COLUMNS, (table,)).fetchall())
    digest, size = hashlib.sha256(), 0
    with path.open("wb", buffering=CHUNK) as out, connection.cursor() as cursor:
        with cursor.copy(_copy(table, columns, "TO STDOUT")) as rows:
            for chunk in rows:
                digest.update(chunk)
                out.write(chunk)
                size += len(chunk)
                progress(f"copy {table} (MiB)", size // CHUNK, None)
        count = cursor.rowcount
        out.flush()
        os.fsync(out.fileno())
    return Table(table, columns, count, size, digest.hexdigest())


def copy_in(connection: Connection, table: Table, path: Path, progress: ProgressCallback) -> None:
    """Writes rows back as they were: no trigger of ours looks at them.

    Raises:
        BackupError: the file changed since it was checked, or has another number of rows.
    """
    name = sql.Identifier(table.name)
    connection.execute(_SPELLING)
    connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as rows, connection.cursor() as cursor:
        with cursor.copy(_copy(table.name, table.columns, "FROM STDIN")) as copy:
            while chunk := rows.read(CHUNK):
                digest.update(chunk)
                copy.write(chunk)
                size += len(chunk)
                progress(f"load {table.name} (MiB)", size // CHUNK, table.size // CHUNK)
        if (cursor.rowcount, digest.hexdigest()) != (table.rows, table.sha256):
            raise BackupError(f"{path} gave {cursor.rowcount:,} rows, {table.rows:,} were expected; nothing was kept")
    connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(name))


def read_sequences(connection: Connection) -> dict[str, tuple[int, bool]]:
    """Last value of each numbered column, and whether it was used."""
    found = {}
    for column, sequence in connection.execute(_SEQUENCES).fetchall():
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(sequence))
        row = connection.execute(query).fetchone()
        assert row is not None  # a sequence is a table of one row
        found[column] = (int(row[0]), bool(row[1]))
    return found


def set_sequences(connection: Connection, backup: Backup) -> None:
    """Numbers go on after those that were given."""
    for column, sequence in connection.execute(_SEQUENCES).fetchall():
        if column in backup.sequences:
            last, used = backup.sequences[column]
            connection.execute("SELECT setval(%s::regclass, %s, %s)", (sequence, last, used))


def rebuild(connection: Connection, known: Sequence[Migration], by: str) -> None:
    """Puts the schema of an earlier release in the place of the present one, which holds nothing."""
    for (table,) in connection.execute(_LISTING).fetchall():
        if table not in ABOUT_THIS_SERVER:
            connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.SQL(table)))
    for (function,) in connection.execute(_FUNCTIONS).fetchall():
        connection.execute(sql.SQL("DROP FUNCTION {} CASCADE").format(sql.SQL(function)))
    connection.execute("DELETE FROM migrations")
    for each in known:
        connection.execute(each.text.encode())
        row = (each.number, each.name, each.digest, by)
        connection.execute("INSERT INTO migrations (number, name, digest, by) VALUES (%s, %s, %s, %s)", row)


def find_next_transaction(connection: Connection) -> int:
    """The number that the server's next transaction has, or one before it."""
    row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
    assert row is not None  # a SELECT without FROM gives one row
    return int(row[0])


def pass_transactions(url: str, until: int, progress: ProgressCallback) -> None:
    """Uses up transaction numbers below `until`, so that rows written from now on come after all that are restored.

    Raises:
        BackupError: there are too many; what to run instead.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        first = now = find_next_transaction(connection)
        if until - first > _BURN_MOST:
            raise BackupError(
                f"the backup's transactions go up to {until:,}, this server is at {first:,}: stop it, run "
                f"`pg_resetwal --epoch {(until >> 32) + 1}` on its data folder once, start it, and restore again"
            )
        while now < until:
            connection.execute(_BURN.format(min(_BURN_AT_ONCE, until - now)).encode())
            now = find_next_transaction(connection)
            progress("use up transaction numbers", min(now, until) - first, until - first)


def _copy(table: str, columns: Sequence[str], direction: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) {}").format(sql.Identifier(table), names, sql.SQL(direction))
