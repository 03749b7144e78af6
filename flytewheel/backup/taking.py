"""A backup: the database first, as one snapshot, then the store.

In this order because rows point at objects and not the other way: what a row names was in the store before the row was
committed, and stays (objects are only added; erasures and `models gc --apply` take some away, and then the backup says
so and is run again). What the store has gained since the snapshot is named by no row, which is what an unfinished turn
leaves as well. Only aliases are replaced in place: they are read at the snapshot's moment, and the snapshot is taken
anew where one of them moved meanwhile.

A backup that was cut off goes on: objects that were copied are not copied again; the snapshot is taken anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from filelock import FileLock, Timeout

from flytewheel import __version__
from flytewheel.backup.ledger import LEDGER, note_backup, read_entries, write_ledger
from flytewheel.backup.manifest import (
    DATABASE,
    INDEX,
    MANIFEST,
    MIB,
    OBJECTS,
    Backup,
    Table,
    Thing,
    hash_file,
    object_file,
    read_backup,
    sync_folder,
    write_whole,
)
from flytewheel.backup.tables import copy_out, find_next_transaction, list_tables, read_sequences
from flytewheel.database import Connection, connect
from flytewheel.errors import BackupError, StoreError
from flytewheel.progress import ProgressCallback
from registry.aliases import ALIASES
from registry.store import ObjectStore, StoredKey

_LOCK = ".lock"
_COPIED = "objects.part"  # key, ETag, size and digest of what a backup that was cut off has copied
_KNOWN = {DATABASE, OBJECTS, INDEX, LEDGER, _LOCK, _COPIED}
_MOST_SNAPSHOTS = 5
_AT_ONCE = 4


def take_backup(
    database_url: str,
    store: ObjectStore,
    home: Path,
    folder: Path,
    progress: ProgressCallback,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Backup:
    """Writes a backup into `folder`, which is empty or holds one that was cut off.

    Raises:
        BackupError: the folder holds something else, or objects went while they were copied.
        DatabaseError, StoreError: a service is away; calling again goes on.
    """
    with _hold(folder):
        with connect(database_url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            aliases = _open_snapshot(connection, store)
            made_at = clock().astimezone(UTC).isoformat(timespec="seconds")
            migrations = connection.execute("SELECT number, name, digest FROM migrations ORDER BY number").fetchall()
            next_xid = find_next_transaction(connection)
            sequences = read_sequences(connection)
            tables = _copy_tables(connection, folder / DATABASE, progress)
        things = _copy_objects(store, aliases, folder, progress)
        index = "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in things).encode()
        write_whole(folder / INDEX, index)
        note_backup(home, folder)  # before the list is read: an erasure from now on finds this folder
        with connect(database_url) as connection:
            write_ledger(folder, read_entries(connection))
        backup = Backup(
            made_at=made_at,
            by=__version__,
            migrations=tuple((number, name, digest) for number, name, digest in migrations),
            next_xid=next_xid,
            tables=tuple(tables),
            sequences=sequences,
            objects=len(things),
            object_bytes=sum(each.size for each in things),
            index_sha256=hashlib.sha256(index).hexdigest(),
        )
        write_whole(folder / MANIFEST, backup.to_bytes())
        (folder / _COPIED).unlink(missing_ok=True)
    return backup


@contextlib.contextmanager
def _hold(folder: Path) -> Iterator[None]:
    """The folder is this backup's alone."""
    if (folder / MANIFEST).exists():
        raise BackupError(f"{folder} holds the backup of {read_backup(folder).made_at}: name an empty folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # people's words
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in _KNOWN)
    if foreign:
        raise BackupError(f"{folder} holds {', '.join(foreign[:3])}, which is no backup: name an empty folder")
    try:
        with FileLock(folder / _LOCK, timeout=0):
            yield
    except Timeout:
        raise BackupError(f"another backup is being written to {folder}; wait for it, or name another folder") from None


def _open_snapshot(connection: Connection, store: ObjectStore) -> dict[str, bytes]:
    """Opens the snapshot of the transaction at a moment at which no alias moves; gives the aliases' records."""
    for _ in range(_MOST_SNAPSHOTS):
        before = _read_aliases(store)
        connection.execute("SELECT 1")
        if _read_aliases(store) == before:
            return before
        connection.rollback()
    raise BackupError("aliases of the registry moved all the time while a snapshot was taken: run the backup again")


def _read_aliases(store: ObjectStore) -> dict[str, bytes]:
    return {key: found.data for key in store.list(ALIASES) if (found := store.read(key)) is not None}


def _copy_tables(connection: Connection, folder: Path, progress: ProgressCallback) -> list[Table]:
    shutil.rmtree(folder, ignore_errors=True)  # of a snapshot that is gone
    folder.mkdir()
    tables = [copy_out(connection, name, folder / name, progress) for name in list_tables(connection)]
    sync_folder(folder)
    return tables


def _copy_objects(
    store: ObjectStore, aliases: dict[str, bytes], folder: Path, progress: ProgressCallback
) -> list[Thing]:
    listed = [each for each in store.describe() if not each.key.startswith(ALIASES)]
    total = sum(each.size for each in listed) // MIB
    copied = _read_copied(folder)
    done = 0

    def copy(one: StoredKey) -> Thing:
        known = copied.get((one.key, one.etag))
        if known is not None and object_file(folder, known.sha256).stat().st_size == known.size:
            return known
        return _copy_object(store, one.key, folder)

    things = []
    with (folder / _COPIED).open("a", encoding="utf-8") as notes, ThreadPoolExecutor(_AT_ONCE) as pool:
        for one, thing in zip(listed, pool.map(copy, listed), strict=True):
            things.append(thing)
            notes.write(json.dumps({"etag": one.etag, **asdict(thing)}) + "\n")
            notes.flush()
            done += thing.size
            progress("copy objects (MiB)", done // MIB, max(total, done // MIB))
    for key, data in aliases.items():
        path = object_file(folder, hashlib.sha256(data).hexdigest())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        things.append(Thing(key, len(data), path.name))
    return sorted(things, key=lambda each: each.key)


def _copy_object(store: ObjectStore, key: str, folder: Path) -> Thing:
    part = folder / OBJECTS / "new" / hashlib.sha256(key.encode()).hexdigest()
    try:
        sha256 = store.get_file(key, part)
    except StoreError as error:
        if store.exists(key):
            raise
        raise BackupError(
            f"object {key} went while the backup was taken (an erasure, or `models gc --apply`): run it again"
        ) from error
    size = part.stat().st_size
    path = object_file(folder, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.replace(path)
    return Thing(key, size, sha256)


def _read_copied(folder: Path) -> dict[tuple[str, str], Thing]:
    """What was copied before; its last line may have been cut off, and a file may have been before a power cut."""
    found: dict[tuple[str, str], Thing] = {}
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        for line in (folder / _COPIED).read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            thing = Thing(told["key"], told["size"], told["sha256"])
            path = object_file(folder, thing.sha256)
            if path.is_file() and hash_file(path) == (thing.size, thing.sha256):
                found[thing.key, told["etag"]] = thing
    return found
