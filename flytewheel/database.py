"""The connection to PostgreSQL, and its schema. Everything else about a table lives with the station that owns it.

The schema is a row of numbered files that only goes forward (`flytewheel/migrations`, docs/adr/0055): the table
`migrations` says which of them a database has seen, and with which content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
from psycopg.rows import TupleRow

from flytewheel import __version__
from flytewheel.errors import DatabaseError

Connection = psycopg.Connection[TupleRow]

CHANGES = "flytewheel_changes"  # the channel that routers listen on; a payload is a kind, a space, a name

_MIGRATION_LOCK = 0x666C7977  # any constant, the same for every process
_TABLE_LOCK_S = 60
_MIGRATIONS = files("flytewheel") / "migrations"
_MIGRATION = re.compile(r"(\d{4})_(\w+)\.sql", re.ASCII)
_SEEN = """
CREATE TABLE IF NOT EXISTS migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    digest     text        NOT NULL,  -- SHA-256 of the text that ran
    by         text        NOT NULL,  -- the release that ran it
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


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


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of `flytewheel/migrations`; `digest` is SHA-256 of its text, in hex."""

    number: int
    name: str
    text: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What the database keeps of the file: another text under the same number is found out."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.number:04d}_{self.name}"


def list_migrations(folder: Traversable = _MIGRATIONS) -> list[Migration]:
    """The migrations in `folder`, by default those of this release; their numbers begin with 1 and leave none out.

    Raises:
        DatabaseError: a file is not named as a migration, or a number is missing or there twice.
    """
    found = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            if not (parts := _MIGRATION.fullmatch(file.name)):
                raise DatabaseError(f"migration {file.name}: expected NNNN_name.sql, as in 0001_tables.sql")
            found.append(Migration(int(parts[1]), parts[2], file.read_text(encoding="utf-8")))
    numbers = [each.number for each in found]
    if numbers != list(range(1, len(found) + 1)):
        raise DatabaseError(
            f"migrations are numbered {numbers}: expected each from 1 on once; the installation is broken"
        )
    return found


def find_pending(connection: Connection, known: Sequence[Migration]) -> list[Migration]:
    """What of `known` the database has not seen yet.

    Raises:
        DatabaseError: it has seen one that is not known, or another text under a known number.
    """
    if connection.execute("SELECT to_regclass('migrations') IS NULL").fetchone() == (True,):
        return list(known)
    seen = connection.execute("SELECT number, name, digest FROM migrations ORDER BY number").fetchall()
    for number, name, _ in seen[len(known) :]:
        raise DatabaseError(
            f"the database has migration {number:04d}_{name}, and this flytewheel ({__version__}) knows {len(known)}: "
            "a newer one has been here; install that, or restore a backup from before it"
        )
    for (number, name, digest), ours in zip(seen, known, strict=False):
        if (number, digest) != (ours.number, ours.digest):
            raise DatabaseError(
                f"migration {ours} is not what was applied as {number:04d}_{name}: its text has changed since. "
                "Put the applied text back, and make the change in a new migration"
            )
    return list(known[len(seen) :])


def migrate(url: str, known: Sequence[Migration] | None = None) -> list[Migration]:
    """Brings the database up to this release; safe to call from many processes at once.

    All that is pending is applied in one transaction: a database is at the old version or at the new one.

    Args:
        url: of the database.
        known: the migrations of a release; `None`: of this one.

    Returns:
        What was applied by this call.

    Raises:
        DatabaseError: the database is newer than `known`, was migrated by other texts, or refused one of them; nothing
            has changed.
    """
    known = list_migrations() if known is None else known
    with connect(url) as connection:
        if not find_pending(connection, known):  # most calls: no lock, so that none waits behind another
            return []
    with connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        connection.execute(
            f"SET LOCAL lock_timeout = '{_TABLE_LOCK_S}s'"
        )  # who waits for a table makes all others wait
        connection.execute(_SEEN)
        pending = find_pending(connection, known)
        for each in pending:
            try:
                connection.execute(each.text)
            except psycopg.Error as error:
                raise DatabaseError(
                    f"migration {each} failed ({error.diag.message_primary or last_line(error)}); "
                    f"nothing of the {len(pending)} that were due was kept"
                ) from error
            row = (each.number, each.name, each.digest, __version__)
            connection.execute("INSERT INTO migrations (number, name, digest, by) VALUES (%s, %s, %s, %s)", row)
    return pending


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
