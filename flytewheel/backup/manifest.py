"""What a backup is: a folder whose manifest was written last and has the digest of everything else.

backup.json              this manifest: without it a folder is no backup
database/<table>         the rows of a table, as PostgreSQL's COPY writes them
objects.jsonl            the store's keys: name, size, SHA-256
objects/<digest>         what lies under them, each content once
erasures.json            who was erased up to now: goes on changing (flytewheel.backup.ledger)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import BackupError
from flytewheel.progress import ProgressCallback

FORMAT = 1
MANIFEST = "backup.json"
DATABASE = "database"
INDEX = "objects.jsonl"
OBJECTS = "objects"
CHUNK = 1 << 20
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table: so many, in a file of so many bytes with this SHA-256."""

    name: str
    columns: tuple[str, ...]
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of the store."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Backup:
    """The manifest.

    Attributes:
        made_at: of the snapshot of the database.
        by: the release that made it.
        migrations: number, name and digest of those that the database had.
        next_xid: the database's transactions were below; windows of feedback are bounded by them.
        tables: those that others refer to first.
        sequences: column as table.column, to its last value and whether that was used.
        objects: how many keys.
        object_bytes: of all of them.
        index_sha256: of `objects.jsonl`.
    """

    made_at: str
    by: str
    migrations: tuple[tuple[int, str, str], ...]
    next_xid: int
    tables: tuple[Table, ...]
    sequences: Mapping[str, tuple[int, bool]]
    objects: int
    object_bytes: int
    index_sha256: str

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    def to_bytes(self) -> bytes:
        """The manifest's file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False).encode() + b"\n"

    @property
    def digest(self) -> str:
        """By which one backup is told from another."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def read_backup(folder: Path) -> Backup:
    """The manifest of the backup in `folder`.

    Raises:
        BackupError: there is none, or it is of another form.
    """
    path = folder / MANIFEST
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
        if told.pop("format") != FORMAT:
            raise BackupError(f"{path}: a backup of a newer form; restore it with the flytewheel that made it")
        tables = tuple(Table(**{**each, "columns": tuple(each["columns"])}) for each in told.pop("tables"))
        migrations = tuple((int(number), str(name), str(digest)) for number, name, digest in told.pop("migrations"))
        sequences = {name: (int(last), bool(used)) for name, (last, used) in told.pop("sequences").items()}
        return Backup(tables=tables, migrations=migrations, sequences=sequences, **told)
    except FileNotFoundError:
        raise BackupError(
            f"{folder} holds no finished backup: {MANIFEST} is written last; "
            "finish one that was cut off with `flytewheel backup` on the same folder"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{path} is not the manifest of a backup ({type(error).__name__}: {error})") from None


def read_things(folder: Path) -> Iterator[Thing]:
    """The store's objects in the backup, by key."""
    with (folder / INDEX).open(encoding="utf-8") as lines:
        for line in lines:
            yield Thing(**json.loads(line))


def object_file(folder: Path, sha256: str) -> Path:
    """Where the content with this digest lies."""
    return folder / OBJECTS / sha256[:2] / sha256


def check_backup(folder: Path, progress: ProgressCallback) -> Backup:
    """Reads the whole backup through.

    Raises:
        BackupError: a file is missing, or is not what the manifest says; which one.
    """
    backup = read_backup(folder)
    total = (backup.object_bytes + sum(table.size for table in backup.tables)) // MIB
    done = 0

    def check(path: Path, size: int | None, sha256: str) -> None:
        nonlocal done
        try:
            found, digest = hash_file(path)
        except OSError as error:
            raise BackupError(f"torn backup: {path} cannot be read ({error.strerror}); use another one") from None
        if (size is not None and found != size) or digest != sha256:
            raise BackupError(f"torn backup: {path} is not what {MANIFEST} says of it; use another one")
        done += found
        progress("check the backup (MiB)", done // MIB, total)

    for table in backup.tables:
        check(folder / DATABASE / table.name, table.size, table.sha256)
    check(folder / INDEX, None, backup.index_sha256)
    things = list(read_things(folder))
    if (len(things), sum(each.size for each in things)) != (backup.objects, backup.object_bytes):
        raise BackupError(f"torn backup: {folder / INDEX} does not list what {MANIFEST} counts; use another one")
    for sha256, size in sorted({(each.sha256, each.size) for each in things}):
        check(object_file(folder, sha256), size, sha256)
    return backup


def hash_file(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Puts a file in place in one step, on the disk before its name is."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sees that names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
