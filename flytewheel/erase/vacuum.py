"""What a DELETE leaves on PostgreSQL's disk, and how it goes.

Deleted rows stay in their pages until a VACUUM, and their bytes beyond it; the planner's statistics hold the most
common values of every column; and the log of changes (WAL) holds every row and page that was ever written, in files
that PostgreSQL likes to keep and write over. So each table is written anew without them (`VACUUM FULL`, its indexes and
its TOAST along), the statistics are made anew and their own table is written anew, and the log is moved on past every
file that may hold a row, and these are removed (`wal_recycle` off, or they would be renamed and kept with their bytes).

For a server of one's own the last part is the operator's: archives, replicas and backups are not ours to touch.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from flytewheel.database import last_line
from flytewheel.errors import DatabaseError

OPERATOR = (
    "PostgreSQL is your own: what was deleted is still in its write-ahead log, archives, replicas and backups until "
    "these are recycled, rebuilt and expired (pg_switch_wal, CHECKPOINT; archive_cleanup; a new base backup)"
)
_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = 'public' ORDER BY c.relname
"""
_STATISTICS = ("pg_catalog.pg_statistic", "pg_catalog.pg_statistic_ext_data")
_MOST_SWITCHES = 5_000


def compact(database_url: str, *, embedded: bool, progress: Callable[[str, int, int | None], None]) -> list[str]:
    """Writes every table anew and, of the embedded server, removes the log of changes; gives what is left to do.

    Args:
        database_url: PostgreSQL.
        embedded: the server is ours: nobody else's settings are changed for a moment.
        progress: is told the tables.

    Raises:
        DatabaseError: the server is away, or does not let its tables be written anew.
    """
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:
            tables = [str(row[0]) for row in connection.execute(_TABLES).fetchall()]
            left = _rewrite(connection, tables, progress)
            if not embedded:
                return [*left, OPERATOR]
            _remove_log(connection)
            return left
    except psycopg.Error as error:
        raise DatabaseError(
            f"PostgreSQL would not write its tables anew ({last_line(error)}); run the erasure again"
        ) from error


def _rewrite(
    connection: psycopg.Connection[tuple[object, ...]],
    tables: list[str],
    progress: Callable[[str, int, int | None], None],
) -> list[str]:
    for number, table in enumerate(tables):
        progress("write tables anew", number, len(tables))
        connection.execute(f"VACUUM (FULL, ANALYZE) {table}".encode())
    progress("write tables anew", len(tables), len(tables))
    try:
        for table in _STATISTICS:
            connection.execute(f"VACUUM (FULL) {table}".encode())
    except psycopg.errors.InsufficientPrivilege:
        return ["a superuser has to run `VACUUM FULL pg_catalog.pg_statistic`: old statistics hold common values"]
    return []


def _remove_log(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Moves the log on past every file that there is, and has these files removed instead of written over."""
    connection.execute("ALTER SYSTEM SET wal_recycle = off")
    connection.execute("SELECT pg_reload_conf()")
    try:
        newest = _one(connection, "SELECT max(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")
        for _ in range(_MOST_SWITCHES):
            connection.execute("SELECT pg_logical_emit_message(false, 'flytewheel', 'erase')")
            connection.execute("SELECT pg_switch_wal()")
            if _one(connection, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())") > newest:
                break
        for _ in range(2):  # the first checkpoint lies in the new file, the second lets go of those before it
            connection.execute("SELECT pg_logical_emit_message(false, 'flytewheel', 'erase')")
            connection.execute("CHECKPOINT")
        left = _one(
            connection,
            f"SELECT count(*)::text FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{{24}}$' AND name <= '{newest}'",
        )
        if left != "0":
            raise DatabaseError(
                f"{left} files of PostgreSQL's log are still there: a replication slot or a long transaction holds "
                "them; end it and run the erasure again"
            )
    finally:
        connection.execute("ALTER SYSTEM RESET wal_recycle")
        connection.execute("SELECT pg_reload_conf()")


def _one(connection: psycopg.Connection[tuple[object, ...]], query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    return "" if row is None or row[0] is None else str(row[0])
