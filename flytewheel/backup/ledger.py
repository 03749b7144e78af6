"""Who was erased, beside each backup: what was made before a person was erased would bring them back.

The ledger holds what the database's own list does: keyed hashes, which say nothing without the erasure key
(flytewheel.forgotten). It lies in each backup's folder and is brought up to date there by every erasure and every
backup of the same home; a restore reads it, those of the backups beside it, and whatever else it is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from flytewheel.backup.manifest import write_whole
from flytewheel.database import Connection, connect
from flytewheel.errors import BackupError

LEDGER = "erasures.json"
BOOK = "backups.json"  # of the home: where its backups are


@dataclass(frozen=True, slots=True)
class Entry:
    """One erasure; `ids` are the keyed hashes of interactions and events that went with it."""

    erasure_id: str
    subject: str
    key_check: str
    by: str
    started_at: str
    until: str
    ids: tuple[int, ...]


def read_entries(connection: Connection) -> list[Entry]:
    """Every erasure that the database knows of."""
    ids: dict[str, list[int]] = {}
    for keyed, erasure in connection.execute("SELECT keyed, erasure_id FROM erased_ids ORDER BY keyed").fetchall():
        ids.setdefault(erasure, []).append(keyed)
    query = "SELECT erasure_id, subject, key_check, by, started_at, until FROM erasures ORDER BY erasure_id"
    return [
        Entry(name, subject, check, by, started.isoformat(), until.isoformat(), tuple(ids.get(name, ())))
        for name, subject, check, by, started, until in connection.execute(query).fetchall()
    ]


def read_ledger(path: Path) -> list[Entry]:
    """A ledger, or that of the backup whose folder is given; nobody where there is none.

    Raises:
        BackupError: it is not one.
    """
    path = path / LEDGER if path.is_dir() else path
    try:
        return [Entry(**{**each, "ids": tuple(each["ids"])}) for each in json.loads(path.read_bytes())]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path} is not a list of erasures ({type(error).__name__}: {error})") from None


def write_ledger(folder: Path, entries: Iterable[Entry]) -> None:
    """Adds to the ledger of a backup; what stands in it stays."""
    known = {each.erasure_id: each for each in read_ledger(folder)} | {each.erasure_id: each for each in entries}
    text = json.dumps([asdict(known[name]) for name in sorted(known)], separators=(",", ":"))
    write_whole(folder / LEDGER, text.encode())


def gather_entries(folder: Path, others: Sequence[Path]) -> dict[str, Entry]:
    """The erasures that a restore of the backup in `folder` has to know: its own, its neighbours', and `others`'.

    Raises:
        BackupError: one of `others` is not there.
    """
    for path in others:
        if not (path.is_file() or (path / LEDGER).is_file()):
            raise BackupError(f"{path}: expected a backup's folder or its {LEDGER}")
    neighbours = sorted(path.parent for path in folder.absolute().parent.glob(f"*/{LEDGER}"))
    return {each.erasure_id: each for path in (folder, *neighbours, *others) for each in read_ledger(path)}


def note_backup(home: Path, folder: Path) -> None:
    """Writes down in `home` where a backup of it is, for erasures to come."""
    home.mkdir(parents=True, exist_ok=True)
    places = {*list_backups(home), folder.absolute()}
    write_whole(home / BOOK, json.dumps(sorted(map(str, places)), indent=1).encode())


def list_backups(home: Path) -> list[Path]:
    """Where backups of this home were put."""
    try:
        return [Path(each) for each in json.loads((home / BOOK).read_bytes())]
    except FileNotFoundError:
        return []


def tell_backups(home: Path, database_url: str) -> tuple[list[Path], list[Path]]:
    """Brings the ledgers of this home's backups up to date.

    Returns:
        Those that know now, and those that could not be reached.
    """
    backups = list_backups(home)
    if not backups:
        return [], []
    with connect(database_url) as connection:
        entries = read_entries(connection)
    told, missed = [], []
    for folder in backups:
        try:
            write_ledger(folder, entries)
            told.append(folder)
        except (OSError, BackupError):
            missed.append(folder)
    return told, missed


def parse_time(text: str) -> datetime:
    """A time as a ledger has it."""
    return datetime.fromisoformat(text)
