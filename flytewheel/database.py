"""The connection to PostgreSQL, and its schema. Everything else about a table lives with the station that owns it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files

import psycopg
from psycopg.rows import TupleRow

from flytewheel.errors import DatabaseError

Connection = psycopg.Connection[TupleRow]

CHANGES = "flytewheel_changes"  # the channel that routers listen on; a payload is a kind, a space, a name

_MIGRATION_LOCK = 0x666C7977  # any constant, the same for every process


@contextmanager
def connect(url: str, *, timeout_s: int = 10) -> Iterator[Connection]:
    """Opens a connection whose block is one transaction: committed at its end, rolled back by an exception.

    Raises:
        DatabaseError: the server is away or refuses the credentials, or the connection breaks within the block.
    """
    try:
        connection = psycopg.connect(url, connect_timeout=timeout_s)
    except psycopg.Error as error:
        where = describe_url(url)
        raise DatabaseError(
            f"PostgreSQL at {where} is not reachable ({last_line(error)}); "
            "start it, or unset FLYTEWHEEL_DATABASE_URL for the embedded one"
        ) from None
    try:
        with connection:
            yield connection
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"PostgreSQL at {describe_url(url)} went away ({last_line(error)}); nothing was committed"
        ) from error


def migrate(url: str) -> None:
    """Creates what is missing of the schema; safe to call from many processes at once."""
    with connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        connection.execute((files("flytewheel") / "schema.sql").read_text(encoding="utf-8"))


def announce_change(url: str, kind: str, name: str) -> None:
    """Tells every router that something it reads elsewhere has changed: `champion` of a model.

    Only a hint that it is worth looking now: where PostgreSQL is away, routers find out by themselves.
    """
    with suppress(DatabaseError, psycopg.Error), connect(url, timeout_s=2) as connection:
        connection.execute("SELECT pg_notify(%s, %s)", (CHANGES, f"{kind} {name}"))


def describe_url(url: str) -> str:
    """The URL as host, port and database, without its password."""
    try:
        info = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "the given address"
    return f"{info.get('host', 'localhost')}:{info.get('port', 5432)}/{info.get('dbname', '')}"


def last_line(error: BaseException) -> str:
    """The last line of an error's text, where libpq puts the cause, for messages of one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
