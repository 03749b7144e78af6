"""A restore, into an empty stack: everything is checked first, and a router finds a champion only when all is done.

1. every byte of the backup is read and compared with its digest;
2. `restores` says that this database is being filled from this backup: the same restore may go on, no other may begin;
3. objects come before the rows that name them, aliases are left for the end;
4. the rows, in one transaction, into the schema of the backup's release, which then comes up to this one;
5. who was erased since the backup was made is erased again: the list of them goes into the transaction of the rows, so
   a restore that is killed here leaves erasures that are not ended, and nobody's lines are imported meanwhile;
6. the aliases.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from flytewheel.backup.ledger import Entry, gather_entries, parse_time
from flytewheel.backup.manifest import DATABASE, MIB, Backup, Thing, check_backup, object_file, read_things
from flytewheel.backup.tables import ABOUT_THIS_SERVER, copy_in, list_tables, pass_transactions, rebuild, set_sequences
from flytewheel.database import Connection, connect, list_migrations, migrate
from flytewheel.erase.erasure import Place, erase_user
from flytewheel.erase.record import close_erasure, find_open
from flytewheel.errors import BackupError
from flytewheel.forgotten import check_key, name_subject
from flytewheel.local.stack import OWN_NAME
from registry.aliases import ALIASES
from registry.store import ObjectStore

_LOCK = 0x666C7972
_ROUTER_S = 30
_NAMES = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name IN ('user_id', 'reviewer') AND data_type = 'text'
"""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to. `erased`: erasures that were carried out again."""

    backup: Backup
    erased: tuple[str, ...]


def restore_backup(
    place: Place, folder: Path, ledgers: Sequence[Path] = (), *, after: Callable[[str], None] = lambda step: None
) -> Restored:
    """Fills an empty stack from the backup in `folder`, or goes on with that.

    Args:
        place: database, store and home to fill; `key` is the one that people were erased with.
        folder: of the backup.
        ledgers: newer backups, or their lists of erasures, beside those that lie next to `folder`.
        after: is told each step that is done.

    Raises:
        BackupError: the backup is torn or newer than this release, or the stack is not empty, or a router runs on it.
        FeedbackError: people were erased since, and this machine lacks the key to tell who.
        DatabaseError, StoreError: a service is away; calling again goes on.
    """
    backup = check_backup(folder, place.progress)
    _check_release(backup)
    entries = gather_entries(folder, ledgers)
    check_key(place.key, {each.key_check for each in entries.values()})
    url = place.database_url
    migrate(url)
    with connect(url) as guard:
        guard.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        if guard.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone() != (True,):
            raise BackupError("another restore is filling this database; wait for it")
        loaded = _begin(url, place.store, backup)
        after("begun")
        pass_transactions(url, backup.next_xid, place.progress)
        things = list(read_things(folder))
        _put_objects(place, folder, [each for each in things if not each.key.startswith(ALIASES)])
        after("objects")
        if not loaded:
            _load(place, folder, backup, entries)
            after("rows")
        migrate(url)
        erased = _erase_again(place)
        after("erasures")
        _put_objects(place, folder, [each for each in things if each.key.startswith(ALIASES)])
        with connect(url) as connection:
            connection.execute("UPDATE restores SET ended_at = clock_timestamp() WHERE backup = %s", (backup.digest,))
    return Restored(backup, tuple(erased))


def _check_release(backup: Backup) -> None:
    known = list_migrations()
    if len(backup.migrations) > len(known):
        raise BackupError(
            f"the backup's schema is at version {len(backup.migrations)}, this flytewheel knows {len(known)}: "
            f"restore it with flytewheel {backup.by} or a later one"
        )
    for (number, name, digest), ours in zip(backup.migrations, known, strict=False):
        if (number, digest) != (ours.number, ours.digest):
            raise BackupError(
                f"the backup's database was made by another text of migration {number:04d}_{name} than this "
                f"flytewheel has: restore it with flytewheel {backup.by}"
            )


def _begin(url: str, store: ObjectStore, backup: Backup) -> bool:
    """Claims the empty stack for this backup; whether its rows are there already."""
    with connect(url) as connection:
        known = connection.execute("SELECT backup, loaded_at, ended_at FROM restores").fetchall()
        for digest, loaded_at, ended_at in known:
            if digest == backup.digest and ended_at is None:
                return loaded_at is not None
        _refuse_router(connection)
        held = [name for name in list_tables(connection) if _has_rows(connection, name)]
        if held or known:
            raise BackupError(
                f"the database is not empty ({', '.join(held[:4]) or 'it was restored before'}): a backup is restored "
                "into an empty stack only; set FLYTEWHEEL_HOME to a new folder, or name an empty database"
            )
        if keys := store.list():
            raise BackupError(
                f"the object store is not empty ({len(keys):,} objects, {keys[0]} …): a backup is restored into an "
                "empty stack only; set FLYTEWHEEL_HOME to a new folder, or FLYTEWHEEL_S3_BUCKET to an empty bucket"
            )
        connection.execute("INSERT INTO restores (backup) VALUES (%s)", (backup.digest,))
    return False


def _refuse_router(connection: Connection) -> None:
    query = f"SELECT count(*) FROM router_replicas WHERE seen_at > clock_timestamp() - interval '{_ROUTER_S} s'"
    if connection.execute(query.encode()).fetchone() != (0,):
        raise BackupError(
            "a router runs on this database: stop it (`flytewheel down`), wait half a minute, and restore again"
        )


def _has_rows(connection: Connection, table: str) -> bool:
    own = sql.SQL(" WHERE name <> {}").format(sql.Literal(OWN_NAME)) if table == "api_keys" else sql.SQL("")
    query = sql.SQL("SELECT EXISTS (SELECT FROM {}{})").format(sql.Identifier(table), own)
    return connection.execute(query).fetchone() == (True,)


def _put_objects(place: Place, folder: Path, things: Sequence[Thing]) -> None:
    there = {each.key: each.size for each in place.store.describe()}
    total, done = sum(each.size for each in things) // MIB, 0
    for each in things:
        if there.get(each.key) != each.size or each.key.startswith(ALIASES):
            sent = place.store.put_file(each.key, object_file(folder, each.sha256), sha256=each.sha256)
            if sent != each.sha256:
                raise BackupError(f"torn backup: {object_file(folder, each.sha256)} changed meanwhile; use another one")
        done += each.size
        place.progress("put objects (MiB)", done // MIB, total)


def _load(place: Place, folder: Path, backup: Backup, entries: Mapping[str, Entry]) -> None:
    with connect(place.database_url) as connection:
        known = list_migrations()
        own = _take_own_keys(connection)
        if len(backup.migrations) < len(known):
            rebuild(connection, known[: len(backup.migrations)], backup.by)
        for table in backup.tables:
            copy_in(connection, table, folder / DATABASE / table.name, place.progress)
        set_sequences(connection, backup)
        for row in own:
            connection.execute(
                "INSERT INTO api_keys SELECT * FROM json_populate_record(NULL::api_keys, %s::json)"
                " ON CONFLICT DO NOTHING",
                row,
            )
        _note_erasures(connection, entries.values())
        connection.execute("UPDATE restores SET loaded_at = clock_timestamp() WHERE backup = %s", (backup.digest,))


def _take_own_keys(connection: Connection) -> list[tuple[str]]:
    """The key that `flytewheel up` made for this machine's own clients: it stays beside those of the backup."""
    rows = connection.execute("SELECT row_to_json(k)::text FROM api_keys k").fetchall()
    connection.execute("DELETE FROM api_keys")
    return [(row[0],) for row in rows]


def _note_erasures(connection: Connection, entries: Iterable[Entry]) -> None:
    """Erasures that the backup does not know begin anew, and those that it saw half done as well."""
    connection.execute("UPDATE erasures SET steps = '{}' WHERE ended_at IS NULL")
    for each in entries:
        values = (each.erasure_id, each.subject, each.key_check, each.by, parse_time(each.started_at))
        connection.execute(
            "INSERT INTO erasures (erasure_id, subject, key_check, by, started_at, until)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (*values, parse_time(each.until)),
        )
        connection.execute(
            "INSERT INTO erased_ids (keyed, erasure_id) SELECT unnest(%s::bigint[]), %s ON CONFLICT DO NOTHING",
            (list(each.ids), each.erasure_id),
        )


def _erase_again(place: Place) -> list[str]:
    """Carries out every erasure that has not ended; each may be killed and goes on."""
    with connect(place.database_url) as connection:
        rows = connection.execute("SELECT subject, erasure_id FROM erasures WHERE ended_at IS NULL").fetchall()
        open_ = {str(subject): str(name) for subject, name in rows}
        users = _find_users(connection, place.key, open_) if open_ else []
    for number, user in enumerate(users):
        place.progress("erase again", number, len(users))
        while find_open(place.database_url, place.key, user) is not None:
            erase_user(place, user, by=getpass.getuser())
    for _, name in rows:
        close_erasure(place.database_url, name)
    return sorted(str(name) for _, name in rows)


def _find_users(connection: Connection, key: str, subjects: Mapping[str, str]) -> list[str]:
    """Who of the people in the database was erased."""
    names: set[str] = set()
    for table, column in connection.execute(_NAMES).fetchall():
        if table in ABOUT_THIS_SERVER:
            continue
        query = sql.SQL("SELECT DISTINCT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
        names.update(row[0] for row in connection.execute(query) if row[0] is not None)
    return sorted(name for name in names if name_subject(key, name) in subjects)
